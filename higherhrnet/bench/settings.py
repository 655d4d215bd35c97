"""The settings of `higherhrnet bench`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import FlagCreatePairsOff, arg

from higherhrnet.config.flags import flag
from higherhrnet.config.inference import InferenceConfig
from higherhrnet.engines.base import MAX_STREAMS, Precision
from higherhrnet.errors import require
from higherhrnet.zoo.resolve import DEFAULT_MODEL

BenchEngine = Literal["torch", "onnxruntime", "openvino"]
DEFAULT_PRECISIONS: tuple[Precision, ...] = ("f32", "bf16")
"""The precisions that are measured by default, where an engine does not emulate them."""


@dataclass(frozen=True)
class BenchSettings:
    """What is measured."""

    model: Annotated[str, arg(aliases=["-m"], metavar="FILE|NAME")] = DEFAULT_MODEL
    """The model to measure: a .onnx or .safetensors file, `default` for the bundled model, or the
    name of a published model."""
    images: Annotated[tuple[str, ...], flag("a synthetic scene", "SOURCE ...")] = ()
    """Images, folders or glob patterns. Latency is measured on the first image, throughput on all
    of them."""
    sizes: Annotated[tuple[int, ...], flag("the model's input size", "INT ...")] = ()
    """Lengths in pixels of the shorter side to which images are resized for the network."""
    engines: tuple[BenchEngine, ...] = ("torch", "onnxruntime", "openvino")
    """The engines to measure; those that are not installed are skipped."""
    precisions: Annotated[
        tuple[Precision, ...],
        flag("f32, and bf16 if the engine does not emulate it", "f32|bf16|f16 ..."),
    ] = ()
    """The arithmetic of the network: f32, bf16 or f16; what an engine does not support is
    skipped."""
    people: tuple[int, ...] = (1, 5, 15, 30)
    """Numbers of people in synthetic maps, whose decoding is measured in addition."""
    runs: int = 5
    """Number of measured runs, after one warm-up run."""
    no_flip: FlagCreatePairsOff[bool] = False
    """Do not use the flipped image."""
    threads: Annotated[int | None, flag("all cores", "INT")] = None
    """Number of CPU threads that the network uses."""
    streams: int = MAX_STREAMS
    """Number of concurrent inference requests on the CPU when throughput is measured; at most the
    number of threads."""

    compile: FlagCreatePairsOff[bool] = False
    """Compile the network of the PyTorch engine with torch.compile."""

    def __post_init__(self) -> None:
        for name in ("runs", "streams", "threads"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"--{name} must be at least 1, not {value}")
        require(min(self.people, default=0) >= 0, "--people must not be negative")
        for size in self.sizes:
            InferenceConfig(size)  # checks the size
