"""Measures what the processor can do at best, and which share of it a network reaches.

For each engine and precision it measures the rate of a matrix product, and that of a network's
multiply-adds with the flipped view. Run it with `python -m higherhrnet.bench.scripts.peak`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any, get_args

import numpy as np
import tyro

from higherhrnet.bench.machine import MachineInfo
from higherhrnet.bench.tables import markdown_table
from higherhrnet.engines.base import EngineName, EngineOptions, Precision
from higherhrnet.engines.load import load_engine
from higherhrnet.errors import InputError
from higherhrnet.graph.build import trace
from higherhrnet.hardware import usable_cores
from higherhrnet.zoo.resolve import DEFAULT_MODEL

CASES: tuple[tuple[EngineName, str], ...] = (
    ("torch", "f32"), ("torch", "bf16"), ("torch", "int8"),
    ("onnxruntime", "f32"), ("onnxruntime", "int8"),
    ("openvino", "f32"), ("openvino", "bf16"), ("openvino", "int8"),
)  # fmt: skip
"""The engines and precisions that are measured."""


def main(
    model: str = DEFAULT_MODEL,
    int8: str | None = None,
    height: int = 512,
    width: int = 704,
    side: int = 2048,
    threads: int = usable_cores(),
    runs: int = 5,
) -> None:
    """Prints a table of rates in billions of multiply-adds per second.

    The seconds are processor time divided by the number of threads, which other load on the machine
    affects less than the time that passes.

    Args:
        model: The network, in floating point.
        int8: The same network in int8, an .onnx file (default: int8 is measured without a network).
        height: Height of the network's input in pixels.
        width: Width of the network's input in pixels.
        side: Rows and columns of the matrices.
        threads: Number of CPU threads.
        runs: Number of measured calls, after one for warm-up.
    """
    rows = []
    for engine, precision in CASES:
        product = matrix_product(engine, precision, side, threads)
        peak = _rate(product, side**3, threads, runs)
        path = int8 if precision == "int8" else model
        row = [engine, precision, f"{peak:.0f}", "", ""]
        if path and (engine, precision) != ("torch", "int8"):
            try:
                reached = _network_rate(path, engine, precision, (height, width), threads, runs)
                row[3:] = f"{reached:.0f}", f"{reached / peak:.0%}"
            except InputError as error:
                row[3] = str(error)
        rows.append(row)
    machine = MachineInfo.current()
    print(f"{machine.processor}, {threads} threads; {model}, network input {width}×{height} with")
    print("the flipped view; G multiply-adds per second of processor time, medians\n")
    print(markdown_table(["engine", "precision", "matrix product", "network", "share"], rows))


def _rate(call: Callable[[], object], multiply_adds: float, threads: int, runs: int) -> float:
    """Billions of multiply-adds per second of a call; the median of the runs."""
    call()
    seconds = []
    for _ in range(runs):
        start = process_time()
        call()
        seconds.append((process_time() - start) / threads)
    return multiply_adds / median(seconds) / 1e9


def _network_rate(
    path: str,
    engine: EngineName,
    precision: str,
    size: tuple[int, int],
    threads: int,
    runs: int,
) -> float:
    floats: Precision = "f32" if precision not in get_args(Precision) else precision  # type: ignore[assignment]
    loaded, header = load_engine(EngineOptions(path, engine, floats, threads))
    views = np.random.default_rng(0).standard_normal((2, 3, *size), np.float32)
    multiply_adds = 2 * trace(header.model).multiply_adds(*size)
    return _rate(lambda: loaded(views), multiply_adds, threads, runs)


def matrix_product(engine: str, precision: str, side: int, threads: int) -> Callable[[], object]:
    """Prepares the product of two square matrices, one of them constant.

    Args:
        engine: the library.
        precision: f32, bf16 or int8.
        side: rows and columns of the matrices.
        threads: number of CPU threads.

    Returns:
        A function that computes the product.
    """
    if engine == "torch":
        return _torch_product(precision, side, threads)
    values = np.random.default_rng(0).standard_normal((side, side), np.float32)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "product.onnx"
        _write_product(path, values, precision == "int8")
        if engine == "onnxruntime":
            from onnxruntime import InferenceSession, SessionOptions

            options = SessionOptions()
            options.intra_op_num_threads = threads
            session = InferenceSession(path.read_bytes(), options, ["CPUExecutionProvider"])
            return lambda: session.run(None, {"a": values})
        import openvino

        hint = {"bf16": "bf16"}.get(precision, "f32")
        config = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads}
        compiled = openvino.Core().compile_model(str(path), "CPU", config)
        request = compiled.create_infer_request()
        return lambda: request.infer([values], share_inputs=True, share_outputs=True)


def _torch_product(precision: str, side: int, threads: int) -> Callable[[], object]:
    import torch

    torch.set_num_threads(threads)
    if precision == "int8":
        a, b = (torch.randint(-128, 128, (side, side), dtype=torch.int8) for _ in range(2))
        return lambda: torch._int_mm(a, b)
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
    a, b = (torch.randn(side, side, dtype=dtype) for _ in range(2))
    return lambda: a @ b


def _write_product(path: Path, values: Any, quantized: bool) -> None:  # noqa: ANN401
    """Writes an ONNX file that multiplies its input by a constant matrix, optionally in int8."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, array: Any) -> Any:  # noqa: ANN401
        return numpy_helper.from_array(np.asarray(array), name)

    nodes, constants, names = [], [], ["a", "b"]
    if quantized:
        quantized_values = (values * 25).round().clip(-127, 127).astype(np.int8)
        constants = [
            constant("b8", quantized_values),
            constant("scale", np.float32(0.04)),
            constant("zero_u8", np.uint8(128)),
            constant("zero_s8", np.int8(0)),
        ]
        nodes = [
            helper.make_node("QuantizeLinear", ["a", "scale", "zero_u8"], ["a8"]),
            helper.make_node("DequantizeLinear", ["a8", "scale", "zero_u8"], ["a_"]),
            helper.make_node("DequantizeLinear", ["b8", "scale", "zero_s8"], ["b_"]),
        ]
        names = ["a_", "b_"]
    else:
        constants = [constant("b", values)]
    nodes.append(helper.make_node("MatMul", names, ["c"]))
    shape = list(values.shape)
    inputs = [helper.make_tensor_value_info("a", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("c", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "product", inputs, outputs, constants)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
