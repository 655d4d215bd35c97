"""Lists the images, videos, cameras and network addresses that a command line names."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import chain, count
from mimetypes import guess_type
from pathlib import Path, PurePosixPath
from typing import NoReturn, TextIO
from unicodedata import normalize

from higherhrnet.errors import InputError, require
from higherhrnet.io.addresses import Url, parse_url
from higherhrnet.io.images import IMAGE_EXTENSIONS, unreadable_error
from higherhrnet.io.kinds import VIDEO_EXTENSIONS, known_kind
from higherhrnet.io.sources import Source
from higherhrnet.messages import counted, one_line

_MAX_NAME_BYTES = 200
"""Number of bytes of a file name to which outputs append up to 28; file systems allow 255."""


def list_sources(sources: Sequence[str], stdin: TextIO) -> list[Source]:
    """Lists the sources that command-line arguments name, in order and each file once.

    A missing or damaged file is listed, too; `read_frames` raises its error. A run over thousands
    of files therefore does not end because of one of them. For each folder or pattern with other
    files, one line with their number is printed to standard error.

    Args:
        sources: files; folders, for all images and videos below them except hidden ones; glob
            patterns (`**` for any number of folders); network addresses; numbers of cameras; or `-`
            for a list of files and network addresses on standard input.
        stdin: standard input, with one file per line.

    Raises:
        InputError: a folder, a pattern or standard input names no image or video, or cannot be
            read, or a network address is invalid.
    """
    listed: dict[str | int, Source] = {}
    names: set[str] = set()
    for argument in sources:
        for source in _expand(argument, stdin):
            key, path = _key_and_path(source)
            if key not in listed:
                name = os.fsencode(source.name).decode("utf-8", "replace")  # for JSON
                name = unique_name(name, path, names)
                names.add(name_key(name))
                listed[key] = replace(source, name=name)
    return list(listed.values())


def _key_and_path(source: Source) -> tuple[str | int, str]:
    """Returns what identifies a source, and the path by which it can be named."""
    if isinstance(source.origin, int):
        return source.origin, ""
    if isinstance(source.origin, Url):
        return source.origin.address, f"/{source.origin.file_name}"
    try:
        path = os.path.abspath(source.origin)  # noqa: PTH100 (drops `..`)
    except OSError as error:
        raise InputError(
            f"{source.origin}: cannot be found, since the current folder has been deleted; change "
            "to another folder"
        ) from error
    return path, os.fsencode(path).decode("utf-8", "replace")


def _expand(argument: str, stdin: TextIO) -> Iterable[Source]:
    """Lists the sources that one command-line argument names."""
    require(argument != "", "an empty name is no file or folder; . is the current folder")
    if argument == "-":
        return _sources_in_list(stdin)
    path = Path(argument)
    try:
        if path.is_dir():
            return _sources_below(path, _files_below(path), f"{argument}: the folder")
        if not path.exists():
            if argument.isascii() and argument.isdigit():
                return [Source(f"camera{int(argument)}", int(argument))]
            if re.search(r"[*?[]", argument) and not parse_url(argument):
                root, files = _match(path)
                return _sources_below(root, files, f"{argument}: the pattern")
    except OSError as error:
        raise unreadable_error(Path(error.filename or argument), error) from error
    return [_source(argument)]


def _source(argument: str) -> Source:
    """Returns the source that a path or a network address names."""
    if url := parse_url(argument):
        return Source(url.file_name.rpartition("/")[2], url)
    path = Path(argument)
    return Source(path.name, path)


def _sources_in_list(lines: Iterable[str]) -> list[Source]:
    try:
        names = [line.rstrip("\r\n") for line in lines if line.strip("\ufeff \t\r\n")]
    except UnicodeDecodeError as error:
        raise InputError(
            f"standard input must be text with one file per line, encoded as UTF-8: {error}"
        ) from error
    if not names:
        raise InputError("standard input lists no file; it must be text with one file per line")
    names[0] = names[0].removeprefix("\ufeff")  # the byte order mark that Windows programs write
    return [_source(name) for name in names]


def _sources_below(root: Path, files: Iterable[Path], label: str) -> list[Source]:
    """Lists the images and videos among files below a folder; 9.jpg precedes 10.jpg."""
    sources, skipped = list[Source](), Counter[str]()
    for path in files:
        if path.name.startswith("."):
            continue
        if _is_image_or_video(path):
            sources.append(Source(path.relative_to(root).as_posix(), path))
        else:
            skipped[path.suffix.lower() or "without extension"] += 1
    if not sources:
        verb = "contains" if label.endswith("folder") else "matches"
        extensions = " ".join(IMAGE_EXTENSIONS + VIDEO_EXTENSIONS)
        raise InputError(f"{label} {verb} no image or video ({extensions})")
    if skipped:
        name = one_line(label.partition(": the ")[0])
        print(f"{name}: skipped {_describe(skipped)}", file=sys.stderr)
    return sorted(sources, key=lambda source: (_natural_key(source.name), source.name))


def _describe(skipped: Counter[str]) -> str:
    """Describes the files that were skipped, by their extensions."""
    most = skipped.most_common(5)
    kinds = [f"{count} {extension}" for extension, count in most]
    if others := skipped.total() - sum(count for _, count in most):
        kinds.append(f"{others} others")
    files = counted(skipped.total(), "file that is", "files that are")
    return f"{files} neither image nor video ({', '.join(kinds)})"


def _is_image_or_video(path: Path) -> bool:
    """Returns whether a file has an extension of images or videos, or content of one."""
    if path.suffix.lower() in IMAGE_EXTENSIONS + VIDEO_EXTENSIONS:
        return not path.is_fifo()  # to read a pipe would last until another process writes to it
    is_sound = (guess_type(path.name)[0] or "").startswith("audio/")
    return not is_sound and known_kind(path) is not None


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


def name_key(name: str) -> str:
    """Returns a key that is equal for names of one file on a file system that ignores case.

    File systems of Windows and macOS do, and that of macOS also decomposes accented letters.
    """
    return normalize("NFC", name).casefold()


def unique_name(name: str, path: str, taken: set[str]) -> str:
    """Precedes the name by as many parent folders of the path as it needs to be unique.

    Args:
        name: the name.
        path: the path of the file.
        taken: the keys (`name_key`) of the names that are in use.
    """
    parts = Path(path).parts[1:]
    longer = ("/".join(parts[-n:]) for n in range(name.count("/") + 2, len(parts) + 1))
    file = PurePosixPath(longer_name := "/".join(parts) or name)
    numbered = (longer_name.removesuffix(file.suffix) + f"-{n}{file.suffix}" for n in count(2))
    return next(n for n in chain((name, *longer), numbered) if name_key(n) not in taken)


def output_names(names: Iterable[str]) -> dict[str, str]:
    """Returns for each source's name the prefix of the names of its outputs.

    The suffix is omitted unless the outputs of a.jpg and a.png, or of a.jpg and a.jpg.png, would
    overwrite each other, also on file systems that ignore case. A file name of more than 200 bytes
    is shortened, since `_poses.jpg` and the like are appended.
    """
    stems = {name: _without_suffix(name) for name in names}
    counts = Counter(map(name_key, stems.values()))
    counts.update(map(name_key, stems))
    return {
        name: _shortened(stem if counts[name_key(stem)] == 1 else name)
        for name, stem in stems.items()
    }


def _without_suffix(name: str) -> str:
    """Removes the suffix of a file name unless only dots, the name of a folder, would be left."""
    path = PurePosixPath(name)
    return name.removesuffix(path.suffix) if path.stem.strip(".") else name


def _shortened(name: str) -> str:
    """Replaces the end of a file name that is too long by a hash of the whole name."""
    folder, slash, file = name.rpartition("/")
    data = file.encode("utf-8", "replace")
    if len(data) <= _MAX_NAME_BYTES:
        return name
    start = data[: _MAX_NAME_BYTES - 17].decode("utf-8", "ignore")
    return f"{folder}{slash}{start}-{sha256(data).hexdigest()[:16]}"
