"""What the command line names (files, folders, patterns, lists, cameras) → frames, one by one."""

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
from higherhrnet.io.images import read_image, unreadable_error

IMAGE_EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".ppm", ".pgm",
)  # fmt: skip
"""What folders and patterns are searched for; a file named outright may have any other."""

VIDEO_EXTENSIONS = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm",
    ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv",
)  # fmt: skip
"""By which a video is told from a picture."""


@dataclass(frozen=True, slots=True)
class Source:
    """A picture, a video or a camera: not yet opened, perhaps not even there."""

    name: str
    """Unique among those listed together: below a folder the path from there, of a single file its
    last part, longer where that is taken. Has forward slashes, no root and no `..`, so that outputs
    named by it stay in their folder."""
    origin: Path | int
    """The file, or the camera's number."""

    @property
    def is_video(self) -> bool:
        """Whether it is a video or a camera."""
        return isinstance(self.origin, int) or self.origin.suffix.lower() in VIDEO_EXTENSIONS


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image to find people in; a picture has only this one, a video or camera many."""

    image: Image
    """(H, W, 3) uint8 RGB."""
    source: Source
    index: int | None = None
    """Which frame of a video or camera, from 0, those left out counted."""
    time: float | None = None
    """Seconds from the start of a video or camera to this frame; None if a video does not tell."""
    fps: float | None = None
    """Frames a second of a video or camera, before any are left out; None if unknown."""


def list_sources(sources: Sequence[str], stdin: TextIO) -> list[Source]:
    """All that is to be read, in order, each file once.

    A missing or broken file is listed too, and `read_frames` says so in its turn: one such file
    does not end a run over thousands.

    Args:
        sources: each a file, a folder (with all in it but what is hidden), a pattern (`**` for any
            depth), a camera's number where no file has that name, or `-`.
        stdin: has a file a line, read where a source is `-`.

    Raises:
        InputError: a folder, a pattern or standard input gives nothing or cannot be read.
    """
    listed: dict[str | int, Source] = {}
    names: set[str] = set()
    for given in sources:
        for source in _expand(given, stdin):
            origin = source.origin
            key = origin if isinstance(origin, int) else os.path.abspath(origin)  # noqa: PTH100 (drops `..`)
            if key not in listed:
                name = _unique(source.name, str(key), names)
                name = os.fsencode(name).decode("utf-8", "replace")  # names go into JSON
                names.add(name)
                listed[key] = replace(source, name=name)
    return list(listed.values())


def read_frames(source: Source, every: int = 1) -> Iterator[Frame]:
    """The source's frames, one at a time: the first and each `every`-th after it.

    Args:
        source: what to read.
        every: of a video or camera, only each so many-th frame.

    Raises:
        InputError: the source cannot be read, or is a video that ends well before it should.
    """
    if every < 1:
        raise InputError(f"--every must be at least 1, not {every}")
    if isinstance(source.origin, Path) and not source.is_video:
        yield Frame(read_image(source.origin), source)
    else:
        yield from _read_moving(source, every)


def count_frames(source: Source, every: int = 1) -> int:
    """How many frames `read_frames` will give, as a video's header tells; 0 where nobody knows."""
    if isinstance(source.origin, int):
        return 0
    if not source.is_video:
        return 1
    try:
        with _opened(source.origin) as capture:
            return max(0, -(-int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) // every))
    except InputError:
        return 0


def _read_moving(source: Source, every: int) -> Iterator[Frame]:
    with _opened(source.origin) as capture:
        fps = max(0.0, capture.get(cv2.CAP_PROP_FPS)) or None
        expected = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        clock = time.monotonic() if isinstance(source.origin, int) else None
        for index in count():
            if not capture.grab():
                break
            seconds = _time(capture, index, fps) if clock is None else time.monotonic() - clock
            if index % every:
                continue
            complete, bgr = capture.retrieve()
            if not complete:
                break
            image = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
            yield Frame(image, source, index, seconds, fps)
        if index == 0:
            raise _no_video(source.origin)
        # Of a video with a variable rate the number is a guess, but where it ends is not.
        reached = max(index, (seconds or 0) * (fps or 0) + 1)
        if clock is None and reached < 0.95 * expected - 1:  # headers are often a little wrong
            raise InputError(f"{source.origin}: ends after {index} of its {expected:.0f} frames")


def _time(capture: cv2.VideoCapture, index: int, fps: float | None) -> float | None:
    """Seconds into the video at which the frame just grabbed is shown."""
    seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    if seconds > 0 or index == 0:
        return max(0.0, seconds)
    return index / fps if fps else None


@contextmanager
def _opened(origin: Path | int) -> Iterator[cv2.VideoCapture]:
    if isinstance(origin, Path):
        try:
            origin.open("rb").close()  # OpenCV does not say why it cannot
        except (OSError, ValueError) as error:
            raise unreadable_error(origin, error) from error
    try:
        capture = cv2.VideoCapture(origin if isinstance(origin, int) else str(origin))
    except UnicodeError as error:
        raise InputError(f"{origin!r}: OpenCV opens no video of such a name") from error
    try:
        if not capture.isOpened():
            raise _no_video(origin)
        yield capture
    finally:
        capture.release()


def _no_video(origin: Path | int) -> InputError:
    if isinstance(origin, int):
        return InputError(f"camera {origin} gives no picture; is it there, and free?")
    return InputError(f"{origin}: not a video that can be read, or cut short")


def _expand(given: str, stdin: TextIO) -> Iterable[Source]:
    """What one argument stands for."""
    if given == "-":
        return _from_list(stdin)
    path = Path(given)
    try:
        if path.is_dir():
            return _from_tree(path, _walk(path), f"{given}: the folder has")
        if not path.exists():
            if given.isascii() and given.isdigit():
                return [Source(f"camera{int(given)}", int(given))]
            if re.search(r"[*?[]", given):
                return _from_tree(*_match(path), f"{given}: the pattern finds")
    except OSError as error:
        raise unreadable_error(Path(error.filename or given), error) from error
    return [Source(path.name, path)]


def _from_list(lines: Iterable[str]) -> list[Source]:
    try:
        paths = [Path(line.rstrip("\r\n")) for line in lines if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"standard input must be text, one file a line: {error}") from error
    if not paths:
        raise InputError("standard input lists no file; give one a line")
    return [Source(path.name, path) for path in paths]


def _from_tree(root: Path, files: Iterable[Path], finding: str) -> list[Source]:
    """The pictures and videos among the files below `root`, `frame9` before `frame10`."""
    extensions = IMAGE_EXTENSIONS + VIDEO_EXTENSIONS
    found = [
        (path.relative_to(root), path)
        for path in files
        if path.suffix.lower() in extensions and not path.name.startswith(".")
    ]
    if not found:
        raise InputError(f"{finding} no picture or video ({' '.join(extensions)})")
    return [Source(name.as_posix(), path) for name, path in sorted(sorted(found), key=_natural)]


def _natural(found: tuple[Path, Path]) -> list[list[str | int]]:
    """What sorts paths as people do: numbers by their value."""
    parts = (re.split(r"(\d+)", part) for part in found[0].parts)  # text and number alternate
    return [[int(piece) if i % 2 else piece for i, piece in enumerate(part)] for part in parts]


def _walk(folder: Path) -> Iterator[Path]:
    """All files below a folder; links are followed, but no folder is entered twice."""

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
    """The folder that a pattern starts from, and the files that match it."""
    parts = [*pattern.parts, "*"] if pattern.name == "**" else [*pattern.parts]
    fixed = next(i for i, part in enumerate(parts) if re.search(r"[*?[]", part))
    root = Path(*parts[:fixed])
    try:
        matches = root.glob(str(Path(*parts[fixed:])))
        visible = (p for p in matches if not any(q[0] == "." for q in p.relative_to(root).parts))
        return root, [path for path in visible if path.is_file()]
    except ValueError as error:
        raise InputError(f"{pattern}: not a pattern: {error}") from error


def _unique(name: str, path: str, taken: set[str]) -> str:
    """The name, led by as many of the path's folders as make it differ from those taken."""
    parts = Path(path).parts[1:]
    longer = ("/".join(parts[-n:]) for n in range(name.count("/") + 2, len(parts) + 1))
    return next((n for n in (name, *longer) if n not in taken), name)
