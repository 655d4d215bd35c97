"""Center heatmap and offsets → the pose of each person, at one scale."""

from __future__ import annotations

import cv2
import numpy as np

from higherhrnet.arrays import FloatArray, IndexArray
from higherhrnet.decoding.top_k import top_k_indices

_LARGE_MAPS = 200, 300
"""Mean side of a map in cells above which the window of a peak is 5×5 and 7×7."""


def find_centers(
    heatmap: FloatArray, min_score: float, max_people: int
) -> tuple[IndexArray, FloatArray]:
    """Finds the local maxima of the center heatmap.

    A local maximum is not exceeded in the window around it: 3×3 cells, and up to 7×7 on large maps.

    Args:
        heatmap: (h, w) center heatmap.
        min_score: the value that a local maximum must exceed, at least 0.
        max_people: maximum number of centers; the highest are returned.

    Returns:
        The flat indices of the cells from high to low, and their values. Equal values are in the
        order of the reference implementation.
    """
    side = 3 + 2 * sum(sum(heatmap.shape) / 2 > limit for limit in _LARGE_MAPS)
    is_peak = heatmap == cv2.dilate(heatmap, np.ones((side, side), np.uint8))
    cells = np.flatnonzero(is_peak & (heatmap > min_score))
    values = heatmap.ravel()
    cells = cells[np.argsort(-values[cells], kind="stable")]
    first = values[cells[: max_people + 1]]
    if (first[1:] == first[:-1]).any():
        cells = top_k_indices((heatmap * is_peak).ravel(), min(max_people, len(values)))
        cells = cells[values[cells] > min_score]
    cells = cells[:max_people]
    return cells, values[cells]


def poses_at(cells: IndexArray, offsets: FloatArray) -> FloatArray:
    """Computes the poses of the people whose centers are in given cells.

    Args:
        cells: (P,) flat indices of the cells.
        offsets: (2K, h, w) offsets in cells, x before y.

    Returns:
        (P, K, 2) x and y in cells, where the center of the first cell is at 0.
    """
    count, _, width = offsets.shape
    rows, columns = np.divmod(cells, width)
    centers = np.stack([columns, rows], 1).astype(np.float32)
    at_centers = offsets.reshape(count, -1)[:, cells].T.reshape(len(cells), count // 2, 2)
    return np.asarray(centers[:, None] - at_centers, np.float32)
