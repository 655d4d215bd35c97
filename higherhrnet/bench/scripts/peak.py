"""Measures what the processor can do at best, and which share of it networks reach.

For each engine and precision it measures the rate of a matrix product, and those of the
multiply-adds of networks with the flipped view. Run it with
`python -m higherhrnet.bench.scripts.peak`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any, get_args

import numpy as np
import tyro

from higherhrnet.bench.machine import MachineInfo
from higherhrnet.bench.tables import markdown_table
from higherhrnet.engines.base import EngineName, EngineOptions, Precision
from higherhrnet.engines.load import load_engine
from higherhrnet.errors import InputError, require
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
    models: tuple[str, ...] = (DEFAULT_MODEL,),
    int8: tuple[str, ...] = (),
    height: int = 512,
    width: int = 704,
    sides: tuple[int, ...] = (512, 1024, 2048),
    threads: int = usable_cores(),
    seconds: float = 1.0,
) -> None:
    """Prints a table of rates in billions of multiply-adds per second.

    The time is processor time divided by the number of threads, which other load on the machine
    affects less than the time that passes. The fastest call counts, and of the matrix products the
    fastest size. The shares refer to the fastest matrix product of all engines in the precision.

    Args:
        models: The networks, in floating point.
        int8: The same networks in int8, .onnx files (default: int8 is measured without networks).
        height: Height of the networks' input in pixels.
        width: Width of the networks' input in pixels.
        sides: Rows and columns of the matrices.
        threads: Number of CPU threads.
        seconds: Duration of each measurement, which has at least three calls.
    """
    require(len(int8) in (0, len(models)), "--int8 must have a file for each of --models")
    products = {
        (engine, precision): max(
            _rate(matrix_product(engine, precision, side, threads), side**3, threads, seconds)
            for side in sides
        )
        for engine, precision in CASES
    }
    rows = []
    for (engine, precision), product in products.items():
        peak = max(rate for (_, other), rate in products.items() if other == precision)
        row = [engine, precision, f"{product:.0f}"]
        for path in int8 or ("",) * len(models) if precision == "int8" else models:
            if not path or (engine, precision) == ("torch", "int8"):
                row += "", ""
                continue
            try:
                reached = _network_rate(path, engine, precision, (height, width), threads, seconds)
                row += f"{reached:.0f}", f"{reached / peak:.0%}"
            except InputError as error:
                row += str(error), ""
        rows.append(row)
    processor = MachineInfo.current().processor
    print(f"{processor}, {threads} threads; network input {width}×{height} pixels, flipped view;")
    print("billions of multiply-adds per second of processor time\n")
    columns = [column for model in models for column in (Path(model).stem, "share")]
    print(markdown_table(["engine", "precision", "matrix product", *columns], rows))


def _rate(call: Callable[[], object], multiply_adds: float, threads: int, seconds: float) -> float:
    """Billions of multiply-adds per second in the fastest of many calls, after one for warm-up."""
    call()
    durations: list[float] = []
    while len(durations) < 3 or sum(durations) < seconds:
        start = process_time()
        call()
        durations.append((process_time() - start) / threads)
    return multiply_adds / min(durations) / 1e9


def _network_rate(
    path: str,
    engine: EngineName,
    precision: str,
    size: tuple[int, int],
    threads: int,
    seconds: float,
) -> float:
    floats: Precision = "f32" if precision not in get_args(Precision) else precision  # type: ignore[assignment]
    loaded, header = load_engine(EngineOptions(path, engine, floats, threads))
    views = np.random.default_rng(0).standard_normal((2, 3, *size), np.float32)
    multiply_adds = 2 * trace(header.model).multiply_adds(*size)
    return _rate(lambda: loaded(views), multiply_adds, threads, seconds)


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
