"""Pixels of more than 8 bits → 8 bits."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from higherhrnet.errors import InputError, require
from higherhrnet.io.notices import add_notice


class PixelError(InputError):
    """The pixels of a file cannot be converted; the message is a predicate without the file."""


WHITE_LEVEL = "HIGHERHRNET_WHITE_LEVEL"
"""The environment variable with the value of white in images of more than 8 bits per channel. It
replaces the value that is derived from the highest value of each image."""
_BITS = (8, 10, 12, 14)
"""The numbers of bits of sensors whose values are stored in 16 bits without being scaled."""


def white_level() -> float | None:
    """Returns the value of white that the environment variable sets; None if it is not set.

    Raises:
        InputError: it is not a positive number.
    """
    text = os.environ.get(WHITE_LEVEL, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    require(
        0 < value < math.inf, f"{WHITE_LEVEL} must be a positive number, such as 4095, not {text!r}"
    )
    return value


def to_8_bits(
    pixels: NDArray[Any], *, declared_white: int | None = None, rounded: bool = False
) -> NDArray[np.uint8]:
    """Scales pixels to 0 to 255, so that white becomes 255.

    White is the value that the environment variable or the file states. Otherwise it is the highest
    number of 8, 10, 12 or 14 bits if no value of a 16-bit image is higher, and a notice is added;
    else the highest value of the type. White of floating-point images is 1, 255 or 65535.

    Args:
        pixels: (H, W), (H, W, 3) or, with alpha as the last channel, (H, W, 4) pixels of any
            numeric type.
        declared_white: the value of white that the file states.
        rounded: whether values of the full range of 16 bits are rounded, instead of keeping their
            upper eight bits.

    Raises:
        InputError: the range of the values is unknown: floating-point values above 2 that are
            neither 0 to 255 nor 0 to 65535, negative or not finite.
    """
    if pixels.dtype == np.uint8:
        return pixels
    colors = pixels[..., :3] if pixels.ndim == 3 else pixels
    highest = _check_range(colors)
    white = white_level() or declared_white or _guess_white(highest, pixels.dtype)
    if pixels.dtype == np.uint16 and white == 65535:
        # This is how OpenCV converts 16-bit images.
        return ((pixels + np.uint32(128)) // 257 if rounded else pixels >> 8).astype(np.uint8)
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return _scale(pixels, white)
    alpha = pixels[..., 3:]
    full = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else white
    return np.dstack(
        [_scale(colors, white), _scale(alpha, white if alpha.max() <= white else full)]
    )


def _scale(pixels: NDArray[Any], white: float) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint16:  # a table is several times as fast as arithmetic
        return np.take(_scale(np.arange(65536, dtype=np.float64), white), pixels)
    return np.asarray(np.clip(np.rint(pixels * (255 / white)), 0, 255), np.uint8)


def _check_range(colors: NDArray[Any]) -> float:
    """Returns the highest value; raises InputError if there are values that are not brightness."""
    lowest, highest = float(colors.min()), float(colors.max())
    if not math.isfinite(lowest + highest):
        raise PixelError("contains values that are NaN or infinite; replace them")
    if lowest < -0.1 * max(highest, 0):  # interpolation produces slightly negative values
        raise PixelError(
            f"contains values from {lowest:g} to {highest:g}; black must be 0: add an offset"
        )
    return highest


def _guess_white(highest: float, dtype: np.dtype[Any]) -> float:
    if dtype.kind == "f":
        if highest <= 2:  # interpolation exceeds 1
            return 1.0
        white = next((w for w in (255, 65535) if 16 < highest <= w), None)
        if white is None:
            raise PixelError(
                f"contains floating-point values up to {highest:g}, whose range is unknown; set "
                f"the environment variable {WHITE_LEVEL} to the value of white"
            )
        add_notice(
            f"floating-point values up to {white} were divided by {white}; the environment "
            f"variable {WHITE_LEVEL} sets another value of white"
        )
        return white
    bits = next((bits for bits in _BITS if highest < 1 << bits), None)
    if bits is None or highest == 0:
        return 65535 if highest < 1 << 16 and dtype != np.int16 else float(np.iinfo(dtype).max)
    add_notice(
        f"{bits}-bit values in {8 * dtype.itemsize} bits were scaled, so that "
        f"{(1 << bits) - 1} is white; the environment variable {WHITE_LEVEL} sets another value "
        "of white, for example 65535 to keep them dark"
    )
    return (1 << bits) - 1
