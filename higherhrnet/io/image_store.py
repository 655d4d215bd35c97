"""Where a data set's pictures are: a folder or a .zip, as they were published."""

from __future__ import annotations

import zlib
from io import BytesIO
from os.path import commonpath
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

import numpy as np

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError
from higherhrnet.io.images import read_image, unreadable_error

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


class ImageStore:
    """A folder or a .zip of pictures; threads and processes may share one.

    Raises:
        InputError: there is no such folder or archive, or the archive cannot be used.
    """

    def __init__(self, location: Path) -> None:
        self.location = location
        self._archive = None if location.is_dir() else _Archive(location)

    def read(self, file_name: str) -> Image:
        """(H, W, 3) RGB as it is stored: annotations are made for that, so EXIF is ignored.

        Raises:
            InputError: there is no such picture, or it cannot be read; names it and its place.
        """
        if self._archive:
            return read_image(self._archive.open(file_name), respect_exif=False)
        return read_image(self.location / file_name, respect_exif=False)


class NamedBytes(BytesIO):
    """A file's bytes, with a name to report."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


class _Archive:
    """Where in a .zip each file lies: a number of bytes each, and no open file to share."""

    def __init__(self, location: Path) -> None:
        self.location = location
        try:
            with ZipFile(location) as archive:
                entries = archive.infolist()
        except FileNotFoundError as error:
            raise InputError(f"{location}: no such folder or .zip of pictures") from error
        except (OSError, BadZipFile) as error:
            raise InputError(f"{location}: cannot be read as a .zip: {error}") from error
        files = [f for f in entries if not f.is_dir() and not f.filename.startswith("__MACOSX/")]
        if any(f.flag_bits & 1 or f.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for f in files):
            raise InputError(f"{location}: encrypted or oddly packed; pack it anew as a plain .zip")
        self._rows = {file.filename: row for row, file in enumerate(files)}
        self._places = np.array(
            [(f.header_offset, f.compress_size, f.compress_type, f.CRC) for f in files], np.int64
        ).reshape(-1, 4)
        pictures = [name for name in self._rows if Path(name).suffix.lower() in SUFFIXES]
        self._top = commonpath([Path(name).parent for name in pictures]) if pictures else ""

    def open(self, file_name: str) -> NamedBytes:
        """The file of that name, or of that name within the folder that holds all pictures."""
        name = f"{self.location}/{file_name}"
        row = self._rows.get(file_name, self._rows.get(f"{self._top}/{file_name}"))
        if row is None:
            raise InputError(f"{name}: the archive has no such file")
        offset, size, packing, checksum = self._places[row].tolist()
        try:
            with self.location.open("rb") as file:  # opened for each: its position is not shared
                file.seek(offset + 26)
                lengths = np.frombuffer(file.read(4), "<u2")  # of the name and of extra fields
                file.seek(int(lengths.sum()), 1)
                data = file.read(size)
            data = zlib.decompress(data, -zlib.MAX_WBITS) if packing == ZIP_DEFLATED else data
        except OSError as error:
            raise unreadable_error(Path(name), error) from error
        except zlib.error as error:
            raise InputError(f"{name}: damaged in the archive: {error}") from error
        if zlib.crc32(data) != checksum:
            raise InputError(f"{name}: damaged in the archive; fetch or pack it anew")
        return NamedBytes(data, name)


def find_images(annotations: Path) -> Path:
    """The folder or .zip of an annotation file's pictures, where published data sets have them.

    `annotations/person_keypoints_train2017.json` has them in `train2017` or `images/train2017`,
    `json/crowdpose_train.json` and `annotations.json` in `images`; or in a .zip of such a name.

    Raises:
        InputError: it is in none of these places.
    """
    split = annotations.stem.rpartition("_")[2]
    names = ("images",) if split == "annotations" else (split, f"images/{split}", "images")
    roots = (annotations.parent, annotations.parent.parent)  # the nearer may be one set of many
    tried = [root / name for name in names for root in roots]
    for folder in tried:
        if folder.is_dir():
            return folder
        if (archive := folder.with_name(folder.name + ".zip")).is_file():
            return archive
    if any(file.suffix.lower() in SUFFIXES for file in annotations.parent.glob("*")):
        return annotations.parent
    places = ", ".join(str(folder) for folder in tried)
    raise InputError(
        f"{annotations}: no pictures in {places} (or a .zip of that name); "
        f"say where they are: {annotations},PICTURES"
    )
