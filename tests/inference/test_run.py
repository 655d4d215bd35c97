"""Runs over many files: what goes wrong in one stays with that one, and nothing is lost."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import pytest

from higherhrnet import Predictor
from higherhrnet.inference.run import PredictSettings, Summary, run_predict
from higherhrnet.io.sources import list_sources
from higherhrnet.synthetic.scenes import draw_scene
from tests.conftest import Model

Run = Callable[..., Summary]


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = cv2.imencode(".png", draw_scene(seed, height=64, width=64).image)[1]
    path.write_bytes(data.tobytes())
    return path


def video(path: Path, rate: float = 10, frames: int = 20) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (64, 64))
    for seed in range(frames):
        writer.write(draw_scene(seed, height=64, width=64).image)
    writer.release()
    return path


@pytest.fixture
def run(lively: Model, tmp_path: Path) -> Run:
    predictor = Predictor.load(lively.onnx, engine="onnxruntime")

    def run(*sources: object, **settings: Any) -> Summary:  # noqa: ANN401
        listed = list_sources([str(source) for source in sources], StringIO())
        return run_predict(predictor, listed, PredictSettings(tmp_path / "out", **settings))

    return run


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such name")
def test_a_name_that_is_no_utf8_is_read_and_written(run: Run, tmp_path: Path) -> None:
    picture(tmp_path / "in" / os.fsdecode(b"\xff.png"))
    assert run(tmp_path / "in").images == 1
    (entry,) = entries(tmp_path / "out")
    assert entry["file_name"] == "\N{REPLACEMENT CHARACTER}.png"
    assert len(list((tmp_path / "out").glob("*_poses.jpg"))) == 1


@pytest.mark.parametrize("rate", [119.8765, 200 / 3, 29.97])
def test_a_video_of_any_rate_is_drawn(rate: float, run: Run, tmp_path: Path) -> None:
    summary = run(video(tmp_path / "a.avi", rate))
    assert (summary.images, summary.failed) == (20, [])
    capture = cv2.VideoCapture(str(tmp_path / "out" / "a_poses.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(rate, abs=0.02)


def test_half_a_video_is_reported_and_done_again(run: Run, tmp_path: Path) -> None:
    whole = video(tmp_path / "a.avi").read_bytes()
    (tmp_path / "a.avi").write_bytes(whole[: len(whole) * 2 // 3])
    picture(tmp_path / "b.png")
    summary = run(tmp_path / "a.avi", tmp_path / "b.png")
    assert 5 < summary.images < 20
    assert len(summary.failed) == 1 and "a.avi: ends after" in summary.failed[0]
    (tmp_path / "a.avi").write_bytes(whole)
    again = run(tmp_path / "a.avi", tmp_path / "b.png", resume=True)
    assert (again.images, again.skipped, again.failed) == (20, 1, [])


def test_pictures_of_its_own_are_not_looked_at(run: Run, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    assert run(tmp_path, save_maps=True).images == 1
    assert run(tmp_path, save_maps=True).images == 1


def test_a_line_without_its_end_is_kept_and_ended(run: Run, tmp_path: Path) -> None:
    pictures = [picture(tmp_path / "in" / f"{i}.png", i) for i in range(3)]
    run(*pictures[:2])
    log = tmp_path / "out" / "predictions.jsonl"
    log.write_text(log.read_text().rstrip("\n"))
    run(*pictures, resume=True)
    assert [entry["image_id"] for entry in entries(tmp_path / "out")] == [0, 1, 2]


def test_a_run_killed_at_its_very_end_gets_its_results(run: Run, tmp_path: Path) -> None:
    run(picture(tmp_path / "a.png"))
    results = tmp_path / "out" / "predictions.json"
    before = results.read_text()
    results.unlink()
    assert run(tmp_path / "a.png", resume=True).skipped == 1
    assert results.read_text() == before


def test_one_number_is_one_picture(run: Run, tmp_path: Path) -> None:
    for folder in "ab":
        picture(tmp_path / "in" / folder / "000001.png")
    run(tmp_path / "in")
    assert [entry["image_id"] for entry in entries(tmp_path / "out")] == [1, "b/000001.png"]


def test_a_run_that_finds_nothing_to_do_leaves_the_last_ones_results(
    run: Run, tmp_path: Path
) -> None:
    run(picture(tmp_path / "a.png"))
    before = [(tmp_path / "out" / f"predictions.{kind}").read_text() for kind in ("json", "jsonl")]
    assert run(tmp_path / "missing.png").images == 0
    after = [(tmp_path / "out" / f"predictions.{kind}").read_text() for kind in ("json", "jsonl")]
    assert before == after


def test_results_of_an_earlier_run_do_not_stay(run: Run, tmp_path: Path) -> None:
    run(picture(tmp_path / "a.png"))
    run(picture(tmp_path / "b.png"), results=False)
    assert not (tmp_path / "out" / "predictions.json").exists()


def test_a_full_disk_ends_the_run_in_one_line(lively: Model, tmp_path: Path) -> None:
    for i in range(4):
        picture(tmp_path / "in" / f"{i}.png", i)
    command = [sys.executable, "-m", "higherhrnet", "predict", "in", "-m", str(lively.onnx)]

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    ended = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, preexec_fn=small_files
    )
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if line.strip()]
    assert line.startswith("higherhrnet: ") and "cannot be written" in line
