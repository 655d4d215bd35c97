"""Reads image files of many formats as RGB arrays, and writes RGB arrays to image files."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError, require
from higherhrnet.io.atomic import atomic_path
from higherhrnet.io.image_formats.deep_images import PixelError, to_8_bits
from higherhrnet.io.image_formats.heif import decode_heif, heif_kind
from higherhrnet.io.image_formats.image_decoding import blend_with_white, decode_image
from higherhrnet.io.image_formats.image_kinds import SUPPORTED, unreadable_kind
from higherhrnet.io.image_formats.image_size import image_size

if TYPE_CHECKING:
    from typing_extensions import TypeIs

IMAGE_EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".ppm", ".pgm",
    ".heic", ".heif", ".avif",
)  # fmt: skip
"""The extensions of image files that are found in folders, archives and by patterns. `read_image`
recognizes a file by its content and accepts any extension."""
MAX_PIXELS = 178_956_970
"""The default maximum number of pixels of an image: 0.5 GB of RGB, as Pillow's limit."""
MIN_SIDE = 16
"""The minimum side length of an image in pixels."""
MAX_BYTES = 2**31
"""Size of an image file in bytes above which it is not read."""
MAX_ASPECT = 20
"""The maximum ratio of the longer to the shorter side of an image."""

_ROWS = 64
"""Number of rows of an image that are converted at once."""


class PilImage(Protocol):
    """An image of the Pillow package, which need not be installed."""

    @property
    def mode(self) -> str:
        """The color space, such as RGB."""
        ...

    def convert(self, mode: str) -> Any:  # noqa: ANN401
        """Converts the image to another mode."""
        ...

    def getexif(self) -> Any:  # noqa: ANN401
        """Returns the EXIF metadata."""
        ...


ImageSource = str | os.PathLike[str] | bytes | BinaryIO | NDArray[np.uint8] | PilImage
"""What `read_image` accepts: a path; the bytes of an image file; a binary file open for reading; a
uint8 array of shape (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) gray; or a PIL image."""


def is_image_source(source: object) -> TypeIs[ImageSource]:
    """Returns whether an object is one image, as opposed to an iterable of images."""
    if isinstance(source, str | os.PathLike | bytes | np.ndarray):
        return True
    return hasattr(source, "read") or _is_pil_image(source)


def read_image(
    source: ImageSource,
    *,
    respect_exif: bool = True,
    max_pixels: int = MAX_PIXELS,
) -> Image:
    """Reads an image as a contiguous (H, W, 3) uint8 RGB array.

    Gray, palette and CMYK files become RGB, and transparent images are blended with white. Of an
    animation or a multi-page TIFF file, the first image is read. Files of more than 8 bits per
    channel, also floating-point TIFF files, are scaled to 8 bits; the environment variable
    `HIGHERHRNET_WHITE_LEVEL` sets their value of white. By default it is the highest value of 16
    bits or, where no value of an image is higher, of 8, 10, 12 or 14 bits. HEIC and AVIF files need
    the extra `heif` and are always rotated as their container specifies.

    Args:
        source: see `ImageSource`; a contiguous RGB array is returned without a copy.
        respect_exif: rotate the image as its EXIF orientation requires. Annotations of datasets
            refer to the stored pixels: use False for them.
        max_pixels: files with more pixels are rejected before they are decoded. Default:
            178,956,970 (Pillow's limit). Applies to files only.

    Raises:
        InputError: the file is missing, not an image, truncated or damaged, or the image has too
            many pixels, a side below 16 pixels, an aspect ratio above 20, or values of more than 8
            bits whose range is unknown.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if _is_pil_image(source):
        return _from_array(_pil_to_array(source, respect_exif))
    name, data = _read_bytes(source)
    try:
        return _decode_file(name, data, respect_exif, max_pixels)
    except PixelError as error:
        raise InputError(f"{name}: {error}") from error


def write_image(path: str | Path, image: Image, *, overwrite: bool = False) -> None:
    """Writes an image atomically, in the format of the path's suffix.

    Args:
        path: the image file.
        image: (H, W, 3) RGB.
        overwrite: whether the array may be overwritten, which saves the memory of a copy.

    Raises:
        InputError: the array is not an image, or the file cannot be written.
    """
    data = encode_image(image, Path(path).suffix, overwrite=overwrite)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def encode_image(image: Image, suffix: str, *, overwrite: bool = False) -> bytes:
    """Encodes a (H, W, 3) RGB image as the bytes of a file.

    Args:
        image: the image.
        suffix: the format, such as `.png`.
        overwrite: whether the array may be overwritten, which saves the memory of a copy.

    Raises:
        InputError: the array is not an image, or the format is unknown or does not support the
            size of the image.
    """
    require_rgb(image)
    try:
        bgr = image if overwrite else np.empty_like(image)
        for start in range(0, len(image), _ROWS):
            part = slice(start, start + _ROWS)
            bgr[part] = cv2.cvtColor(image[part], cv2.COLOR_RGB2BGR)
        encoded, data = cv2.imencode(suffix, bgr)
    except cv2.error as error:
        raise InputError(f"unknown image format {suffix!r}; use .jpg, .png or .webp") from error
    if not encoded:
        raise InputError(f"{image.shape[1]}×{image.shape[0]} pixels cannot be written as {suffix}")
    return data.tobytes()


def require_rgb(image: Image) -> None:
    """Raises InputError unless an image is a uint8 array of shape (H, W, 3)."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise InputError(
            f"an image must be RGB uint8 of shape (H, W, 3), not {image.dtype} of {image.shape}"
        )


