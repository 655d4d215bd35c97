"""Bilinear upsampling of maps, computed only where values are needed, as `decoding/upsample.py`."""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from higherhrnet.arrays import FloatArray
from higherhrnet.decoding.upsample import BLOCK, cell_weights, repeated_pixels
from higherhrnet.graph.decode.program import Program
from higherhrnet.graph.decode.tensor import Tensor


@lru_cache
def _block_operator(factors: tuple[int, ...], margin: int) -> tuple[FloatArray, int]:
    """Returns the matrix that computes the pixels of a block and of a margin around it from cells.

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
    """Maps after one or several bilinear upsamplings, whose sides are multiples of BLOCK.

    Args:
        program: the program.
        maps: (K, C, h, w).
        channels: C.
        factors: the factors, applied one after the other; their product divides BLOCK.
        margin: the widest margin with which `blocks` is called.
    """

    def __init__(
        self,
        program: Program,
        maps: Tensor,
        channels: int,
        factors: tuple[int, ...],
        margin: int = 0,
    ) -> None:
        self._program, self._channels = program, channels
        self._factors = tuple(factor for factor in factors if factor > 1)
        self._factor, self._repeated = prod(self._factors), repeated_pixels(self._factors)
        self._step = BLOCK // self._factor
        self._pad = pad = 1 + -(-margin // self._factor)
        height, width = maps.size(2), maps.size(3)
        self.height, self.width = height * self._factor, width * self._factor
        self.columns = width // self._step
        padded = maps.op("Pad", np.array([0, 0, pad, pad] * 2), mode="edge")
        self._padded_width = width + 2 * pad
        self._cells_per_map = (height + 2 * pad) * self._padded_width
        self._cells = padded.transpose(0, 2, 3, 1).reshape(-1, channels)
        inner = padded.part(pad - 1, height + pad + 1, 2).part(pad - 1, width + pad + 1, 3)
        self.block_maxima = self._extremes(inner)
        """(K, C, blocks) upper bounds: no pixel of a block has a higher value."""
        self._inner = inner

    def block_minima(self) -> Tensor:
        """Computes (K, C, blocks) lower bounds: no pixel of a block has a lower value."""
        return self._extremes(self._inner.op("Neg")).op("Neg")

    def at(self, k: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Computes single pixels.

        Args:
            k: (M,) indices of the maps.
            y: (M,) rows of the pixels.
            x: (M,) columns of the pixels.

        Returns:
            (M, C) values.
        """
        y, x = self._nearest(y, self.height), self._nearest(x, self.width)
        weights = self._program.constant(cell_weights(self._factors))
        corner = self._corner(k, y // self._factor, x // self._factor, 1)
        cells = self._cells.take(corner.expand_dims(1) + self._window(3))  # (M, 9, C)
        vertical = weights.take(y % self._factor).expand_dims(2)
        horizontal = weights.take(x % self._factor).expand_dims(1)
        return (cells * (vertical * horizontal).reshape(-1, 9, 1)).sum(1)

    def blocks(self, k: Tensor, row: Tensor, column: Tensor, margin: int = 0) -> Tensor:
        """Computes blocks of pixels, each with a margin around it.

        Args:
            k: (M,) or scalar indices of the maps.
            row: (M,) rows of the blocks.
            column: (M,) columns of the blocks.
            margin: width in pixels of the margin; beyond the edges of the map, the outermost pixels
                are repeated.

        Returns:
            (M, (BLOCK + 2 · margin)², C) values.
        """
        operator, before = _block_operator(self._factors, margin)
        corner = self._corner(k, row * self._step, column * self._step, before)
        cells = self._cells.take(corner.expand_dims(1) + self._window(self._step + 2 * before))
        if self._channels == 1:  # one multiplication of matrices for all blocks
            pixels = (cells.reshape(-1, len(operator)) @ operator).expand_dims(2)
        else:
            pixels = self._program.constant(operator.T.copy()) @ cells
        return self._repeat_border(pixels, row, column, margin) if self._repeated > 1 else pixels

    def _repeat_border(self, pixels: Tensor, row: Tensor, column: Tensor, margin: int) -> Tensor:
        """Sets pixels that repeat a border cell to the value of one of them, without rounding."""
        index, side = [], BLOCK + 2 * margin
        for block, size in ((row, self.height), (column, self.width)):
            corner = block.expand_dims(1) * BLOCK - margin
            index.append(self._nearest(corner + np.arange(side), size) - corner)
        flat = index[0].expand_dims(2) * side + index[1].expand_dims(1)
        flat = flat.reshape(-1, side**2, 1)
        if self._channels > 1:
            flat = flat.op("Expand", self._program.shape(1, 1, self._channels))
        return pixels.op("GatherElements", flat, axis=1)

    def _nearest(self, pixel: Tensor, size: Tensor) -> Tensor:
        """The nearest pixel of the innermost that repeat a border cell, or the pixel itself."""
        if self._repeated == 1:
            return pixel
        return pixel.clip(self._repeated - 1, size - self._repeated)

    def _corner(self, k: Tensor, row: Tensor, column: Tensor, before: int) -> Tensor:
        """Returns the index of the cell `before` rows above and `before` columns left of a cell."""
        start = self._pad - before
        return k * self._cells_per_map + (row + start) * self._padded_width + (column + start)

    def _window(self, side: int) -> Tensor:
        """Returns the indices of the cells of a window, relative to its corner."""
        rows = self._program.constant(np.repeat(np.arange(side), side))
        return rows * self._padded_width + np.tile(np.arange(side), side)

    def _extremes(self, padded: Tensor) -> Tensor:
        kernel = [self._step + 2] * 2
        maxima = padded.op("MaxPool", kernel_shape=kernel, strides=[self._step] * 2)
        return maxima.reshape(0, 0, -1)
