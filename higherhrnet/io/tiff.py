"""Removes the orientation of TIFF files, which OpenCV applies even where it is asked not to."""

from __future__ import annotations

import struct
from contextlib import suppress

_ORIENTATION = 0x0112
"""The tag of the orientation."""


def without_orientation(data: bytes) -> bytes:
    """Returns a TIFF file whose first image has no orientation; other files are unchanged."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return data
    with suppress(struct.error):  # a damaged file, whose error the decoder reports
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            if struct.unpack_from(f"{order}H", data, entry) == (_ORIENTATION,):
                return data[: entry + 8] + struct.pack(f"{order}HH", 1, 0) + data[entry + 12 :]
    return data
