"""Heatmaps → candidates: where each keypoint may be."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import FloatArray, IndexArray
from higherhrnet.decoding.top_k import topk_order
from higherhrnet.decoding.upsample import BLOCK, Upsampled


class Peaks(NamedTuple):
    """Peaks of all keypoints, sorted by keypoint, the highest first."""

    keypoint: IndexArray
    """(N,)"""
    x: IndexArray
    """(N,) column of the enlarged map."""
    y: IndexArray
    """(N,) row of the enlarged map."""
    score: FloatArray
    """(N,) the heatmap's value."""


def find_peaks(
    heatmaps: Upsampled, bounds: FloatArray, min_peak: float, window: int, most: int
) -> Peaks:
    """Pixels above `min_peak` that nothing in the square around them exceeds.

    Args:
        heatmaps: (K, 1, h, w) enlarged, with a ring of at least `window // 2`.
        bounds: (K, rows, columns) what no pixel of a block exceeds.
        min_peak: a peak must be above this.
        window: side of the square, odd.
        most: peaks kept a keypoint, the highest.
    """
    k, row, column = np.nonzero(bounds > min_peak)
    values, is_peak = _block_peaks(heatmaps, k, row, column, window)
    block, dy, dx = np.nonzero(is_peak & (values > min_peak))
    x, y = column[block] * BLOCK + dx, row[block] * BLOCK + dy
    inside = (x < heatmaps.width) & (y < heatmaps.height)
    k, x, y, score = k[block][inside], x[inside], y[inside], values[block, dy, dx][inside]
    order = np.lexsort((x, y, -score, k))
    k, x, y, score = k[order], x[order], y[order], score[order]
    rank = np.arange(len(k)) - np.searchsorted(k, k)
    tied = (k[1:] == k[:-1]) & (score[1:] == score[:-1]) & (rank[:-1] < most)
    keep = rank < most
    for keypoint in np.unique(k[1:][tied]):
        mine = np.flatnonzero(k == keypoint)[:most]
        flat = _original_order(heatmaps, keypoint, window, most)[: len(mine)]
        y[mine], x[mine] = divmod(flat, heatmaps.width)
    return Peaks(k[keep], x[keep], y[keep], score[keep])


def _block_peaks(
    heatmaps: Upsampled, k: IndexArray, row: IndexArray, column: IndexArray, window: int
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(M, BLOCK, BLOCK) values of blocks, and where a value is the largest in its square."""
    ring = window // 2
    pixels = heatmaps.blocks(k, row, column, ring, outside=-np.inf)[:, 0]
    across = reduce(np.maximum, (pixels[:, :, i : i + BLOCK] for i in range(window)))
    highest = reduce(np.maximum, (across[:, i : i + BLOCK] for i in range(window)))
    values = pixels[:, ring : ring + BLOCK, ring : ring + BLOCK]
    return values, values == highest


def _original_order(heatmaps: Upsampled, keypoint: int, window: int, most: int) -> IndexArray:
    """The flat indices of one keypoint's highest peaks; equal ones as the original has them."""
    row, column = np.divmod(np.arange(heatmaps.rows * heatmaps.columns), heatmaps.columns)
    values, is_peak = _block_peaks(heatmaps, np.full_like(row, keypoint), row, column, window)
    blocks = np.where(is_peak, values, 0).reshape(heatmaps.rows, heatmaps.columns, BLOCK, BLOCK)
    peaks = blocks.swapaxes(1, 2).reshape(heatmaps.rows * BLOCK, -1)
    values = peaks[: heatmaps.height, : heatmaps.width].ravel()
    return topk_order(values, min(most, len(values)))
