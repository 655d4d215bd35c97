"""Images that are stored with an EXIF orientation."""

from __future__ import annotations

from pathlib import Path

from PIL import Image as Pillow
from PIL import ImageOps

OPPOSITE = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_90,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_270,
}
"""The operation that stores an image so that an EXIF orientation displays it as before."""


def store_oriented(folder: Path, orientation: int) -> None:
    """Stores the images of a folder with an EXIF orientation; they are displayed as before."""
    for path in folder.glob("*.png"):
        exif = Pillow.Exif()
        exif[0x0112] = orientation
        image = Pillow.open(path).transpose(OPPOSITE[orientation])
        image.save(path, exif=exif)
        displayed = ImageOps.exif_transpose(Pillow.open(path))
        assert displayed.size == image.size[:: -1 if orientation > 4 else 1]
