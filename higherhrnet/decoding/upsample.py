"""Bilinear upsampling of maps, computed only where values are needed.

The reference implementation upsamples every heatmap and tag map to the size of the network's input
and searches the result. A pixel of an upsampled map is a fixed weighted sum of at most 3×3 cells.
Therefore the maps are kept at the size of the network's output: single pixels and blocks of pixels
are computed on demand, and the values in a block are bounded by the extreme values of its cells.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from higherhrnet.arrays import FloatArray, IndexArray

BLOCK = 8
"""Side of a block in upsampled pixels; a multiple of every factor of upsampling."""


def resize(maps: FloatArray, height: int, width: int, *, align_corners: bool = False) -> FloatArray:
    """Resizes maps bilinearly; maps that have the size already are returned as they are.

    Args:
        maps: (N, h, w).
        height: the new height.
        width: the new width.
        align_corners: align the centers of the corner cells instead of the outer edges.

    Returns:
        (N, height, width).
    """
    if maps.shape[1:] == (height, width):
        return maps
    if align_corners:
        return _resize_axis(_resize_axis(maps, 1, height), 2, width)
    resized = np.empty((len(maps), height, width), np.float32)
    for source, target in zip(maps, resized, strict=True):
        cv2.resize(source, (width, height), target, interpolation=cv2.INTER_LINEAR)
    return resized


def _resize_axis(maps: FloatArray, axis: int, size: int) -> FloatArray:
    """Interpolates along one axis, so that the first and the last cells keep their values."""
    cells = maps.shape[axis]
    source = np.linspace(0, cells - 1, size)
    before = np.minimum(source.astype(np.intp), max(cells - 2, 0))
    shape = [size if i == axis else 1 for i in range(maps.ndim)]
    weight = (source - before).astype(np.float32).reshape(shape)
    first, second = maps.take(before, axis), maps.take(np.minimum(before + 1, cells - 1), axis)
    second -= first
    second *= weight
    second += first
    return np.asarray(second)


def flip_horizontally(maps: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """Flips contiguous (N, h, w) maps, into `out` if given; several times faster than NumPy."""
    width = maps.shape[-1]
    rows = None if out is None else out.reshape(-1, width)
    return np.asarray(cv2.flip(maps.reshape(-1, width), 1, rows), np.float32).reshape(maps.shape)


@lru_cache
def cell_weights(factors: tuple[int, ...]) -> FloatArray:
    """(F, 3) weights of the previous, the same and the next cell in each of a cell's F pixels."""
    weights = np.eye(5)
    for factor in factors:
        cells = len(weights)
        source = (np.arange(cells * factor) + 0.5) / factor - 0.5
        interpolation = np.maximum(0, 1 - np.abs(source[:, None] - np.arange(cells)))
        weights = interpolation @ weights
    per_cell = len(weights) // 5
    return weights[2 * per_cell : 3 * per_cell, 1:4].astype(np.float32)


