"""Keypoints → better keypoints: a quarter pixel towards the slope, and the missing ones found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import FloatArray, IndexArray
from higherhrnet.decoding.upsample import BLOCK, Upsampled

_SLACK = 1e-4
"""A bound on a tag distance is lowered by this, so that rounding errors cannot make it wrong."""
_AT_ONCE, _BLOCKS_AT_ONCE = 256, 4096
"""Missing keypoints, and blocks, that are worked on together: memory stays small on any maps."""


def adjust_keypoints(
    heatmaps: Upsampled, k: IndexArray, x: IndexArray, y: IndexArray
) -> FloatArray:
    """(M,) keypoints, columns and rows → (M, 2) x and y in pixels from the map's edge.

    Half a pixel for the pixel's middle, a quarter towards the higher neighbour (the lower index if
    they are equal).
    """
    right, left = np.minimum(x + 1, heatmaps.width - 1), np.maximum(x - 1, 0)
    below, above = np.minimum(y + 1, heatmaps.height - 1), np.maximum(y - 1, 0)
    ends = heatmaps.at(
        np.tile(k, 4), np.concatenate([y, y, below, above]), np.concatenate([right, left, x, x])
    ).reshape(4, -1)
    step = np.where(ends[::2] > ends[1::2], 0.25, -0.25)
    return np.asarray(np.stack([x, y]) + step + 0.5, np.float32).T


def find_missing_keypoints(
    heatmaps: Upsampled, bounds: FloatArray, tags: Upsampled, person_tags: FloatArray, k: IndexArray
) -> tuple[IndexArray, IndexArray, FloatArray]:
    """For each missing keypoint, the pixel where heatmap minus rounded tag distance is largest.

    The original computes this for every pixel of every person. Here the pixels are in blocks, of
    which the highest heatmap and the range of tags are known beforehand. Blocks where the rounded
    distance may be 0 are looked at in the order of their heatmaps, until no other can be better;
    the rest only if it might win with a distance of 1. The result is the same.

    Args:
        heatmaps: (K, 1, h, w) enlarged.
        bounds: (K, rows, columns) what no heatmap pixel of a block exceeds.
        tags: (K or 1, T, h', w') enlarged to the same size.
        person_tags: (Q, T) of the person who misses it.
        k: (Q,) the missing keypoint.

    Returns:
        (Q,) columns, rows, and the heatmap's values there.
    """
    highest = bounds.reshape(len(bounds), -1)
    low, high = tags.block_maxima(-1), tags.block_maxima()
    parts = []
    for part in np.split(np.arange(len(k)), range(_AT_ONCE, len(k), _AT_ONCE)):
        search = _Search(heatmaps, tags, person_tags[part], k[part])
        search.run(highest[k[part]], search.near(low, high))
        parts.append((search.place, search.score))
    place, score = (np.concatenate(values) for values in zip(*parts, strict=True))
    row, column = divmod(place, heatmaps.width)
    return column, row, score


class _Search:
    """The best pixel so far of each missing keypoint."""

    def __init__(
        self, heatmaps: Upsampled, tags: Upsampled, person_tags: FloatArray, k: IndexArray
    ) -> None:
        self.heatmaps, self.tags = heatmaps, tags
        self.person_tags, self.k, self.tag_map = person_tags, k, np.minimum(k, tags.count - 1)
        self.value = np.full(len(k), -np.inf, np.float32)
        self.place = np.full(len(k), np.iinfo(np.intp).max)
        self.score = np.zeros(len(k), np.float32)

    def near(self, low: FloatArray, high: FloatArray) -> NDArray[np.bool_]:
        """(Q, blocks): where a tag distance of at most a half, which rounds to 0, is possible."""
        mine = self.person_tags[:, :, None, None]
        reached = low[self.tag_map] <= mine + (0.5 + _SLACK)
        possible = reached & (high[self.tag_map] >= mine - (0.5 + _SLACK))
        everywhere: NDArray[np.bool_] = possible.all(1)
        return everywhere.reshape(len(self.k), -1)

    def run(self, highest: FloatArray, near: NDArray[np.bool_]) -> None:
        """Looks at blocks until no other can be better.

        Args:
            highest: (Q, blocks) what no heatmap pixel of a block exceeds.
            near: (Q, blocks) where the rounded distance may be 0.
        """
        bounds = np.where(near, highest, -np.inf)
        self.evaluate_blocks(np.arange(len(self.k)), bounds.argmax(1))  # after which few are left
        query, block = np.nonzero(bounds >= self.value[:, None])
        bound = bounds[query, block]
        order = np.lexsort((-bound, query))
        query, block, bound = query[order], block[order], bound[order]
        position = np.arange(len(query)) - np.searchsorted(query, query)
        start, stop = 0, 16
        while start <= position.max(initial=-1):
            look = (start <= position) & (position < stop) & (bound >= self.value[query])
            self.evaluate_blocks(query[look], block[look])
            start, stop = stop, stop * 4
        self.evaluate_blocks(*np.nonzero(~near & (highest - 1 >= self.value[:, None])))

    def evaluate_blocks(self, query: IndexArray, block: IndexArray) -> None:
        """Computes blocks exactly and keeps what is better."""
        for start in range(0, len(query), _BLOCKS_AT_ONCE):
            part = slice(start, start + _BLOCKS_AT_ONCE)
            self._evaluate_blocks(query[part], block[part])

    def _evaluate_blocks(self, query: IndexArray, block: IndexArray) -> None:
        row, column = divmod(block, self.heatmaps.columns)
        score = self.heatmaps.blocks(self.k[query], row, column, outside=-np.inf)
        score = score.reshape(len(query), -1)
        away = self.tags.blocks(self.tag_map[query], row, column)
        away -= self.person_tags[query][:, :, None, None]
        distance = np.sqrt(np.einsum("mtyx,mtyx->myx", away, away)).reshape(score.shape)
        value = score - np.rint(distance)
        pixel = value.argmax(1)
        dy, dx = divmod(pixel, BLOCK)
        place = (row * BLOCK + dy) * self.heatmaps.width + column * BLOCK + dx
        value, score = (table[np.arange(len(query)), pixel] for table in (value, score))
        order = np.lexsort((place, -value, query))  # among equals the first in reading order
        first = order[np.unique(query[order], return_index=True)[1]]
        query, value, place, score = query[first], value[first], place[first], score[first]
        best = self.value[query]
        better = (value > best) | ((value == best) & (place < self.place[query]))
        self.value[query[better]] = value[better]
        self.place[query[better]] = place[better]
        self.score[query[better]] = score[better]
