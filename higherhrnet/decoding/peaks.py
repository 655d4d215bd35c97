"""Heatmaps → peaks: the local maxima at which each keypoint may be."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np

from higherhrnet.arrays import BoolArray, FloatArray, IndexArray
from higherhrnet.decoding.top_k import top_k_indices
from higherhrnet.decoding.upsample import BLOCK, Upsampled

_BLOCKS_PER_BATCH = 4096
"""Number of blocks that are processed together; their pixels fit into a processor core's cache."""


class Peaks(NamedTuple):
    """The peaks of all keypoints, sorted by keypoint and then from high to low."""

    keypoint: IndexArray
    """(N,) index of the keypoint."""
    x: IndexArray
    """(N,) column of the upsampled heatmap."""
    y: IndexArray
    """(N,) row of the upsampled heatmap."""
    score: FloatArray
    """(N,) value of the heatmap."""


def find_peaks(
    heatmaps: Upsampled, bounds: FloatArray, min_peak: float, window: int, max_peaks: int
) -> Peaks:
    """Finds the pixels that no pixel in the square window around them exceeds.

    Args:
        heatmaps: (K, 1, h, w), with a margin of at least `window // 2`.
        bounds: (K, rows, columns) the upper bounds of the blocks.
        min_peak: the value that a peak must exceed.
        window: side of the window in pixels, odd.
        max_peaks: maximum number of peaks per keypoint; the highest are kept.
    """
    k, row, column = np.nonzero(bounds > min_peak)
    batches = (slice(i, i + _BLOCKS_PER_BATCH) for i in range(0, max(1, len(k)), _BLOCKS_PER_BATCH))
    parts = [
        _peaks_in_blocks(heatmaps, k[batch], row[batch], column[batch], min_peak, window)
        for batch in batches
    ]
    k, x, y, score = map(np.concatenate, zip(*parts, strict=True))
    order = np.lexsort((x, y, -score, k))
    k, x, y, score = k[order], x[order], y[order], score[order]
    rank = np.arange(len(k)) - np.searchsorted(k, k)
    tied = (k[1:] == k[:-1]) & (score[1:] == score[:-1]) & (rank[:-1] < max_peaks)
    for keypoint in sorted(set(k[1:][tied].tolist())):
        kept = np.flatnonzero(k == keypoint)[:max_peaks]
        pixels = _reference_order(heatmaps, keypoint, window, max_peaks)[: len(kept)]
        y[kept], x[kept] = divmod(pixels, heatmaps.width)
    keep = rank < max_peaks
    return Peaks(k[keep], x[keep], y[keep], score[keep])


def _peaks_in_blocks(
    heatmaps: Upsampled,
    k: IndexArray,
    row: IndexArray,
    column: IndexArray,
    min_peak: float,
    window: int,
) -> Peaks:
    """Finds the peaks in M blocks, in any order."""
    values, is_peak = _block_peaks(heatmaps, k, row, column, window)
    is_peak &= values > min_peak
    dy, dx, block = np.nonzero(is_peak)
    x, y = column[block] * BLOCK + dx, row[block] * BLOCK + dy
    inside = (x < heatmaps.width) & (y < heatmaps.height)
    return Peaks(k[block][inside], x[inside], y[inside], values[dy, dx, block][inside])


def _block_peaks(
    heatmaps: Upsampled, k: IndexArray, row: IndexArray, column: IndexArray, window: int
) -> tuple[FloatArray, BoolArray]:
    """Computes (BLOCK, BLOCK, M) values of blocks, and which are the highest in their windows."""
    margin = window // 2
    pixels = heatmaps.blocks(k, row, column, margin, outside=-np.inf)[0]
    row_maxima = reduce(np.maximum, (pixels[:, i : i + BLOCK] for i in range(window)))
    maxima = reduce(np.maximum, (row_maxima[i : i + BLOCK] for i in range(window)))
    values = pixels[margin : margin + BLOCK, margin : margin + BLOCK]
    return values, values == maxima


def _reference_order(heatmaps: Upsampled, keypoint: int, window: int, max_peaks: int) -> IndexArray:
    """Returns flat indices of a keypoint's highest peaks, in the order of `torch.topk`."""
    row, column = np.divmod(np.arange(heatmaps.rows * heatmaps.columns), heatmaps.columns)
    values, is_peak = _block_peaks(heatmaps, np.full_like(row, keypoint), row, column, window)
    blocks = np.where(is_peak, values, 0).reshape(BLOCK, BLOCK, heatmaps.rows, heatmaps.columns)
    peaks = blocks.transpose(2, 0, 3, 1).reshape(heatmaps.rows * BLOCK, -1)
    values = peaks[: heatmaps.height, : heatmaps.width].ravel()
    return top_k_indices(values, min(max_peaks, len(values)))
