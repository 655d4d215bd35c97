"""Paths and URIs → files on whatever filesystem they are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from pyarrow import fs

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError, require
from higherhrnet.io.image_store import NamedBytes
from higherhrnet.io.images import read_image
from higherhrnet.io.sources import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS


@dataclass(frozen=True)
class Location:
    """A file or folder on some filesystem."""

    files: fs.FileSystem
    path: str
    """As the filesystem names it."""
    scheme: str
    """What leads a path to make a name of it: `s3://` and so on; nothing for a local one."""

    def pictures(self) -> Iterator[str]:
        """The paths of all pictures below, but for what is hidden, in an order that stays.

        Raises:
            InputError: a folder cannot be listed.
        """
        if self.files.get_file_info(self.path).is_file:
            yield self.path
            return
        folders, entered = [self.path], set[str]()
        while folders:
            folder = folders.pop()
            real = folder if self.scheme else os.path.realpath(folder)
            if real in entered:  # a link led back
                continue
            entered.add(real)
            listed = [info for info in self._listed(folder) if not info.base_name.startswith(".")]
            folders += [i.path for i in reversed(listed) if i.type == fs.FileType.Directory]
            for info in listed:
                if info.is_file and _suffix(info.path) in IMAGE_EXTENSIONS:
                    yield info.path

    def _listed(self, folder: str) -> list[fs.FileInfo]:
        try:
            listed = self.files.get_file_info(fs.FileSelector(folder))
            return sorted(listed, key=lambda info: str(info.path))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.scheme}{folder}: cannot be listed: {error}") from error

    def read(self, path: str) -> Image:
        """A picture of this filesystem as (H, W, 3) RGB.

        Raises:
            InputError: it is not there, or not a picture.
        """
        name = self.scheme + path
        try:
            with self.files.open_input_file(path) as file:
                data = file.read()
        except (OSError, ValueError) as error:
            raise InputError(f"{name}: cannot be read: {error}") from error
        return read_image(NamedBytes(data, name))


@cache
def location(uri: str) -> Location:
    """Where a local path or a URI leads, on pyarrow's filesystems or those of fsspec.

    Raises:
        InputError: nothing that is installed knows such a filesystem.
    """
    scheme, separator, _ = uri.partition("://")
    if not separator:
        return Location(fs.LocalFileSystem(), absolute(uri), "")
    try:
        files, path = fs.FileSystem.from_uri(quote(uri, safe="/:@?=&+,%"))
    except ValueError:  # none of pyarrow's
        from fsspec.core import url_to_fs

        try:
            other, path = url_to_fs(uri)
        except (ValueError, ImportError) as error:
            raise InputError(f"{uri}: no filesystem for it: {error}") from error
        files = fs.PyFileSystem(fs.FSSpecHandler(other))
    except OSError as error:  # Hadoop's library is missing, say
        reason = str(error).partition("\n")[0]
        raise InputError(f"{uri}: its filesystem cannot be used: {reason}") from error
    local = isinstance(files, fs.LocalFileSystem)
    return Location(files, path.rstrip("/"), "" if local else f"{scheme}://")


def absolute(uri: str) -> str:
    """The same on any machine: a URI as it is, a path from the root."""
    if "://" in uri:
        return uri
    return Path(os.path.abspath(uri)).as_posix()  # noqa: PTH100 (drops `..`)


def deduplicate(uris: Sequence[str]) -> list[str]:
    """What was named, without what is named twice or lies in another folder that is named.

    Raises:
        InputError: something is not there, or is a video.
    """
    kept: list[str] = []
    last = "\0"
    named = ((f"{(at := location(uri)).scheme}{at.path}".rstrip("/") + "/", uri) for uri in uris)
    for full, uri in sorted(named):
        kind = location(uri).files.get_file_info(location(uri).path).type
        require(kind != fs.FileType.NotFound, f"{uri}: no such file or folder")
        require(_suffix(uri) not in VIDEO_EXTENSIONS, f"{uri}: --ray looks at pictures, not videos")
        if not full.startswith(last):
            kept.append(absolute(uri))
            last = full
    return kept


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()
