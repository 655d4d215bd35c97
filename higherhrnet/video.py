"""Drawn frames → videos with the clock and the sound of those that they were drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import cv2

from higherhrnet.errors import InputError
from higherhrnet.files import replacing
from higherhrnet.inference.images import Image
from higherhrnet.inference.sources import Frame, Source
from higherhrnet.mp4 import set_clock


def moment(frame: Frame) -> float:
    """Seconds at which a video's frame is shown, as it says or as follows from its rate."""
    if frame.time is not None:
        return frame.time
    return (frame.index or 0) / (frame.fps or 25.0)


class Videos:
    """Writes the drawn frames of one video after the other.

    Each is an MP4 whose frames are shown when those of its source are, upright, with the sound of
    an MP4 or MOV. Of odd sizes the last column or row is left out, since codecs take pairs.

    Args:
        targets: the start of each source's outputs; `_poses.mp4` goes after it.
        every: of the source's frames, only each so many-th will come.
        finished: called with each source that came to its end.
    """

    def __init__(
        self, targets: Mapping[Source, Path], every: int, finished: Callable[[Source], None]
    ) -> None:
        self._targets, self._every, self._finished = targets, every, finished
        self._source: Source | None = None
        self._stack = ExitStack()
        self._writer: cv2.VideoWriter | None = None
        self._times: list[float] = []
        self._whole = False

    def __enter__(self) -> Videos:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()  # a video cut short can be watched to there

    def add(self, frame: Frame, drawn: Image | None) -> None:
        """Takes the next frame, of the same video or of another source.

        Raises:
            InputError: a video cannot be written.
        """
        if frame.source is not self._source:
            self.close()
            if frame.index is not None:
                self._source = frame.source
                if drawn is not None:
                    self._open(frame, drawn)
        if self._writer is not None and drawn is not None:
            self._writer.write(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
            self._times.append(moment(frame))

    def give_up(self, source: Source) -> None:
        """Ends a video that could not be read to its end; another run would begin it anew."""
        if source is self._source:
            self._source = None
            self.close()

    def close(self) -> None:
        """Ends the video, if there is one, as done."""
        self._whole = self._source is not None
        self._stack.close()
        self._writer = None
        if self._source is not None:
            self._finished(self._source)
            self._source = None

    def _open(self, frame: Frame, drawn: Image) -> None:
        height, width = drawn.shape[:2]
        target = self._targets[frame.source]
        target = target.with_name(f"{target.name}_poses.mp4")
        # MPEG-4 counts time in 65,535ths at the finest, so it does not take every rate.
        rate = min(round((frame.fps or 25.0) / self._every, 2), 1000.0)
        self._times, self._whole = [], False
        with ExitStack() as attempt:
            beside = attempt.enter_context(replacing(target))
            attempt.callback(self._set_clock, beside, frame.source)
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            writer = cv2.VideoWriter(str(beside), codec, rate, (width, height))
            attempt.callback(writer.release)
            if not writer.isOpened():
                raise InputError(f"{target}: OpenCV cannot write a video at {rate} frames a second")
            self._stack, self._writer = attempt.pop_all(), writer

    def _set_clock(self, beside: Path, source: Source) -> None:
        if self._times:
            sound = source.origin if self._whole and isinstance(source.origin, Path) else None
            try:
                set_clock(beside, self._times, sound)
            except ValueError as error:  # OpenCV does not say when it cannot write
                raise InputError(f"{source.name}: its drawing was not written: {error}") from error
