"""Files are recognized by their content, whatever their names."""

from __future__ import annotations

import os
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image as Pillow

from higherhrnet.io.kinds import file_kind, known_kind, stream_kind
from tests.io.clips import ffmpeg, needs_ffmpeg
from tests.io.videos import write_video

STILL_FORMATS = ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000"]


def image_bytes(image_format: str, frames: int = 1) -> bytes:
    images = [Pillow.new("RGB", (32, 24), (index * 20, 0, 99)) for index in range(frames)]
    buffer = BytesIO()
    if frames > 1:
        images[0].save(buffer, image_format, save_all=True, append_images=images[1:])
    else:
        images[0].save(buffer, image_format)
    return buffer.getvalue()


@pytest.mark.parametrize("image_format", STILL_FORMATS)
def test_still_images_are_recognized_whatever_their_extension(
    tmp_path: Path, image_format: str
) -> None:
    for name in ("photo", "photo.mp4", "photo.jpg", "photo.txt"):
        (tmp_path / name).write_bytes(image_bytes(image_format))
        assert file_kind(tmp_path / name) == "image"


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP"])
def test_an_image_with_several_frames_is_an_animation(image_format: str) -> None:
    assert stream_kind(BytesIO(image_bytes(image_format, frames=3))) == "animation"
    assert stream_kind(BytesIO(image_bytes(image_format))) == "image"


def test_an_image_with_one_frame_in_a_format_for_animations_is_still() -> None:
    image = Pillow.new("RGBA", (32, 24), (9, 9, 9, 99))
    for image_format in ("GIF", "WEBP", "PNG"):
        buffer = BytesIO()
        image.save(buffer, image_format, save_all=True)
        assert stream_kind(BytesIO(buffer.getvalue())) == "image"


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi"])
def test_a_video_is_recognized_whatever_its_extension(tmp_path: Path, name: str) -> None:
    content = write_video(tmp_path / name).read_bytes()
    for other in ("clip", "clip.jpg", "clip.dat"):
        (tmp_path / other).write_bytes(content)
        assert file_kind(tmp_path / other) == "video"


CLIPS = [
    *("mkv", "mov", "webm", "flv", "asf", "ts", "m2ts", "vob", "mpg", "m2v", "dv", "y4m"),
    *("264", "hevc", "ogv", "mxf", "3gp", "ivf"),
]


@needs_ffmpeg
@pytest.mark.parametrize("extension", CLIPS)
def test_videos_of_every_container_are_recognized_without_extension(
    tmp_path: Path, extension: str
) -> None:
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc=s=720x576:r=25:d=0.4", "-pix_fmt", "yuv420p"),
        *() if extension == "dv" else ("-s", "176x144"),
        tmp_path / f"clip.{extension}",
    )
    (tmp_path / f"clip.{extension}").rename(tmp_path / "clip")
    assert known_kind(tmp_path / "clip") == "video"


def test_a_motion_jpeg_stream_is_a_video_by_its_extension(tmp_path: Path) -> None:
    for name in ("clip.mjpeg", "clip.jpg"):
        (tmp_path / name).write_bytes(2 * image_bytes("JPEG"))
    assert file_kind(tmp_path / "clip.mjpeg") == "video"
    assert file_kind(tmp_path / "clip.jpg") == "image"  # cameras append previews to images


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"I'm free on Monday",
        b"BMW is a company",
        b"P1 is the first point",
        b"#!/bin/sh\n",
        b"ACGT" * 2000,
        b"G" * 4000,
        b"{}",
        bytes(4000),
        b"\0\0\0\x20ftypM4A \0\0\0\0",
        b"ID3\4" + bytes(200),
    ],
)
def test_other_files_are_not_recognized(content: bytes) -> None:
    assert stream_kind(BytesIO(content)) is None


def test_animations_that_are_truncated_at_any_byte_are_still_images_or_animations() -> None:
    for image_format in ("GIF", "PNG", "WEBP"):
        content = image_bytes(image_format, frames=3)
        kinds = [stream_kind(BytesIO(content[:size])) for size in range(30, len(content))]
        second_frame = kinds.index("animation")
        assert {*kinds[:second_frame]} == {"image"}
        assert {*kinds[second_frame:]} == {"animation"}


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows has no named pipes")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert file_kind(tmp_path / "pipe.mp4") == "video"
    assert file_kind(tmp_path / "missing.mp4") == "video"
    assert file_kind(tmp_path / "missing") == "image"
