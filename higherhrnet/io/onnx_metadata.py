"""Reads the metadata of an ONNX file, but not the network in it."""

from __future__ import annotations

from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path

_METADATA = 14
"""The number of the field of a model with its metadata."""
_MAX_FIELDS = 10_000
_FIXED_SIZES = {1: 8, 5: 4}
"""Wire type → number of bytes, for the values of fixed size."""


def read_onnx_metadata(path: Path) -> dict[str, str]:
    """Reads the metadata of an ONNX file, which is a protocol buffer.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is empty, truncated or not a protocol buffer.
    """
    if not path.stat().st_size:
        raise ValueError("it is empty")
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        entries = [
            {key: data[start:end] for key, start, end in _fields(data, *span)}
            for number, *span in _fields(data, 0, len(data))
            if number == _METADATA
        ]
    return {entry.get(1, b"").decode(): entry.get(2, b"").decode() for entry in entries}


def _fields(data: mmap, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields the number of each field of a message, and where its value begins and ends."""
    for _ in range(_MAX_FIELDS):
        if position == end:
            return
        key, position = _integer(data, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            stop = _integer(data, position)[1]
        elif wire_type == 2:
            size, position = _integer(data, position)
            stop = position + size
        elif wire_type in _FIXED_SIZES:
            stop = position + _FIXED_SIZES[wire_type]
        else:
            raise ValueError("it is not a protocol buffer")
        if stop > end:
            raise ValueError("it is truncated")
        yield number, position, stop
        position = stop
    raise ValueError("it has too many fields")


def _integer(data: mmap, position: int) -> tuple[int, int]:
    """Reads an integer of variable length; returns it and the position after it."""
    value = 0
    for shift, byte in enumerate(data[position : position + 10]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, position + shift + 1
    raise ValueError("it is truncated, or not a protocol buffer")
