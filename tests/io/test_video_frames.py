"""Every frame of a video is the one that was encoded, never the memory as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from higherhrnet.cli.main import main
from higherhrnet.errors import InputError
from higherhrnet.io.listing import list_sources
from higherhrnet.io.sources import Frame, Source, count_frames, read_frames
from tests.conftest import ModelFiles
from tests.io.clips import (
    FIELDS,
    H264,
    INTERLACED_H264,
    PROGRESSIVE,
    decoded_frames,
    ffmpeg,
    needs_ffmpeg,
)

pytestmark = needs_ffmpeg

MPEG2 = ("-c:v", "mpeg2video", "-flags", "+ildct+ilme")
LARGE = ("-f", "lavfi", "-i", "testsrc=s=720x576:r=50:d=0.4")
INTERLACED: dict[str, Sequence[str]] = {
    "top.mp4": (*FIELDS, "-vf", "interlace", *INTERLACED_H264),
    "bottom.mkv": (
        *(*FIELDS, "-vf", "interlace=scan=bff", *H264, "-flags", "+ildct+ilme"),
        *("-x264opts", "bff=1"),
    ),
    "dvd.vob": (*FIELDS, "-vf", "interlace", *MPEG2),
    "tape.mpg": (*LARGE, "-vf", "interlace", *MPEG2),
    "camcorder.dv": (*LARGE, "-vf", "interlace,format=yuv420p", "-c:v", "dvvideo"),
    "avchd.MTS": (
        *(*LARGE, "-vf", "interlace", *INTERLACED_H264, "-f", "mpegts", "-mpegts_m2ts_mode", "1"),
    ),
    "still.mp4": (
        *(*PROGRESSIVE, "-vf", "select=eq(n\\,0),loop=19:1,setpts=N/50/TB,interlace"),
        *INTERLACED_H264,
    ),
}
OTHER: dict[str, Sequence[str]] = {
    "plain.mp4": (*PROGRESSIVE, *H264),
    "10-bit.mp4": (*PROGRESSIVE, "-c:v", "libx264", "-pix_fmt", "yuv420p10le"),
    "4-2-2.mp4": (*PROGRESSIVE, "-c:v", "libx264", "-pix_fmt", "yuv422p"),
    "4-4-4.mp4": (*PROGRESSIVE, "-c:v", "libx264", "-pix_fmt", "yuv444p"),
    "transparent.mov": (*PROGRESSIVE, "-c:v", "png", "-pix_fmt", "rgba"),
    "prores.mov": (*PROGRESSIVE, "-c:v", "prores_ks", "-pix_fmt", "yuva444p10le"),
    "odd.mkv": ("-f", "lavfi", "-i", "testsrc=s=161x121:d=0.4", "-c:v", "ffv1"),
    "gray.mkv": (*PROGRESSIVE, "-vf", "format=gray", "-c:v", "ffv1"),
    "gray16.mkv": (*PROGRESSIVE, "-vf", "format=gray16le", "-c:v", "ffv1"),
    "raw.avi": (*PROGRESSIVE, "-c:v", "rawvideo", "-pix_fmt", "bgr24"),
    "palette.avi": (*PROGRESSIVE, "-c:v", "rawvideo", "-pix_fmt", "pal8"),
    "stream.264": (*PROGRESSIVE, *H264),
    "stream.y4m": (*PROGRESSIVE, "-pix_fmt", "yuv420p"),
    "stream.mjpeg": (*PROGRESSIVE, "-c:v", "mjpeg"),
    "stream.m2ts": (*PROGRESSIVE, *H264, "-f", "mpegts", "-mpegts_m2ts_mode", "1"),
    "stream.ts": (*PROGRESSIVE, *H264),
    "black.mp4": ("-f", "lavfi", "-i", "color=black:s=320x240:d=0.4", *H264),
    "variable.mp4": (*PROGRESSIVE, "-vf", "select='not(mod(n,3))'", "-vsync", "vfr", *H264),
    "old.avi": (*PROGRESSIVE, "-c:v", "cinepak"),
}


def frames_of(path: Path) -> list[Frame]:
    return list(read_frames(list_sources([str(path)], StringIO())[0]))


def assert_decoded(path: Path, frames: Sequence[Frame], tolerance: float = 3) -> None:
    """The frames are those that ffmpeg decodes, apart from rounding of colors."""
    expected = decoded_frames(path, *frames[0].image.shape[:2])
    assert [frame.index for frame in frames] == list(range(len(expected)))
    for frame, image in zip(frames, expected, strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < tolerance


@pytest.mark.slow
@pytest.mark.parametrize("name", [*INTERLACED, *OTHER])
def test_frames_are_those_that_ffmpeg_decodes(tmp_path: Path, name: str) -> None:
    ffmpeg(*(INTERLACED | OTHER)[name], tmp_path / name)
    frames = frames_of(tmp_path / name)
    assert_decoded(tmp_path / name, frames)
    times = [frame.time for frame in frames]
    assert all(time is not None for time in times)
    assert np.all(np.diff(np.array(times, float)) > 0.01)
    assert count_frames(frames[0].source) in (0, len(frames), len(frames) - 1)


def test_every_nth_frame_of_an_interlaced_video_is_read(tmp_path: Path) -> None:
    path = tmp_path / "top.mp4"
    ffmpeg(*INTERLACED["top.mp4"], path)
    every_third = list(read_frames(Source("top", path), every=3))
    assert [frame.index for frame in every_third] == [0, 3, 6, 9]
    for frame, same in zip(every_third, frames_of(path)[::3], strict=True):
        np.testing.assert_array_equal(frame.image, same.image)


@pytest.mark.parametrize("first", ["progressive", "interlaced"])
def test_a_video_that_is_partly_interlaced_is_read_completely(tmp_path: Path, first: str) -> None:
    """Broadcasts alternate between films and studio recordings."""
    parts = {
        "progressive": (*PROGRESSIVE, *H264),
        "interlaced": (*FIELDS, "-vf", "interlace", *INTERLACED_H264),
    }
    for name, arguments in parts.items():
        ffmpeg(*arguments, tmp_path / f"{name}.ts")
    order = sorted(parts, key=lambda name: name != first)
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join((tmp_path / f"{name}.ts").read_bytes() for name in order))
    frames = frames_of(path)
    assert len(frames) == 20
    assert_decoded(path, frames)
    times = np.array([frame.time for frame in frames], float)
    np.testing.assert_allclose(times, np.arange(20) / 25, atol=0.002)  # the parts' begin at 0


@pytest.mark.parametrize("sizes", [(320, 160), (160, 320)])
def test_a_video_whose_resolution_changes_keeps_its_first_size(
    tmp_path: Path, sizes: tuple[int, int]
) -> None:
    path = tmp_path / "both.ts"
    content = b""
    for size in sizes:
        source = f"testsrc=s={size}x{size * 3 // 4}:r=25:d=0.4"
        ffmpeg("-f", "lavfi", "-i", source, *H264, tmp_path / "part.ts")
        content += (tmp_path / "part.ts").read_bytes()
    path.write_bytes(content)
    frames = frames_of(path)
    assert {frame.image.shape[1] for frame in frames} == {sizes[0]}
    assert len(frames) == 20
    for frame, same in zip(frames[10:], frames[:10], strict=True):  # both parts show the same
        assert np.abs(frame.image.astype(int) - same.image).mean() < 12


@pytest.mark.parametrize("path", [".", ""])
def test_a_program_in_the_folder_of_the_videos_is_not_run(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ffmpeg(*INTERLACED["top.mp4"], tmp_path / "top.mp4")
    program = tmp_path / ("ffmpeg.bat" if sys.platform == "win32" else "ffmpeg")
    program.write_text("#!/bin/sh\ntouch executed\n", encoding="utf-8")
    program.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", path)
    with pytest.raises(InputError, match="install ffmpeg"):
        list(read_frames(Source("top.mp4", Path("top.mp4"))))
    assert not (tmp_path / "executed").exists()


def test_an_interlaced_video_without_ffmpeg_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_model: ModelFiles,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    ffmpeg(*INTERLACED["top.mp4"], tmp_path / "top.mp4")
    monkeypatch.setenv("PATH", "")
    out = tmp_path / "out"
    arguments = ["predict", str(tmp_path / "top.mp4"), "--model", str(small_model.onnx)]
    with pytest.raises(SystemExit) as exit_info:
        main([*arguments, "--out", str(out)])
    errors = capfd.readouterr().err.splitlines()
    assert exit_info.value.code == 1
    (error,) = [line for line in errors if "top.mp4" in line]
    assert "cannot decode this video (Cannot convert interlaced" in error
    assert "install ffmpeg" in error and "-vf yadif" in error
    assert not any("swscaler" in line for line in errors)
    assert not (out / "predictions.jsonl").exists()


def test_variables_that_silence_opencv_do_not_hide_that_a_frame_was_not_decoded(
    tmp_path: Path,
) -> None:
    ffmpeg(*INTERLACED["top.mp4"], tmp_path / "top.mp4")
    code = (
        "import sys; from pathlib import Path; from higherhrnet.io.sources import *\n"
        "for _ in read_frames(Source('x', Path(sys.argv[1]))): print('a frame')"
    )
    for name, value in {"OPENCV_FFMPEG_LOGLEVEL": "-8", "OPENCV_FFMPEG_DEBUG": "1"}.items():
        environment = {**os.environ, name: value, "PATH": ""}
        result = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "top.mp4")],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "install ffmpeg" in result.stderr
        assert result.stdout == ""


def test_frames_are_read_while_standard_error_is_closed(tmp_path: Path) -> None:
    ffmpeg(*INTERLACED["top.mp4"], tmp_path / "top.mp4")
    code = (
        "import sys; from pathlib import Path; from higherhrnet.io.sources import *\n"
        "print(len(list(read_frames(Source('x', Path(sys.argv[1]))))))"
    )
    command = ["sh", "-c", f'exec "$0" -c "{code}" "$1" 2>&-', sys.executable]
    result = subprocess.run(
        [*command, str(tmp_path / "top.mp4")], capture_output=True, text=True, check=False
    )
    assert result.stdout.strip() == "10"


@pytest.mark.parametrize("name", ["sound.mp4", "sound.mkv"])
def test_sound_without_video_is_refused(tmp_path: Path, name: str) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: not a video that OpenCV can read"):
        frames_of(tmp_path / name)


@pytest.mark.slow
def test_a_file_name_that_resembles_an_address_or_a_pattern_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ffmpeg(*OTHER["plain.mp4"], tmp_path / "plain.mp4")
    ffmpeg(*INTERLACED["top.mp4"], tmp_path / "top.mp4")
    for name in ("http:clip.mp4", "concat:a|b.mp4", "%03d?.mp4", "ä ö.mp4", "-i.mp4"):
        for clip in ("plain.mp4", "top.mp4"):
            shutil.copy(tmp_path / clip, tmp_path / name)
            frames = list(read_frames(Source(name, Path(name))))
            assert len(frames) == 10


def test_a_cover_image_before_the_video_is_reported(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=320x240:r=25:d=2", *H264, tmp_path / "clip.mp4")
    ffmpeg("-i", tmp_path / "clip.mp4", "-frames:v", "1", tmp_path / "cover.png")
    ffmpeg(
        *("-i", tmp_path / "cover.png", "-i", tmp_path / "clip.mp4", "-map", "0", "-map", "1"),
        *("-c", "copy", "-disposition:v:0", "attached_pic", tmp_path / "both.mkv"),
    )
    with pytest.raises(InputError, match=r"both\.mkv: .* like a cover image.* -map 0:V:0"):
        frames_of(tmp_path / "both.mkv")


def test_a_damaged_packet_does_not_end_a_video(tmp_path: Path) -> None:
    path = tmp_path / "damaged.avi"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=320x240:r=25:d=2", "-c:v", "png", path)
    content = bytearray(path.read_bytes())
    frame = content.index(b"\x89PNG", len(content) // 2)
    content[frame : frame + 200] = bytes(200)
    path.write_bytes(content)
    frames = frames_of(path)
    assert len(frames) >= 47
    assert frames[-1].time == pytest.approx(49 / 25)
