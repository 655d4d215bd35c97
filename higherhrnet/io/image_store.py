"""Reads the images of a dataset from a folder or a .zip file."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path, PurePath, PurePosixPath
from posixpath import commonpath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError, reading
from higherhrnet.io.images import IMAGE_EXTENSIONS, read_image, unreadable_error


class ImageStore:
    """A folder or .zip file of images; it can be shared between threads and processes.

    Args:
        location: the folder or .zip file.

    Raises:
        InputError: the location does not exist, or is a .zip file that cannot be read.
    """

    def __init__(self, location: Path) -> None:
        self.location = location
        with reading(location):
            is_folder = location.is_dir()
        self._archive = None if is_folder else _Archive(location)

    def read(self, file_name: str) -> Image:
        """Reads an image as (H, W, 3) RGB.

        EXIF orientation is ignored, because annotations refer to the stored pixels.

        Args:
            file_name: the path of the image in the folder or .zip file. The folder that contains
                all images of a .zip file may be omitted.

        Raises:
            InputError: the image is missing or cannot be read.
        """
        if self._archive:
            return read_image(self._archive.open(file_name), respect_exif=False)
        return read_image(self.location / file_name, respect_exif=False)


class NamedBytes(BytesIO):
    """The bytes of a file, with the name that error messages use."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


class _Archive:
    """A .zip file whose directory is read once.

    Unlike `ZipFile`, it needs little memory per file and has no open file, so that it can be
    pickled and shared between threads and processes.
    """

    def __init__(self, location: Path) -> None:
        self.location = location
        files = self._files()
        if any(f.flag_bits & 1 or f.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for f in files):
            raise InputError(
                f"{location}: the .zip file is encrypted or uses a compression other than deflate; "
                "create it again with deflate and without encryption"
            )
        self._rows = {file.filename: row for row, file in enumerate(files)}
        try:
            entries = [(f.header_offset, f.compress_size, f.compress_type, f.CRC) for f in files]
            self._entries = np.array(entries, np.int64).reshape(-1, 4)
            images = [path for path in map(PurePosixPath, self._rows) if _is_image(path)]
            self._root = commonpath([path.parent for path in images]) if images else ""
        except (OverflowError, ValueError) as error:
            raise InputError(f"{location}: damaged .zip file: {error}") from error

    def open(self, file_name: str) -> NamedBytes:
        """Reads a file by its name relative to the archive or to the folder of all its images."""
        name = f"{self.location}/{file_name}"
        row = self._rows.get(file_name, self._rows.get(f"{self._root}/{file_name}"))
        if row is None:
            raise InputError(f"{name}: the .zip file contains no such file")
        offset, size, compression, checksum = self._entries[row].tolist()
        try:
            with self.location.open("rb") as file:  # opened here, since its position is not shared
                file.seek(offset + 26)
                name_length, extra_length = struct.unpack("<HH", file.read(4))
                file.seek(name_length + extra_length, 1)
                data = file.read(size)
            if compression == ZIP_DEFLATED:
                data = zlib.decompress(data, -zlib.MAX_WBITS)
        except OSError as error:
            raise unreadable_error(Path(name), error) from error
        except (zlib.error, struct.error, ValueError, OverflowError, MemoryError) as error:
            raise InputError(f"{name}: damaged in the .zip file: {error}") from error
        if zlib.crc32(data) != checksum:
            raise InputError(f"{name}: damaged in the .zip file; download or create it again")
        return NamedBytes(data, name)

    def _files(self) -> list[ZipInfo]:
        """Lists the files of the archive, without folders and the metadata that macOS adds."""
        try:
            with ZipFile(self.location) as archive:
                return [
                    entry
                    for entry in archive.infolist()
                    if not entry.filename.endswith("/")
                    and not entry.filename.startswith("__MACOSX/")
                ]
        except FileNotFoundError as error:
            raise InputError(f"{self.location}: no such folder or .zip file of images") from error
        # zipfile raises NotImplementedError for compression methods that it does not support.
        except (OSError, BadZipFile, NotImplementedError, ValueError) as error:
            raise InputError(f"{self.location}: cannot be read as a .zip file: {error}") from error


def find_images(annotations: Path) -> Path:
    """Finds the images of an annotation file where published datasets have them.

    The images of `annotations/person_keypoints_train2017.json` are in `train2017` or
    `images/train2017`; those of `json/crowdpose_train.json` and `annotations.json` are in `images`.
    Instead of the folder there may be a .zip file of that name.

    Args:
        annotations: the path of the annotation file.

    Returns:
        The folder or .zip file.

    Raises:
        InputError: the images are in none of these places.
    """
    split = annotations.stem.rpartition("_")[2]
    names = ("images",) if split == "annotations" else (split, f"images/{split}", "images")
    # The outer folder is the second choice, since it may contain other datasets.
    roots = (annotations.parent, annotations.parent.parent)
    candidates = [root / name for name in names for root in roots]
    for folder in candidates:
        if folder.is_dir():
            return folder
        if (archive := folder.with_name(folder.name + ".zip")).is_file():
            return archive
    if any(_is_image(path) for path in annotations.parent.glob("*")):
        return annotations.parent
    raise InputError(
        f"{annotations}: no images in {', '.join(map(str, candidates))} (or a .zip file of that "
        f"name); append their location: {annotations},IMAGES"
    )


def _is_image(path: PurePath) -> bool:
    return path.suffix.lower() in IMAGE_EXTENSIONS
