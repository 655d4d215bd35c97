"""Drawn frames → videos with the clock and the sound of those that they were drawn from."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import cv2

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError
from higherhrnet.io.atomic import atomic_path
from higherhrnet.io.mp4 import rewrite_timing
from higherhrnet.io.sources import Frame, Source


def timestamp(frame: Frame) -> float:
    """Seconds at which a video's frame is shown, as it says or as follows from its rate."""
    if frame.time is not None:
        return frame.time
    return (frame.index or 0) / (frame.fps or 25.0)


class VideoWriter:
    """Writes the drawn frames of one video after the other.

    Each is an MP4 whose frames are shown when those of its source are, upright, with the sound of
    an MP4 or MOV. Of odd sizes the last column or row is left out, since codecs take pairs. One
    that cannot be written does not disturb those after it.

    Args:
        targets: the start of each source's outputs; `_poses.mp4` goes after it.
        every: of the source's frames, only each so many-th will come.
        finished: called with each source that came to its end, whole.
        failed: called with why a video could not be written.
    """

    def __init__(
        self,
        targets: Mapping[Source, Path],
        every: int,
        finished: Callable[[Source], None],
        failed: Callable[[InputError], None],
    ) -> None:
        self._targets, self._every, self._finished = targets, every, finished
        self._failed = failed
        self._source: Source | None = None
        self._whole = True
        self._size: tuple[int, int] | None = None
        self._writer: cv2.VideoWriter | None = None
        self._times: list[float] = []
        self._stack = ExitStack()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._whole = False
        self.close()  # a video cut short can be watched to there

    def add(self, frame: Frame, drawn: Image | None) -> None:
        """Takes the next frame, of the same video or of another source."""
        self._turn_to(frame.source)
        if frame.index is None or drawn is None:
            return
        if self._size is None:
            self._size = drawn.shape[1], drawn.shape[0]
            self._open(frame, self._size)
        if self._writer is not None:
            bgr = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
            self._writer.write(cv2.resize(bgr, self._size))  # it drops frames of another size
            self._times.append(timestamp(frame))

    def miss(self, source: Source) -> None:
        """Notes that a frame of it, or its end, could not be read; another run would begin anew."""
        self._turn_to(source)
        self._whole = False

    def close(self) -> None:
        """Ends the video, if there is one."""
        self._turn_to(None)

    def _turn_to(self, source: Source | None) -> None:
        if source is self._source:
            return
        try:
            self._stack.close()
        except InputError as error:
            self._lose(error)
        before, whole = self._source, self._whole
        self._source, self._whole = source, True
        self._size, self._writer, self._times = None, None, []
        if before is not None and before.is_video and whole:
            self._finished(before)

    def _lose(self, error: InputError) -> None:
        self._whole = False
        self._failed(error)

    def _open(self, frame: Frame, size: tuple[int, int]) -> None:
        target = self._targets[frame.source]
        target = target.with_name(f"{target.name}_poses.mp4")
        # MPEG-4 counts time in 65,535ths at the finest, so it does not take every rate.
        rate = min(max(round((frame.fps or 25.0) / self._every, 2), 1.0), 1000.0)
        try:
            with ExitStack() as attempt:
                beside = attempt.enter_context(atomic_path(target))
                attempt.callback(self._set_clock, beside, frame.source)
                codec = cv2.VideoWriter.fourcc(*"mp4v")
                writer = cv2.VideoWriter(str(beside), codec, rate, size)
                attempt.callback(writer.release)
                if not writer.isOpened():
                    raise InputError(f"{target}: OpenCV cannot write a video at {rate} frames/s")
                self._stack, self._writer = attempt.pop_all(), writer
        except InputError as error:
            self._lose(error)

    def _set_clock(self, beside: Path, source: Source) -> None:
        if self._times:
            sound = source.origin if self._whole and isinstance(source.origin, Path) else None
            try:
                rewrite_timing(beside, self._times, sound)
            except (ValueError, struct.error) as error:  # OpenCV does not say when it cannot write
                raise InputError(f"{source.name}: its drawing was not written: {error}") from error
