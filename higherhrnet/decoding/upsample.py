"""Bilinear upsampling of maps, computed only where values are needed.

The reference implementation upsamples every heatmap and tag map to the size of the network's input
and searches the result. A pixel of an upsampled map is a fixed weighted sum of at most 3×3 cells.
Therefore the maps are kept at the size of the network's output: single pixels and blocks of pixels
are computed on demand, and the values in a block are bounded by the extreme values of its cells.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Protocol

import numpy as np

from higherhrnet.arrays import FloatArray, IndexArray

BLOCK = 8
"""Side of a block in upsampled pixels; a multiple of every factor of upsampling."""

_SERIAL_PRODUCT = 2**18
"""Number of multiply-adds up to which OpenBLAS computes a product of matrices in one thread. The
products here are too small for several threads, which would wait for each other."""


@lru_cache
def cell_weights(factors: tuple[int, ...]) -> FloatArray:
    """Computes (F, 3) weights of the previous, same and next cell in each of a cell's F pixels."""
    weights = np.eye(5)
    for factor in factors:
        cells = len(weights)
        source = (np.arange(cells * factor) + 0.5) / factor - 0.5
        interpolation = np.maximum(0, 1 - np.abs(source[:, None] - np.arange(cells)))
        weights = interpolation @ weights
    per_cell = len(weights) // 5
    return weights[2 * per_cell : 3 * per_cell, 1:4].astype(np.float32)


def repeated_pixels(factors: tuple[int, ...]) -> int:
    """Returns the number of outermost pixels in a row that repeat the border cell, at least 1.

    Beyond the border, the cells are repeated. Pixels outside the center of a border cell therefore
    are equal. Rounding would make them different, and the order of equal peaks would depend on it.
    """
    return int((cell_weights(factors)[:, 2] == 0).sum())


@lru_cache
def _row_operator(factors: tuple[int, ...], margin: int) -> FloatArray:
    """Returns the matrix that computes the pixels of one row of cells from three rows of cells.

    Args:
        factors: the factors of upsampling.
        margin: number of cells that are computed to the left and to the right of a block.

    Returns:
        (F · p, 3 · c) matrix for c = p / F + 2 cells in a row, of which the outermost are not
        enlarged.
    """
    weights = cell_weights(factors)
    factor = len(weights)
    enlarged = BLOCK // factor + 2 * margin
    axis = np.zeros((enlarged, factor, enlarged + 2), np.float32)
    for cell in range(enlarged):
        axis[cell, :, cell : cell + 3] = weights
    return np.kron(weights, axis.reshape(-1, enlarged + 2))


