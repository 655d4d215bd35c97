"""Decodes HEIC and AVIF files, with the packages of the extra `heif`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from higherhrnet.errors import InputError, require_packages

_HEIF_BRANDS = {
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1",
}  # fmt: skip
_AVIF_BRANDS = {b"avif", b"avis"}
_MAX_BRANDS = 64


def heif_kind(data: bytes) -> str | None:
    """Returns HEIC or AVIF if data begins as such a file, else None."""
    if data[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(data[:4], "big"), len(data), 16 + 4 * _MAX_BRANDS)
    brands = {data[8:12], *(data[i : i + 4] for i in range(16, end, 4))}
    # A file of the brand mif1 states in its compatible brands how it is compressed.
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & _HEIF_BRANDS else None


def decode_heif(
    name: str, data: bytes, kind: str, check_size: Callable[[int, int], None]
) -> NDArray[np.uint8]:
    """Decodes the primary image of a HEIC or AVIF file.

    The rotation and reflection of the container are part of these formats and are always applied.
    The EXIF orientation repeats them and is ignored.

    Args:
        name: the name of the file, for messages.
        data: the file.
        kind: HEIC or AVIF.
        check_size: raises an error if the width and height are not permitted; it is called before
            the pixels are decoded.

    Returns:
        (H, W, 3) RGB or (H, W, 4) RGBA.

    Raises:
        InputError: the extra `heif` is not installed, or the file cannot be decoded.
    """
    # Pillow 11.3 is the first version with the module for AVIF.
    package = "pi_heif" if kind == "HEIC" else "PIL"
    module = package if kind == "HEIC" or find_spec(package) is None else "PIL.AvifImagePlugin"
    require_packages(f"{name}: reading {kind}", "heif", module)
    try:
        return _decode_heic(data, check_size) if kind == "HEIC" else _decode_avif(data, check_size)
    except InputError:
        raise
    except Exception as error:  # damaged files cause many types, also IndexError and SyntaxError
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{name}: the {kind} image cannot be decoded, since it is truncated, damaged or of an "
            f"unsupported kind: {reason}"
        ) from error


def _decode_heic(data: bytes, check_size: Callable[[int, int], None]) -> NDArray[np.uint8]:
    from pi_heif import open_heif

    file = open_heif(BytesIO(data), convert_hdr_to_8bit=True)
    check_size(*file.size)
    return np.asarray(file.to_pillow().convert("RGBA" if file.has_alpha else "RGB"))


def _decode_avif(data: bytes, check_size: Callable[[int, int], None]) -> NDArray[np.uint8]:
    from PIL import ImageOps
    from PIL.AvifImagePlugin import AvifImageFile

    file: Any = AvifImageFile(BytesIO(data))
    check_size(*file.size)
    # Pillow replaces the EXIF orientation by the rotation and reflection of the container.
    upright = ImageOps.exif_transpose(file)
    return np.asarray(upright.convert("RGBA" if "A" in upright.mode else "RGB"))
