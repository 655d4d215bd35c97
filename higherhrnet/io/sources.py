"""Lists the images, videos and cameras that a command line names, and reads their frames."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import NoReturn, TextIO

import cv2
import numpy as np

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError
from higherhrnet.io.images import IMAGE_EXTENSIONS, read_image, unreadable_error

VIDEO_EXTENSIONS = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm",
    ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv",
)  # fmt: skip
"""The extensions of files that are read as videos; all other files are read as images."""


@dataclass(frozen=True, slots=True)
class Source:
    """An image file, a video file or a camera; it has not been opened and may be missing."""

    name: str
    """The name, by which outputs are named; unique among the sources that are listed together. It
    is the path relative to the listed folder, or the file name, preceded by parent folders where it
    would not be unique. It has forward slashes, no root and no `..`."""
    origin: Path | int
    """The path of the file, or the number of the camera."""

    @property
    def is_video(self) -> bool:
        """Whether it is a video or a camera."""
        return isinstance(self.origin, int) or self.origin.suffix.lower() in VIDEO_EXTENSIONS


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


def list_sources(sources: Sequence[str], stdin: TextIO) -> list[Source]:
    """Lists the sources that command-line arguments name, in order and each file once.

    A missing or damaged file is listed, too; `read_frames` raises its error. A run over thousands
    of files therefore does not end because of one of them.

    Args:
        sources: files; folders, for all images and videos below them except hidden ones; glob
            patterns (`**` for any number of folders); numbers of cameras; or `-` for a list of
            files on standard input.
        stdin: standard input, with one file per line.

    Raises:
        InputError: a folder, a pattern or standard input names no image or video, or cannot be
            read.
    """
    listed: dict[str | int, Source] = {}
    names: set[str] = set()
    for argument in sources:
        for source in _expand(argument, stdin):
            origin = source.origin
            key = origin if isinstance(origin, int) else os.path.abspath(origin)  # noqa: PTH100 (drops `..`)
            if key not in listed:
                name = unique_name(source.name, str(key), names)
                name = os.fsencode(name).decode("utf-8", "replace")  # names are written to JSON
                names.add(name)
                listed[key] = replace(source, name=name)
    return list(listed.values())


def read_frames(source: Source, every: int = 1) -> Iterator[Frame]:
    """Reads the frames of a source one at a time.

    Args:
        source: an image, video or camera.
        every: the stride: of a video or camera, the first frame and every `every`-th frame after
            it are read.

    Raises:
        InputError: the source cannot be read, or it is a truncated video, after its last frame.
    """
    if every < 1:
        raise InputError(f"--every must be at least 1, not {every}")
    if isinstance(source.origin, Path) and not source.is_video:
        yield Frame(read_image(source.origin), source)
    else:
        yield from _read_video(source, every)


def count_frames(source: Source, every: int = 1) -> int:
    """Returns the number of frames that `read_frames` will yield, by the header; 0 if unknown."""
    if isinstance(source.origin, int):
        return 0
    if not source.is_video:
        return 1
    try:
        with _open_capture(source.origin) as capture:
            return max(0, -(-int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) // every))
    except InputError:
        return 0


def _read_video(source: Source, every: int) -> Iterator[Frame]:
    with _open_capture(source.origin) as capture:
        fps = max(0.0, capture.get(cv2.CAP_PROP_FPS)) or None
        expected = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        start = time.monotonic() if isinstance(source.origin, int) else None
        for index in count():
            if not capture.grab():
                break
            seconds = _time(capture, index, fps) if start is None else time.monotonic() - start
            if index % every:
                continue
            decoded, bgr = capture.retrieve()
            if not decoded:
                break
            image = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
            yield Frame(image, source, index, seconds, fps)
        if index == 0:
            raise _capture_error(source.origin)
        # The frame count of a video with a variable rate is an estimate, but its duration is not.
        reached = max(index, (seconds or 0) * (fps or 0) + 1)
        if start is None and reached < 0.95 * expected - 1:  # frame counts are often inexact
            raise InputError(
                f"{source.origin}: truncated; ends after {index} of its {expected:.0f} frames"
            )


def _time(capture: cv2.VideoCapture, index: int, fps: float | None) -> float | None:
    """Returns the time in seconds of the video's frame that was grabbed last."""
    seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    if seconds > 0 or index == 0:
        return max(0.0, seconds)
    return index / fps if fps else None