class PixelReader(Protocol):
    """K maps of which single pixels can be read."""

    @property
    def height(self) -> int:
        """Height in pixels."""
        ...

    @property
    def width(self) -> int:
        """Width in pixels."""
        ...

    def at(self, k: IndexArray, y: IndexArray, x: IndexArray) -> FloatArray:
        """Reads single pixels.

        Args:
            k: (M,) indices of the maps.
            y: (M,) rows of the pixels.
            x: (M,) columns of the pixels.

        Returns:
            (M, C) values.
        """
        ...


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
    """

    def __init__(self, maps: FloatArray, factors: tuple[int, ...]) -> None:
        self.factors = tuple(factor for factor in factors if factor > 1)
        self.factor = math.prod(self.factors)
        self.count, _, h, w = maps.shape
        self.height, self.width = h * self.factor, w * self.factor
        self._step, self._repeated = BLOCK // self.factor, repeated_pixels(self.factors)
        self.rows, self.columns = -(-h // self._step), -(-w // self._step)
        self._maps = np.ascontiguousarray(maps)

    def at(self, k: IndexArray, y: IndexArray, x: IndexArray) -> FloatArray:
        """Computes single pixels.

        Args:
            k: (M,) indices of the maps.
            y: (M,) rows of the pixels.
            x: (M,) columns of the pixels.

        Returns:
            (M, C) values.
        """
        if self._repeated > 1:
            y, x = self._nearest(y, self.height), self._nearest(x, self.width)
        weights = cell_weights(self.factors).T
        (row, row_phase), (column, column_phase) = divmod(y, self.factor), divmod(x, self.factor)
        cells = self._cells(k, row - 1, column - 1, 3)
        weighted = cells * (weights[:, None, row_phase] * weights[:, column_phase])
        return np.asarray(weighted.reshape(len(cells), 9, -1).sum(1)).T

    def _cells(self, k: IndexArray, top: IndexArray, left: IndexArray, side: int) -> FloatArray:
        """Reads (C, side, side, M) squares of cells, each from one map.

        Bilinear upsampling repeats the outermost cells beyond the edges of the map.
        """
        _, channels, h, w = self._maps.shape
        around = np.arange(side)[:, None]
        rows = (k * (channels * h) + (top + around).clip(0, h - 1)) * w
        index = rows[:, None] + (left + around).clip(0, w - 1)
        cells = np.empty((channels, *index.shape), np.float32)
        for channel, target in enumerate(cells):
            # Without a mode, `take` would copy the result; all indices are valid.
            self._maps.reshape(-1)[channel * h * w :].take(index, out=target, mode="clip")
        return cells

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
            (C, BLOCK + 2 · margin, BLOCK + 2 · margin, M) values. The blocks are the last axis,
            because NumPy is fast where the last axis is long.
        """
        cell_margin = -(-margin // self.factor)
        before = cell_margin + (self.factor > 1)
        top, left = row * self._step - before, column * self._step - before
        cells = self._cells(k, top, left, self._step + 2 * before)
        pixels = self._enlarge(cells, cell_margin) if self.factor > 1 else cells
        excess = cell_margin * self.factor - margin
        inner = slice(excess, pixels.shape[1] - excess)
        pixels = pixels[:, inner, inner]
        if self._repeated > 1:
            self._repeat_border(pixels, row, column, margin)
        if outside is not None:
            self._set_outside(pixels, row, column, margin, outside)
        return pixels

    def _enlarge(self, cells: FloatArray, margin: int) -> FloatArray:
        """Enlarges (C, c, c, M) squares of cells to (C, p, p, M), without the outermost cells."""
        operator = _row_operator(self.factors, margin)
        channels, side, _, count = cells.shape
        rows = np.lib.stride_tricks.sliding_window_view(
            cells.reshape(channels, side * side, count), 3 * side, axis=1
        )[:, ::side].swapaxes(2, 3)  # (C, c - 2, 3 · c, M): three rows around each row
        pixels = np.empty((channels, side - 2, len(operator), count), np.float32)
        part = max(1, _SERIAL_PRODUCT // operator.size)
        for start in range(0, count, part):
            some = slice(start, start + part)
            np.matmul(operator, rows[..., some], out=pixels[..., some])
        length = (side - 2) * self.factor
        return pixels.reshape(channels, length, length, count)

    def _nearest(self, pixel: IndexArray, size: int) -> IndexArray:
        """Returns the innermost pixel that repeats the same border cell, else the pixel itself."""
        return pixel.clip(self._repeated - 1, size - self._repeated)

    def _repeat_border(
        self, pixels: FloatArray, row: IndexArray, column: IndexArray, margin: int
    ) -> None:
        """Sets pixels that repeat a border cell to the value of one of them, without rounding."""
        for axis, block, size in ((1, row, self.height), (2, column, self.width)):
            corner = block * BLOCK - margin
            pixel = corner + np.arange(pixels.shape[axis])[:, None]
            nearest = self._nearest(pixel, size)
            edge = np.flatnonzero((nearest != pixel).any(0))
            index = np.expand_dims((nearest - corner)[:, edge], (0, 3 - axis))
            pixels[..., edge] = np.take_along_axis(pixels[..., edge], index, axis)

    def _set_outside(
        self, pixels: FloatArray, row: IndexArray, column: IndexArray, margin: int, value: float
    ) -> None:
        last_row, last_column = self.rows - 1, self.columns - 1
        at_edge = (row == 0) | (row == last_row) | (column == 0) | (column == last_column)
        edge = np.flatnonzero(at_edge)
        around = np.arange(-margin, BLOCK + margin)[:, None]
        y, x = row[edge] * BLOCK + around, column[edge] * BLOCK + around
        y_outside, x_outside = (y < 0) | (y >= self.height), (x < 0) | (x >= self.width)
        outside = y_outside[:, None] | x_outside
        pixels[..., edge] = np.where(outside, np.float32(value), pixels[..., edge])

    def block_maxima(self) -> FloatArray:
        """Computes (K, C, rows, columns) upper bounds: no pixel of a block has a higher value."""
        return self._block_extremes(np.maximum)

    def block_minima(self) -> FloatArray:
        """Computes (K, C, rows, columns) lower bounds: no pixel of a block has a lower value."""
        return self._block_extremes(np.minimum)

    def _block_extremes(self, combine: np.ufunc) -> FloatArray:
        """Computes the extreme values of the cells of each block and of the cells around it."""
        by_row = _extremes(self._maps.transpose(2, 0, 1, 3), self._step, combine)
        by_block = _extremes(by_row.transpose(3, 1, 2, 0), self._step, combine)
        return np.ascontiguousarray(by_block.transpose(1, 2, 3, 0))


def _extremes(maps: FloatArray, step: int, combine: np.ufunc) -> FloatArray:
    """Combines each `step` slices along the first axis with the slices before and after them."""
    extremes = maps[::step].copy("K")
    for offset in range(1, step + 1):
        other = maps[offset::step]
        combine(extremes[: len(other)], other, out=extremes[: len(other)])
    before = maps[step - 1 :: step][: len(extremes) - 1]
    combine(extremes[1 : 1 + len(before)], before, out=extremes[1 : 1 + len(before)])
    return extremes
