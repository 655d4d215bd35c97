"""The files and exit codes of `higherhrnet evaluate`, and its resumption after it was killed."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from higherhrnet.evaluation.metrics import COCO_METRICS, CROWDPOSE_METRICS
from higherhrnet.poses.skeletons import CROWDPOSE
from higherhrnet.synthetic.scenes import write_scenes
from tests.conftest import ModelFiles, RunMain

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(run_main: RunMain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in this process and in the temporary folder."""
    monkeypatch.chdir(tmp_path)
    return partial(run_main, "evaluate")


@pytest.mark.slow
def test_model_on_a_dataset_with_a_broken_image(
    run: Run, small_model: ModelFiles, tmp_path: Path
) -> None:
    write_scenes(tmp_path, 4, height=64, width=64)
    (tmp_path / "images" / "000000000002.png").write_bytes(b"not an image")
    arguments = ("--annotations", "annotations.json", "--images", "images", "-m", small_model.onnx)
    process = run(*arguments, "--json", "metrics.json", "--report", "report")
    assert process.returncode == 3, process.stderr
    assert "skipped: " in process.stderr and "000000000002.png" in process.stderr
    assert "1 image could not be read; their people count as missed" in process.stdout
    assert process.stdout.splitlines()[-1] == "report/index.html"
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics.keys() == {"images", "unreadable", "people", *COCO_METRICS}
    assert (metrics["images"], metrics["unreadable"]) == (4, 1)
    assert (tmp_path / "report" / "worst" / "01_results.jpg").is_file()
    again = run("--annotations", "annotations.json", "--predictions", "report/predictions.json")
    assert again.returncode == 0
    assert again.stdout.splitlines() == process.stdout.splitlines()[:4]


def test_predictions_for_crowdpose(run: Run, tmp_path: Path) -> None:
    annotations = write_scenes(tmp_path, 6, height=64, width=64, skeleton=CROWDPOSE)
    people = json.loads(annotations.read_text())["annotations"]
    (tmp_path / "predictions.json").write_text(json.dumps([p | {"score": 1} for p in people]))
    files = ("--annotations", annotations, "--predictions", "predictions.json")
    process = run(*files, "--json", "metrics.json")
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[0].split()[-3:] == ["easy", "medium", "hard"]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics.keys() == {"images", "unreadable", "people", *CROWDPOSE_METRICS}
    assert metrics["AP"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--predictions", "b", "--flip"], "--predictions"),
        (["--predictions", "b", "--report", "c", "--resume"], "--resume"),
        (["--images", "b", "--model", "c", "--resume"], "--report"),
        (["--images", "nowhere"], "nowhere"),  # with the bundled model
    ],
)
def test_invalid_flags_are_one_line_errors(
    arguments: list[str], message: str, run: Run, tmp_path: Path
) -> None:
    annotations = write_scenes(tmp_path, 1, height=64, width=64)
    process = run("--annotations", annotations, *arguments)
    assert process.returncode == 1
    (line,) = process.stderr.strip().splitlines()
    assert line.startswith("higherhrnet: ") and message in line


@pytest.mark.slow
def test_killed_run_is_resumed(run: Run, small_model: ModelFiles, tmp_path: Path) -> None:
    write_scenes(tmp_path, 40, height=128, width=128)
    data = ["--annotations", "annotations.json", "--images", "images"]
    arguments = [*data, "--model", str(small_model.onnx)]
    command = [sys.executable, "-m", "higherhrnet", "evaluate", *arguments, "--report", "out"]
    log = tmp_path / "out" / "predictions.jsonl"
    killed = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    while not log.is_file() or log.read_text().count("\n") < 3:
        assert killed.poll() is None
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    done = log.read_text().count("\n")
    assert 3 <= done < 40
    resumed = run(*arguments, "--report", "out", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert log.read_text().count("\n") == 40
    complete = run(*arguments, "--report", "complete")
    assert complete.returncode == 0, complete.stderr
    paths = (tmp_path / folder / "predictions.json" for folder in ("out", "complete"))
    results, expected = (json.loads(path.read_text()) for path in paths)
    assert [r["file_name"] for r in results] == [r["file_name"] for r in expected]
    # Kernels may depend on the alignment of memory, so processes agree to rounding only.
    keypoints, scores = ([r[key] for r in results] for key in ("keypoints", "score"))
    np.testing.assert_allclose(keypoints, [r["keypoints"] for r in expected], atol=2e-3)
    np.testing.assert_allclose(scores, [r["score"] for r in expected], rtol=1e-5)
