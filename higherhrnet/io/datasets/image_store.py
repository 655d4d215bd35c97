"""Reads the images of a dataset from a folder or a .zip file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError, reading, require
from higherhrnet.io.datasets.image_archive import ImageArchive, NamedBytes
from higherhrnet.io.datasets.image_names import NameIndex
from higherhrnet.io.images import read_image

Shape = tuple[int, int]
"""Height and width in pixels."""

_MAX_FILES = 5_000_000
"""The maximum number of files in a folder that is searched for a name."""
_LOCK = Lock()
"""Held while a folder is listed; not an attribute, because stores are pickled."""


class ImageStore:
    """A folder or .zip file of images; it can be shared between threads and processes.

    A name is tried as it is. If there is no such file, the folder is listed once, and the file is
    found by the end of its path, as `NameIndex` describes.

    Args:
        location: the folder or .zip file.
        names: the file names of all images of the dataset; a file that matches two of them is not
            used for either.

    Raises:
        InputError: the location does not exist, or is a .zip file that cannot be read.
    """

    def __init__(self, location: Path, names: Sequence[str] = ()) -> None:
        self.location = location
        with reading(location):
            is_folder = location.is_dir()
        self._archive = None if is_folder else ImageArchive(location)
        self._names = names
        self._index: NameIndex | None = None

    def read(self, file_name: str, shape: Shape | None = None) -> Image:
        """Reads an image as (H, W, 3) RGB.

        The stored pixels are returned, without the rotation of the EXIF orientation. Only if the
        rotated image has the annotated size and the stored one does not, the image is rotated.

        Args:
            file_name: the path of the image in the folder or .zip file, as annotated. The folder
                that contains all images of a .zip file may be omitted.
            shape: the annotated height and width; None if they are not annotated.

        Raises:
            InputError: the image is missing or ambiguous, cannot be read, or does not have the
                annotated size.
        """
        source = self._open(file_name)
        image = read_image(source, respect_exif=False)
        if shape is None or image.shape[:2] == shape:
            return image
        if image.shape[1::-1] == shape:
            rotated = read_image(_rewound(source))
            if rotated.shape[:2] == shape:
                return rotated
        raise InputError(
            f"{self.location}/{file_name}: has {image.shape[1]}×{image.shape[0]} pixels, but is "
            f"annotated as {shape[1]}×{shape[0]}; higherhrnet check-data lists all such images"
        )

    def read_rotated(self, file_name: str) -> Image | None:
        """Reads an image as its EXIF orientation requires; returns None if it has none.

        Raises:
            InputError: the image is missing or ambiguous, or cannot be read.
        """
        source = self._open(file_name)
        if isinstance(source, Path):
            with reading(source):
                source = NamedBytes(source.read_bytes(), str(source))
        if not _may_be_rotated(source.getvalue()):
            return None
        rotated = read_image(source)
        stored = read_image(_rewound(source), respect_exif=False)
        return None if np.array_equal(stored, rotated) else rotated

    def contains(self, file_name: str, exact: bool = False) -> bool:
        """Returns whether there is a file of a name.

        Args:
            file_name: the path of the image, as annotated.
            exact: whether to accept only a file with exactly this path.
        """
        try:
            return bool(self._exact(file_name) or (not exact and self._indexed(file_name)))
        except InputError:
            return False

    def _open(self, file_name: str) -> Path | NamedBytes:
        path = self._exact(file_name) or self._indexed(file_name)
        if self._archive:
            return self._archive.open(path, f"{self.location}/{file_name}")
        return self.location / path

    def _exact(self, file_name: str) -> str | None:
        """Returns the path of a file that needs no search; never one outside of the folder."""
        if self._archive:
            return self._archive.find(file_name)
        # `Path.resolve` would follow the symbolic links in a folder.
        root = os.path.abspath(self.location).rstrip(os.sep) + os.sep  # noqa: PTH100
        path = os.path.abspath(self.location / file_name)  # noqa: PTH100
        with reading(f"{self.location}/{file_name}"):
            return path[len(root) :] if path.startswith(root) and Path(path).is_file() else None

    def _indexed(self, file_name: str) -> str:
        """Returns the path of the file that a name denotes, by the paths of all files."""
        with _LOCK:
            if self._index is None:
                files = self._archive.files if self._archive else _list_files(self.location)
                self._index = NameIndex(self.location, files, self._names)
        return self._index.find(file_name)


def annotated_shape(image: Mapping[str, Any]) -> Shape | None:
    """Returns the height and width in an image entry of a COCO file; None if either is missing."""
    if image.get("height") and image.get("width"):
        return int(image["height"]), int(image["width"])
    return None


def _rewound(source: Path | NamedBytes) -> Path | NamedBytes:
    if isinstance(source, NamedBytes):
        source.seek(0)
    return source


def _may_be_rotated(data: bytes) -> bool:
    """Returns whether an image file contains EXIF data, or is of a format with other rotations."""
    if data[:4] in (b"II*\0", b"MM\0*") or data[4:8] == b"ftyp":  # TIFF, HEIC and AVIF
        return True
    return any(mark in data for mark in (b"Exif\0", b"eXIf", b"EXIF"))


def _list_files(folder: Path) -> Iterator[str]:
    """Yields the paths of the files in a folder and its subfolders, except for hidden ones."""
    visited, count = set[str](), 0
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:  # through a symbolic link
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if name[0] not in ".@" and name != "__MACOSX")
        count += len(files)
        require(
            count <= _MAX_FILES,
            f"{folder}: more than {_MAX_FILES:,} files; name the folder that contains the images",
        )
        prefix = Path(parent).relative_to(folder).as_posix()
        yield from (f"{prefix}/{name}" if prefix != "." else name for name in files)
