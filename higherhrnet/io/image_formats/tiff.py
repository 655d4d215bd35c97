"""Reads the header of a TIFF file: the properties that OpenCV's decoder does not report."""

from __future__ import annotations

import struct
from dataclasses import dataclass

RGB, CIELAB = 2, 8
"""Values of `TiffHeader.photometric`."""
FLOAT = 3
"""The value of `TiffHeader.sample_format` for floating-point numbers."""
_FORMATS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
"""The types of values that are read, as formats of `struct`."""
_MAX_ENTRIES = 1000


@dataclass(frozen=True)
class TiffHeader:
    """The properties of the first image in a TIFF file."""

    width: int
    height: int
    bits: int = 1
    """Number of bits of a sample."""
    samples: int = 1
    """Number of samples of a pixel, including alpha."""
    photometric: int = 1
    """What the samples mean: 0 gray with 0 as white, 1 gray, 2 RGB, 3 palette, 5 CMYK, 8 CIELAB."""
    compression: int = 1
    sample_format: int = 1
    """1 unsigned integers, 2 signed integers, 3 floating-point numbers."""
    alpha: int = 0
    """0 none, 1 the colors are multiplied by alpha, 2 they are not."""
    is_planar: bool = False
    """Whether the samples of a pixel are stored in separate planes."""
    orientation: int = 1
    """As in EXIF, 1 to 8."""
    max_sample: int | None = None
    """The highest value of a sample, where the file states it."""
    is_raw: bool = False
    """Whether it is a camera's raw file, whose first image is only a preview."""

    @property
    def declared_white(self) -> int | None:
        """The value of white, if the file states one below the highest of its type."""
        limit = (1 << self.bits) - 1
        return self.max_sample if self.max_sample and 0 < self.max_sample < limit else None

    def __str__(self) -> str:
        kind = {1: "unsigned", 2: "signed", FLOAT: "floating-point"}.get(self.sample_format, "")
        return (
            f"{self.bits}-bit {kind} TIFF with {self.samples} samples per pixel, photometric "
            f"interpretation {self.photometric} and compression {self.compression}"
        )


def read_tiff_header(data: bytes) -> TiffHeader | None:
    """Reads the header of the first image; returns None if the data is not a valid TIFF file."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    try:
        if not order or struct.unpack_from(f"{order}H", data, 2)[0] not in (42, 43):
            return None
        tags = _read_tags(data, order)
    except (struct.error, OverflowError):
        return None

    def tag(number: int, default: int) -> int:
        return tags.get(number, (default,))[0]

    if not {256, 257} <= tags.keys():
        return None
    return TiffHeader(
        width=tag(256, 0),
        height=tag(257, 0),
        bits=tag(258, 1),
        samples=tag(277, 1),
        photometric=tag(262, 1),
        compression=tag(259, 1),
        sample_format=tag(339, 1),
        alpha=tag(338, 0),
        is_planar=tag(284, 1) == 2 and tag(277, 1) > 1,
        orientation=tag(274, 1),
        max_sample=tags[281][0] if 281 in tags else None,
        # DNG states its version; NEF, ARW and CR2 have a reduced image before those of the sensor.
        is_raw=50706 in tags or (tag(254, 0) & 1 == 1 and 330 in tags) or data[8:10] == b"CR",
    )


def _read_tags(data: bytes, order: str) -> dict[int, tuple[int, ...]]:
    """Reads the integer values of each tag of the first image."""
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    count_format, offset_format, entry_size = ("Q", "Q", 20) if big else ("H", "I", 12)
    (start,) = struct.unpack_from(order + offset_format, data, 8 if big else 4)
    (count,) = struct.unpack_from(order + count_format, data, start)
    tags: dict[int, tuple[int, ...]] = {}
    for i in range(min(count, _MAX_ENTRIES)):
        entry = start + struct.calcsize(count_format) + i * entry_size
        number, kind, length = struct.unpack_from(f"{order}HH{offset_format}", data, entry)
        if kind not in _FORMATS or not length:
            tags[number] = (0,)
            continue
        value_format = f"{order}{min(length, 8)}{_FORMATS[kind]}"  # none of our tags has more
        position = entry + (12 if big else 8)
        if struct.calcsize(f"={_FORMATS[kind]}") * length > (8 if big else 4):
            (position,) = struct.unpack_from(order + offset_format, data, position)
        if position + struct.calcsize(value_format) <= len(data):
            tags[number] = struct.unpack_from(value_format, data, position)
    return tags
