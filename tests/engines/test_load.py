"""Tests of the engines: equal maps, precisions, streams, caches, selection and errors."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from math import sqrt
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
import torch

from higherhrnet.arrays import FloatArray
from higherhrnet.engines.base import (
    Engine,
    EngineName,
    EngineOptions,
    Precision,
    run_in_parts,
)
from higherhrnet.engines.load import fastest_engine, load_engine
from higherhrnet.engines.torch import TorchEngine
from higherhrnet.errors import InputError
from higherhrnet.hardware import usable_cores
from higherhrnet.zoo.resolve import resolve_model
from tests.conftest import HIDE_PACKAGES, ModelFiles

ENGINES = [name for name in get_args(EngineName) if name != "auto"]
EXAMPLE = Path(__file__).parents[2] / "examples" / "drawn.onnx"
IMAGES = np.random.default_rng(0).standard_normal((2, 3, 64, 96)).astype(np.float32)
SIGNIFICANT_BITS = {"bf16": 8, "f16": 11}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder for this module, so that the model is exported only once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HIGHERHRNET_CACHE", str(folder))
        yield folder


def load(path: Path, engine: EngineName, **options: Any) -> Engine:  # noqa: ANN401
    return load_engine(EngineOptions(str(path), engine, **options))[0]


def assert_close(maps: Any, expected: Any) -> None:  # noqa: ANN401
    """Asserts that sequences of maps are equal, up to rounding in 32-bit arithmetic."""
    for level, expected_level in zip(maps, expected, strict=True):
        assert level.dtype == np.float32
        atol = 1e-4 * np.abs(expected_level).max()
        np.testing.assert_allclose(level, expected_level, atol=atol)


@pytest.mark.parametrize(
    ("engine", "extension"),
    [
        ("onnxruntime", "onnx"),
        ("onnxruntime", "safetensors"),
        ("openvino", "onnx"),
        ("openvino", "safetensors"),
        ("torch", "safetensors"),
    ],
)
def test_engines_compute_the_same_maps(
    engine: EngineName, extension: str, small_model: ModelFiles
) -> None:
    path = str(getattr(small_model, extension))
    loaded, header = load_engine(EngineOptions(path, engine, threads=1))
    reference, reference_header = load_engine(EngineOptions(str(small_model.onnx), "onnxruntime"))
    assert header == reference_header
    assert engine in loaded.description and "f32" in loaded.description
    assert_close(loaded(IMAGES), reference(IMAGES))


def test_pytorch_rejects_onnx_files(small_model: ModelFiles) -> None:
    with pytest.raises(InputError, match=r"PyTorch runs \.safetensors files"):
        load(small_model.onnx, "torch")


@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("engine", ENGINES)
def test_several_threads_may_call_an_engine(
    engine: EngineName, streams: int, small_model: ModelFiles
) -> None:
    loaded = load(small_model.safetensors, engine, threads=4, streams=streams)
    # OpenVINO uses at most as many streams as there are cores.
    supported = {"torch": 1, "openvino": min(streams, usable_cores())}.get(engine, streams)
    assert loaded.streams == supported
    assert (f"in {supported} streams" in loaded.description) == (supported > 1)
    batches = [IMAGES * scale for scale in (1, 2, 3, 4)]
    expected = [loaded(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for maps, expected_maps in zip(pool.map(loaded, batches * 5), expected * 5, strict=True):
            assert_close(maps, expected_maps)


def longest_path(path: Path) -> int:
    """The number of convolutions on the longest path through an ONNX model."""
    depths: dict[str, int] = {}
    for node in onnx.load(path).graph.node:
        depth = max((depths.get(name, 0) for name in node.input), default=0)
        depth += node.op_type in ("Conv", "ConvTranspose")
        depths |= dict.fromkeys(node.output, depth)
    return max(depths.values())


@pytest.mark.parametrize("precision", SIGNIFICANT_BITS)
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_lower_precision_has_the_error_of_its_arithmetic(
    engine: EngineName, precision: Precision, small_model: ModelFiles
) -> None:
    """The error is that of independent roundings along the network.

    Each of N convolutions rounds its weights and its output, each with a relative error of at most
    2^-p for p significant bits, while sums are computed in 32 bits. Independent errors add up to at
    most 2^-p · √(2N) of the norm of the maps, 3 % for bf16 and 0.4 % for f16. A network that
    computes in 32 bits has less than a tenth of this error, a wrong network has about 100 %.
    """
    try:
        loaded = load(small_model.safetensors, engine, precision=precision)
    except InputError as error:
        pytest.skip(str(error))
    reference = load(small_model.onnx, "onnxruntime")
    bound = sqrt(2 * longest_path(small_model.onnx)) * 2.0 ** -SIGNIFICANT_BITS[precision]
    for maps, expected in zip(loaded(IMAGES), reference(IMAGES), strict=True):
        assert maps.dtype == np.float32
        error_norm = np.linalg.norm(maps - expected) / np.linalg.norm(expected)
        assert 0.1 * bound < error_norm < bound


FIRST_CALLS = """
import sys, threading, numpy
from higherhrnet.engines.base import EngineOptions
from higherhrnet.engines.load import load_engine

