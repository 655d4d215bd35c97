"""Reads single files of a .zip file, from many threads and processes."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path, PurePosixPath
from posixpath import commonpath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np

from higherhrnet.errors import InputError
from higherhrnet.io.images import IMAGE_EXTENSIONS, unreadable_error

_MAX_BYTES = 2**30
"""The maximum size of an uncompressed file."""
_UTF8_FLAG = 0x800


class NamedBytes(BytesIO):
    """The bytes of a file, with the name that error messages use."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


class ImageArchive:
    """A .zip file whose directory is read once.

    Unlike `ZipFile`, it needs little memory per file and has no open file, so that it can be
    pickled and shared between threads and processes.

    Args:
        location: the .zip file.

    Raises:
        InputError: the file is missing, or is not a .zip file that can be read.
    """

    def __init__(self, location: Path) -> None:
        self.location = location
        files = _list_files(location)
        if any(f.flag_bits & 1 or f.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for f in files):
            raise InputError(
                f"{location}: the .zip file is encrypted or uses a compression other than deflate; "
                "create it again with deflate and without encryption"
            )
        self._rows = {_name(file): row for row, file in enumerate(files)}
        try:
            entries = [
                (f.header_offset, f.compress_size, f.file_size, f.compress_type, f.CRC)
                for f in files
            ]
            self._entries = np.array(entries, np.int64).reshape(-1, 5)
            paths = map(PurePosixPath, self._rows)
            folders = [path.parent for path in paths if path.suffix.lower() in IMAGE_EXTENSIONS]
            self._root = commonpath(folders) if folders else ""
        except (OverflowError, ValueError) as error:
            raise InputError(f"{location}: damaged .zip file: {error}") from error

    @property
    def files(self) -> list[str]:
        """The paths of the files, with forward slashes."""
        return list(self._rows)

    def find(self, file_name: str) -> str | None:
        """Returns the path of a file given relative to the archive or to the folder of all images.

        Returns None if there is no such file.
        """
        names = file_name, f"{self._root}/{file_name}"
        return next((name for name in names if name in self._rows), None)

    def open(self, path: str, name: str) -> NamedBytes:
        """Reads a file.

        Args:
            path: one of `files`.
            name: the name of the file in error messages.

        Raises:
            InputError: the file is damaged, or has more than 1 GiB.
        """
        offset, compressed, size, compression, checksum = self._entries[self._rows[path]].tolist()
        if size > _MAX_BYTES:
            raise InputError(f"{name}: has {size:,} bytes, more than {_MAX_BYTES:,}")
        try:
            with self.location.open("rb") as file:  # opened here, since its position is not shared
                file.seek(offset + 26)
                name_length, extra_length = struct.unpack("<HH", file.read(4))
                file.seek(name_length + extra_length, 1)
                data = file.read(compressed)
            if compression == ZIP_DEFLATED:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
        except OSError as error:
            raise unreadable_error(Path(name), error) from error
        except (zlib.error, struct.error, ValueError, OverflowError, MemoryError) as error:
            raise InputError(f"{name}: damaged in the .zip file: {error}") from error
        if zlib.crc32(data) != checksum:
            raise InputError(f"{name}: damaged in the .zip file; download or create it again")
        return NamedBytes(data, name)


def _list_files(location: Path) -> list[ZipInfo]:
    """Lists the files of an archive, without folders and the metadata that macOS adds."""
    try:
        with ZipFile(location) as archive:
            return [
                entry
                for entry in archive.infolist()
                if not entry.filename.endswith(("/", "\\"))
                and not entry.filename.startswith("__MACOSX/")
            ]
    except FileNotFoundError as error:
        raise InputError(f"{location}: no such folder or .zip file of images") from error
    # zipfile raises NotImplementedError for compression methods that it does not support.
    except (OSError, BadZipFile, NotImplementedError, ValueError) as error:
        raise InputError(f"{location}: cannot be read as a .zip file: {error}") from error


def _name(file: ZipInfo) -> str:
    """Returns the path of a file.

    Programs for Windows may write backslashes, and those of macOS write UTF-8 without its flag.
    """
    name = file.filename
    if not file.flag_bits & _UTF8_FLAG and not name.isascii():
        with suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return name.replace("\\", "/")
