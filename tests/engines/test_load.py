"""Every engine computes the same maps; those that cannot say so in one line."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest

from higherhrnet.engines.base import EngineName, EngineOptions, Precision
from higherhrnet.engines.load import load_engine
from higherhrnet.engines.torch import TorchEngine
from higherhrnet.errors import InputError
from higherhrnet.hardware import usable_cores
from tests.conftest import WITHOUT, Model

ENGINES = [name for name in get_args(EngineName) if name != "auto"]
EXAMPLE = Path(__file__).parents[2] / "examples" / "drawn.onnx"
IMAGES = np.random.default_rng(0).standard_normal((2, 3, 64, 96)).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this file's own, since an export takes its time."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HIGHERHRNET_CACHE", str(folder))
        yield folder


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", ["onnx", "safetensors"])
def test_all_engines_give_the_same_maps(engine: EngineName, form: str, lively: Model) -> None:
    if (engine, form) == ("torch", "onnx"):
        with pytest.raises(InputError, match="torch runs"):
            load_engine(EngineOptions(str(lively.onnx), engine))
        return
    runner, header = load_engine(EngineOptions(str(getattr(lively, form)), engine, threads=1))
    reference, same = load_engine(EngineOptions(str(lively.onnx), "onnxruntime"))
    assert header == same
    assert engine in runner.description and "f32" in runner.description
    for given, expected in zip(runner(IMAGES), reference(IMAGES), strict=True):
        assert given.dtype == np.float32
        np.testing.assert_allclose(given, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("engine", ENGINES)
def test_threads_may_share_an_engine(engine: EngineName, streams: int, lively: Model) -> None:
    runner, _ = load_engine(
        EngineOptions(str(lively.safetensors), engine, threads=4, streams=streams)
    )
    # OpenVINO has no more than there are cores, nor so many that cores are left idle.
    able = {"torch": 1, "openvino": min(streams, usable_cores())}.get(engine, streams)
    assert runner.streams == able
    assert (f"in {able} streams" in runner.description) == (able > 1)
    batches = [IMAGES * scale for scale in (1, 2, 3, 4)]
    expected = [runner(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for given, wanted in zip(pool.map(runner, batches * 5), expected * 5, strict=True):
            for ours, theirs in zip(given, wanted, strict=True):
                np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


FIRST_CALLS = """
import sys, threading, numpy, higherhrnet.engines.load as engine
runner, _ = engine.load_engine(EngineOptions(str(sys.argv[1]), "openvino", threads=2, streams=2))
together, images = threading.Barrier(2), numpy.zeros((1, 3, 64, 64), numpy.float32)
threads = [threading.Thread(target=lambda: together.wait() + len(runner(images))) for _ in "ab"]
[thread.start() for thread in threads]
"""


def test_the_first_calls_may_come_together() -> None:
    """OpenVINO's Python part then stood still for ever in about one process of twelve."""
    command = [sys.executable, "-c", FIRST_CALLS, str(EXAMPLE)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(6)]
    try:
        assert [process.communicate(timeout=120)[1] for process in processes] == [""] * 6
    finally:
        for process in processes:
            process.kill()


@pytest.mark.parametrize(("precision", "dtype"), [("f32", "float32"), ("bf16", "bfloat16")])
def test_torch_weights_are_folded_and_as_precise_as_asked(
    precision: Precision, dtype: str, lively: Model
) -> None:
    runner, _ = load_engine(EngineOptions(str(lively.safetensors), "torch", precision))
    assert isinstance(runner, TorchEngine)
    assert {str(weight.dtype) for weight in runner.model.parameters()} == {f"torch.{dtype}"}
    assert not any("BatchNorm" in type(module).__name__ for module in runner.model.modules())


@pytest.mark.parametrize("engine", ENGINES)
def test_what_an_engine_cannot_run_is_one_line(engine: EngineName, lively: Model) -> None:
    runner, _ = load_engine(EngineOptions(str(lively.safetensors), engine))
    with pytest.raises(InputError) as error:
        runner(np.zeros((1, 3, 64, 50), np.float32))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_lower_precision_is_near(engine: EngineName, lively: Model) -> None:
    try:
        runner, _ = load_engine(EngineOptions(str(lively.safetensors), engine, "bf16"))
    except InputError as error:
        pytest.skip(str(error))
    reference, _ = load_engine(EngineOptions(str(lively.onnx), "onnxruntime"))
    for given, expected in zip(runner(IMAGES), reference(IMAGES), strict=True):
        assert given.dtype == np.float32
        assert 0 < np.abs(given - expected).max() < 0.2 * np.abs(expected).max()