def unreadable_error(path: Path, error: OSError | ValueError) -> InputError:
    """Creates the error for a file that cannot be opened (ValueError: invalid path)."""
    return InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}")


def _is_pil_image(source: object) -> TypeIs[PilImage]:
    return hasattr(source, "convert") and hasattr(source, "getexif")


def _read_bytes(source: ImageSource) -> tuple[str, bytes]:
    """Returns the name of an image for error messages, and the bytes of its file."""
    if isinstance(source, bytes):
        name, data = "the image", source
    elif isinstance(source, str | os.PathLike):
        name = str(source)
        data = _read_file(Path(source))
    elif hasattr(source, "read"):
        name = str(getattr(source, "name", "the file"))
        try:
            data = source.read()
        except (OSError, ValueError) as error:  # ValueError: closed, or undecodable text
            raise unreadable_error(Path(name), error) from error
        if not isinstance(data, bytes):
            raise InputError(f"{name}: is open for reading text; open it in binary mode")
    else:
        raise InputError(
            f"cannot read an image from an object of type {type(source).__name__}; pass a path, "
            "bytes, a binary file, a uint8 array or a PIL image"
        )
    if not data:
        raise InputError(f"{name}: the file is empty")
    return name, data


def _read_file(path: Path) -> bytes:
    """Returns the bytes of an image file, but not of a device, which may be endless."""
    try:
        with path.open("rb") as file:
            info = os.fstat(file.fileno())
            is_device, is_large = stat.S_ISCHR(info.st_mode), info.st_size > MAX_BYTES
            data = b"" if is_device or is_large else file.read()
    except (OSError, ValueError) as error:
        raise unreadable_error(path, error) from error
    require(not is_device, f"{path}: is a device, not a file; a camera is named by its number")
    require(not is_large, f"{path}: is larger than 2 GiB, the limit for image files")
    return data


def _decode_file(name: str, data: bytes, respect_exif: bool, max_pixels: int) -> Image:
    check_size = partial(_check_size, name, max_pixels=max_pixels)
    if heif := heif_kind(data):
        return _from_array(decode_heif(name, data, heif, check_size))
    if kind := unreadable_kind(data):
        raise InputError(f"{name}: not an image that can be read, but {kind}")
    width, height = image_size(data)
    if width <= 0 or height <= 0:
        raise InputError(f"{name}: not an image of a supported format ({SUPPORTED}), or truncated")
    check_size(width, height)
    image = decode_image(data, respect_exif)
    if image is None:
        raise InputError(
            f"{name}: cannot be decoded, since it is truncated, damaged or of an unsupported kind"
        )
    return image


def _pil_to_array(image: Any, respect_exif: bool) -> NDArray[np.uint8]:  # noqa: ANN401
    """Converts a PIL image to (H, W, 3 or 4) pixels."""
    try:
        if respect_exif:
            from PIL import ImageOps

            image = ImageOps.exif_transpose(image)
        if image.mode[0] in "IF":  # Pillow would clip values above 255
            pixels = np.asarray(image)
            return to_8_bits(pixels.astype(pixels.dtype.newbyteorder("=")))
        transparent = "A" in image.mode or "transparency" in image.info
        return np.asarray(image.convert("RGBA" if transparent else "RGB"))
    except (OSError, ValueError, SyntaxError) as error:  # a PIL image is decoded when it is used
        raise InputError(f"the PIL image cannot be decoded: {error}") from error


def _check_size(name: str, width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    if width * height > max_pixels:
        raise InputError(
            f"{name}: {width}×{height} is more than {max_pixels:,} pixels; resize the image"
        )
    if min(width, height) < MIN_SIDE:
        raise InputError(
            f"{name}: {width}×{height} pixels are too few to detect people; each side must be at "
            f"least {MIN_SIDE}"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InputError(
            f"{name}: one side of {width}×{height} pixels is more than {MAX_ASPECT} times as long "
            "as the other, which would make the network's input too large; crop the image"
        )


def _from_array(array: NDArray[np.uint8]) -> Image:
    is_image_shape = array.ndim >= 2 and array.shape[2:] in ((), (3,), (4,))
    if array.dtype != np.uint8 or not is_image_shape:
        raise InputError(
            f"an array of shape {array.shape} and type {array.dtype} is not an image; it must be "
            "uint8 of shape (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) gray"
        )
    _check_size("the array", array.shape[1], array.shape[0])
    if array.ndim == 2:
        return np.repeat(array[..., None], 3, axis=2)
    return np.ascontiguousarray(array) if array.shape[2] == 3 else blend_with_white(array)