@contextmanager
def _open_capture(origin: Path | int) -> Iterator[cv2.VideoCapture]:
    if isinstance(origin, Path):
        try:
            origin.open("rb").close()  # OpenCV does not report why it cannot open a file
        except (OSError, ValueError) as error:
            raise unreadable_error(origin, error) from error
    try:
        capture = cv2.VideoCapture(origin if isinstance(origin, int) else str(origin))
    except (UnicodeError, cv2.error) as error:  # a name that is not UTF-8, a number beyond 32 bits
        raise _capture_error(origin) from error
    try:
        if not capture.isOpened():
            raise _capture_error(origin)
        yield capture
    finally:
        capture.release()


def _capture_error(origin: Path | int) -> InputError:
    if isinstance(origin, int):
        return InputError(
            f"camera {origin} cannot be read; check that it is connected and not in use"
        )
    return InputError(f"{origin}: not a video that OpenCV can read, or truncated")


def _expand(argument: str, stdin: TextIO) -> Iterable[Source]:
    """Lists the sources that one command-line argument names."""
    if argument == "-":
        return _sources_in_list(stdin)
    path = Path(argument)
    try:
        if path.is_dir():
            return _sources_below(path, _files_below(path), f"{argument}: the folder contains")
        if not path.exists():
            if argument.isascii() and argument.isdigit():
                return [Source(f"camera{int(argument)}", int(argument))]
            if re.search(r"[*?[]", argument):
                root, files = _match(path)
                return _sources_below(root, files, f"{argument}: the pattern matches")
    except OSError as error:
        raise unreadable_error(Path(error.filename or argument), error) from error
    return [Source(path.name, path)]


def _sources_in_list(lines: Iterable[str]) -> list[Source]:
    try:
        paths = [Path(line.rstrip("\r\n")) for line in lines if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"standard input must be text with one file per line: {error}") from error
    if not paths:
        raise InputError("standard input lists no file; it must be text with one file per line")
    return [Source(path.name, path) for path in paths]


def _sources_below(root: Path, files: Iterable[Path], message: str) -> list[Source]:
    """Lists the images and videos among files below a folder; 9.jpg precedes 10.jpg."""
    extensions = IMAGE_EXTENSIONS + VIDEO_EXTENSIONS
    sources = [
        Source(path.relative_to(root).as_posix(), path)
        for path in files
        if path.suffix.lower() in extensions and not path.name.startswith(".")
    ]
    if not sources:
        raise InputError(f"{message} no image or video ({' '.join(extensions)})")
    return sorted(sources, key=lambda source: (_natural_key(source.name), source.name))


def _natural_key(name: str) -> list[list[str | int]]:
    """Returns a key that sorts paths by their folders, and the numbers in them by value."""
    parts = (re.split(r"(\d+)", part) for part in name.split("/"))  # text and numbers alternate
    return [[int(piece) if i % 2 else piece for i, piece in enumerate(part)] for part in parts]


def _files_below(folder: Path) -> Iterator[Path]:
    """Yields all files below a folder; follows links to folders, but enters each folder once."""

    def fail(error: OSError) -> NoReturn:
        raise error

    entered = set()
    for parent, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        real = os.path.realpath(parent)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if name[0] != ".")
        yield from (Path(parent, name) for name in files)


def _match(pattern: Path) -> tuple[Path, list[Path]]:
    """Returns the folder from which a glob pattern starts, and the files that match it."""
    parts = [*pattern.parts, "*"] if pattern.name == "**" else [*pattern.parts]
    fixed = next(i for i, part in enumerate(parts) if re.search(r"[*?[]", part))
    root = Path(*parts[:fixed])
    try:
        matches = root.glob(str(Path(*parts[fixed:])))
        visible = (p for p in matches if not any(q[0] == "." for q in p.relative_to(root).parts))
        return root, [path for path in visible if path.is_file()]
    except ValueError as error:
        raise InputError(f"{pattern}: not a valid pattern: {error}") from error


def unique_name(name: str, path: str, taken: set[str]) -> str:
    """Precedes a name by as many parent folders of its absolute path as it needs to be unique."""
    parts = Path(path).parts[1:]
    longer = ("/".join(parts[-n:]) for n in range(name.count("/") + 2, len(parts) + 1))
    return next((n for n in (name, *longer) if n not in taken), name)
