"""Reads files that torch.save wrote, without torch: their tensors are NumPy arrays.

There are two formats. Since torch 1.6, a file is a zip archive of a pickle, `data.pkl`, and one
entry per storage. Before, it is a sequence of pickles, followed by the storages. A storage is a
sequence of numbers, of which tensors are views.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from higherhrnet.errors import InputError, reading, require_file
from higherhrnet.io.torch_file.contents import ContentsError, DamagedError, damaged
from higherhrnet.io.torch_file.instructions import load_pickle
from higherhrnet.io.torch_file.machine import IGNORED
from higherhrnet.io.torch_file.tensors import (
    STORAGE_DTYPES,
    TorchNames,
    element_size,
    is_size,
    typed_storage,
)

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_MAX_READ = 2**24
"""Bytes of the directory of a zip archive, or of one string in a pickle."""
_OTHER_FILE = "not a file of weights written by torch.save, or damaged; download it again"


def read_torch_file(path: str | Path) -> Any:  # noqa: ANN401
    """Reads the contents of a file that torch.save wrote, and runs no code of it.

    Tensors are returned as NumPy arrays, with the memory of a storage shared by its tensors as in
    torch; bfloat16 is converted to float32. Dictionaries of any class are returned as `dict`, data
    types as their names, and objects that only training uses as `IGNORED`.

    Args:
        path: the file.

    Returns:
        The contents: arrays, numbers, strings, bytes, `IGNORED` and None, in dictionaries, lists,
        tuples and sets that are nested at most 100 deep.

    Raises:
        InputError: the file cannot be read, is not a file of torch.save, is damaged, or contains
            anything else, such as code.
    """
    path = Path(path)
    require_file(path, "`higherhrnet models` lists the available models")
    try:
        with reading(path), _File(path.open("rb", buffering=0)) as file:
            return _read(file, path.stat().st_size)
    except ContentsError as error:
        raise InputError(f"{path}: {error}") from error


class _File(io.BufferedReader):
    """A file of which a damaged length cannot request much memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _MAX_READ:
            raise damaged(f"one of its parts would have {size:,} bytes")
        return super().read(size)

    def read_array(self, position: int, size: int) -> NDArray[np.uint8]:
        """Reads bytes at a position."""
        self.seek(position)
        data = np.fromfile(self, np.uint8, size)
        if data.size < size:
            raise damaged("it ends within its weights")
        return data


def _read(file: _File, file_size: int) -> Any:  # noqa: ANN401
    start = file.peek(512)[:512]
    if start.startswith(b"PK\3\4"):
        return _read_zip(file, file_size)
    if start[257:262] == b"ustar":
        raise ContentsError(
            "a tar archive; if torch before 0.1.10 wrote it, load it there and save its "
            "state_dict() with a current version, else extract it"
        )
    if not start.startswith(b"\x80"):
        raise ContentsError(_OTHER_FILE)
    return _read_stream(file, file_size)


class _Storages:
    """The storages of a file, each of which is read once.

    Args:
        read: returns the bytes of a storage.
        byteorder: `<` for little endian, `>` for big endian.
    """

    def __init__(
        self, read: Callable[[str | int], NDArray[np.uint8]], byteorder: Literal["<", ">"] = "<"
    ) -> None:
        self._read = read
        self._byteorder = byteorder
        self._storages: dict[str | int, tuple[str, NDArray[Any]]] = {}

    def load(self, persistent_id: tuple[Any, ...]) -> NDArray[Any]:
        """Returns a storage or a part of it."""
        dtype, key, count, part = _parse(persistent_id)
        if key not in self._storages:
            data = self._read(key)
            if data.size != count * element_size(dtype):
                raise damaged("the size of a storage is not that in its pickle")
            self._storages[key] = dtype, typed_storage(data, dtype, self._byteorder)
        known_dtype, storage = self._storages[key]
        if (known_dtype, storage.size) != (dtype, count):
            raise damaged("a storage has two data types")
        return storage[part]


def _parse(persistent_id: tuple[Any, ...]) -> tuple[str, str | int, int, slice]:
    """Returns data type, key, size in elements and used part of a storage."""
    kind, dtype, key, _, count, *view = persistent_id
    # The types are checked first, because comparing arrays takes time and memory.
    if not all(isinstance(part, str) for part in (kind, dtype)) or not isinstance(key, str | int):
        raise TypeError
    if kind != "storage" or dtype not in STORAGE_DTYPES.values() or not is_size(count):
        raise ValueError
    if not view or view[0] is None:
        return dtype, key, count, slice(None)
    _, offset, size = view[0]
    if not (is_size(offset) and is_size(size) and offset + size <= count):
        raise damaged("a part of a storage exceeds it")
    return dtype, key, count, slice(offset, offset + size)


