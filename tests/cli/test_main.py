"""The command line as people use it: real processes, real files, documented exit codes."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from higherhrnet.hardware import usable_cores
from higherhrnet.synthetic.scenes import draw_scene
from tests.conftest import Model

Run = Callable[..., subprocess.CompletedProcess[str]]


def picture(path: Path, seed: int = 0, size: int = 64) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), draw_scene(seed, height=size, width=size).image[:, :, ::-1])
    return path


def video(path: Path, frames: int = 6) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 64))
    for seed in range(frames):
        writer.write(draw_scene(seed, height=64, width=64).image)
    writer.release()
    return path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*arguments: object, **settings: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "higherhrnet", *map(str, arguments)]
        ended = subprocess.run(  # type: ignore[call-overload]
            command, capture_output=True, text=True, cwd=tmp_path, timeout=600, **settings
        )
        assert "Traceback" not in ended.stderr, ended.stderr
        assert isinstance(ended, subprocess.CompletedProcess)
        return ended

    return run


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_folder_of_pictures_and_a_video(run: Run, lively: Model, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "000123.png")
    picture(tmp_path / "in" / "deep" / "a.jpg", size=96)
    video(tmp_path / "in" / "clip.mp4")
    ended = run("predict", "in", "-m", lively.onnx, "-o", "out", "--every", 2, "--show-maps", "-v")
    assert ended.returncode == 0, ended.stderr
    assert "in 5 images" in ended.stdout
    assert "onnx" in ended.stderr or "openvino" in ended.stderr  # -v says what runs
    assert re.search(r"in \d streams", ended.stderr) or usable_cores() == 1
    out = tmp_path / "out"
    people = json.loads((out / "predictions.json").read_text())
    listed = lines(out / "predictions.jsonl")
    assert {p["image_id"] for p in people} <= {123, "deep/a.jpg", "clip.mp4"}
    assert len(people) == sum(len(entry.get("people", ())) for entry in listed)  # type: ignore[misc, arg-type]
    frames = [entry for entry in listed if "frame" in entry]
    assert [entry["frame"] for entry in frames] == [0, 2, 4]
    assert [entry["time"] for entry in frames] == pytest.approx([0, 0.2, 0.4])
    drawn = cv2.imread(str(out / "000123_poses.jpg"))
    assert drawn is not None and drawn.shape == (64, 64, 3)
    assert (out / "deep" / "a_poses.jpg").is_file() and (out / "deep" / "a_maps.jpg").is_file()
    capture = cv2.VideoCapture(str(out / "clip_poses.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(5)
    assert not [path for path in out.rglob("*") if ".part" in path.name]


def test_bad_files_are_skipped_and_the_exit_code_says_so(
    run: Run, lively: Model, tmp_path: Path
) -> None:
    good = picture(tmp_path / "good.jpg")
    (tmp_path / "cut.jpg").write_bytes(good.read_bytes()[:200])
    (tmp_path / "text.jpg").write_text("not a picture")
    cv2.imwrite(str(tmp_path / "dot.png"), np.zeros((1, 1), np.uint8))
    cv2.imwrite(str(tmp_path / "strip.png"), np.zeros((20, 30000), np.uint8))
    names = ["good.jpg", "cut.jpg", "text.jpg", "dot.png", "strip.png", "missing.jpg"]
    ended = run("predict", *names, "-m", lively.onnx, "-o", "out")
    assert ended.returncode == 3
    assert "in 1 images, 5 skipped" in ended.stdout
    for name in names[1:]:
        (line,) = [line for line in ended.stderr.splitlines() if name in line]
        assert line.startswith("skipped: ")
    assert run("predict", "text.jpg", "-m", lively.onnx, "-o", "out2").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predict", "empty", "-m", "MODEL"], "empty"),
        (["predict", "*.nothing", "-m", "MODEL"], "*.nothing"),
        (["predict", "a.png", "-m", "no.onnx"], "no.onnx"),
        (["predict", "a.png", "-m", "a.png"], "a.png"),
        (["predict", "a.png", "-m", "w32-512"], "higherhrnet download w32-512"),
        (["predict", "a.png", "-m", "MODEL", "--every", "0"], "--every"),
        (["predict", "a.png", "-m", "MODEL", "--tracking.beta", "2"], "--track"),
        (["predict", "a.png", "-m", "MODEL", "--scales", "0.5", "2"], "scales must include 1"),
        (["predict", "a.png", "-m", "MODEL", "--min-score", "nan"], "min_score"),
        (["predict", "a.png", "-m", "MODEL", "--min-score", "5"], "min_score"),
        (["predict"], "name a photograph"),
        (["evaluate", "--annotations", "a", "--predictions", "b", "--flip"], "--predictions"),
        (["scenes", "set", "--count", "0"], "--count"),
        (["predict", "a.png", "-m", "MODEL", "--flip", "--no-flip"], "--flip"),
        (["predict", "a.png", "-m", "MODEL", "--fast", "--scales", "1", "2"], "--fast"),
        (["predict", "a.png", "-m", "MODEL", "-o", "a.png/out"], "a.png/out"),
        (["predict", "a.png", "-m", "MODEL", "--engine", "torch"], "onnxruntime"),
        (["evaluate", "--annotations", "a.png", "--predictions", "a.png"], "a.png"),
        (["evaluate", "--annotations", "a.png"], "a.png"),
        (["info", "a.png"], "a.png"),
        (["convert", "a.png", "b.safetensors"], "a.png"),
        (["export", "a.png", "b.onnx"], "a.png"),
        (["download", "nothing"], "nothing"),
        (["scenes", "set", "--skeleton", "dog"], "dog"),
        (["serve", "-m", "no.onnx"], "no.onnx"),
        (["serve", "-m", "MODEL", "--queue", "0"], "--queue"),
        (["serve", "-m", "MODEL", "--host", "192.0.2.1"], "192.0.2.1"),
        (["serve", "-m", "MODEL", "--token-file", "a.png/x"], "a.png/x"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: list[str], said: str, run: Run, lively: Model, tmp_path: Path
) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    ended = run(*(str(lively.onnx) if a == "MODEL" else a for a in arguments))
    assert ended.returncode == 1
    (line,) = ended.stderr.strip().splitlines()
    assert line.startswith("higherhrnet: ") and said in line


@pytest.mark.parametrize(
    "wrong", [["predict", "a.png", "--engine", "warp"], ["fly"], ["models", "--engine", "x"]]
)
def test_wrong_flags_are_a_code_of_their_own(wrong: list[str], run: Run) -> None:
    assert run(*wrong).returncode == 2


def test_standard_input_can_list_the_pictures(run: Run, lively: Model, tmp_path: Path) -> None:
    names = [picture(tmp_path / f"{i}.png", i).name for i in range(3)]
    ended = run("predict", "-", "-m", lively.onnx, "--no-draw", input="\n".join(names))
    assert ended.returncode == 0, ended.stderr
    assert [entry["image_id"] for entry in lines(tmp_path / "poses/predictions.jsonl")] == [0, 1, 2]
    assert not list((tmp_path / "poses").glob("*.jpg"))


def test_settings_change_what_is_found(run: Run, lively: Model, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    found = {}
    for flag in ("--flip", "--no-flip", "--fast", "--min-score=0.99"):
        out = tmp_path / flag.strip("-")
        run("predict", "a.png", "-m", lively.onnx, "-o", out, flag, "--format", "jsonl")
        assert not (out / "predictions.json").exists()
        (entry,) = lines(out / "predictions.jsonl")
        found[flag] = entry["people"]
    assert found["--flip"] != found["--no-flip"] == found["--fast"]
    assert found["--min-score=0.99"] == []


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_was_cut_off_goes_on(
    kill: signal.Signals, run: Run, lively: Model, tmp_path: Path
) -> None:
    for i in range(120):
        picture(tmp_path / "in" / f"{i}.png", i, size=128)
    command = [sys.executable, "-m", "higherhrnet", "predict", "in", "-m", str(lively.onnx)]
    log, out = tmp_path / "poses" / "predictions.jsonl", tmp_path / "poses" / "predictions.json"
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    while not log.is_file() or log.read_text().count("\n") < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(kill)
    process.communicate()
    done = [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert 3 <= len(done) < 120
    if kill != signal.SIGKILL:
        assert process.returncode == 130
        assert {p["image_id"] for p in json.loads(out.read_text())} <= set(range(120))
    with log.open("a") as file:
        file.write('{"image_id": 119, "file_na')  # as a machine that lost its power leaves it
    ended = run("predict", "in", "-m", lively.onnx, "--resume")
    assert ended.returncode == 0, ended.stderr
    assert f"in {120 - len(done)} images, {len(done)} done before" in ended.stdout
    assert sorted(e["image_id"] for e in lines(log)) == list(range(120))  # type: ignore[type-var]
    assert json.loads(out.read_text()) == [p for e in lines(log) for p in e["people"]]  # type: ignore[attr-defined]


def test_half_a_video_is_done_again(run: Run, lively: Model, tmp_path: Path) -> None:
    video(tmp_path / "clip.mp4")
    run("predict", "clip.mp4", "-m", lively.onnx)
    log = tmp_path / "poses" / "predictions.jsonl"
    whole = log.read_text()
    log.write_text("".join(whole.splitlines(keepends=True)[:3]))
    run("predict", "clip.mp4", "-m", lively.onnx, "--resume")
    assert log.read_text() == whole
    assert "1 done before" in run("predict", "clip.mp4", "-m", lively.onnx, "--resume").stdout


def test_pictures_of_one_stem_do_not_overwrite_each_other(
    run: Run, lively: Model, tmp_path: Path
) -> None:
    picture(tmp_path / "in" / "a.png", 1)
    picture(tmp_path / "in" / "a.jpg", 2)
    run("predict", "in", "-m", lively.onnx, "-o", "out")
    drawn = sorted(path.name for path in (tmp_path / "out").glob("*.jpg"))
    assert drawn == ["a.jpg_poses.jpg", "a.png_poses.jpg"]


def test_convert_export_info_and_models(run: Run, lively: Model, tmp_path: Path) -> None:
    import torch

    from higherhrnet.network.higherhrnet import HigherHRNet

    torch.save(HigherHRNet(4).state_dict(), tmp_path / "w4_64.pth")
    ended = run("convert", "w4_64.pth", "a.safetensors", "--input-size", 64)
    assert ended.returncode == 0 and "width 4" in ended.stdout
    shown = run("info", "a.safetensors").stdout
    assert "parameters" in shown and "multiply-adds" in shown and "w4_64.pth" in shown
    assert "w32-512" in run("models").stdout
