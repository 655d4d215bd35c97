"""Matching: keypoints of regressed poses → peaks of the heatmaps (DEKR, supplementary material).

`move_to_peaks` moves them to peaks, and `move_to_fits` to the centers of fitted Gaussians.
"""

from __future__ import annotations

import cv2
import numpy as np

from higherhrnet.arrays import BoolArray, FloatArray, IndexArray
from higherhrnet.decoding.offsets.gaussian_fit import fit_gaussians
from higherhrnet.decoding.offsets.offset_maps import OffsetMaps
from higherhrnet.decoding.top_k import select_by_heap

MAX_PEAKS = 30
"""Number of peaks per keypoint to which keypoints may move."""
_RADIUS = 6
"""Pixels on each side of a keypoint to which a Gaussian is fitted."""
_INITIAL_SIGMA = 2.0
"""Standard deviation in pixels with which a fit starts."""
_REPEATED = 4
"""Pixels at the right and lower border that may repeat the values of the last cell."""


def move_to_peaks(keypoints: FloatArray, maps: OffsetMaps, max_distance: float) -> FloatArray:
    """Moves each keypoint to the nearest peak of its heatmap, if one is near enough.

    Args:
        keypoints: (P, K, 2) x and y in pixels of `maps.decode_size`.
        maps: the maps.
        max_distance: distance in pixels that a move must stay below.

    Returns:
        (P, K, 2).
    """
    count = keypoints.shape[1]
    peaks = np.stack([_highest_peaks(maps, k) for k in range(count)], 1)  # (N, K, 2)
    squared = ((keypoints[:, None] - peaks) ** 2).sum(3)  # (P, N, K)
    nearest = squared.argmin(1)
    at_peak = peaks[nearest, np.arange(count)]
    near = squared.min(1) < max_distance**2
    return np.where(near[..., None], at_peak, keypoints).astype(np.float32)


def _highest_peaks(maps: OffsetMaps, k: int) -> FloatArray:
    """Finds the highest peaks of a heatmap in windows of 5×5 pixels: (MAX_PEAKS, 2) x and y."""
    _, width = maps.decode_size
    y, x, score = _peaks(maps, k)
    pixels = y * width + x
    order = np.argsort(-score)[: MAX_PEAKS + 1]
    if len(order) <= MAX_PEAKS or (score[order[1:]] == score[order[:-1]]).any():
        pixels = _in_reference_order(pixels, score)
    else:
        pixels = pixels[order[:MAX_PEAKS]]
    y, x = np.divmod(pixels, width)
    return np.stack([x, y], 1).astype(np.float32)


def _in_reference_order(pixels: IndexArray, score: FloatArray) -> IndexArray:
    """Selects the highest peaks as the reference implementation does if there are equal ones.

    It selects the highest values of a map that is 0 except at peaks, so that too few peaks are
    completed by the first pixels. More pixels whose value is 0 would not change its choice.
    """
    first = np.setdiff1d(np.arange(2 * MAX_PEAKS), pixels)
    pixels = np.concatenate([pixels, first])
    score = np.concatenate([score, np.zeros(len(first), np.float32)])
    order = np.argsort(pixels)
    return pixels[order][select_by_heap(score[order], MAX_PEAKS)]


