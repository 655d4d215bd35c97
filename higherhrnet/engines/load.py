"""Engines that run a network: (B, 3, H, W) normalised images → its maps, coarse to fine.

ONNX Runtime and OpenVINO run `.onnx` files; torch runs `.safetensors` (device.py). A `.safetensors`
file for one of the first two is exported once, into the cache.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Literal, Protocol, get_args

import numpy as np

from higherhrnet import __version__
from higherhrnet.config import Header
from higherhrnet.decoding.upsample import Array
from higherhrnet.errors import InputError
from higherhrnet.geometry import STRIDE
from higherhrnet.zoo.download import cache_folder, local_model, torch_form

EngineName = Literal["auto", "onnxruntime", "openvino", "torch"]
Precision = Literal["f32", "bf16", "f16"]

_PACKAGES = {
    "onnxruntime": "pip install onnxruntime",
    "openvino": 'pip install "higherhrnet[openvino]"',
    "torch": 'pip install "higherhrnet[train]"',
}

_FIRST = Lock()
"""For OpenVINO's first look at a NumPy array: it gives up Python's lock half-way."""

STREAMS = 4
"""Where there are many photographs: more would take more memory, and leave fewer threads each."""

_KEPT = 8
"""Files of each kind that stay in the cache: what training leaves behind would fill the disk."""


class Engine(Protocol):
    """Anything that runs a network."""

    description: str
    """What runs, on what, how precisely, in how many threads."""
    streams: int
    """Calls that it works on at the same time; further ones wait."""

    def __call__(self, images: Array) -> Sequence[Array]:
        """(B, 3, H, W) normalised images → the network's outputs, float32."""
        ...


def load_engine(
    model: str | Path,
    engine: EngineName = "auto",
    precision: Precision = "f32",
    threads: int | None = None,
    streams: int = 1,
) -> tuple[Engine, Header]:
    """An engine with a model's weights, and the model's header.

    Args:
        model: a `.onnx` or `.safetensors` file, or the name of a downloaded model.
        engine: `auto` takes the fastest that is there.
        precision: of the arithmetic; results come back as float32.
        threads: on the CPU; all cores when None.
        streams: calls to work on at the same time, at most; each has its share of the threads and
            takes the longer, but more are done, since threads need not wait for each other after
            every layer. On the CPU, and not with torch.

    Raises:
        InputError: the file is missing or foreign, the engine is unknown or not installed, or it
            cannot compute with this precision here.
    """
    if engine not in get_args(EngineName):
        raise InputError(f"no engine {engine!r}; there are {', '.join(get_args(EngineName))}")
    if precision not in get_args(Precision):
        raise InputError(f"no precision {precision!r}; there are {', '.join(get_args(Precision))}")
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    if streams < 1:
        raise InputError(f"streams must be at least 1, not {streams}")
    path = local_model(model)
    if engine == "auto":
        engine = _fastest(path, precision)
    if not _installed(engine):
        raise InputError(f"the engine {engine} is not installed: {_PACKAGES[engine]}")
    if engine == "torch":
        from higherhrnet.engines.torch import load_torch

        return load_torch(torch_form(path), precision, threads or usable_cores())
    if path.suffix != ".onnx":
        path = _exported(path)
    load = load_openvino if engine == "openvino" else load_onnxruntime
    threads = threads or usable_cores()
    return load(path, precision, threads, min(streams, threads))


def usable_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _installed(engine: str) -> bool:
    """Whether an engine is there, with what reads its weights."""
    return all(map(find_spec, [engine, "safetensors"] if engine == "torch" else [engine]))


def _fastest(path: Path, precision: Precision) -> EngineName:
    """A GPU through torch first, then OpenVINO, then what every installation has."""
    if torch_form(path).suffix != ".onnx" and _installed("torch"):
        import torch

        if torch.cuda.is_available() or torch.backends.mps.is_available():
            return "torch"
    if find_spec("openvino") or (path.suffix == ".onnx" and precision != "f32"):
        return "openvino"
    return "torch" if path.suffix != ".onnx" and _installed("torch") else "onnxruntime"


