"""Images, videos, cameras and network addresses, and the frames that are read from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError, require
from higherhrnet.io.addresses import Origin, Url
from higherhrnet.io.images import read_image
from higherhrnet.io.kinds import file_kind

# The modules for videos and downloads are imported by the functions that need them, because most
# runs have only image files, and importing these modules takes 20 ms.
if TYPE_CHECKING:
    from higherhrnet.io.video.video_reader import VideoFrame


@dataclass(frozen=True, slots=True)
class Source:
    """An image, a video or a camera; it has not been opened and may be missing."""

    name: str
    """The name, by which outputs are named; unique among the sources that are listed together. It
    is the path relative to the listed folder, or the file name, preceded by parent folders where it
    would not be unique. It has forward slashes, no root and no `..`."""
    origin: Origin
    """The path of the file, the network address or the number of the camera."""

    @property
    def is_video(self) -> bool:
        """Whether it may have several frames: a video, an animation, a camera or a stream.

        The content of a file decides, and for a network address the extension.
        """
        if isinstance(self.origin, Url):
            return not self.origin.is_still
        return isinstance(self.origin, int) or file_kind(self.origin) != "image"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image of a source: the only one of an image file, one of many of a video or camera."""

    image: Image
    """(H, W, 3) RGB."""
    source: Source
    index: int | None = None
    """The index of the frame in the video or camera stream, from 0; None for an image file.
    Skipped frames are counted."""
    time: float | None = None
    """Seconds since the start of the video or camera stream; None if unknown."""
    fps: float | None = None
    """The frame rate of the video or camera, including skipped frames; None if unknown."""

    def without_pixels(self) -> Frame:
        """Returns the frame with a black image of the same size that needs no memory."""
        return replace(self, image=np.broadcast_to(np.uint8(0), self.image.shape))


def read_frames(source: Source, every: int = 1) -> Iterator[Frame]:
    """Reads the frames of a source one at a time.

    Args:
        source: an image, video or camera.
        every: the stride: of a video or camera, the first frame and every `every`-th frame after
            it are read.

    Raises:
        InputError: the source cannot be read, or it is a truncated video, after its last frame.
    """
    require(every >= 1, f"--every must be at least 1, not {every}")
    for frame in _read(source.origin, every):
        if isinstance(frame, np.ndarray):
            yield Frame(frame, source)
        else:
            yield Frame(frame.image, source, frame.index, frame.time, frame.fps)


def count_frames(source: Source, every: int = 1) -> int:
    """Returns the number of frames that `read_frames` will yield, by the header; 0 if unknown."""
    if not source.is_video:
        return 1
    if isinstance(source.origin, Path) and file_kind(source.origin) == "video":
        from higherhrnet.io.video.video_reader import count_video_frames

        return -(-count_video_frames(source.origin) // every)
    return 0


def _read(origin: Origin, every: int) -> Iterator[Image | VideoFrame]:
    """Reads an image, or the frames of a video."""
    if isinstance(origin, int):
        yield from _read_video(origin, every)
    elif isinstance(origin, Path):
        yield from _read_file(origin, every)
    else:
        yield from _read_url(origin, every)


def _read_video(origin: Origin, every: int) -> Iterator[VideoFrame]:
    from higherhrnet.io.video.video_reader import read_video

    return read_video(origin, every)


def _read_file(path: Path, every: int) -> Iterator[Image | VideoFrame]:
    kind = file_kind(path)
    if kind == "image":
        yield read_image(path)
    elif kind == "video":
        yield from _read_video(path, every)
    else:
        from higherhrnet.io.video.animation import read_animation

        yield from read_animation(path, every)


def _read_url(url: Url, every: int) -> Iterator[Image | VideoFrame]:
    from higherhrnet.io.remote import download

    with TemporaryDirectory(prefix="higherhrnet-", ignore_cleanup_errors=True) as folder:
        path = download(url, Path(folder)) if url.is_http else None
        if url.is_still and (path is None or file_kind(path) != "image"):
            raise InputError(f"{url}: is not an image, although its extension is that of one")
        if path is None:
            yield from _read_video(url, every)
            return
        try:
            yield from _read_file(path, every)
        except InputError as error:
            raise InputError(str(error).replace(str(path), str(url))) from error
