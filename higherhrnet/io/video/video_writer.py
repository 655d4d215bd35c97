"""Writes drawn videos with the frame times and the audio of their sources."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import cv2

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError
from higherhrnet.io.atomic import atomic_path
from higherhrnet.io.sources import Frame, Source
from higherhrnet.io.video.capture import DEFAULT_FPS


def timestamp(frame: Frame) -> float:
    """Returns the time of a video's frame in seconds, from the frame rate if it is unknown."""
    if frame.time is not None:
        return frame.time
    return (frame.index or 0) / (frame.fps or DEFAULT_FPS)


class VideoWriter:
    """Writes the drawn frames of one video after the other.

    Each video is an MP4 file with upright frames, the frame times of its source and, if the source
    is an MP4 or MOV file, its audio. The last column or row of an odd size is dropped, because the
    codec requires even sizes. A video that cannot be written does not affect the videos after it.
    The writer is a context manager; a video that is still open on exit is kept up to its last
    frame.

    Args:
        targets: for each source, the path of its outputs without suffix; `_poses.mp4` is appended.
        every: the stride at which frames are taken from the source.
        on_finished: called with each source whose video was written completely.
        on_error: called with the error of each video that could not be written.
    """

    def __init__(
        self,
        targets: Mapping[Source, Path],
        every: int,
        on_finished: Callable[[Source], None],
        on_error: Callable[[InputError], None],
    ) -> None:
        self._targets, self._every = targets, every
        self._on_finished, self._on_error = on_finished, on_error
        self._source: Source | None = None
        self._complete = True
        self._size: tuple[int, int] | None = None
        self._writer: cv2.VideoWriter | None = None
        self._times: list[float] = []
        self._stack = ExitStack()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._complete = False
        self.close()

    def add(self, frame: Frame, drawn: Image | None) -> None:
        """Adds the next frame, of the same video or of another source.

        Args:
            frame: the frame of the source; images are ignored.
            drawn: the frame with the poses drawn; None to write no video.
        """
        self._switch_to(frame.source)
        if frame.index is None or drawn is None:
            return
        if self._size is None:
            self._size = drawn.shape[1], drawn.shape[0]
            self._open(frame, self._size)
        if self._writer is not None:
            bgr = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
            self._writer.write(cv2.resize(bgr, self._size))  # it drops frames of another size
            self._times.append(timestamp(frame))

    def mark_incomplete(self, source: Source) -> None:
        """Records that a frame of a source, or its end, could not be read.

        Its video is written without that frame and without audio, and is not reported as finished.
        """
        self._switch_to(source)
        self._complete = False

    def close(self) -> None:
        """Finishes the current video, if there is one."""
        self._switch_to(None)

    def _switch_to(self, source: Source | None) -> None:
        if source is self._source:
            return
        try:
            self._stack.close()
        except InputError as error:
            self._fail(error)
        previous, complete = self._source, self._complete
        self._source, self._complete = source, True
        self._size, self._writer, self._times = None, None, []
        if previous is not None and previous.is_video and complete:
            self._on_finished(previous)

    def _fail(self, error: InputError) -> None:
        self._complete = False
        self._on_error(error)

    def _open(self, frame: Frame, size: tuple[int, int]) -> None:
        target = self._targets[frame.source]
        target = target.with_name(f"{target.name}_poses.mp4")
        # MPEG-4 limits the time base to 65,535, so not every frame rate is possible.
        fps = min(max(round((frame.fps or DEFAULT_FPS) / self._every, 2), 1.0), 1000.0)
        try:
            with ExitStack() as attempt:
                temporary = attempt.enter_context(atomic_path(target))
                attempt.callback(self._set_times, temporary, frame.source)
                codec = cv2.VideoWriter.fourcc(*"mp4v")
                writer = cv2.VideoWriter(str(temporary), codec, fps, size)
                attempt.callback(writer.release)
                if not writer.isOpened():
                    raise InputError(f"{target}: OpenCV cannot write a video at {fps} frames/s")
                self._stack, self._writer = attempt.pop_all(), writer
        except InputError as error:
            self._fail(error)

    def _set_times(self, temporary: Path, source: Source) -> None:
        from higherhrnet.io.video.mp4 import rewrite_timing  # not needed for images

        if self._times:
            audio = source.origin if self._complete and isinstance(source.origin, Path) else None
            try:
                rewrite_timing(temporary, self._times, audio)
            except (ValueError, struct.error) as error:  # OpenCV reports no errors of writing
                raise InputError(
                    f"{source.name}: the video with the poses was not written: {error}"
                ) from error
