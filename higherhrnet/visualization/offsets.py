"""Draws the centers of people and the offsets that lead from them to the keypoints."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from higherhrnet.arrays import FloatArray, Image, IndexArray
from higherhrnet.errors import InputError
from higherhrnet.io.images import require_rgb
from higherhrnet.visualization.heat import draw_heatmaps
from higherhrnet.visualization.poses import Color

MIN_CENTER = 0.1
"""Offsets are drawn where the center heatmap exceeds this value."""
FIELD_COLOR: Color = (150, 235, 255)
FIELD_STEP = 3
"""Distance in cells of the arrows of one keypoint."""
_CENTER_WINDOW = 5
"""Side in cells of the window in which a center is the highest value."""
_FRACTION_BITS = 4  # OpenCV takes coordinates as integers, in units of 2⁻⁴ pixels
_MAX_COORDINATE = 1e6  # pixels; greater values would overflow OpenCV's integers


def draw_offsets(image: Image, centers: FloatArray, offsets: FloatArray) -> Image:
    """Draws the center heatmap, and an arrow from each center to each of the person's keypoints.

    Each keypoint has its own color.

    Args:
        image: (H, W, 3) RGB.
        centers: (h, w) center heatmap, about 0 to 1; it covers the same area as the image.
        offsets: (2K, h, w) offsets in cells: for each keypoint x, then y.

    Returns:
        (H, W, 3) RGB.

    Raises:
        InputError: the image is not a uint8 array of shape (H, W, 3), or the shapes of the maps do
            not match.
    """
    require_rgb(image)
    require_offsets(centers, offsets)
    canvas = draw_heatmaps(image, centers[None])
    window = np.ones((_CENTER_WINDOW, _CENTER_WINDOW), np.uint8)
    rows, columns = np.nonzero((centers > MIN_CENTER) & (centers == cv2.dilate(centers, window)))
    count = len(offsets) // 2
    shades = np.linspace(20, 235, count).round().astype(np.uint8)[:, None]
    colors = cv2.cvtColor(cv2.applyColorMap(shades, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)[:, 0]
    for keypoint, color in enumerate(colors.tolist()):
        pair = offsets[2 * keypoint : 2 * keypoint + 2]
        _draw_arrows(canvas, _arrows(canvas, rows, columns, pair), tuple(color), 2)
    return canvas


def draw_field(canvas: Image, centers: FloatArray, offsets: FloatArray) -> None:
    """Draws the offsets of one keypoint as arrows from some of the cells near centers, in place.

    Args:
        canvas: (H, W, 3) RGB.
        centers: (h, w) center heatmap.
        offsets: (2, h, w) x and y offset of the keypoint in cells.
    """
    lattice = np.zeros(centers.shape, bool)
    lattice[::FIELD_STEP, ::FIELD_STEP] = True
    rows, columns = np.nonzero(lattice & (centers > MIN_CENTER))
    _draw_arrows(canvas, _arrows(canvas, rows, columns, offsets), FIELD_COLOR, 1)


def require_offsets(centers: FloatArray, offsets: FloatArray) -> None:
    """Raises InputError if the shapes of center heatmap and offsets do not match."""
    valid = centers.ndim == 2 and centers.size and offsets.ndim == 3 and len(offsets) % 2 == 0
    if not valid or offsets.shape[1:] != centers.shape:
        raise InputError(
            "centers must have the shape (h, w), and offsets (2K, h, w), not "
            f"{centers.shape} and {offsets.shape}"
        )


def _arrows(
    canvas: Image, rows: IndexArray, columns: IndexArray, offsets: FloatArray
) -> FloatArray:
    """Returns (N, 2, 2) the first and last point of the arrows of N cells, x and y in pixels."""
    height, width = offsets.shape[1:]
    start = np.stack([columns, rows], 1).astype(np.float32)
    end = start - offsets[:, rows, columns].T
    cell = np.array([canvas.shape[1] / width, canvas.shape[0] / height])
    # In OpenCV's coordinates, the center of the first pixel is at 0.
    return np.asarray((np.stack([start, end], 1) + 0.5) * cell - 0.5, np.float32)


def _draw_arrows(canvas: Image, arrows: Iterable[FloatArray], color: Color, thickness: int) -> None:
    for points in arrows:
        clipped = points.clip(-_MAX_COORDINATE, _MAX_COORDINATE) * 2**_FRACTION_BITS
        start, end = clipped.round().astype(int).tolist()
        length = float(np.hypot(*(points[1] - points[0])))
        tip = min(0.3, 5 / max(length, 1))
        cv2.arrowedLine(
            canvas, start, end, color, thickness, cv2.LINE_AA, _FRACTION_BITS, tipLength=tip
        )
