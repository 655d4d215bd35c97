"""Picture files, in whatever form they come → RGB arrays."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import cv2
import imagesize
import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError
from higherhrnet.io.atomic import atomic_path

if TYPE_CHECKING:
    from typing_extensions import TypeIs

MAX_PIXELS = 178_956_970
"""Larger pictures are refused before they are decoded: half a gigabyte, and likely an attack."""

MIN_SIDE, MAX_ASPECT = 16, 20
"""Pixels; a picture with a shorter side is too small to show anyone."""


class PilImage(Protocol):
    """An image of the Pillow package, which need not be installed."""

    @property
    def mode(self) -> str:
        """The color space, such as RGB."""
        ...

    def convert(self, mode: str) -> Any:  # noqa: ANN401
        """The image in another mode."""
        ...

    def getexif(self) -> Any:  # noqa: ANN401
        """The EXIF metadata."""
        ...


ImageSource = str | os.PathLike[str] | bytes | BinaryIO | NDArray[np.uint8] | PilImage
"""What `read_image` reads: a path, the bytes of a file, a file open for reading bytes, a uint8 array
((H, W, 3) RGB, (H, W, 4) RGBA or (H, W) gray) or a PIL image."""


def is_image_source(source: object) -> TypeIs[ImageSource]:
    """Whether an object is one image, as opposed to an iterable of images."""
    if isinstance(source, str | os.PathLike | bytes | np.ndarray):
        return True
    return hasattr(source, "read") or (hasattr(source, "convert") and hasattr(source, "getexif"))


def read_image(
    source: ImageSource,
    *,
    respect_exif: bool = True,
    max_pixels: int = MAX_PIXELS,
) -> Image:
    """Reads an image as a contiguous (H, W, 3) uint8 RGB array.

    Gray, palette, CMYK and 16-bit files become 8-bit RGB. Transparent PNG and WebP files, and
    arrays with a fourth channel, are blended with white. Of an animation the first frame is read.

    Args:
        source: see `ImageSource`; an RGB array is returned as it is.
        respect_exif: rotate the image as its EXIF orientation says. The annotations of data sets
            refer to the stored image: use False for them.
        max_pixels: images with more pixels are refused before they are decoded.

    Raises:
        InputError: the file is missing, not an image, truncated, too small or too large.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if hasattr(source, "convert") and hasattr(source, "getexif"):
        return _from_array(_pil_to_array(source, respect_exif))
    name, data = _read(source)
    if data[4:8] == b"ftyp":
        # OpenCV turns no AVIF as its header asks, and swaps the colours of transparent ones.
        raise InputError(f"{name}: HEIC and AVIF are not read; convert it to JPEG or PNG")
    width, height = imagesize.get(BytesIO(data))
    if width <= 0 or height <= 0:
        kinds = "JPEG, PNG, WebP, TIFF, BMP, GIF, JPEG 2000, PNM"
        raise InputError(f"{name}: cut short, or not a picture of a known kind ({kinds})")
    _check_size(name, width, height, max_pixels)
    image = _decode(data, respect_exif)
    if image is None:
        raise InputError(f"{name}: cannot be decoded; it is cut short or damaged, save it anew")
    return image


def write_image(path: Path, image: Image) -> None:
    """Writes (H, W, 3) RGB to a file, in the format of its suffix; there whole or not at all.

    Raises:
        InputError: the place cannot be written to.
    """
    data = encode_image(image, path.suffix)
    with atomic_path(path) as beside:
        beside.write_bytes(data)


def encode_image(image: Image, suffix: str) -> bytes:
    """(H, W, 3) RGB → the bytes of a file in the format that a suffix such as `.png` names.

    Raises:
        InputError: the format cannot hold it.
    """
    encoded, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise InputError(f"{image.shape[1]}×{image.shape[0]} pixels cannot be written as {suffix}")
    return data.tobytes()


def unreadable_error(path: Path, error: OSError | ValueError) -> InputError:
    """The error to raise when the system will not open a file (ValueError: an impossible name)."""
    return InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}")


