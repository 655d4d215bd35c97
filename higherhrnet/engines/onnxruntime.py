"""The ONNX Runtime engine, for .onnx files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

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
from higherhrnet.errors import InputError


def load_onnxruntime(
    path: Path, precision: Precision, threads: int, streams: int = 1
) -> tuple[Engine, Header]:
    """Loads an ONNX file with ONNX Runtime, on a CUDA device if its build supports one.

    Args:
        path: the .onnx file.
        precision: must be f32.
        threads: number of CPU threads.
        streams: number of concurrent calls on the CPU.

    Raises:
        InputError: the precision is not supported, or the file is not a model of this package.
    """
    import onnxruntime

    if precision != "f32":
        raise InputError(f"onnxruntime computes in f32, not {precision}; try --engine openvino")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1 + threads - streams  # each calling thread computes as well
    options.log_severity_level = 4  # errors are raised as well
    # Spinning threads would take cores away from reading and decoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A pattern of each input size would keep its own memory.
    options.enable_mem_pattern = False
    available = onnxruntime.get_available_providers()
    wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(
            path, options, [provider for provider in wanted if provider in available]
        )
    except Exception as error:  # its error types share no other base class
        raise invalid_onnx(path, error) from error
    header = Header.from_metadata(session.get_modelmeta().custom_metadata_map, str(path))
    require_network(path, [node.name for node in session.get_inputs()])
    provider = session.get_providers()[0].removesuffix("ExecutionProvider")
    streams = streams if provider == "CPU" else 1
    description = (
        f"onnxruntime {onnxruntime.__version__}, {provider}, "
        f"{describe_precision(header, precision)}, {describe_threads(threads, streams)}"
    )

    def run(images: FloatArray) -> list[FloatArray]:
        return list(session.run(None, {"images": images}))

    function = partial(run_in_parts, run) if provider == "CPU" else run
    return FunctionEngine(description, function, streams), header
