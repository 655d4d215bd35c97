"""Images and folders on any filesystem, addressed by local paths or URIs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from pyarrow import fs

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError, reading, require
from higherhrnet.io.datasets.image_archive import NamedBytes
from higherhrnet.io.images import IMAGE_EXTENSIONS, read_image
from higherhrnet.io.kinds import VIDEO_EXTENSIONS


@dataclass(frozen=True)
class Location:
    """A file or folder on some filesystem."""

    filesystem: fs.FileSystem
    path: str
    """The path within the filesystem."""
    scheme: str
    """The URI prefix, for example `s3://`; empty if local."""

    @property
    def uri(self) -> str:
        """The URI, or the absolute path if local."""
        return self.scheme + self.path

    def images(self) -> Iterator[str]:
        """Yields the paths of all images in the folder and its subfolders, in a reproducible order.

        Hidden files and folders are omitted. For a file, its own path is yielded.

        Raises:
            InputError: a folder cannot be listed.
        """
        if self.filesystem.get_file_info(self.path).is_file:
            yield self.path
            return
        folders, visited = [self.path], set[str]()
        while folders:
            folder = folders.pop()
            real = folder if self.scheme else os.path.realpath(folder)
            if real in visited:  # through a symbolic link
                continue
            visited.add(real)
            entries = [info for info in self._list(folder) if not info.base_name.startswith(".")]
            folders += [e.path for e in reversed(entries) if e.type == fs.FileType.Directory]
            for entry in entries:
                if entry.is_file and _extension(entry.path) in IMAGE_EXTENSIONS:
                    yield entry.path

    def _list(self, folder: str) -> list[fs.FileInfo]:
        try:
            entries = self.filesystem.get_file_info(fs.FileSelector(folder))
            return sorted(entries, key=lambda info: str(info.path))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.scheme}{folder}: cannot be listed: {error}") from error

    def read(self, path: str) -> Image:
        """Reads an image of this filesystem.

        Raises:
            InputError: the file is missing or not an image.
        """
        name = self.scheme + path
        try:
            with self.filesystem.open_input_file(path) as file:
                data = file.read()
        except (OSError, ValueError) as error:
            raise InputError(f"{name}: cannot be read: {error}") from error
        return read_image(NamedBytes(data, name))


@cache
def locate(uri: str) -> Location:
    """Locates a local path or a URI on a filesystem of pyarrow or fsspec.

    Raises:
        InputError: no installed package supports the filesystem.
    """
    scheme, separator, _ = uri.partition("://")
    if not separator:
        return Location(fs.LocalFileSystem(), absolute_uri(uri), "")
    try:
        filesystem, path = fs.FileSystem.from_uri(quote(uri, safe="/:@?=&+,%"))
    except ValueError:  # not a filesystem of pyarrow
        from fsspec.core import url_to_fs

        try:
            fsspec_filesystem, path = url_to_fs(uri)
        except (ValueError, ImportError) as error:
            raise InputError(f"{uri}: unsupported filesystem: {error}") from error
        filesystem = fs.PyFileSystem(fs.FSSpecHandler(fsspec_filesystem))
    except OSError as error:  # for example because Hadoop's library is missing
        reason = str(error).partition("\n")[0]
        raise InputError(f"{uri}: the filesystem cannot be used: {reason}") from error
    local = isinstance(filesystem, fs.LocalFileSystem)
    return Location(filesystem, path.rstrip("/"), "" if local else f"{scheme}://")


def absolute_uri(uri: str) -> str:
    """Returns a URI unchanged, or the absolute path of a local path, for other machines."""
    if "://" in uri:
        return uri
    return Path(os.path.abspath(uri)).as_posix()  # noqa: PTH100 (drops `..`)


def deduplicate(uris: Sequence[str]) -> list[str]:
    """Sorts sources, and omits those that are repeated or inside another source.

    Raises:
        InputError: a source is missing or a video.
    """
    kept: list[str] = []
    last = "\0"
    for folder, uri in sorted((locate(uri).uri.rstrip("/") + "/", uri) for uri in uris):
        location = locate(uri)
        with reading(uri):
            kind = location.filesystem.get_file_info(location.path).type
        require(kind != fs.FileType.NotFound, f"{uri}: no such file or folder")
        require(
            _extension(uri) not in VIDEO_EXTENSIONS,
            f"{uri}: predict-ray processes images only; use predict for videos",
        )
        if not folder.startswith(last):
            kept.append(absolute_uri(uri))
            last = folder
    return kept


def _extension(path: str) -> str:
    return PurePosixPath(path).suffix.lower()
