"""The OpenVINO engine, for .onnx files on the CPU."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any

import numpy as np

from higherhrnet.arrays import FloatArray
from higherhrnet.config.header import Header
from higherhrnet.engines.base import (
    Engine,
    FunctionEngine,
    Precision,
    describe_precision,
    describe_threads,
    invalid_onnx,
    require_network,
    run_in_parts,
)
from higherhrnet.engines.cache import cache_subfolder
from higherhrnet.errors import InputError
from higherhrnet.geometry import STRIDE
from higherhrnet.io.onnx_metadata import read_onnx_metadata

_INITIALIZATION = Lock()
"""Held while OpenVINO is initialized."""


@cache
def _core() -> Any:  # noqa: ANN401 (OpenVINO has no types)
    """Creates OpenVINO's core, once per process; the caller holds `_INITIALIZATION`.

    The core is never deleted. Each core replaces the alternate signal stack of its thread, and
    restores the previous one when it is deleted. If the previous one belonged to a core that was
    deleted before, the next signal with a handler in Python, such as Ctrl-C, ends the process with
    a segmentation fault.
    """
    import openvino

    # OpenVINO initializes its conversion of NumPy arrays with a lock of its own held, and releases
    # Python's global interpreter lock meanwhile: two threads that pass the first arrays
    # concurrently can deadlock.
    openvino.Tensor(np.zeros(1, np.float32)).data.sum()
    return openvino.Core()


def load_openvino(
    path: Path, precision: Precision, threads: int, streams: int = 1
) -> tuple[Engine, Header]:
    """Loads an ONNX file with OpenVINO.

    Args:
        path: the .onnx file.
        precision: the arithmetic of the network.
        threads: number of CPU threads.
        streams: maximum number of concurrent calls; fewer are used if threads would be idle.

    Raises:
        InputError: the processor does not support the precision, or the file is not a model of
            this package.
    """
    import openvino

    try:
        metadata = read_onnx_metadata(path)
    except (OSError, ValueError) as error:
        raise invalid_onnx(path, error) from error
    header = Header.from_metadata(metadata, str(path))
    with _INITIALIZATION:
        core = _core()
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    unsupported = InputError(f"this processor cannot compute in {precision}; use --precision f32")
    if precision != "f32" and {"bf16": "BF16", "f16": "FP16"}[precision] not in capabilities:
        raise unsupported
    # All streams have the same number of threads; one thread may be left over for other work.
    streams = max(count for count in range(1, streams + 1) if threads % count <= 1)
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
    }
    try:
        compiled = _compile(core, path, settings)
    except RuntimeError as error:  # bf16 if ONEDNN_MAX_CPU_ISA forbids its instructions
        if precision == "f32":
            raise
        raise unsupported from error
    streams = compiled.get_property("NUM_STREAMS")  # fewer if there are fewer cores than threads
    description = (
        f"openvino {openvino.__version__.split('-')[0]}, CPU, "
        f"{describe_precision(header, precision)}, {describe_threads(threads, streams)}"
    )
    run = partial(run_in_parts, _runner(compiled, streams))
    return FunctionEngine(description, run, streams), header


def _compile(core: Any, path: Path, settings: dict[str, Any]) -> Any:  # noqa: ANN401 (OpenVINO has no types)
    """Compiles a model, with the compiled form cached on disk where that is possible.

    OpenVINO reads the ONNX file only if the compiled form is not in the cache, which saves half of
    the time and 20 MB. It recognizes the file by its path, its size and the second of its last
    change. So that no other model is taken for it, the folder is named by the file's content.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    folder = cache_subfolder("openvino") / digest
    with suppress(RuntimeError):
        compiled = core.compile_model(str(path), "CPU", {**settings, "CACHE_DIR": str(folder)})
        require_network(path, [port.any_name for port in compiled.inputs])
        return compiled
    # The cache cannot be used, which costs only time, or the file is not a network.
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise invalid_onnx(path, error) from error
    require_network(path, [port.any_name for port in model.inputs])
    return core.compile_model(model, "CPU", settings)


def _runner(compiled: Any, streams: int) -> Callable[[FloatArray], list[FloatArray]]:  # noqa: ANN401
    """Returns a function that runs the network with one inference request per stream."""
    requests: SimpleQueue[Any] = SimpleQueue()  # each request serves one thread at a time
    for _ in range(streams):
        requests.put(compiled.create_infer_request())

    def run(images: FloatArray) -> list[FloatArray]:
        height, width = images.shape[2:]
        if height % STRIDE or width % STRIDE:  # OpenVINO does not reject every such size
            raise InputError(f"sides must be multiples of {STRIDE}, not {height}×{width}")
        request = requests.get()
        try:
            results = request.infer([images], share_inputs=True)
            return [np.array(results[output], np.float32) for output in compiled.outputs]
        finally:
            requests.put(request)

    return run
