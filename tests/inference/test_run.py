"""Tests of runs over many files: failures of single files, resumed runs and the summary."""

import json
import os
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
from higherhrnet.io.listing import list_sources
from higherhrnet.io.sources import Source
from higherhrnet.synthetic.scenes import draw_scene
from tests.conftest import ModelFiles

Run = Callable[..., Summary]


def write_scene(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = cv2.imencode(".png", draw_scene(seed, height=64, width=64).image)[1]
    path.write_bytes(data.tobytes())
    return path


def write_video(path: Path, rate: float = 10, frames: int = 20) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (64, 64))
    for seed in range(frames):
        writer.write(draw_scene(seed, height=64, width=64).image)
    writer.release()
    return path


@pytest.fixture
def run(small_model: ModelFiles, tmp_path: Path) -> Run:
    predictor = Predictor.load(small_model.onnx, engine="onnxruntime")

    def run(*sources: object, **settings: Any) -> Summary:  # noqa: ANN401
        listed = list_sources([str(source) for source in sources], StringIO())
        return run_predict(predictor, listed, PredictSettings(tmp_path / "out", **settings))

    return run


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
def test_file_names_that_are_not_utf8(run: Run, tmp_path: Path) -> None:
    write_scene(tmp_path / "in" / os.fsdecode(b"\xff.png"))
    assert run(tmp_path / "in").images == 1
    (entry,) = entries(tmp_path / "out")
    assert entry["file_name"] == "\N{REPLACEMENT CHARACTER}.png"
    assert len(list((tmp_path / "out").glob("*_poses.jpg"))) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not allow such names")