def test_a_safetensors_file_is_exported_once(lively: Model, cache: Path) -> None:
    load_engine(EngineOptions(str(lively.safetensors), "onnxruntime"))
    (twin,) = (cache / "exported").iterdir()
    before = twin.stat().st_mtime_ns
    load_engine(EngineOptions(str(lively.safetensors), "onnxruntime"))
    assert twin.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "tensorflow"}, "no engine 'tensorflow'; there are auto, onnxruntime"),
        ({"precision": "f8"}, "no precision 'f8'; there are f32"),
        ({"threads": 0}, "threads must be at least 1, not 0"),
        ({"streams": 0}, "streams must be at least 1, not 0"),
        ({"engine": "onnxruntime", "precision": "f16"}, "computes in f32, not f16"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, str], message: str, lively: Model) -> None:
    with pytest.raises(InputError, match=message):
        load_engine(EngineOptions(str(lively.onnx), **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_files_that_are_no_model_are_refused(engine: EngineName, tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("hello")
    with pytest.raises(InputError, match=r"text\.onnx: not an ONNX model") as error:
        load_engine(EngineOptions(str(text), engine))
    assert "\n" not in str(error.value)
    foreign = tmp_path / "foreign.onnx"
    shape = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [shape], [out])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.save(model, foreign)
    with pytest.raises(InputError, match="no higherhrnet header"):
        load_engine(EngineOptions(str(foreign), engine))
    with pytest.raises(InputError, match="no such model file"):
        load_engine(EngineOptions(str(tmp_path / "nothing.onnx"), engine))


def test_a_published_model_that_is_not_here_names_its_download() -> None:
    with pytest.raises(InputError, match="higherhrnet download w32-512"):
        load_engine(EngineOptions("w32-512"))


@pytest.mark.parametrize(
    ("missing", "form", "engine", "message"),
    [
        ("openvino", "onnx", "openvino", 'pip install "higherhrnet\\[openvino\\]"'),
        ("torch", "safetensors", "torch", 'pip install "higherhrnet\\[train\\]"'),
        ("torch", "safetensors", "onnxruntime", "higherhrnet export"),
    ],
)
def test_what_is_not_installed_comes_with_its_pip_line(
    missing: str,
    form: str,
    engine: str,
    message: str,
    lively: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path))
    code = WITHOUT.format(names=[missing]) + (
        "from higherhrnet.engines.load import load_engine\n"
        f"load_engine(EngineOptions(str({str(getattr(lively, form))!r}), {engine!r}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = ended.stderr.strip().splitlines()[-1]
    assert "InputError" in last
    assert re.search(message, last), last


def test_what_openvino_compiled_is_kept_and_need_not_be(
    lively: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path / "cache"))
    expected = load_engine(EngineOptions(str(lively.onnx), "openvino"))[0](IMAGES)
    (blob,) = (tmp_path / "cache" / "openvino").glob("*.blob")
    (tmp_path / "file").touch()
    for cache in (tmp_path / "cache", tmp_path / "file" / "below"):  # kept; cannot be made
        monkeypatch.setenv("HIGHERHRNET_CACHE", str(cache))
        for given, wanted in zip(
            load_engine(EngineOptions(str(lively.onnx), "openvino"))[0](IMAGES),
            expected,
            strict=True,
        ):
            np.testing.assert_array_equal(given, wanted)
    blob.chmod(0o600)
    blob.write_bytes(blob.read_bytes()[:1000])  # cut short
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path / "cache"))
    for given, wanted in zip(
        load_engine(EngineOptions(str(lively.onnx), "openvino"))[0](IMAGES), expected, strict=True
    ):
        np.testing.assert_array_equal(given, wanted)


def test_the_cache_keeps_the_newest(
    lively: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path))
    (tmp_path / "openvino").mkdir()
    for age in range(20):
        path = tmp_path / "openvino" / f"{age}.blob"
        path.touch()
        os.utime(path, (1e9 - age, 1e9 - age))
    load_engine(EngineOptions(str(lively.onnx), "openvino"))
    left = {path.stem for path in (tmp_path / "openvino").glob("*.blob")}
    assert len(left) == 8
    assert {str(age) for age in range(7)} < left
