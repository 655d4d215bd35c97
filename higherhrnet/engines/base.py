"""The interface of the engines, and the options that select one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, get_args

import numpy as np
from tyro.conf import FlagCreatePairsOff, arg

from higherhrnet.arrays import FloatArray
from higherhrnet.config.flags import flag
from higherhrnet.config.header import Header
from higherhrnet.errors import InputError, require
from higherhrnet.messages import counted
from higherhrnet.zoo.resolve import DEFAULT_MODEL

if TYPE_CHECKING:
    from torch import Tensor

EngineName = Literal["auto", "onnxruntime", "openvino", "torch"]
"""The library that runs the network; `auto` selects one."""
Precision = Literal["f32", "bf16", "f16"]
"""The arithmetic of the network: 32-bit floats, or 16-bit floats with 8 or 5 bits of exponent."""

MAX_THREADS = 1024
"""Largest number of threads and of streams; engines would create as many as they are asked for."""
MAX_STREAMS = 4
"""Number of streams where many images are processed. More streams would need more memory and have
fewer threads each."""
_MAX_PIXELS = 2**18
"""Maximum number of pixels of a batch of several views in one call of a CPU engine."""


@dataclass(frozen=True)
class EngineOptions:
    """The model, and the engine that runs it.

    The fields are described in the online API reference and in `higherhrnet predict --help`.
    """

    model: Annotated[str, arg(aliases=["-m"], metavar="FILE|NAME")] = DEFAULT_MODEL
    """The model to run: a .onnx or .safetensors file, `default` for the bundled model, or the name
    of a published model, which is downloaded when it is first used (`higherhrnet models`)."""
    engine: EngineName = "auto"
    """The library that runs the network. auto selects PyTorch if there is a GPU, else OpenVINO if
    it is installed, else PyTorch for .safetensors files and ONNX Runtime for .onnx files."""
    precision: Precision = "f32"
    """Floating-point type of the computation. bf16 and f16 are faster and change the results
    slightly; they are rejected where the engine or the processor does not support them."""
    threads: Annotated[int | None, flag("all cores", "INT")] = None
    """Number of CPU threads that the network uses."""
    streams: Annotated[
        int | None,
        flag("up to 4 for several images, else 1; always 1 with PyTorch or a GPU", "INT"),
    ] = None
    """Number of concurrent inference requests on the CPU, which share the threads. More streams
    process more images per second, but each image takes longer."""

    compile: FlagCreatePairsOff[bool] = False
    """Compile the network with torch.compile for each size of input and each batch size, with the
    PyTorch engine only. The first image of each size takes up to minutes, further ones less time;
    worthwhile for many images of few sizes on a GPU."""

    def __post_init__(self) -> None:
        for name, value, values in (
            ("engine", self.engine, get_args(EngineName)),
            ("precision", self.precision, get_args(Precision)),
        ):
            require(value in values, f"unknown {name} {value!r}; use one of {', '.join(values)}")
        for name in ("threads", "streams"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name} must be at least 1, not {value}")
            require(
                value is None or value <= MAX_THREADS,
                f"{name} must be at most {MAX_THREADS}, not {value}",
            )


class Engine(Protocol):
    """A library that runs one network."""

    description: str
    """The library and its version, the device, the precision and the number of threads."""
    streams: int
    """Number of calls that run concurrently; further calls wait."""
    cuda_engine: TensorEngine | None = None
    """The engine itself if it runs on a CUDA device and accepts tensors there, so that images can
    be processed on the device before and after the network; else None."""

    def __call__(self, images: FloatArray) -> Sequence[FloatArray]:
        """Runs the network.

        Args:
            images: (B, 3, H, W) normalized images; H and W are multiples of 32.

        Returns:
            The network's outputs, coarse to fine, in float32.
        """
        ...


class TensorEngine(Engine, Protocol):
    """An engine that also runs the network on tensors of its device."""

    device: str
    """cpu, cuda or mps."""

    def forward_tensor(self, images: Tensor) -> list[Tensor]:
        """Runs the network on tensors.

        Args:
            images: (B, 3, H, W) normalized images on the device.

        Returns:
            The network's outputs on the device, coarse to fine, in float32.
        """
        ...


class FunctionEngine(Engine):
    """An engine that calls a function and reports its errors in one line.

    Args:
        description: as in `Engine`.
        function: runs the network; `streams` threads may call it concurrently.
        streams: as in `Engine`.
    """

    def __init__(
        self,
        description: str,
        function: Callable[[FloatArray], Sequence[FloatArray]],
        streams: int = 1,
    ) -> None:
        self.description, self.streams = description, streams
        self._function = function

    def __call__(self, images: FloatArray) -> Sequence[FloatArray]:
        """Runs the network; see `Engine`.

        Raises:
            InputError: the engine failed, for example because it ran out of memory.
        """
        with engine_errors(self.description, images.shape):
            return self._function(images)


@contextmanager
def engine_errors(description: str, shape: tuple[int, ...]) -> Iterator[None]:
    """Turns any error of an engine into an InputError with one line.

    Args:
        description: the description of the engine.
        shape: the shape of the batch that the engine receives.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each engine has error types of its own
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise InputError(
            f"{description} failed on a batch of shape {shape}: {reason[0]}"
        ) from error


def run_in_parts(
    run: Callable[[FloatArray], Sequence[FloatArray]], images: FloatArray
) -> Sequence[FloatArray]:
    """Runs a network on a CPU in several calls if the batch is large.

    The memory of a network is proportional to the pixels of a batch. Its time is not: large views
    use all threads alone. The results are the same.

    Args:
        run: runs the network on a batch.
        images: (B, 3, H, W) normalized images.
    """
    count = max(1, _MAX_PIXELS // (images.shape[2] * images.shape[3]))
    if len(images) <= count:
        return run(images)
    parts = [run(images[i : i + count]) for i in range(0, len(images), count)]
    return [np.concatenate(levels) for levels in zip(*parts, strict=True)]


def describe_threads(threads: int, streams: int) -> str:
    """Formats the numbers of threads and streams for the description of an engine."""
    return counted(threads, "thread") + (f" in {streams} streams" if streams > 1 else "")


def describe_precision(header: Header, precision: Precision) -> str:
    """Formats the arithmetic of a network for the description of an engine."""
    return f"int8 and {precision}" if "int8" in header.training else precision


def invalid_onnx(path: Path, error: Exception) -> InputError:
    """Creates the error for a file that is not an ONNX model that the engine can run."""
    reason = str(error).strip().splitlines()[-1]
    return InputError(f"{path}: not an ONNX model that can be run: {reason}")


def require_network(path: Path, inputs: Sequence[str]) -> None:
    """Raises InputError unless the names of an ONNX file's inputs are those of a network.

    A file that `export --decode` wrote computes people, and has an image as its input.
    """
    require(
        list(inputs) == ["images"],
        f"{path}: contains the decoding (export --decode) and is for other programs; use the model "
        "from which it was exported",
    )