def test_a_name_with_a_line_break_is_reported_in_one_line(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a\nb.jpg").write_text("not an image")
    summary = run(tmp_path / "a\nb.jpg")
    assert len(summary.failed) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("skipped: ") and r"a\nb.jpg: not an image" in line


@pytest.mark.parametrize("character", ["x", "é"])
def test_the_outputs_of_a_file_with_the_longest_name_have_a_shorter_one(
    character: str, run: Run, tmp_path: Path
) -> None:
    stem = character * (250 // len(character.encode()))
    for name in (stem, f"{stem[:-1]}y"):
        write_scene(tmp_path / "in" / f"{name}.png")
    write_scene(tmp_path / "in" / "short.png")
    summary = run(tmp_path / "in", save=("openpose",))
    assert (summary.images, summary.failed) == (3, [])
    names = {path.name.removesuffix("_poses.jpg") for path in (tmp_path / "out").glob("*.jpg")}
    saved = (tmp_path / "out" / "openpose").glob("*.json")
    assert {path.name.removesuffix("_keypoints.json") for path in saved} == names
    assert len(names) == 3 and "short" in names
    assert all(name == "short" or name.startswith(character * 50) for name in names)
    assert {entry["file_name"] for entry in entries(tmp_path / "out")} >= {f"{stem}.png"}


@pytest.mark.parametrize("rate", [119.8765, 200 / 3, 29.97])
def test_videos_keep_their_frame_rate(rate: float, run: Run, tmp_path: Path) -> None:
    summary = run(write_video(tmp_path / "a.avi", rate))
    assert (summary.images, summary.failed) == (20, [])
    capture = cv2.VideoCapture(str(tmp_path / "out" / "a_poses.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(rate, abs=0.02)


@pytest.mark.slow
def test_a_truncated_video_is_reported_and_processed_again(run: Run, tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.avi").read_bytes()
    (tmp_path / "a.avi").write_bytes(data[: len(data) * 2 // 3])
    write_scene(tmp_path / "b.png")
    summary = run(tmp_path / "a.avi", tmp_path / "b.png")
    assert 5 < summary.images < 20
    assert len(summary.failed) == 1 and "a.avi: truncated" in summary.failed[0]
    (tmp_path / "a.avi").write_bytes(data)
    resumed = run(tmp_path / "a.avi", tmp_path / "b.png", resume=True)
    assert (resumed.images, resumed.already_finished, resumed.failed) == (20, 1, [])


def test_drawings_of_earlier_runs_are_not_processed(run: Run, tmp_path: Path) -> None:
    write_scene(tmp_path / "a.png")
    assert run(tmp_path, save_maps=True).images == 1
    assert run(tmp_path, save_maps=True).images == 1


def test_a_last_line_without_newline_is_kept(run: Run, tmp_path: Path) -> None:
    images = [write_scene(tmp_path / "in" / f"{i}.png", i) for i in range(3)]
    run(*images[:2])
    lines = tmp_path / "out" / "predictions.jsonl"
    lines.write_text(lines.read_text().rstrip("\n"))
    run(*images, resume=True)
    assert [entry["image_id"] for entry in entries(tmp_path / "out")] == [0, 1, 2]


def test_a_run_killed_before_it_wrote_the_results_is_completed(run: Run, tmp_path: Path) -> None:
    run(write_scene(tmp_path / "a.png"))
    results = tmp_path / "out" / "predictions.json"
    before = results.read_text()
    results.unlink()
    assert run(tmp_path / "a.png", resume=True).already_finished == 1
    assert results.read_text() == before


def test_images_with_equal_numbers_have_different_ids(run: Run, tmp_path: Path) -> None:
    for folder in "ab":
        write_scene(tmp_path / "in" / folder / "000001.png")
    run(tmp_path / "in")
    assert [entry["image_id"] for entry in entries(tmp_path / "out")] == [1, "b/000001.png"]


def test_a_run_without_readable_images_keeps_earlier_results(run: Run, tmp_path: Path) -> None:
    run(write_scene(tmp_path / "a.png"))
    before = [(tmp_path / "out" / f"predictions.{kind}").read_text() for kind in ("json", "jsonl")]
    assert run(tmp_path / "missing.png").images == 0
    after = [(tmp_path / "out" / f"predictions.{kind}").read_text() for kind in ("json", "jsonl")]
    assert before == after


def test_results_of_an_earlier_run_are_deleted(run: Run, tmp_path: Path) -> None:
    run(write_scene(tmp_path / "a.png"))
    run(write_scene(tmp_path / "b.png"), write_results=False)
    assert not (tmp_path / "out" / "predictions.json").exists()


def test_a_full_disk_ends_the_run_with_one_line(small_model: ModelFiles, tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows cannot limit the size of files")
    import resource

    for i in range(4):
        write_scene(tmp_path / "in" / f"{i}.png", i)
    command = [sys.executable, "-m", "higherhrnet", "predict", "in", "-m", str(small_model.onnx)]

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    # Coverage would report that it cannot write its data, either.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    result = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, preexec_fn=limit_file_size
    )
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line.strip()]
    assert line.startswith("higherhrnet: ") and "cannot be written" in line


@pytest.mark.parametrize(
    ("summary", "text"),
    [
        (
            Summary(3, 12, failed=["a.png: not an image"], seconds=2.1),
            "12 people in 3 images, 1 skipped, 2.1 s, 1.4 images/s",
        ),
        (
            Summary(1, 1, already_finished=4, seconds=0.5),
            "1 person in 1 image, 4 already finished, 0.5 s, 2.0 images/s",
        ),
        (Summary(), "0 people in 0 images, 0.0 s, 0.0 images/s"),
        (Summary(4, 1, frames=4, seconds=2.0), "1 pose in 4 frames, 2.0 s, 2.0 frames/s"),
        (
            Summary(3, 9, frames=1, tracks={(Source("a", Path("a")), 1)}, seconds=1.0),
            "9 poses in 2 images and 1 frame, 1 track ID, 1.0 s, 3.0 images/s",
        ),
    ],
)
def test_the_summary_is_a_sentence(summary: Summary, text: str) -> None:
    assert str(summary) == text


@pytest.mark.parametrize(
    ("summary", "code"),
    [
        (Summary(3), 0),
        (Summary(3, failed=["a"]), 3),
        (Summary(already_finished=1, failed=["a"]), 3),
        (Summary(failed=["a"]), 1),
        (Summary(3, failed=["a"], interrupted=True), 130),
    ],
)
def test_the_exit_code_depends_on_failures_and_interruption(summary: Summary, code: int) -> None:
    assert summary.exit_code == code


def test_notes_of_other_formats_are_printed(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = run(write_video(tmp_path / "a.avi", frames=3), draw=False, save=("label-studio",))
    assert summary.images == 3
    note = "label-studio: videos cannot have keypoints, frames omitted: 3\n"
    assert note in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "label-studio" / "tasks.json").read_text()) == []
