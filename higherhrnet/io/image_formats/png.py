"""Reads the header of a PNG file: size, depth, transparency and significant bits."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB = 0, 2


@dataclass(frozen=True)
class PngHeader:
    """The properties of a PNG file that precede its pixels."""

    width: int
    height: int
    bits: int
    """Number of bits of a sample: 1, 2, 4, 8 or 16."""
    may_be_transparent: bool
    """Whether OpenCV may return an alpha channel for it."""
    transparent_gray: int | None = None
    """The value that is transparent in a gray image without alpha channel, which OpenCV ignores."""
    significant_bits: int | None = None
    """The number of bits of the original samples, where the file states it."""

    def declared_white(self, pixels: NDArray[Any]) -> int | None:
        """Returns the value of white if the file states the significant bits, else None.

        The standard requires that samples with fewer significant bits are scaled to the whole
        range, so that their lower bits are 0 or a copy of the upper ones. Some programs store the
        original samples instead.

        Args:
            pixels: 16-bit samples.
        """
        bits = self.significant_bits
        if not bits or bits >= 16:
            return None
        is_scaled = pixels.max() >= 1 << bits or not np.any(pixels & ((1 << (16 - bits)) - 1))
        return 65535 if is_scaled else (1 << bits) - 1


def read_png_header(data: bytes) -> PngHeader | None:
    """Reads the chunks before the pixels; returns None if data does not begin like a PNG file."""
    if not data.startswith(_SIGNATURE) or len(data) < 33:
        return None
    width, height, bits, color = struct.unpack_from(">IIBB", data, 16)
    transparent_gray = significant_bits = None
    may_be_transparent = color not in (_GRAY, _RGB)
    position = 33
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        content = data[position + 8 : position + 8 + min(length, 8)]
        if kind in (b"IDAT", b"IEND"):
            break
        if kind == b"tRNS" and color == _RGB:
            may_be_transparent = True
        elif kind == b"tRNS" and color == _GRAY and len(content) >= 2:
            transparent_gray = int.from_bytes(content[:2], "big")
        elif kind == b"sBIT" and content:
            significant_bits = max(content[: 1 if color in (_GRAY, 4) else 3])
        position += 12 + length
    return PngHeader(width, height, bits, may_be_transparent, transparent_gray, significant_bits)
