"""Reads the frames of animated GIF, PNG and WebP files."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.errors import InputError
from higherhrnet.io.images import read_image
from higherhrnet.io.video.video_reader import VideoFrame
from higherhrnet.messages import counted

_CHUNK_BYTES = 2**28  # the memory of the frames that are decoded in one call
_MIN_SECONDS, _DEFAULT_SECONDS = 0.01, 0.1  # browsers replace durations up to the first


def read_animation(path: Path, every: int) -> Iterator[VideoFrame]:
    """Reads the first frame of an animation and every `every`-th frame after it.

    Transparent frames are blended with white, as still images are.

    Args:
        path: the GIF, PNG or WebP file.
        every: the stride.

    Raises:
        InputError: the animation has too many pixels, or it is damaged, after its last frame.
    """
    height, width = read_image(path).shape[:2]  # checks the size
    seconds, fps = 0.0, None
    for index, (rgba, milliseconds) in enumerate(_decode(path, height, width)):
        duration = _duration(milliseconds)
        fps = fps or 1 / duration
        if index % every == 0:
            yield VideoFrame(read_image(rgba), index, seconds, fps)
        seconds += duration


def _decode(path: Path, height: int, width: int) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """Yields each frame as (H, W, 3 or 4) RGB or RGBA, and its duration in milliseconds."""
    chunk = max(1, _CHUNK_BYTES // (4 * height * width))
    buffer = np.fromfile(path, np.uint8)
    for start in count(0, chunk):
        try:
            complete, part = cv2.imdecodeanimation(buffer, start=start, count=chunk)
        except cv2.error as error:
            raise InputError(f"{path}: the animation is damaged") from error
        durations = [float(milliseconds) for milliseconds in part.durations]
        if start == 0 and durations[:1] == [1000] and not any(durations[1:]):
            durations = [0.0 for _ in durations]  # OpenCV's default for GIF files without times
        for frame, duration in zip(part.frames, durations, strict=False):
            code = cv2.COLOR_BGR2RGB if frame.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
            bits_8 = frame if frame.dtype == np.uint8 else frame // 256
            yield np.asarray(cv2.cvtColor(bits_8.astype(np.uint8), code), np.uint8), duration
        if not complete:
            number = counted(start + len(part.frames), "frame")
            raise InputError(f"{path}: truncated or damaged; ends after {number}")
        if len(part.frames) < chunk:
            return


def _duration(milliseconds: float) -> float:
    """Returns the duration of a frame in seconds."""
    seconds = milliseconds / 1000
    return seconds if seconds > _MIN_SECONDS else _DEFAULT_SECONDS
