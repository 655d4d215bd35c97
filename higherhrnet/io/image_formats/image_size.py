"""Reads the width and height of an image file without decoding it."""

from __future__ import annotations

from io import BytesIO

from higherhrnet.io.image_formats.png import read_png_header
from higherhrnet.io.image_formats.tiff import read_tiff_header

CODESTREAM = b"\xff\x4f\xff\x51"
"""The beginning of a JPEG 2000 codestream."""
_NO_FRAME_HEADERS = (0xC4, 0xC8, 0xCC)
"""The JPEG markers from C0 to CF that do not begin a frame header."""


def image_size(data: bytes) -> tuple[int, int]:
    """Returns the width and height by the header of a file; -1 if its format is unknown.

    Args:
        data: the file.
    """
    if header := read_tiff_header(data) or read_png_header(data):
        return header.width, header.height
    if size := _jpeg_size(data) or _codestream_size(data):
        return size
    # Imported only here, because it imports urllib.request, which takes 20 ms.
    import imagesize

    width, height = imagesize.get(BytesIO(data))
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Returns the size in the frame header of a JPEG file; None without such a header."""
    position = 2 if data.startswith(b"\xff\xd8") else len(data)
    while data[position : position + 1] == b"\xff" and position + 9 <= len(data):
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME_HEADERS:
            return _integer(data, position + 7, 2), _integer(data, position + 5, 2)
        # Further bytes FF may precede a marker.
        position += 1 if marker == 0xFF else 2 + _integer(data, position + 2, 2)
    return None


def _codestream_size(data: bytes) -> tuple[int, int] | None:
    if not data.startswith(CODESTREAM) or len(data) < 24:
        return None
    right, bottom, left, top = (_integer(data, position, 4) for position in (8, 12, 16, 20))
    return right - left, bottom - top


def _integer(data: bytes, position: int, size: int) -> int:
    return int.from_bytes(data[position : position + size], "big")
