"""`higherhrnet evaluate` as people use it: real processes, real files, documented exit codes."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from higherhrnet.evaluation.metrics import COCO_METRICS, CROWDPOSE_METRICS
from higherhrnet.skeleton import CROWDPOSE
from higherhrnet.synthetic.scenes import write_scenes
from tests.conftest import Model

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "higherhrnet", "evaluate", *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended

    return run


def test_a_model_with_a_broken_photograph(run: Run, lively: Model, tmp_path: Path) -> None:
    write_scenes(tmp_path, 4, height=64, width=64)
    (tmp_path / "images" / "000000000002.png").write_bytes(b"no picture")
    arguments = ("--annotations", "annotations.json", "--images", "images", "-m", lively.onnx)
    ended = run(*arguments, "--json", "figures.json", "--report", "report")
    assert ended.returncode == 3, ended.stderr
    assert "skipped: " in ended.stderr and "000000000002.png" in ended.stderr
    assert "1 photographs could not be read: their people count as missed" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "report/index.html"
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures.keys() == {"images", "unread", "people", *COCO_METRICS}
    assert (figures["images"], figures["unread"]) == (4, 1)
    assert (tmp_path / "report" / "worst" / "01_found.jpg").is_file()
    again = run("--annotations", "annotations.json", "--predictions", "report/predictions.json")
    assert again.returncode == 0
    assert again.stdout.splitlines() == ended.stdout.splitlines()[:4]


def test_predictions_of_crowdpose(run: Run, tmp_path: Path) -> None:
    truth = write_scenes(tmp_path, 6, height=64, width=64, skeleton=CROWDPOSE)
    people = json.loads(truth.read_text())["annotations"]
    (tmp_path / "found.json").write_text(json.dumps([p | {"score": 1} for p in people]))
    arguments = ("--annotations", truth, "--predictions", "found.json", "--json", "figures.json")
    ended = run(*arguments)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[0].split()[-3:] == ["easy", "medium", "hard"]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures.keys() == {"images", "unread", "people", *CROWDPOSE_METRICS}
    assert figures["AP"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--predictions", "b", "--flip"], "--predictions"),
        (["--predictions", "b", "--report", "c", "--resume"], "--resume"),
        (["--images", "b", "--model", "c", "--resume"], "--report"),
        (["--images", "nowhere"], "nowhere"),  # with the model in the box
    ],
)
def test_flags_that_do_not_go_together(
    arguments: list[str], said: str, run: Run, tmp_path: Path
) -> None:
    truth = write_scenes(tmp_path, 1, height=64, width=64)
    ended = run("--annotations", truth, *arguments)
    assert ended.returncode == 1
    (line,) = ended.stderr.strip().splitlines()
    assert line.startswith("higherhrnet: ") and said in line


def test_a_killed_run_goes_on(run: Run, lively: Model, tmp_path: Path) -> None:
    write_scenes(tmp_path, 40, height=128, width=128)
    arguments = ["--annotations", "annotations.json", "--images", "images", "-m", str(lively.onnx)]
    command = [sys.executable, "-m", "higherhrnet", "evaluate", *arguments, "--report", "out"]
    log = tmp_path / "out" / "predictions.jsonl"
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    while not log.is_file() or log.read_text().count("\n") < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = log.read_text().count("\n")
    assert 3 <= done < 40
    resumed = run(*arguments, "--report", "out", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert log.read_text().count("\n") == 40
    whole = run(*arguments)
    assert resumed.stdout.splitlines()[:4] == whole.stdout.splitlines()
