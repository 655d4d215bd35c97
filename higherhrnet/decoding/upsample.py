"""Bilinear enlargement, computed only where somebody looks.

The original enlarges every heatmap and tag map to the network's input size and searches the result.
An enlarged pixel is a fixed weighted sum of a few cells around it, so here the maps stay as small
as the network gave them: single pixels are computed on demand, and whole blocks by one matrix
product, and a block's highest possible value is known from its cells alone.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from higherhrnet.arrays import FloatArray, IndexArray

BLOCK = 8
"""Side of a block in enlarged pixels; the enlargement must divide it."""


def resize(maps: FloatArray, height: int, width: int) -> FloatArray:
    """(N, h, w) → (N, height, width) bilinearly, edges of the first and last cell aligned."""
    if maps.shape[1:] == (height, width):
        return maps
    resized = np.empty((len(maps), height, width), np.float32)
    for source, target in zip(maps, resized, strict=True):
        cv2.resize(source, (width, height), target, interpolation=cv2.INTER_LINEAR)
    return resized


def mirror(maps: FloatArray, target: FloatArray | None = None) -> FloatArray:
    """(N, h, w) contiguous maps, left for right; OpenCV does so several times sooner than NumPy."""
    width = maps.shape[-1]
    into = None if target is None else target.reshape(-1, width)
    return np.asarray(cv2.flip(maps.reshape(-1, width), 1, into), np.float32).reshape(maps.shape)


@lru_cache
def _weights(factors: tuple[int, ...]) -> FloatArray:
    """(F, 3): how each of a cell's F pixels mixes the cell before, the cell itself and the next."""
    mix = np.eye(5)
    for factor in factors:
        cells = len(mix)
        source = (np.arange(cells * factor) + 0.5) / factor - 0.5
        weight = np.maximum(0, 1 - np.abs(source[:, None] - np.arange(cells)))
        mix = weight @ mix
    per_cell = len(mix) // 5
    return mix[2 * per_cell : 3 * per_cell, 1:4].astype(np.float32)


@lru_cache
def _block_operator(factors: tuple[int, ...], ring: int) -> tuple[FloatArray, int]:
    """A matrix from the cells around a block to its pixels and a ring around them.

    Returns:
        (p², (BLOCK + 2 · ring)²) for p × p cells, and how many of these lie before the block.
    """
    weights = _weights(factors)
    factor = len(weights)
    before = 1 + -(-ring // factor)
    cells = BLOCK // factor + 2 * before
    axis = np.zeros((BLOCK + 2 * ring, cells), np.float32)
    for row, pixel in enumerate(range(-ring, BLOCK + ring)):
        cell, phase = divmod(pixel, factor)
        axis[row, cell + before - 1 : cell + before + 2] = weights[phase]
    return np.kron(axis, axis).T.copy(), before


class Upsampled:
    """Maps as they look after one or several bilinear enlargements by whole factors.

    Args:
        maps: (K, C, h, w).
        factors: applied one after the other; their product must divide BLOCK.
        ring: the widest ring that `blocks` will be asked for.
    """

    def __init__(self, maps: FloatArray, factors: tuple[int, ...], ring: int = 0) -> None:
        self.factors = tuple(factor for factor in factors if factor > 1)
        self.factor = math.prod(self.factors)
        self.count, _, h, w = maps.shape
        self.height, self.width = h * self.factor, w * self.factor
        self._step = BLOCK // self.factor
        self.rows, self.columns = -(-h // self._step), -(-w // self._step)
        self._pad = 1 + -(-ring // self.factor)
        # Repeating the border cells is what bilinear enlargement does at the border.
        below = self.rows * self._step - h + self._pad
        right = self.columns * self._step - w + self._pad
        self._cells = np.pad(
            maps, ((0, 0), (0, 0), (self._pad, below), (self._pad, right)), mode="edge"
        )

    def at(self, k: IndexArray, y: IndexArray, x: IndexArray) -> FloatArray:
        """(M,) maps, rows and columns of enlarged pixels → (M, C) their values."""
        weights = _weights(self.factors)
        (row, row_phase), (column, column_phase) = divmod(y, self.factor), divmod(x, self.factor)
        near = np.arange(-1, 2) + self._pad
        taps = self._cells[
            k[:, None, None],
            :,
            (row[:, None] + near)[:, :, None],
            (column[:, None] + near)[:, None, :],
        ]  # (M, 3, 3, C)
        values = np.einsum("mi,mj,mijc->mc", weights[row_phase], weights[column_phase], taps)
        return np.asarray(values, np.float32)

    def blocks(
        self,
        k: IndexArray,
        row: IndexArray,
        column: IndexArray,
        ring: int = 0,
        outside: float | None = None,
    ) -> FloatArray:
        """(M,) maps, block rows and columns → (M, C, BLOCK + 2 · ring, BLOCK + 2 · ring).

        Args:
            k: which maps.
            row: which rows of blocks.
            column: which columns of blocks.
            ring: pixels around the blocks to give, too.
            outside: what pixels beyond the map are; they repeat its border if None.
        """
        operator, before = _block_operator(self.factors, ring)
        side = self._step + 2 * before
        start = self._pad - before
        windows = np.lib.stride_tricks.sliding_window_view(
            self._cells[:, :, start:, start:], (side, side), axis=(2, 3)
        )[:, :, :: self._step, :: self._step]
        cells = windows[k, :, row, column]  # (M, C, side, side)
        size = BLOCK + 2 * ring
        if self.factor > 1:
            pixels = (cells.reshape(-1, side * side) @ operator).reshape(
                *cells.shape[:2], size, size
            )
        else:
            inner = slice(before - ring, before + BLOCK + ring)
            pixels = cells[:, :, inner, inner]
        if outside is not None:
            self._set_outside(pixels, row, column, ring, outside)
        return pixels

    def _set_outside(
        self, pixels: FloatArray, row: IndexArray, column: IndexArray, ring: int, value: float
    ) -> None:
        last_row, last_column = self.rows - 1, self.columns - 1
        at_edge = (row == 0) | (row == last_row) | (column == 0) | (column == last_column)
        edge = np.flatnonzero(at_edge)
        around = np.arange(-ring, BLOCK + ring)
        y, x = row[edge, None] * BLOCK + around, column[edge, None] * BLOCK + around
        y_out, x_out = (y < 0) | (y >= self.height), (x < 0) | (x >= self.width)
        out = y_out[:, None, :, None] | x_out[:, None, None, :]
        pixels[edge] = np.where(out, np.float32(value), pixels[edge])

    def block_maxima(self, sign: float = 1.0) -> FloatArray:
        """(K, C, rows, columns): no enlarged pixel of a block is above this.

        Args:
            sign: -1 for minima: no pixel is below the result.
        """
        side = self._step + 2
        extreme = cv2.dilate if sign > 0 else cv2.erode
        count, channels, height, width = self._cells.shape
        tall = self._cells.reshape(-1, width)
        # Maps stacked into one tall picture: a window never leaves its map where it is sampled.
        found = extreme(tall, np.ones((side, side), np.uint8), anchor=(0, 0))
        found = found.reshape(count, channels, height, width)[
            :, :, self._pad - 1 :, self._pad - 1 :
        ]
        kept = found[:, :, :: self._step, :: self._step]
        return np.ascontiguousarray(kept[:, :, : self.rows, : self.columns])
