"""Decodes the bytes of image files as 8-bit RGB, with OpenCV where it decodes them correctly."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import Image
from higherhrnet.io.image_formats import tiff
from higherhrnet.io.image_formats.bmp import decode_16_bit_bmp, is_16_bit_bmp
from higherhrnet.io.image_formats.deep_images import PixelError, to_8_bits, white_level
from higherhrnet.io.image_formats.image_size import CODESTREAM
from higherhrnet.io.image_formats.png import PngHeader, read_png_header
from higherhrnet.io.image_formats.tiff import TiffHeader, read_tiff_header

_PNM_HEADER = re.compile(rb"P[2356](?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+(\d+)")
_UNDO_ORIENTATION: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image, -1),
}


def decode_image(data: bytes, respect_exif: bool) -> Image | None:
    """Decodes an image file as (H, W, 3) RGB.

    Args:
        data: the file.
        respect_exif: rotate the image as its EXIF orientation requires.

    Returns:
        The image; None if not all of it can be decoded.

    Raises:
        PixelError: the pixels have no known range, or are of a kind that is not supported.
    """
    if is_16_bit_bmp(data):
        return decode_16_bit_bmp(data)
    if header := read_tiff_header(data):
        return _decode_tiff(data, header, respect_exif)
    orientation = 0 if respect_exif else cv2.IMREAD_IGNORE_ORIENTATION
    if png := read_png_header(data):
        return _decode_png(data, png, orientation)
    if (white := _pnm_white(data)) not in (None, 255):
        return _decode_pnm(data, white)
    if _jpeg_2000_bits(data) > 8:
        return _to_rgb(_decode(data, cv2.IMREAD_UNCHANGED))
    image = _decode(data, cv2.IMREAD_COLOR_RGB | orientation)
    if image is None or not _may_be_transparent(data):
        return image
    return _blend_if_upright(image, _decode(data, cv2.IMREAD_UNCHANGED))


def blend_with_white(rgba: NDArray[np.uint8]) -> Image:
    """Blends (H, W, 4) RGBA with a white background."""
    alpha = rgba[..., 3:].astype(np.uint16)
    blended = (rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255  # fits 16 bits
    return blended.astype(np.uint8)


def _decode(data: bytes, flags: int) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def _to_rgb(stored: NDArray[Any] | None, **scaling: Any) -> Image | None:  # noqa: ANN401
    """Converts gray, BGR or BGRA of any type to RGB; transparency is blended with white."""
    if stored is None:
        return None
    pixels = to_8_bits(stored, **scaling)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    if pixels.shape[2] == 4:
        return blend_with_white(_swap_red_and_blue(pixels))
    return _swap_red_and_blue(pixels)


def _swap_red_and_blue(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    code = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), code), np.uint8)


def _blend_if_upright(image: Image, stored: NDArray[np.uint8] | None) -> Image:
    """Blends an image with white by the alpha of its stored BGRA, if there is any.

    OpenCV does not rotate an image with transparency. If EXIF rotated the opaque one, the two
    differ, and the transparency is ignored.
    """
    if stored is None or stored.shape[2:] != (4,) or not stored[..., 3].any():
        return image
    rgba = _swap_red_and_blue(stored)
    return blend_with_white(rgba) if np.array_equal(rgba[..., :3], image) else image


def _decode_png(data: bytes, header: PngHeader, orientation: int) -> Image | None:
    if header.bits < 16:
        image = _decode(data, cv2.IMREAD_COLOR_RGB | orientation)
        if image is None:
            return None
        if header.transparent_gray is not None:
            image[image == header.transparent_gray * 255 // ((1 << header.bits) - 1)] = 255
        if not header.may_be_transparent:
            return image
        return _blend_if_upright(image, _decode(data, cv2.IMREAD_UNCHANGED))
    opaque = _decode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR | orientation)
    if opaque is None:
        return None
    white = header.declared_white(opaque)
    image = _to_rgb(opaque, declared_white=white)
    if image is None:
        return None
    if header.transparent_gray is not None:
        image[opaque == header.transparent_gray] = 255
    stored = _decode(data, cv2.IMREAD_UNCHANGED) if header.may_be_transparent else None
    if stored is None or stored.shape[2:] != (4,) or not np.array_equal(stored[..., :3], opaque):
        return image
    return _to_rgb(stored, declared_white=white)


def _decode_tiff(data: bytes, header: TiffHeader, respect_exif: bool) -> Image | None:
    """Decodes a TIFF file; OpenCV applies its orientation in any case."""
    if header.photometric == tiff.CIELAB:
        raise PixelError("contains CIELAB colors, which are not supported; convert it to RGB")
    image: NDArray[Any] | None
    if header.bits <= 8:
        image = _decode(data, cv2.IMREAD_COLOR_RGB)
        if image is not None and header.alpha and header.samples == 4:
            image = _blend_premultiplied(image, _decode(data, cv2.IMREAD_UNCHANGED))
    else:
        image = _decode_deep_tiff(data, header)
    if image is None:
        raise PixelError(
            "cannot be decoded, since it is truncated, damaged or of an unsupported kind "
            f"({header}); convert it to PNG"
        )
    if not respect_exif and header.orientation in _UNDO_ORIENTATION:
        image = np.ascontiguousarray(_UNDO_ORIENTATION[header.orientation](image))
    return image


def _decode_deep_tiff(data: bytes, header: TiffHeader) -> Image | None:
    if header.is_planar:  # OpenCV misplaces the pixels unless it converts them to 8 bits
        if (header.bits, header.samples, header.sample_format, white_level()) != (16, 3, 1, None):
            return None
        image = _decode(data, cv2.IMREAD_COLOR_RGB)
        return image if image is not None and image.max() >= 1 << 6 else None
    stored = _decode(data, cv2.IMREAD_UNCHANGED)
    # Of samples that it does not support, OpenCV returns the first, or only their upper bits.
    if stored is None or stored.dtype == np.uint8:
        return None
    if stored.ndim == 3 and stored.shape[2] == 4 and header.alpha == 0:
        stored = stored[..., :3]
    scaling: dict[str, Any] = {"declared_white": header.declared_white, "rounded": stored.ndim == 3}
    if stored.ndim == 3 and stored.shape[2] == 4 and header.alpha == 1:
        pixels = to_8_bits(stored, **scaling)
        return _blend_premultiplied(_swap_red_and_blue(pixels[..., :3]), pixels)
    image = _to_rgb(stored, **scaling)
    return image if image is None or header.photometric != 0 else 255 - image


def _blend_premultiplied(image: Image, stored: NDArray[Any] | None) -> Image:
    """Blends RGB that has been multiplied by alpha with white; `stored` has alpha, if any."""
    if stored is None or stored.shape[2:] != (4,):
        return image
    transparency = 255 - stored[..., 3:].astype(np.uint16)
    return np.asarray(np.minimum(image + transparency, 255), np.uint8)


def _pnm_white(data: bytes) -> int | None:
    """Returns the value of white that the header of a PGM or PPM file states; None for others."""
    match = _PNM_HEADER.match(data[:4096]) if data[:1] == b"P" else None
    return int(match[1]) if match else None


def _decode_pnm(data: bytes, white: int) -> Image | None:
    stored = _decode(data, cv2.IMREAD_UNCHANGED)
    if stored is None or (white < 256 and data[1:2] in b"23"):  # OpenCV has scaled them
        return _to_rgb(stored)
    if stored.dtype == np.uint8 and white:
        table = np.clip(np.rint(np.arange(256) * (255 / white)), 0, 255).astype(np.uint8)
        return _to_rgb(table[stored])
    return _to_rgb(stored, declared_white=None if white == 65535 else white)


def _jpeg_2000_bits(data: bytes) -> int:
    """Returns the number of bits of a sample of a JPEG 2000 file; 0 for other files."""
    if not data.startswith((CODESTREAM, b"\0\0\0\x0cjP")):
        return 0
    start = data.find(CODESTREAM)
    return (data[start + 42] & 0x7F) + 1 if 0 <= start < len(data) - 42 else 0


def _may_be_transparent(data: bytes) -> bool:
    """Returns whether a file, other than PNG and TIFF, may be transparent."""
    if data.startswith((b"GIF8", b"\0\0\0\x0cjP")):
        return True
    if data.startswith(b"BM"):  # 32 bits, with bit masks of which the last is that of alpha
        return data[28] == 32 and data[30] == 3 and data[14] >= 56 and any(data[66:70])
    if not data.startswith(b"RIFF"):
        return False
    flags = {b"VP8X": data[20], b"VP8L": data[24]}.get(data[12:16], 0)
    return bool(flags & 16)
