"""Animated GIF, PNG and WebP files are read as videos; Pillow decodes the expected frames."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageSequence

from higherhrnet import Predictor
from higherhrnet.errors import InputError
from higherhrnet.inference.run import PredictSettings, run_predict
from higherhrnet.io.listing import list_sources
from higherhrnet.io.sources import Frame, count_frames, read_frames
from tests.conftest import ModelFiles
from tests.io.clips import decoded_frames, ffmpeg, needs_ffmpeg

DURATIONS = [100, 50, 200, 30, 100, 70, 100, 100]
"""Milliseconds."""


def write_animation(path: Path, mode: str = "RGBA", **options: Any) -> Path:  # noqa: ANN401
    """Writes eight frames of a square that moves, on a transparent or gray background."""
    images = []
    for index in range(8):
        image = Pillow.new(mode, (64, 48), (0, 0, 0, 0) if mode == "RGBA" else 128)
        draw = ImageDraw.Draw(image)
        draw.rectangle((6 * index, 5, 6 * index + 12, 30), (255, 30 * index, 0, 255)[: len(mode)])
        images.append(image)
    image_format = {".gif": "GIF", ".webp": "WEBP"}.get(path.suffix, "PNG")
    images[0].save(
        path, image_format, save_all=True, append_images=images[1:], duration=DURATIONS, **options
    )
    return path


def frames_of(path: Path, every: int = 1) -> list[Frame]:
    return list(read_frames(list_sources([str(path)], StringIO())[0], every))


def expected_frames(path: Path) -> list[NDArray[np.uint8]]:
    """The frames on a white background."""
    frames = []
    with Pillow.open(path) as animation:
        for frame in ImageSequence.Iterator(animation):
            white = Pillow.new("RGBA", frame.size, "white")
            composed = Pillow.alpha_composite(white, frame.convert("RGBA")).convert("RGB")
            frames.append(np.asarray(composed))
    return frames


CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("a.gif", "RGBA", {"disposal": 0}),
    ("b.gif", "RGBA", {"disposal": 1}),
    ("c.gif", "RGBA", {"disposal": 2}),
    ("d.gif", "RGB", {"loop": 0}),
    ("a.png", "RGBA", {"disposal": 0, "blend": 0}),
    ("b.png", "RGBA", {"disposal": 1, "blend": 1}),
    ("c.apng", "RGB", {}),
    ("a.webp", "RGBA", {"lossless": True}),
    ("b.webp", "RGB", {"quality": 95}),
]


@pytest.mark.parametrize(("name", "mode", "options"), CASES)
def test_frames_and_times_are_those_that_were_written(
    tmp_path: Path, name: str, mode: str, options: dict[str, Any]
) -> None:
    path = write_animation(tmp_path / name, mode, **options)
    frames = frames_of(path)
    expected = expected_frames(path)
    assert [frame.index for frame in frames] == [*range(8)]
    for frame, image in zip(frames, expected, strict=True):
        assert np.abs(frame.image.astype(int) - image).max() <= (60 if "quality" in options else 1)
    times = np.cumsum([0, *DURATIONS[:-1]]) / 1000
    np.testing.assert_allclose([frame.time for frame in frames if frame.time is not None], times)


def test_a_frame_that_is_removed_before_the_next_leaves_nothing(tmp_path: Path) -> None:
    """Pillow writes such files, but composes them wrongly."""
    path = write_animation(tmp_path / "a.png", disposal=[1, *7 * [2]], blend=1)
    for index, frame in enumerate(frames_of(path)):
        expected = np.full((48, 64, 3), 255, np.uint8)
        expected[5:31, 6 * index : 6 * index + 13] = (255, 30 * index, 0)
        np.testing.assert_array_equal(frame.image, expected)


@needs_ffmpeg
def test_an_animation_with_16_bits_becomes_one_of_8_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:d=0.2", "-pix_fmt", "rgb48be", "-f", "apng", path)
    for frame, image in zip(frames_of(path), decoded_frames(path, 48, 64), strict=True):
        assert np.abs(frame.image.astype(int) - image).max() <= 1


def test_every_nth_frame_is_read(tmp_path: Path) -> None:
    path = write_animation(tmp_path / "a.gif")
    frames, third = frames_of(path), frames_of(path, every=3)
    assert [(frame.index, frame.time) for frame in third] == [
        (frame.index, frame.time) for frame in frames[::3]
    ]


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_a_still_image_is_one_frame_without_index(tmp_path: Path, name: str) -> None:
    Pillow.new("RGB", (64, 48), "red").save(tmp_path / name, save_all=True)
    (frame,) = frames_of(tmp_path / name)
    assert (frame.index, frame.time) == (None, None)
    assert count_frames(frame.source) == 1


def test_frames_without_duration_are_shown_as_long_as_in_browsers(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    images = [Pillow.new("RGB", (32, 32), (80 * index, 0, 0)) for index in range(3)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=0)
    frames = frames_of(path)
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2])
    assert frames[0].fps == pytest.approx(10)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_a_truncated_animation_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    path = write_animation(tmp_path / name, "RGB")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(InputError, match=rf"{name}: .*(truncated|damaged)"):
        frames_of(path)


def test_an_animation_that_is_too_small_is_refused(tmp_path: Path) -> None:
    images = [Pillow.new("RGB", (8, 8), (80 * index, 0, 0)) for index in range(3)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:])
    with pytest.raises(InputError, match=r"a\.gif: 8×8 pixels are too few"):
        frames_of(tmp_path / "a.gif")


@pytest.mark.slow
def test_an_animation_is_predicted_as_a_video(tmp_path: Path, small_model: ModelFiles) -> None:
    path, out = write_animation(tmp_path / "walk.gif"), tmp_path / "out"
    predictor = Predictor.load(small_model.onnx, engine="onnxruntime", threads=1)
    summary = run_predict(predictor, list_sources([str(path)], StringIO()), PredictSettings(out))
    assert (summary.images, summary.failed) == (8, [])
    lines = (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry.get("frame") for entry in entries] == [*range(8), None]
    assert entries[-1] == {"file_name": "walk.gif", "path": str(path), "finished": True}
    assert (out / "walk_poses.mp4").stat().st_size > 0