def _peaks(maps: OffsetMaps, k: int) -> tuple[IndexArray, IndexArray, FloatArray]:
    """Finds the peaks of a heatmap: rows, columns and values.

    An enlarged heatmap is bilinear between cells, so its peaks are at cells, whose positions are
    even, and between equal peaks. Therefore every second pixel is enough, except beyond the last
    cells, where values are repeated.
    """
    height, width = maps.decode_size
    first_y, first_x = height - _REPEATED, width - _REPEATED
    values, is_peak = _pixels_and_peaks(maps, k, (0, 0), (height // 2, width // 2), 2)
    y, x = _places(is_peak)
    equal = {(0, 0): np.ones(len(y), bool)}
    for dy, dx in ((0, 1), (1, 0), (1, 1)):
        ahead = np.minimum(y + dy, len(values) - 1), np.minimum(x + dx, values.shape[1] - 1)
        equal[dy, dx] = is_peak[ahead] & (values[ahead] == values[y, x])
    equal[1, 1] &= equal[0, 1] & equal[1, 0]
    found = [
        (2 * y[mask] + dy, 2 * x[mask] + dx, values[y[mask], x[mask]])
        for (dy, dx), mask in equal.items()
    ]
    y, x, score = map(np.concatenate, zip(*found, strict=True))
    inner = (y < first_y) & (x < first_x)
    found = [(y[inner], x[inner], score[inner])]
    for top, left in ((0, first_x - 2), (first_y - 2, 0)):  # their windows begin two pixels before
        size = height - top, width - left
        values, is_peak = _pixels_and_peaks(maps, k, (top, left), size, 1)
        if left:
            is_peak[:, :2] = False
        else:
            is_peak[:2] = is_peak[:, first_x:] = False
        y, x = _places(is_peak)
        found.append((y + top, x + left, values[y, x]))
    y, x, score = map(np.concatenate, zip(*found, strict=True))
    return y, x, score


def _places(mask: BoolArray) -> tuple[IndexArray, IndexArray]:
    """Finds the rows and columns of the true cells, faster than `np.nonzero`."""
    y, x = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return y, x


def _pixels_and_peaks(
    maps: OffsetMaps, k: int, start: tuple[int, int], size: tuple[int, int], step: int
) -> tuple[FloatArray, BoolArray]:
    """Enlarges a part of a heatmap.

    Args:
        maps: the maps.
        k: index of the heatmap.
        start: row and column of the first pixel.
        size: number of rows and columns.
        step: distance in pixels of rows and columns, 1 or 2.

    Returns:
        The pixels, summed over the scales, and whether each is positive and the highest in the part
        of its window of 5×5 pixels that was computed.
    """
    first, total = maps.first_pixel_center, np.zeros(size, np.float32)
    for scale, (heatmaps, _) in maps.scales.items():
        stride = maps.stride(scale)
        y, x = ((pixel + first) / stride - first for pixel in start)
        total += cv2.warpAffine(
            heatmaps[k],
            np.array([[step / stride, 0, x], [0, step / stride, y]]),
            size[::-1],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    side = 4 // step + 1
    highest = cv2.dilate(total, np.ones((side, side), np.uint8))
    return total, (total == highest) & (total > 0)


def move_to_fits(
    keypoints: FloatArray, selected: BoolArray, maps: OffsetMaps, exact: bool
) -> FloatArray:
    """Moves keypoints to the centers of Gaussians that are fitted to the heatmaps around them.

    Args:
        keypoints: (P, K, 2) x and y in pixels of `maps.decode_size`.
        selected: (P, K) the keypoints to move.
        maps: the maps.
        exact: see `OffsetDecodeConfig.exact_fit`.

    Returns:
        (P, K, 2); keypoints for which there is no fit are not moved.
    """
    person, k = np.nonzero(selected)
    if not len(person):
        return keypoints
    height, width = maps.decode_size
    column, row = (keypoints[person, k] + 0.5).astype(np.intp).T
    row, column = row.clip(0, height - 1), column.clip(0, width - 1)
    top, left = np.maximum(row - _RADIUS, 0), np.maximum(column - _RADIUS, 0)
    rows = (np.minimum(row + _RADIUS + 1, height) - top)[:, None]
    columns = (np.minimum(column + _RADIUS + 1, width) - left)[:, None]
    pixel = np.arange((2 * _RADIUS + 1) ** 2)
    used = pixel < rows * columns
    y, x = top[:, None] + pixel // columns, left[:, None] + pixel % columns
    values = maps.heatmap_values(k[:, None], np.minimum(y, height - 1), x)
    if not exact:  # right only where the window is square
        y, x = top[:, None] + pixel // rows, left[:, None] + pixel % rows
    start = maps.heatmap_values(k, row, column)
    sigma = np.full(len(start), _INITIAL_SIGMA)
    parameters = np.stack([start, row, column, sigma], 1).astype(np.float64)
    fitted, converged = fit_gaussians(values * used, y * used, x * used, used, parameters)
    moved = keypoints.copy()
    moved[person[converged], k[converged]] = fitted[converged][:, [2, 1]]
    return moved
