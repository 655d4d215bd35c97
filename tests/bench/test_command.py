"""`higherhrnet bench` with real engines and processes, on a small network."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from higherhrnet.bench.run import run_bench
from higherhrnet.bench.settings import BenchSettings
from higherhrnet.errors import InputError
from tests.conftest import HIDE_PACKAGES, ModelFiles

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SHORT = "--runs", "1", "--threads", "1", "--people", "3", "1"
STEPS = ["read", "preprocess", "network", "merge", "decode"]


def run(*arguments: object, **environment: str) -> str:
    command = [sys.executable, "-m", "higherhrnet", "bench", *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def results(
    small_model: ModelFiles, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], str]:
    """The JSON file and the text of one run."""
    folder = tmp_path_factory.mktemp("bench")
    file = folder / "new folder" / "results.json"
    flags = "--engines", "onnxruntime", "--precisions", "f32", "f16", "--sizes", 64, "--json", file
    text = run("-m", small_model.safetensors, *SHORT, *flags, HIGHERHRNET_CACHE=str(folder))
    return json.loads(file.read_text()), text


def test_all_engines_are_measured_or_skipped(results: tuple[dict[str, Any], str]) -> None:
    content, text = results
    (result,) = content["results"]
    names = [engine["name"] for engine in result["engines"]]
    assert names == ["reference implementation", "onnxruntime f32"]
    assert list(result["skipped"]) == ["onnxruntime f16"]
    assert "\nskipped onnxruntime f16: " in text
    for engine in result["engines"]:
        pipeline = engine["pipeline"]
        assert (pipeline["width"], pipeline["height"], pipeline["flip"]) == (128, 64, True)
    assert content["machine"]["cores"] >= 1 and content["machine"]["versions"]["onnxruntime"]
    assert content["settings"]["runs"] == 1


def test_total_and_speedup_follow_from_the_steps(results: tuple[dict[str, Any], str]) -> None:
    reference, engine = results[0]["results"][0]["engines"]
    for latency, before in zip(engine["latency"], reference["latency"], strict=True):
        steps = [latency["milliseconds"][step]["median"] for step in STEPS]
        total = latency["milliseconds"]["total"]["median"]
        assert min(steps) > 0
        assert total == pytest.approx(sum(steps))  # of one run
        assert latency["speedup"] == pytest.approx(
            before["milliseconds"]["total"]["median"] / total
        )
    assert {each["speedup"] for each in reference["latency"]} == {1}


def test_throughput_and_memory(results: tuple[dict[str, Any], str]) -> None:
    reference, engine = results[0]["results"][0]["engines"]
    assert reference["throughput"] is None
    throughput = engine["throughput"]
    assert throughput["images_per_second"]["minimum"] > 0
    assert 0 < throughput["network_busy"]["median"] <= 1
    assert throughput["pipeline"]["streams"] == 1
    # The engine's process does not contain PyTorch, nor the memory of the export.
    assert engine["pipeline"]["peak_memory"]["ram"] > 20e6
    assert engine["pipeline"]["peak_memory"]["ram"] < reference["pipeline"]["peak_memory"]["ram"]


def test_the_poses_of_the_reference_implementation_are_found(
    results: tuple[dict[str, Any], str],
) -> None:
    reference, engine = results[0]["results"][0]["engines"]
    assert [latency["synthetic_people"] for latency in engine["latency"]] == [None, 1, 3]
    assert [latency["people"] for latency in engine["latency"][1:]] == [1, 3]
    assert reference["latency"][0]["people"] == engine["latency"][0]["people"] > 0
    assert all(latency["equal"] for latency in engine["latency"])


def test_the_tables_are_markdown_and_show_the_results(
    results: tuple[dict[str, Any], str],
) -> None:
    content, text = results
    parts = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    tables = [[[cell.strip() for cell in line.split("|")[1:-1]] for line in part] for part in parts]
    latency, throughput, synthetic = tables
    for table in tables:
        assert {len(row) for row in table} == {len(table[0])}
        assert all(set(cell) <= set(":-") for cell in table[1])
    for engine, row in zip(content["results"][0]["engines"], latency[2:], strict=True):
        measured = engine["latency"][0]["milliseconds"]
        assert row[:4] == [engine["name"], *(f"{measured[s]['median']:.1f}" for s in STEPS[:3])]
    assert [row[0] for row in throughput[2:]] == ["onnxruntime f32"]
    assert [row[1] for row in synthetic[2:]] == ["1", "1", "3", "3"]


def test_other_engines_are_measured_without_pytorch(tmp_path: Path) -> None:
    hidden = ["torch", "munkres", "scipy", "openvino"]
    (tmp_path / "sitecustomize.py").write_text(HIDE_PACKAGES.format(names=hidden))
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent.parent.parent)])
    images = "--images", EXAMPLES / "scene.png", EXAMPLES / "basketball1.png", "--precisions", "f32"
    flags = "--sizes", 64, 128, "--no-flip", "--json", tmp_path / "results.json"
    run("-m", EXAMPLES / "drawn.onnx", *SHORT, *images, *flags, PYTHONPATH=path)
    small, large = json.loads((tmp_path / "results.json").read_text())["results"]
    (engine,) = small["engines"]
    assert engine["name"] == "onnxruntime f32" and small["image"] == "scene.png"
    assert not engine["pipeline"]["flip"]
    assert [result["engines"][0]["pipeline"]["height"] for result in (small, large)] == [64, 128]
    assert engine["latency"][1]["people"] == 1 and engine["latency"][1]["speedup"] is None
    assert "torch" in small["skipped"]["reference implementation"]
    assert "pip install" in small["skipped"]["openvino f32"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": (100,)}, "multiple of 32"),
        ({"runs": 0}, "--runs"),
        ({"people": (-1,)}, "--people"),
        ({"model": "missing.onnx"}, "missing.onnx"),
        ({"images": ("*.missing",)}, "missing"),
        ({"images": ("video.mp4",)}, "video.mp4 is not an image"),
        ({"images": ("missing.jpg",)}, "no engine can be measured: .*missing.jpg"),
        ({"engines": ("torch",)}, "no engine can be measured: .*drawn.onnx"),
    ],
)
def test_invalid_settings_are_user_errors(settings: dict[str, Any], message: str) -> None:
    model = {
        "model": str(EXAMPLES / "drawn.onnx"),
        "engines": ("onnxruntime",),
        "precisions": ("f32",),
    }
    with pytest.raises(InputError, match=message):
        next(run_bench(BenchSettings(**model | settings)))
