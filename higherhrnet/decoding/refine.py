"""Adjustment of keypoints by a quarter of a pixel, and refinement: search for missing keypoints."""

from __future__ import annotations

import numpy as np

from higherhrnet.arrays import BoolArray, FloatArray, IndexArray
from higherhrnet.decoding.upsample import BLOCK, Upsampled

_TOLERANCE = 1e-4
"""Added to the tag distance of a block that may still contain a match, so that rounding errors do
not exclude one."""
_KEYPOINTS_PER_BATCH, _BLOCKS_PER_BATCH = 256, 4096
"""Missing keypoints and blocks that are processed together; they limit the use of memory."""


def adjust_keypoints(
    heatmaps: Upsampled, k: IndexArray, x: IndexArray, y: IndexArray, first_center: float = 0.5
) -> FloatArray:
    """Moves keypoints from the centers of their pixels toward the higher neighbors.

    Each coordinate moves by a quarter of a pixel; if both neighbors are equal, toward the lower
    index.

    Args:
        heatmaps: (K, 1, h, w).
        k: (M,) indices of the keypoints.
        x: (M,) columns of their pixels.
        y: (M,) rows of their pixels.
        first_center: the coordinate of the center of the first pixel.

    Returns:
        (M, 2) x and y in pixels.
    """
    right, left = np.minimum(x + 1, heatmaps.width - 1), np.maximum(x - 1, 0)
    below, above = np.minimum(y + 1, heatmaps.height - 1), np.maximum(y - 1, 0)
    neighbors = heatmaps.at(
        np.tile(k, 4), np.concatenate([y, y, below, above]), np.concatenate([right, left, x, x])
    ).reshape(4, -1)
    step = np.where(neighbors[::2] > neighbors[1::2], 0.25, -0.25)
    return np.asarray(np.stack([x, y]) + step + first_center, np.float32).T


def find_missing_keypoints(
    heatmaps: Upsampled, bounds: FloatArray, tags: Upsampled, person_tags: FloatArray, k: IndexArray
) -> tuple[IndexArray, IndexArray, FloatArray]:
    """Finds the pixel with the highest heatmap value minus rounded tag distance.

    The reference implementation computes this difference for every pixel and every person. Here the
    pixels are grouped into blocks, whose highest heatmap value and range of tags are bounded
    beforehand. Blocks in which the rounded distance can be 0 are searched in the order of their
    bounds until no other block can be better; the remaining blocks only if they can be better with
    a distance of 1. The result is the same.

    Args:
        heatmaps: (K, 1, h, w).
        bounds: (K, rows, columns) upper bounds of the heatmaps' blocks.
        tags: (K or 1, T, h', w'), of the same upsampled size.
        person_tags: (Q, T) mean tags of the person of each missing keypoint.
        k: (Q,) indices of the missing keypoints.

    Returns:
        (Q,) columns, rows and heatmap values of the pixels.
    """
    heatmap_bounds = bounds.reshape(len(bounds), -1)
    tag_minima, tag_maxima = tags.block_minima(), tags.block_maxima()
    pixels, scores = [], []
    for start in range(0, len(k), _KEYPOINTS_PER_BATCH):
        part = slice(start, start + _KEYPOINTS_PER_BATCH)
        search = _Search(heatmaps, tags, person_tags[part], k[part])
        search.run(heatmap_bounds[k[part]], search.can_match(tag_minima, tag_maxima))
        pixels.append(search.pixel)
        scores.append(search.score)
    row, column = divmod(np.concatenate(pixels), heatmaps.width)
    return column, row, np.concatenate(scores)