def _exported(path: Path) -> Path:
    """The ONNX twin of a .safetensors file, made the first time and kept in the cache."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    twin = cache_folder() / "exported" / f"{path.stem}-{digest}-{__version__}.onnx"
    if not twin.is_file():
        if not _installed("torch"):
            raise InputError(
                f"{path}: without torch only .onnx models run; {_PACKAGES['torch']}, or export it "
                f"where torch is: higherhrnet export {path} {path.with_suffix('.onnx').name}"
            )
        from higherhrnet.network import checkpoint
        from higherhrnet.network.export import export_onnx

        _make_room(twin.parent)
        export_onnx(*checkpoint.load(path), twin)
    return twin


def _make_room(folder: Path) -> Path:
    """Removes all but the newest files of a folder in the cache, before one more is made."""
    with suppress(OSError):  # it is read only, or another process was sooner
        for file in sorted(folder.glob("*.*"), key=lambda file: file.stat().st_mtime)[: 1 - _KEPT]:
            file.unlink()
    return folder


class Runner:
    """An engine as a function and what to call it."""

    def __init__(
        self, description: str, run: Callable[..., Sequence[Array]], streams: int = 1
    ) -> None:
        self.description, self.streams = description, streams
        self._run = run

    def __call__(self, images: Array) -> Sequence[Array]:
        """As an engine; what goes wrong within is one line."""
        try:
            return self._run(images)
        except InputError:
            raise
        except Exception as error:  # out of memory, mostly; each engine has errors of its own
            reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
            raise InputError(
                f"{self.description} failed on a batch of {images.shape}: {reason[0]}"
            ) from error


def load_onnxruntime(
    path: Path, precision: Precision, threads: int, streams: int = 1
) -> tuple[Engine, Header]:
    """ONNX Runtime, on a GPU if it was built for one."""
    import onnxruntime

    if precision != "f32":
        raise InputError(f"onnxruntime computes in f32, not {precision}; try --engine openvino")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1 + threads - streams  # besides it each call's own thread works
    options.log_severity_level = 3
    # Waiting threads would keep cores from what reads and decodes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    there = onnxruntime.get_available_providers()
    wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(path, options, [p for p in wanted if p in there])
    except Exception as error:  # its own error types share no other base
        raise _not_onnx(path, error) from error
    header = Header.from_metadata(session.get_modelmeta().custom_metadata_map, str(path))
    provider = session.get_providers()[0].removesuffix("ExecutionProvider")
    of = _arithmetic(header, precision)
    streams = streams if provider == "CPU" else 1
    name = f"onnxruntime {onnxruntime.__version__}, {provider}, {of}, {_shared(threads, streams)}"
    return Runner(name, lambda images: session.run(None, {"images": images}), streams), header


def load_openvino(
    path: Path, precision: Precision, threads: int, streams: int = 1
) -> tuple[Engine, Header]:
    """OpenVINO on the CPU."""
    import openvino

    with _FIRST:  # two threads that come first, at the same time, wait for each other for ever
        openvino.Tensor(np.zeros(1, np.float32)).data.sum()
    core = openvino.Core()
    can = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision != "f32" and {"bf16": "BF16", "f16": "FP16"}[precision] not in can:
        raise InputError(f"this processor cannot compute in {precision}; use --precision f32")
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise _not_onnx(path, error) from error
    entry = ["framework", Header.KEY]
    metadata = (
        {Header.KEY: model.get_rt_info(entry).astype(str)} if model.has_rt_info(entry) else {}
    )
    header = Header.from_metadata(metadata, str(path))
    # All streams have the same number of threads; one may be left over, to read and decode.
    streams = max(each for each in range(1, streams + 1) if threads % each <= 1)
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
    }
    try:
        kept = _make_room(cache_folder() / "openvino")
        compiled = core.compile_model(model, "CPU", {**settings, "CACHE_DIR": str(kept)})
    except RuntimeError:  # the cache cannot be had, and need not
        compiled = core.compile_model(model, "CPU", settings)
    streams = compiled.get_property("NUM_STREAMS")  # fewer, where it has fewer cores than threads
    free: SimpleQueue[openvino.InferRequest] = SimpleQueue()  # each serves a thread at a time
    for _ in range(streams):
        free.put(compiled.create_infer_request())

    def run(images: Array) -> list[Array]:
        height, width = images.shape[2:]
        if height % STRIDE or width % STRIDE:  # which OpenVINO itself does not always mind
            raise InputError(f"sides must be multiples of {STRIDE}, not {height}×{width}")
        request = free.get()
        try:
            results = request.infer([images], share_inputs=True)
            return [np.array(results[output], np.float32) for output in compiled.outputs]
        finally:
            free.put(request)

    version, of = openvino.__version__.split("-")[0], _arithmetic(header, precision)
    name = f"openvino {version}, CPU, {of}, {_shared(threads, streams)}"
    return Runner(name, run, streams), header


def _shared(threads: int, streams: int) -> str:
    return f"{threads} threads" + (f" in {streams} streams" if streams > 1 else "")


def _arithmetic(header: Header, precision: Precision) -> str:
    return f"int8 and {precision}" if "int8" in header.training else precision


def _not_onnx(path: Path, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[-1]
    return InputError(f"{path}: not an ONNX model that can be run: {reason}")
