"""Pickles written instruction by instruction, and files of torch.save with such pickles."""

import pickle
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

PROTOCOL_2 = b"\x80\x02"
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def python2_text(value: str) -> bytes:
    data = value.encode("latin-1")
    return b"U" + bytes([len(data)]) + data


def number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def dict_of(*items: bytes) -> bytes:
    """A dictionary of alternating keys and values."""
    return b"}(" + b"".join(items) + b"u"


def tensor(
    storage_size: int,
    shape: Sequence[int],
    strides: Sequence[int],
    offset: int = 0,
    *,
    key: str = "0",
    dtype: str = "FloatStorage",
    old: bool = False,
) -> bytes:
    """A tensor as torch.save writes it."""
    view = b"N" if old else b""
    storage = tuple_of(
        text("storage"), name("torch", dtype), text(key), text("cuda:0"), number(storage_size), view
    )
    return (
        name("torch._utils", "_rebuild_tensor_v2")
        + tuple_of(
            storage + b"Q",
            number(offset),
            tuple_of(*map(number, shape)),
            tuple_of(*map(number, strides)),
            b"\x89",
            name("collections", "OrderedDict") + b")R",
        )
        + b"R"
    )


def write_zip(path: Path, contents: bytes, storages: dict[str, bytes] | None = None) -> Path:
    """Writes a file in the format of torch 1.6 and later."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", PROTOCOL_2 + contents + b".")
        archive.writestr("archive/version", "3\n")
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def write_stream(
    path: Path, contents: bytes, storages: dict[str, np.ndarray] | None = None, keys: bytes = b""
) -> Path:
    """Writes a file in the format before torch 1.6."""
    storages = storages or {}
    parts = [pickle.dumps(value, 2) for value in (MAGIC_NUMBER, 1001, {"little_endian": True})]
    parts += [PROTOCOL_2 + contents + b".", keys or pickle.dumps(list(storages), 2)]
    parts += [struct.pack("<q", data.size) + data.tobytes() for data in storages.values()]
    path.write_bytes(b"".join(parts))
    return path