engine, _ = load_engine(EngineOptions(sys.argv[1], "openvino", threads=2, streams=2))
barrier, images = threading.Barrier(8), numpy.zeros((1, 3, 64, 64), numpy.float32)
threads = [threading.Thread(target=lambda: (barrier.wait(), engine(images))) for _ in range(8)]
[thread.start() for thread in threads]
"""


@pytest.mark.slow
def test_the_first_calls_of_openvino_may_be_concurrent() -> None:
    """Without the lock in `load_openvino`, threads that call OpenVINO first can deadlock.

    Without it, 22 of 36 processes with eight threads hung on two cores, so that at least one of
    eight processes hangs with a probability of more than 99 %.
    """
    pytest.importorskip("openvino")
    command = [sys.executable, "-c", FIRST_CALLS, str(EXAMPLE)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    try:
        assert [process.communicate(timeout=120)[1] for process in processes] == [""] * 8
    finally:
        for process in processes:
            process.kill()


SIGNAL_AFTER_DELETION = """
import os, signal, sys
from higherhrnet.engines.base import EngineOptions
from higherhrnet.engines.load import load_engine

first, second = (load_engine(EngineOptions(sys.argv[1], "openvino")) for _ in range(2))
del first
del second
signal.signal(signal.SIGTERM, lambda number, frame: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.slow
def test_signals_are_handled_after_openvino_engines_were_deleted() -> None:
    """With one OpenVINO core per engine, the signal ended the process with a segmentation fault."""
    pytest.importorskip("openvino")
    command = [sys.executable, "-c", SIGNAL_AFTER_DELETION, str(EXAMPLE)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "handled\n", "")


@pytest.mark.parametrize(("precision", "dtype"), [("f32", "float32"), ("bf16", "bfloat16")])
def test_pytorch_folds_batch_norms_and_stores_weights_in_the_precision(
    precision: Precision, dtype: str, small_model: ModelFiles
) -> None:
    engine = load(small_model.safetensors, "torch", precision=precision)
    assert isinstance(engine, TorchEngine)
    assert {str(weight.dtype) for weight in engine.model.parameters()} == {f"torch.{dtype}"}
    assert not any("BatchNorm" in type(module).__name__ for module in engine.model.modules())


@pytest.mark.parametrize("engine", ENGINES)
def test_inputs_of_unsupported_size_are_reported_in_one_line(
    engine: EngineName, small_model: ModelFiles, capfd: pytest.CaptureFixture[str]
) -> None:
    loaded = load(small_model.safetensors, engine)
    capfd.readouterr()
    with pytest.raises(InputError) as error:
        loaded(np.zeros((1, 3, 64, 50), np.float32))
    assert "\n" not in error.value.args[0]
    assert capfd.readouterr().err == ""


def test_a_safetensors_file_is_exported_once(small_model: ModelFiles, cache: Path) -> None:
    load(small_model.safetensors, "onnxruntime")
    (exported,) = (cache / "exported").iterdir()
    modified = exported.stat().st_mtime_ns
    load(small_model.safetensors, "onnxruntime")
    assert exported.stat().st_mtime_ns == modified


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "tensorflow"}, "unknown engine 'tensorflow'; use one of auto, onnxruntime"),
        ({"precision": "f8"}, "unknown precision 'f8'; use one of f32"),
        ({"threads": 0}, "threads must be at least 1, not 0"),
        ({"threads": 10**8}, "threads must be at most 1024, not 100000000"),
        ({"streams": 0}, "streams must be at least 1, not 0"),
        ({"engine": "onnxruntime", "precision": "f16"}, "computes in f32, not f16"),
        ({"engine": "onnxruntime", "compile": True}, "--compile needs --engine torch; the engine"),
    ],
)
def test_invalid_options_are_rejected(
    options: dict[str, Any], message: str, small_model: ModelFiles
) -> None:
    with pytest.raises(InputError, match=message):
        load_engine(EngineOptions(str(small_model.onnx), **options))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_files_that_are_not_models_are_rejected(
    engine: EngineName, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("hello")
    with pytest.raises(InputError, match=r"text\.onnx: not an ONNX model") as error:
        load(text, engine)
    assert "\n" not in error.value.args[0]
    assert capfd.readouterr().err == ""  # the libraries would print errors, too
    foreign = tmp_path / "foreign.onnx"
    shape = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [shape], [out])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.save(model, foreign)
    with pytest.raises(InputError, match="has no higherhrnet header"):
        load(foreign, engine)
    with pytest.raises(InputError, match="no such model file"):
        load(tmp_path / "missing.onnx", engine)


