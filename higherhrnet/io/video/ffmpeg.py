"""Reads the frames of a video with the program ffmpeg, where OpenCV cannot decode them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import numpy as np

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError


def find_ffmpeg(path: Path, reason: str) -> str:
    """Returns the path of the program ffmpeg.

    It is searched in the absolute folders of the variable PATH. The current folder, in which
    Windows searches first, may contain files of strangers.

    Args:
        path: the video, for the message.
        reason: why OpenCV cannot decode the video, for the message.

    Raises:
        InputError: ffmpeg is not installed.
    """
    name = "ffmpeg.exe" if sys.platform == "win32" else "ffmpeg"
    files = (Path(folder, name) for folder in os.get_exec_path())
    program = next((str(f) for f in files if f.is_absolute() and shutil.which(f)), None)
    if program is None:
        raise InputError(
            f"{path}: OpenCV cannot decode this video ({reason}); install ffmpeg, which "
            "higherhrnet then uses, or convert the video: ffmpeg -i INPUT -vf yadif OUTPUT.mp4"
        )
    return program


def read_with_ffmpeg(
    program: str, path: Path, height: int, width: int
) -> Generator[Image, None, None]:
    """Reads all frames of the first video stream of a file, upright and deinterlaced.

    Args:
        program: the path of ffmpeg.
        path: the video.
        height: the height of the upright frames.
        width: the width of the upright frames.

    Yields:
        Each frame as (H, W, 3) RGB.
    """
    # Each frame gets a time of its own, so that none is dropped or repeated. `file:` prevents that
    # a file name is interpreted as a flag or as an address.
    filters = f"yadif=deint=interlaced,scale={width}:{height},settb=1/25,setpts=N"
    command = [program, "-v", "quiet", "-nostdin", "-protocol_whitelist", "file"]
    command += ["-i", f"file:{path.absolute()}", "-map", "0:V:0", "-vf", filters, "-r", "25"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    size = height * width * 3
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            while len(data := process.stdout.read(size)) == size:
                yield np.frombuffer(bytearray(data), np.uint8).reshape(height, width, 3)
        finally:
            process.kill()