@lru_cache
def block_operator(factors: tuple[int, ...], margin: int) -> tuple[FloatArray, int]:
    """The matrix that computes the pixels of a block and of a margin around it from cells.

    Returns:
        (p², (BLOCK + 2 · margin)²) matrix for p × p cells, and the number of cells before the
        first cell of the block.
    """
    weights = cell_weights(factors)
    factor = len(weights)
    before = 1 + -(-margin // factor)
    cells = BLOCK // factor + 2 * before
    axis = np.zeros((BLOCK + 2 * margin, cells), np.float32)
    for row, pixel in enumerate(range(-margin, BLOCK + margin)):
        cell, phase = divmod(pixel, factor)
        axis[row, cell + before - 1 : cell + before + 2] = weights[phase]
    return np.kron(axis, axis).T.copy(), before


class Upsampled:
    """Maps after one or several bilinear upsamplings by integer factors.

    Attributes:
        count: K, the number of maps.
        height: H, height of the upsampled maps in pixels.
        width: W, width of the upsampled maps in pixels.
        rows: number of blocks that cover the height.
        columns: number of blocks that cover the width.

    Args:
        maps: (K, C, h, w).
        factors: the factors, applied one after the other; their product divides BLOCK.
        margin: the widest margin with which `blocks` is called.
    """

    def __init__(self, maps: FloatArray, factors: tuple[int, ...], margin: int = 0) -> None:
        self.factors = tuple(factor for factor in factors if factor > 1)
        self.factor = math.prod(self.factors)
        self.count, _, h, w = maps.shape
        self.height, self.width = h * self.factor, w * self.factor
        self._step = BLOCK // self.factor
        self.rows, self.columns = -(-h // self._step), -(-w // self._step)
        self._pad = 1 + -(-margin // self.factor)
        # Bilinear upsampling repeats the outermost cells beyond the edges of the map.
        below = self.rows * self._step - h + self._pad
        right = self.columns * self._step - w + self._pad
        self._cells = np.pad(
            maps, ((0, 0), (0, 0), (self._pad, below), (self._pad, right)), mode="edge"
        )

    def at(self, k: IndexArray, y: IndexArray, x: IndexArray) -> FloatArray:
        """Computes single pixels.

        Args:
            k: (M,) indices of the maps.
            y: (M,) rows of the pixels.
            x: (M,) columns of the pixels.

        Returns:
            (M, C) values.
        """
        weights = cell_weights(self.factors)
        (row, row_phase), (column, column_phase) = divmod(y, self.factor), divmod(x, self.factor)
        neighbors = np.arange(-1, 2) + self._pad
        cells = self._cells[
            k[:, None, None],
            :,
            (row[:, None] + neighbors)[:, :, None],
            (column[:, None] + neighbors)[:, None, :],
        ]  # (M, 3, 3, C)
        values = np.einsum("mi,mj,mijc->mc", weights[row_phase], weights[column_phase], cells)
        return np.asarray(values, np.float32)

    def blocks(
        self,
        k: IndexArray,
        row: IndexArray,
        column: IndexArray,
        margin: int = 0,
        outside: float | None = None,
    ) -> FloatArray:
        """Computes blocks of pixels, each with a margin around it.

        Args:
            k: (M,) indices of the maps.
            row: (M,) rows of the blocks.
            column: (M,) columns of the blocks.
            margin: width in pixels of the margin.
            outside: the value of pixels beyond the edges of the map (default: that of the nearest
                pixel of the map).

        Returns:
            (M, C, BLOCK + 2 · margin, BLOCK + 2 · margin) values.
        """
        operator, before = block_operator(self.factors, margin)
        side = self._step + 2 * before
        start = self._pad - before
        windows = np.lib.stride_tricks.sliding_window_view(
            self._cells[:, :, start:, start:], (side, side), axis=(2, 3)
        )[:, :, :: self._step, :: self._step]
        cells = windows[k, :, row, column]  # (M, C, side, side)
        size = BLOCK + 2 * margin
        if self.factor > 1:
            pixels = (cells.reshape(-1, side * side) @ operator).reshape(
                *cells.shape[:2], size, size
            )
        else:
            inner = slice(before - margin, before + BLOCK + margin)
            pixels = cells[:, :, inner, inner]
        if outside is not None:
            self._set_outside(pixels, row, column, margin, outside)
        return pixels

    def _set_outside(
        self, pixels: FloatArray, row: IndexArray, column: IndexArray, margin: int, value: float
    ) -> None:
        last_row, last_column = self.rows - 1, self.columns - 1
        at_edge = (row == 0) | (row == last_row) | (column == 0) | (column == last_column)
        edge = np.flatnonzero(at_edge)
        around = np.arange(-margin, BLOCK + margin)
        y, x = row[edge, None] * BLOCK + around, column[edge, None] * BLOCK + around
        y_outside, x_outside = (y < 0) | (y >= self.height), (x < 0) | (x >= self.width)
        outside = y_outside[:, None, :, None] | x_outside[:, None, None, :]
        pixels[edge] = np.where(outside, np.float32(value), pixels[edge])

    def block_maxima(self) -> FloatArray:
        """(K, C, rows, columns) upper bounds: no pixel of a block has a higher value."""
        return self._block_extremes(cv2.MORPH_DILATE)

    def block_minima(self) -> FloatArray:
        """(K, C, rows, columns) lower bounds: no pixel of a block has a lower value."""
        return self._block_extremes(cv2.MORPH_ERODE)

    def _block_extremes(self, operation: int) -> FloatArray:
        side = self._step + 2
        count, channels, height, width = self._cells.shape
        # All maps are stacked into one image; the windows that are kept do not cross its maps.
        stacked = self._cells.reshape(-1, width)
        window = np.ones((side, side), np.uint8)
        extremes = cv2.morphologyEx(stacked, operation, window, anchor=(0, 0))
        start = self._pad - 1
        extremes = extremes.reshape(count, channels, height, width)[:, :, start:, start:]
        kept = extremes[:, :, :: self._step, :: self._step]
        return np.ascontiguousarray(kept[:, :, : self.rows, : self.columns])