def test_the_error_of_a_missing_published_model_names_its_address() -> None:
    with pytest.raises(InputError, match=r"HIGHERHRNET_OFFLINE forbids .* https://storage\."):
        load_engine(EngineOptions("w32-512"))


@pytest.mark.parametrize(
    ("missing", "extension", "engine", "message"),
    [
        ("openvino", "onnx", "openvino", r'pip install "higherhrnet\[openvino\]"'),
        ("torch", "safetensors", "torch", r'pip install "higherhrnet\[torch\]"'),
    ],
)
def test_the_error_of_a_missing_package_names_the_command_to_install_it(
    missing: str,
    extension: str,
    engine: str,
    message: str,
    small_model: ModelFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path))
    path = str(getattr(small_model, extension))
    code = HIDE_PACKAGES.format(names=[missing]) + (
        "from higherhrnet.engines.base import EngineOptions\n"
        "from higherhrnet.engines.load import load_engine\n"
        f"load_engine(EngineOptions({path!r}, {engine!r}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last_line = result.stderr.strip().splitlines()[-1]
    assert "InputError" in last_line
    assert re.search(message, last_line), last_line


@pytest.mark.parametrize(
    ("installed", "gpu", "model", "precision", "expected"),
    [
        ("openvino torch safetensors", True, "a.safetensors", "f32", "torch"),
        ("openvino torch safetensors", True, "default", "f32", "torch"),
        ("openvino torch safetensors", True, "a.onnx", "f32", "openvino"),
        ("openvino torch", True, "a.safetensors", "f32", "openvino"),
        ("openvino torch safetensors", False, "a.safetensors", "f32", "openvino"),
        ("openvino torch safetensors", False, "default", "f32", "openvino"),
        ("torch safetensors", False, "a.safetensors", "f32", "torch"),
        ("torch safetensors", False, "a.safetensors", "bf16", "torch"),
        ("torch safetensors", False, "a.onnx", "f32", "onnxruntime"),
        ("torch safetensors", False, "default", "f32", "onnxruntime"),
        ("", False, "a.safetensors", "f32", "onnxruntime"),
        ("", False, "a.onnx", "f32", "onnxruntime"),
        ("", False, "a.onnx", "bf16", "openvino"),
    ],
)
def test_auto_selects_the_fastest_engine_that_runs_the_model(
    installed: str,
    gpu: bool,
    model: str,
    precision: Precision,
    expected: EngineName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def find(name: str) -> object:
        return find_spec("onnxruntime") if name in installed.split() else None

    monkeypatch.setattr("higherhrnet.engines.load.find_spec", find)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr("higherhrnet.hardware._ROCM_DRIVER", Path("/"))  # exists
    path = resolve_model(model) if model == "default" else Path(model)
    assert fastest_engine(path, precision) == expected


def test_openvino_caches_compiled_models_and_runs_without_a_cache(
    small_model: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")

    def run(cache: Path) -> list[FloatArray]:
        monkeypatch.setenv("HIGHERHRNET_CACHE", str(cache))
        return list(load(small_model.onnx, "openvino")(IMAGES))

    cache = tmp_path / "cache"
    expected = run(cache)
    (blob,) = (cache / "openvino").rglob("*.blob")
    assert_close(run(cache), expected)
    assert [*(cache / "openvino").rglob("*.blob")] == [blob]
    (tmp_path / "file").touch()
    assert_close(run(tmp_path / "file" / "cache"), expected)
    blob.chmod(0o600)
    blob.write_bytes(blob.read_bytes()[:1000])  # a truncated file
    assert_close(run(cache), expected)


def test_a_model_that_replaces_another_is_not_taken_from_the_cache(
    small_model: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path))
    model = onnx.load(small_model.onnx)
    for weights in model.graph.initializer:
        if len(weights.dims) == 4:
            values = onnx.numpy_helper.to_array(weights) / 2
            weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    other = tmp_path / "other.onnx"
    onnx.save(model, other)
    onnx.save(onnx.load(small_model.onnx), tmp_path / "model.onnx")
    expected = [list(load(path, "openvino")(IMAGES)) for path in (small_model.onnx, other)]
    assert not np.allclose(expected[0][0], expected[1][0])
    assert_close(load(tmp_path / "model.onnx", "openvino")(IMAGES), expected[0])
    # The same path, size and time.
    time = (tmp_path / "model.onnx").stat().st_mtime_ns
    assert (tmp_path / "model.onnx").stat().st_size == other.stat().st_size
    (tmp_path / "model.onnx").write_bytes(other.read_bytes())
    os.utime(tmp_path / "model.onnx", ns=(time, time))
    assert_close(load(tmp_path / "model.onnx", "openvino")(IMAGES), expected[1])


def test_the_oldest_files_of_the_cache_are_deleted(
    small_model: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path))
    (tmp_path / "openvino").mkdir()
    for age in range(20):
        path = tmp_path / "openvino" / f"{age}.blob"
        path.touch()
        os.utime(path, (1e9 - age, 1e9 - age))
    load(small_model.onnx, "openvino")
    remaining = {path.stem for path in (tmp_path / "openvino").rglob("*.blob")}
    assert len(remaining) == 8
    assert {str(age) for age in range(7)} < remaining


def test_a_safetensors_file_needs_no_torch(
    small_model: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path))
    code = HIDE_PACKAGES.format(names=["torch"]) + (
        "import numpy as np\n"
        "from higherhrnet.engines.base import EngineOptions\n"
        "from higherhrnet.engines.load import load_engine\n"
        f"options = EngineOptions({str(small_model.safetensors)!r}, 'onnxruntime')\n"
        "images = np.full((1, 3, 64, 64), 0.5, np.float32)\n"
        "print([float(maps.sum()) for maps in load_engine(options)[0](images)])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    expected = load(small_model.onnx, "onnxruntime")(np.full((1, 3, 64, 64), 0.5, np.float32))
    sums = json.loads(result.stdout)
    assert sums == pytest.approx([float(maps.sum()) for maps in expected], rel=1e-3)


def test_large_batches_are_processed_in_parts() -> None:
    sizes: list[int] = []

    def run(images: FloatArray) -> list[FloatArray]:
        sizes.append(len(images))
        return [images[:, :1], images.mean((1, 2, 3), keepdims=True)]

    for side, expected in ((512, [1, 1, 1, 1, 1]), (256, [4, 1]), (64, [5]), (1024, [1] * 5)):
        images = np.random.default_rng(0).random((5, 3, side, side), np.float32)
        sizes.clear()
        first, mean = run_in_parts(run, images)
        assert sizes == expected
        assert np.array_equal(first, images[:, :1])
        assert np.array_equal(mean, images.mean((1, 2, 3), keepdims=True))


def test_both_views_of_a_large_image_give_the_same_maps_in_one_call_and_in_two(
    small_model: ModelFiles,
) -> None:
    import onnxruntime

    views = np.random.default_rng(0).standard_normal((2, 3, 512, 544)).astype(np.float32)
    session = onnxruntime.InferenceSession(small_model.onnx, providers=["CPUExecutionProvider"])
    expected = session.run(None, {"images": views})
    for ours, together in zip(load(small_model.onnx, "onnxruntime")(views), expected, strict=True):
        assert ours.shape == together.shape
        np.testing.assert_allclose(ours, together, rtol=1e-5, atol=1e-6)
