"""Creates and decodes the clips of the tests with the program ffmpeg."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")

PROGRESSIVE = ("-f", "lavfi", "-i", "testsrc=s=320x240:r=25:d=0.4")
"""The input of a clip of ten frames."""
FIELDS = ("-f", "lavfi", "-i", "testsrc=s=320x240:r=50:d=0.4")
"""The input of a clip of twenty frames, which an interlacing filter unites to ten."""
H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-preset", "ultrafast")
INTERLACED_H264 = (*H264, "-flags", "+ildct+ilme", "-x264opts", "tff=1")


def ffmpeg(*arguments: str | Path) -> None:
    """Runs ffmpeg; the last argument is the file to write."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def decoded_frames(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """All frames of a video as (N, H, W, 3) RGB, deinterlaced where that is necessary."""
    command = ["ffmpeg", "-v", "quiet", "-i", str(path), "-map", "0:V:0"]
    command += ["-vf", "yadif=deint=interlaced", "-vsync", "passthrough"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = subprocess.run(command, capture_output=True, check=False).stdout
    return np.frombuffer(data, np.uint8).reshape(-1, height, width, 3)