def _read_stream(file: _File, file_size: int) -> Any:  # noqa: ANN401
    """Reads the format before torch 1.6.

    The sizes of the storages are known only after the pickle that contains the tensors, so it is
    interpreted twice.
    """
    names = TorchNames(file_size)
    try:
        magic_number = load_pickle(file, names)
    except DamagedError:
        magic_number = None
    if magic_number != _MAGIC_NUMBER:
        raise ContentsError(_OTHER_FILE)
    if load_pickle(file, names) != 1001:
        raise damaged("its version is unknown")
    load_pickle(file, names)  # the writing machine; storages are little endian on all machines
    start = file.tell()
    widths_and_counts: dict[str | int, tuple[int, int]] = {}

    def find_storage(persistent_id: tuple[Any, ...]) -> object:
        dtype, key, count, _ = _parse(persistent_id)
        widths_and_counts.setdefault(key, (element_size(dtype), count))
        return IGNORED

    load_pickle(file, names, find_storage)
    end = file.tell()
    keys = load_pickle(file, names)
    places: dict[str | int, tuple[int, int]] = {}  # position and size in bytes
    position = file.tell()
    for key in keys if isinstance(keys, list) else []:
        if not isinstance(key, str | int) or key not in widths_and_counts:
            raise damaged("its list of storages is invalid")
        width, count = widths_and_counts[key]
        if int.from_bytes(file.read_array(position, 8).tobytes(), "little") != count:
            raise damaged("the size of a storage is not that in its pickle")
        places[key] = position + 8, width * count
        position += 8 + width * count
        if position > file_size:
            raise damaged(f"{position - file_size:,} bytes or more of its weights are missing")

    def read(key: str | int) -> NDArray[np.uint8]:
        if key not in places:
            raise damaged("a storage is missing")
        return file.read_array(*places[key])

    return _load(file.read_array(start, end - start), names, _Storages(read))


def _load(pickle: NDArray[np.uint8], names: TorchNames, storages: _Storages) -> Any:  # noqa: ANN401
    return load_pickle(io.BytesIO(pickle.tobytes()), names, storages.load)


def _read_zip(file: _File, file_size: int) -> Any:  # noqa: ANN401
    """Reads the format of torch 1.6 and later."""
    archive = _ZipArchive(file, file_size)
    if "constants.pkl" in archive:
        raise ContentsError(
            "a TorchScript archive; load it with torch.jit.load, save its state_dict() with "
            "torch.save and convert that file"
        )
    if "data.pkl" not in archive:
        raise ContentsError(_OTHER_FILE)
    big = "byteorder" in archive and archive.read("byteorder").tobytes() == b"big"
    storages = _Storages(lambda key: archive.read(f"data/{key}"), ">" if big else "<")
    return _load(archive.read("data.pkl"), TorchNames(file_size), storages)


class _ZipArchive:
    """The entries of a zip archive that are in the folder of its first entry."""

    def __init__(self, file: _File, file_size: int) -> None:
        try:
            entries = zipfile.ZipFile(file).infolist()
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            ArithmeticError,
            ValueError,
            struct.error,
        ) as error:
            raise damaged("the directory of its zip archive is missing or invalid") from error
        self._file = file
        self._file_size = self._unread = file_size
        folder = entries[0].filename.partition("/")[0] if entries else ""
        self._entries = {
            entry.filename.removeprefix(f"{folder}/"): entry
            for entry in entries
            if entry.filename.startswith(f"{folder}/")
        }

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def read(self, name: str) -> NDArray[np.uint8]:
        """Reads an entry, and verifies its checksum."""
        entry = self._entries.get(name)
        if entry is None:
            raise damaged(f"its zip archive has no entry {name[:100]!r}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise ContentsError(
                "its zip archive is compressed or encrypted, and not as torch.save wrote it; "
                "create an archive that is neither"
            )
        self._unread -= entry.file_size
        if self._unread < 0 or not 0 <= entry.header_offset <= self._file_size:
            raise damaged("the entries of its zip archive overlap or exceed it")
        header = self._file.read_array(entry.header_offset, 30).tobytes()
        name_size, extra_size = struct.unpack("<HH", header[26:])
        start = entry.header_offset + 30 + name_size + extra_size
        data = self._file.read_array(start, entry.file_size)
        # A file of `torch.serialization.set_crc32_options(False)` has checksums of 0.
        if not header.startswith(b"PK\3\4") or entry.CRC not in (0, zlib.crc32(data.data)):
            raise damaged(f"the checksum of its entry {name[:100]!r} is wrong")
        return data
