"""The bench command as people run it: real engines, real processes, small networks."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WITHOUT

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
BRIEF = "--runs", "1", "--threads", "1", "--people", "3", "1"


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "higherhrnet", "bench", *map(str, arguments)]
    env = os.environ | environment
    ended = subprocess.run(command, capture_output=True, text=True, env=env)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """JSON and text of a network too quiet to find anyone."""
    torch = pytest.importorskip("torch")
    from higherhrnet.config import Header, InputConfig, ModelConfig
    from higherhrnet.network import checkpoint
    from higherhrnet.network.higherhrnet import HigherHRNet

    torch.manual_seed(0)
    config = ModelConfig(width=4, modules=(1, 1, 1), blocks=1, deconv_blocks=1)
    model, folder = HigherHRNet.from_config(config), tmp_path_factory.mktemp("bench")
    checkpoint.save(folder / "a.safetensors", model, Header(config, input=InputConfig(64)))
    engines = ("--engines", "onnxruntime", "--precisions", "f32", "f16")
    wanted = ("--sizes", "64", "--json", folder / "out" / "figures.json")
    ended = run("-m", folder / "a.safetensors", *BRIEF, *engines, *wanted)
    assert ended.returncode == 0, ended.stderr
    return json.loads((folder / "out" / "figures.json").read_text()), ended.stdout


def test_every_way_is_there_or_left_out(measured: tuple[dict[str, Any], str]) -> None:
    figures, text = measured
    assert [(at["width"], at["height"]) for at in figures["sizes"]] == [(128, 64)]
    for at in figures["sizes"]:
        ways = [row["way"] for row in at["rows"]]
        assert ways == ["the original's way", "onnxruntime f32"]
        assert list(at["left_out"]) == ["onnxruntime f16"]
        assert at["flip"] and at["shown"] is None and at["photograph"] == "drawn.jpg"
    assert "left out: onnxruntime f16: " in text
    assert figures["machine"]["cores"] >= 1 and figures["machine"]["versions"]["torch"]
    assert figures["plan"]["runs"] == 1


def test_figures_fit_together(measured: tuple[dict[str, Any], str]) -> None:
    for at in measured[0]["sizes"]:
        original = at["rows"][0]
        for row in at["rows"]:
            assert [crowd["people"] for crowd in row["crowds"]] == [None, 1, 3]
            for crowd, before in zip(row["crowds"], original["crowds"], strict=True):
                steps = [row[name]["median"] for name in ("read", "resize", "network")]
                steps += [crowd[name]["median"] for name in ("aggregate", "decode")]
                assert min(steps) > 0
                assert crowd["all"]["median"] == pytest.approx(sum(steps))  # of a single run
                ratio = before["all"]["median"] / crowd["all"]["median"]
                assert crowd["faster"] == pytest.approx(ratio)
            assert row["memory_alone"]["ram"] > 20e6
            if row is original:
                assert row["streamed"] is None
            else:
                assert row["streamed"]["least"] > 0 and 0 < row["busy"]["median"] <= 1
                assert row["streams"] == 1
                assert row["memory_streamed"]["ram"] >= row["memory_alone"]["ram"]


def test_the_same_people_are_found(measured: tuple[dict[str, Any], str]) -> None:
    for at in measured[0]["sizes"]:
        for row in at["rows"]:
            assert all(crowd["same"] for crowd in row["crowds"][1:])
            assert row["crowds"][0]["found"] == 0


def test_tables_are_aligned_markdown(measured: tuple[dict[str, Any], str]) -> None:
    tables = [part.splitlines() for part in measured[1].split("\n\n") if part.startswith("|")]
    assert len(tables) == 4
    for lines in tables:
        assert len({len(line) for line in lines}) == 1
        assert len({line.count("|") for line in lines}) == 1
        assert set(lines[1]) <= set("|-: ")


def test_without_torch_the_others_are_measured(tmp_path: Path) -> None:
    hidden = ["torch", "safetensors", "munkres", "scipy", "openvino"]
    (tmp_path / "sitecustomize.py").write_text(WITHOUT.format(names=hidden))
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent.parent.parent)])
    images = "--images", EXAMPLES / "scene.png", EXAMPLES / "basketball1.png"
    wanted = "--sizes", 64, 128, "--no-flip", "--json", tmp_path / "figures.json"
    ended = run("-m", EXAMPLES / "drawn.onnx", *BRIEF, *images, *wanted, PYTHONPATH=path)
    assert ended.returncode == 0, ended.stderr
    at, larger = json.loads((tmp_path / "figures.json").read_text())["sizes"]
    assert larger["height"] == 128 and len(larger["rows"]) == 1
    (row,) = at["rows"]
    assert row["way"] == "onnxruntime f32" and not at["flip"] and at["photograph"] == "scene.png"
    assert row["crowds"][1]["found"] == 1 and row["crowds"][1]["faster"] is None
    assert "torch" in at["left_out"]["the original's way"]
    assert "pip install" in at["left_out"]["openvino bf16"]
    ended = run(*BRIEF, PYTHONPATH=path)
    assert ended.returncode == 1 and "--model" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sizes", "100"], "multiple of 32"),
        (["--runs", "0"], "--runs"),
        (["--people", "-1"], "--people"),
        (["-m", "no.onnx"], "no.onnx"),
        (["--images", "*.nothing"], "*.nothing"),
        (["-m", str(EXAMPLES / "drawn.onnx"), "--engines", "torch"], "no engine can be measured"),
        (["-m", str(EXAMPLES / "drawn.onnx"), *BRIEF, "--images", "no.jpg"], "no.jpg"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments: list[str], said: str) -> None:
    ended = run(*arguments)
    assert ended.returncode == 1
    (line,) = ended.stderr.strip().splitlines()
    assert line.startswith("higherhrnet: ") and said in line


def test_an_unknown_engine_is_a_flag_not_understood() -> None:
    ended = run("--engines", "warp")
    assert ended.returncode == 2
    assert "warp" in ended.stderr and "openvino" in ended.stderr
