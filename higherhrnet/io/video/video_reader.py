"""Reads the frames of videos and cameras with their times."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError
from higherhrnet.io.addresses import TIMEOUT, Origin, Url
from higherhrnet.io.video.capture import (
    DEFAULT_FPS,
    Capture,
    FrameNotDecodedError,
    capture_error,
    open_capture,
)
from higherhrnet.io.video.ffmpeg import find_ffmpeg, read_with_ffmpeg
from higherhrnet.io.video.truncation import is_truncated
from higherhrnet.messages import counted

MAX_FPS = 10_000.0
"""The maximum frame rate; a greater one in the header of a video is considered unknown."""
_MAX_FRAMES = 10**9  # greater numbers result from a frame rate that is unknown
MAX_FRAMES_OF_COVER = 25
"""The frame count above which a video with one frame is considered incomplete."""
_GRAB_ATTEMPTS = 100  # the number of successive damaged packets of a file that are skipped


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One frame of a video, an animation or a camera."""

    image: Image
    """(H, W, 3) RGB."""
    index: int
    """The index of the frame, from 0; skipped frames are counted."""
    time: float | None
    """Seconds since the start; None if unknown."""
    fps: float | None
    """The frame rate including skipped frames; None if unknown."""


def read_video(origin: Origin, every: int) -> Iterator[VideoFrame]:
    """Reads the first frame of a video or camera and every `every`-th frame after it.

    Raises:
        InputError: the video or camera cannot be read, or the video is truncated, after its last
            frame.
    """
    with open_capture(origin) as capture, _FrameDecoder(capture, origin) as decoder:
        fps = _fps(capture)
        index, seconds = -1, None
        for index, seconds in enumerate(_grab_frames(capture, origin, fps)):
            if index % every == 0:
                yield VideoFrame(decoder.decode(index), index, seconds, fps)
        if index < 0:
            raise capture_error(origin)
        if isinstance(origin, int):
            return
        # The frame count of a video with a variable rate is an estimate, but its duration is not.
        reached = max(index + 1, (seconds or 0) * (fps or 0) + 1)
        frame_count = _frame_count(capture)
        if isinstance(origin, Path) and is_truncated(origin, reached, frame_count, fps):
            read = f"{index + 1} of its {frame_count} frames" if frame_count else ""
            raise InputError(
                f"{origin}: truncated; ends after {read or counted(index + 1, 'frame')}"
            )
        if index == 0 and frame_count > MAX_FRAMES_OF_COVER:
            raise InputError(
                f"{origin}: its first video stream has one frame, like a cover image; if it has "
                "another, extract that: ffmpeg -i INPUT -map 0:V:0 -c copy OUTPUT"
            )


def count_video_frames(path: Path) -> int:
    """Returns the number of frames by the header of a video file; 0 if it is unknown."""
    try:
        with open_capture(path) as capture:
            return _frame_count(capture)
    except InputError:
        return 0


class _FrameDecoder:
    """Decodes the frames that were grabbed, with ffmpeg from the first that OpenCV cannot decode.

    Args:
        capture: the video.
        origin: where it was opened.
    """

    def __init__(self, capture: Capture, origin: Origin) -> None:
        self._capture, self._origin = capture, origin
        self._ffmpeg: Iterator[tuple[int, Image]] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> _FrameDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def decode(self, index: int) -> Image:
        """Returns the grabbed frame, whose index is given, as (H, W, 3) RGB.

        Raises:
            InputError: it cannot be decoded.
        """
        if self._ffmpeg is None:
            try:
                bgr = self._capture.retrieve()
            except FrameNotDecodedError as error:
                self._start_ffmpeg(error)
            else:
                if bgr is None:
                    raise InputError(f"{self._origin}: frame {index} cannot be decoded")
                return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
        assert self._ffmpeg is not None
        for number, image in self._ffmpeg:
            if number == index:
                return image
        raise InputError(f"{self._origin}: ffmpeg cannot decode frame {index}")

    def _start_ffmpeg(self, error: FrameNotDecodedError) -> None:
        if not isinstance(self._origin, Path):
            raise InputError(
                f"{self._origin}: OpenCV cannot decode this video ({error}); interlaced and "
                "similar videos can only be read from files"
            ) from error
        program = find_ffmpeg(self._origin, str(error))
        width, height = self._capture.size
        frames = read_with_ffmpeg(program, self._origin, height, width)
        self._stack.enter_context(closing(frames))
        self._ffmpeg = enumerate(frames)


def _grab_frames(capture: Capture, origin: Origin, fps: float | None) -> Iterator[float | None]:
    """Proceeds to one frame after the other; yields the time of each in seconds."""
    start = time.monotonic()
    previous, offset = 0.0, 0.0
    for index in count():
        before = time.monotonic()
        if not capture.grab(_GRAB_ATTEMPTS if isinstance(origin, Path) else 1):
            if isinstance(origin, Url) and time.monotonic() - before > 0.9 * TIMEOUT:
                raise InputError(f"{origin}: no frame was received within {TIMEOUT:.0f} s")
            return
        if isinstance(origin, int):
            yield time.monotonic() - start
            continue
        seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if index > 0 and seconds <= 0 and not previous:  # the video contains no times
            yield index / fps if fps else None
            continue
        if seconds + offset < previous:  # another video was appended, whose times begin again
            offset = previous + 1 / (fps or DEFAULT_FPS) - seconds
        previous = max(0.0, seconds + offset)
        yield previous


def _fps(capture: Capture) -> float | None:
    """Returns the frame rate; None if the video contains none or an impossible one."""
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if 0 < fps <= MAX_FPS else None


def _frame_count(capture: Capture) -> int:
    """Returns the number of frames by the header of a video; 0 if it is unknown."""
    frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(frames) if _fps(capture) and 0 < frames < _MAX_FRAMES else 0
