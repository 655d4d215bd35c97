"""Videos that were cut without reencoding are complete; those that lack a part are truncated."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pytest

from higherhrnet import Predictor
from higherhrnet.errors import InputError
from higherhrnet.inference.run import PredictSettings, run_predict
from higherhrnet.io.listing import list_sources
from higherhrnet.io.sources import Frame, read_frames
from tests.conftest import ModelFiles
from tests.io.clips import H264, decoded_frames, ffmpeg, needs_ffmpeg
from tests.phone_video import find_boxes

pytestmark = needs_ffmpeg


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds at 25 frames/s with sound and a keyframe every second."""
    path = tmp_path_factory.mktemp("recording") / "recording.mp4"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc=s=160x120:r=25:d=4", "-f", "lavfi", "-i", "sine=d=4"),
        *(*H264, "-g", "25", "-c:a", "aac", path),
    )
    return path


def frames_of(path: Path) -> list[Frame]:
    return list(read_frames(list_sources([str(path)], StringIO())[0]))


@pytest.mark.parametrize(
    ("start", "duration"), [("1.4", "2"), ("1.9", "0.2"), ("0.9", "0.08"), ("3.8", "5")]
)
@pytest.mark.parametrize("extension", ["mp4", "mov", "mkv", "ts", "avi"])
def test_a_clip_that_was_cut_without_reencoding_is_complete(
    recording: Path, tmp_path: Path, start: str, duration: str, extension: str
) -> None:
    path = tmp_path / f"cut.{extension}"
    ffmpeg("-ss", start, "-i", recording, "-t", duration, "-c", "copy", path)
    frames = frames_of(path)
    expected = decoded_frames(path, 120, 160)
    assert len(frames) == len(expected)
    for frame, image in zip(frames, expected, strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 3


@pytest.mark.slow
def test_a_cut_clip_is_drawn_with_sound_and_finished(
    recording: Path, tmp_path: Path, small_model: ModelFiles
) -> None:
    path, out = tmp_path / "cut.mp4", tmp_path / "out"
    ffmpeg("-ss", "1.9", "-i", recording, "-t", "0.2", "-c", "copy", path)
    predictor = Predictor.load(small_model.onnx, engine="onnxruntime", threads=1)
    sources = list_sources([str(path)], StringIO())
    summary = run_predict(predictor, sources, PredictSettings(out))
    assert (summary.failed, summary.exit_code) == ([], 0)
    lines = (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])["finished"]
    drawn = (out / "cut_poses.mp4").read_bytes()
    handlers = [box[8:12] for _, box in find_boxes(drawn, (b"moov", b"trak", b"mdia", b"hdlr"))]
    assert handlers == [b"vide", b"soun"]
    resumed = run_predict(predictor, sources, PredictSettings(out, resume=True))
    assert (resumed.images, resumed.already_finished) == (0, 1)


@pytest.mark.parametrize("extension", ["mp4", "mkv", "ts", "flv", "wmv"])
def test_sound_that_lasts_longer_than_the_video_is_no_truncation(
    tmp_path: Path, extension: str
) -> None:
    path = tmp_path / f"long.{extension}"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc=s=160x120:r=25:d=1", "-f", "lavfi", "-i", "sine=d=3"),
        *(*H264, "-c:a", "aac", path),
    )
    assert len(frames_of(path)) == 25


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("extension", ["mp4", "mkv", "avi", "flv", "asf"])
def test_a_file_that_lacks_its_last_part_is_truncated(
    recording: Path, tmp_path: Path, extension: str, cut: bool
) -> None:
    path = tmp_path / f"part.{extension}"
    seek = ("-ss", "0.5") if cut else ()
    ffmpeg(*seek, "-i", recording, "-an", "-c", "copy", "-movflags", "+faststart", path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    frames = []
    with pytest.raises(InputError, match=r"truncated; ends after \d+ (of its \d+ )?frames"):
        for frame in read_frames(list_sources([str(path)], StringIO())[0]):
            frames.append(frame)
    assert 30 < len(frames) < 90


def test_a_fragmented_file_is_complete(recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "fragments.mp4"
    ffmpeg("-i", recording, "-c", "copy", "-movflags", "frag_keyframe+empty_moov", path)
    assert len(frames_of(path)) == 100


def test_the_frames_before_the_first_keyframe_are_omitted(recording: Path, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.ts", tmp_path / "part.ts"
    ffmpeg("-i", recording, "-c", "copy", whole)
    part.write_bytes(whole.read_bytes()[40 * 188 + 77 :])  # a recording that began in the middle
    frames, expected = frames_of(part), decoded_frames(whole, 120, 160)
    assert 20 < len(frames) < 100
    expected = expected[-len(frames) :]
    for frame, image in zip(frames, expected, strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 3


def test_opencv_estimates_more_frames_than_a_cut_clip_shows(
    recording: Path, tmp_path: Path
) -> None:
    """This is why the frame count alone cannot tell whether a video is truncated."""
    path = tmp_path / "cut.mp4"
    ffmpeg("-ss", "1.4", "-i", recording, "-t", "2", "-c", "copy", path)
    count = cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT)
    assert count > 1.1 * len(frames_of(path))
