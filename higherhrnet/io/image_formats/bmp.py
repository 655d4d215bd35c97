"""Decodes BMP files of 16 bits per pixel.

OpenCV refuses them if their header has more than 40 bytes, as those of GIMP and Photoshop do, and
returns other ones darker than they are.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import Image

_BIT_FIELDS = (3, 6)
"""Values of the header's compression that mean that bit masks follow."""


def is_16_bit_bmp(data: bytes) -> bool:
    """Returns whether data is a BMP file of 16 bits per pixel, such as RGB565."""
    return data[:2] == b"BM" and data[28:30] == b"\x10\0" and data[15:18] == b"\0\0\0"


def decode_16_bit_bmp(data: bytes) -> Image | None:
    """Decodes a BMP file for which `is_16_bit_bmp` is true; None if it is truncated or damaged."""
    try:
        (start,) = struct.unpack_from("<I", data, 10)
        width, height, _, _, compression = struct.unpack_from("<iiHHI", data, 18)
        masks = (0x7C00, 0x3E0, 0x1F)
        if compression in _BIT_FIELDS:
            masks = struct.unpack_from("<III", data, 54)
        elif compression != 0:
            return None
        stride = (2 * width + 3) // 4 * 4  # rows are padded to multiples of four bytes
        rows = np.frombuffer(data, np.uint8, stride * abs(height), start).reshape(-1, stride)
    except (struct.error, ValueError):
        return None
    pixels = np.ascontiguousarray(rows[:: 1 if height < 0 else -1, : 2 * width]).view("<u2")
    if not all(0 < mask < 1 << 16 for mask in masks):
        return None
    return np.dstack([_channel(pixels, mask) for mask in masks])


def _channel(pixels: NDArray[np.uint16], mask: int) -> NDArray[np.uint8]:
    """Extracts the bits of a mask as values from 0 to 255."""
    lowest = mask & -mask
    table = np.arange(mask // lowest + 1) * 255 / (mask // lowest)
    values: NDArray[np.uint8] = table.round().astype(np.uint8)[(pixels & mask) // lowest]
    return values