class _Search:
    """The best pixel found so far for each of Q missing keypoints.

    Args:
        heatmaps: as in `find_missing_keypoints`.
        tags: as in `find_missing_keypoints`.
        person_tags: as in `find_missing_keypoints`.
        k: as in `find_missing_keypoints`.
    """

    def __init__(
        self, heatmaps: Upsampled, tags: Upsampled, person_tags: FloatArray, k: IndexArray
    ) -> None:
        self.heatmaps, self.tags = heatmaps, tags
        self.person_tags, self.k, self.tag_map = person_tags, k, np.minimum(k, tags.count - 1)
        self.value = np.full(len(k), -np.inf, np.float32)  # heatmap minus rounded distance
        self.pixel = np.full(len(k), np.iinfo(np.intp).max)  # flat index on the upsampled map
        self.score = np.zeros(len(k), np.float32)  # heatmap

    def can_match(self, tag_minima: FloatArray, tag_maxima: FloatArray) -> BoolArray:
        """(Q, blocks) whether a block may contain a tag distance that rounds to 0, up to 0.5."""
        person_tags = self.person_tags[:, :, None, None]
        above_minimum = tag_minima[self.tag_map] <= person_tags + (0.5 + _TOLERANCE)
        matches = above_minimum & (tag_maxima[self.tag_map] >= person_tags - (0.5 + _TOLERANCE))
        all_tags_match: BoolArray = matches.all(1)
        return all_tags_match.reshape(len(self.k), -1)

    def run(self, heatmap_bounds: FloatArray, can_match: BoolArray) -> None:
        """Searches blocks until no other block can be better.

        Args:
            heatmap_bounds: (Q, blocks) upper bounds of the heatmap values of each block.
            can_match: (Q, blocks) whether the rounded tag distance may be 0.
        """
        bounds = np.where(can_match, heatmap_bounds, -np.inf)
        # The best block of each keypoint comes first: it excludes nearly all others.
        self.search_blocks(np.arange(len(self.k)), bounds.argmax(1))
        query, block = np.nonzero(bounds >= self.value[:, None])
        bound = bounds[query, block]
        order = np.lexsort((-bound, query))
        query, block, bound = query[order], block[order], bound[order]
        rank = np.arange(len(query)) - np.searchsorted(query, query)
        start, stop = 0, 16
        while start <= rank.max(initial=-1):
            promising = (start <= rank) & (rank < stop) & (bound >= self.value[query])
            self.search_blocks(query[promising], block[promising])
            start, stop = stop, stop * 4
        unmatched = ~can_match & (heatmap_bounds - 1 >= self.value[:, None])
        self.search_blocks(*np.nonzero(unmatched))

    def search_blocks(self, query: IndexArray, block: IndexArray) -> None:
        """Searches every pixel of blocks, each for one missing keypoint, in batches."""
        for start in range(0, len(query), _BLOCKS_PER_BATCH):
            part = slice(start, start + _BLOCKS_PER_BATCH)
            self._search_batch(query[part], block[part])

    def _search_batch(self, query: IndexArray, block: IndexArray) -> None:
        row, column = divmod(block, self.heatmaps.columns)
        score = self.heatmaps.blocks(self.k[query], row, column, outside=-np.inf)
        score = score.reshape(len(query), -1)
        offset = self.tags.blocks(self.tag_map[query], row, column)
        offset -= self.person_tags[query][:, :, None, None]
        distance = np.sqrt(np.einsum("mtyx,mtyx->myx", offset, offset)).reshape(score.shape)
        value = score - np.rint(distance)
        best = value.argmax(1)
        dy, dx = divmod(best, BLOCK)
        pixel = (row * BLOCK + dy) * self.heatmaps.width + column * BLOCK + dx
        value, score = (array[np.arange(len(query)), best] for array in (value, score))
        order = np.lexsort((pixel, -value, query))  # of equal values, the first in reading order
        first = order[np.unique(query[order], return_index=True)[1]]
        query, value, pixel, score = query[first], value[first], pixel[first], score[first]
        old = self.value[query]
        better = (value > old) | ((value == old) & (pixel < self.pixel[query]))
        self.value[query[better]] = value[better]
        self.pixel[query[better]] = pixel[better]
        self.score[query[better]] = score[better]