def _read(source: ImageSource) -> tuple[str, bytes]:
    """What to call the picture, and its bytes."""
    if isinstance(source, bytes):
        name, data = "the image", source
    elif isinstance(source, str | os.PathLike):
        name = str(source)
        try:
            data = Path(source).read_bytes()
        except (OSError, ValueError) as error:
            raise unreadable_error(Path(source), error) from error
    elif hasattr(source, "read"):
        name, data = str(getattr(source, "name", "the file")), source.read()
    else:
        raise InputError(
            f"cannot read a picture from {type(source).__name__}: "
            "give a path, a file open for reading bytes, or a uint8 RGB array"
        )
    if not data:
        raise InputError(f"{name}: the file is empty")
    return name, data


def _pil_to_array(image: Any, respect_exif: bool) -> NDArray[np.uint8]:  # noqa: ANN401
    """(H, W, 3 or 4) pixels of a PIL image."""
    if respect_exif:
        from PIL import ImageOps

        image = ImageOps.exif_transpose(image)
    transparent = "A" in image.mode or "transparency" in image.info
    return np.asarray(image.convert("RGBA" if transparent else "RGB"))


def _check_size(name: str, width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    if width * height > max_pixels:
        raise InputError(
            f"{name}: {width}×{height} is more than {max_pixels:,} pixels; make it smaller"
        )
    if min(width, height) < MIN_SIDE:
        raise InputError(
            f"{name}: {width}×{height} pixels are too few to show anyone; "
            f"each side needs at least {MIN_SIDE}"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InputError(
            f"{name}: {width}×{height} pixels are more than {MAX_ASPECT} times as long as wide; "
            "the network would be shown a huge strip, so crop it first"
        )


def _from_array(array: NDArray[np.uint8]) -> Image:
    shape_fits = array.ndim >= 2 and array.shape[2:] in ((), (3,), (4,))
    if array.dtype != np.uint8 or not shape_fits:
        raise InputError(
            f"an array of shape {array.shape} and type {array.dtype} is no picture; "
            "uint8 of shape (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) grey is"
        )
    _check_size("the array", array.shape[1], array.shape[0])
    if array.ndim == 2:
        return np.repeat(array[..., None], 3, axis=2)
    return np.ascontiguousarray(array) if array.shape[2] == 3 else _on_white(array)


def _decode(data: bytes, respect_exif: bool) -> Image | None:
    """The picture, or None where OpenCV gives none: it does not show a part of one."""
    buffer = np.frombuffer(data, np.uint8)
    orientation = 0 if respect_exif else cv2.IMREAD_IGNORE_ORIENTATION
    try:
        decoded = cv2.imdecode(buffer, cv2.IMREAD_COLOR_RGB | orientation)
        stored = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED) if _may_be_transparent(data) else None
    except cv2.error:
        return None
    if decoded is None:
        return None
    image = decoded.astype(np.uint8, copy=False)
    if stored is None or stored.shape[2:] != (4,):
        return image
    if stored.dtype == np.uint16:
        stored = stored // 256
    rgba = np.asarray(cv2.cvtColor(stored.astype(np.uint8), cv2.COLOR_BGRA2RGBA), np.uint8)
    # The stored one is never turned by EXIF: where only the other was, its transparency is lost.
    return _on_white(rgba) if np.array_equal(rgba[..., :3], image) else image


def _may_be_transparent(data: bytes) -> bool:
    """Whether the header of a PNG (colour types 3, 4, 6) or WebP (its alpha flag) admits of it."""
    if data.startswith(b"\x89PNG"):
        return data[25] in (3, 4, 6)
    if not data.startswith(b"RIFF"):
        return False
    flags = {b"VP8X": data[20], b"VP8L": data[24]}.get(data[12:16], 0)
    return bool(flags & 16)


def _on_white(rgba: NDArray[np.uint8]) -> Image:
    """(H, W, 4) → (H, W, 3), as a viewer shows it."""
    alpha = rgba[..., 3:].astype(np.uint16)
    blended = (rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255  # at most 65 152
    return blended.astype(np.uint8)
