"""Refinement: the search for missing keypoints, by heatmap and tag."""

from __future__ import annotations

import numpy as np

from higherhrnet.arrays import BoolArray, FloatArray, IndexArray
from higherhrnet.decoding.upsample import BLOCK, Upsampled

_TOLERANCE = 1e-4
"""Added to the tag distance of a block that may still contain a match, so that rounding errors do
not exclude one."""
_KEYPOINTS_PER_BATCH, _BLOCKS_PER_BATCH = 256, 4096
"""Missing keypoints and blocks that are processed together; they limit the use of memory."""


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
        search.run(heatmap_bounds, search.can_match(tag_minima, tag_maxima))
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
        """Returns (Q, blocks) whether a block may contain a tag distance that rounds to 0."""
        matches = np.ones((len(self.k), tag_minima[0, 0].size), bool)
        for view, tag in enumerate(self.person_tags.T[:, :, None, None]):
            above_minimum = tag_minima[self.tag_map, view] <= tag + (0.5 + _TOLERANCE)
            below_maximum = tag_maxima[self.tag_map, view] >= tag - (0.5 + _TOLERANCE)
            matches &= (above_minimum & below_maximum).reshape(matches.shape)
        return matches

    def run(self, heatmap_bounds: FloatArray, can_match: BoolArray) -> None:
        """Searches blocks until no other block can be better.

        Args:
            heatmap_bounds: (K, blocks) upper bounds of the heatmap values of each block.
            can_match: (Q, blocks) whether the rounded tag distance may be 0.
        """
        query, block = divmod(np.flatnonzero(can_match), can_match.shape[1])
        bound = heatmap_bounds[self.k[query], block]
        # The best block of each keypoint comes first: it excludes many others.
        highest = np.full(len(self.k), -np.inf, np.float32)
        np.maximum.at(highest, query, bound)
        best = bound == highest[query]
        self.search_blocks(query[best], block[best])
        left = np.flatnonzero(~best & (bound >= self.value[query]))
        query, block, bound = query[left], block[left], bound[left]
        span = 1 + np.ptp(bound) if len(bound) else 1
        order = (query * float(span) - bound).argsort()  # by query, then from high to low
        query, block, bound = query[order], block[order], bound[order]
        rank = np.arange(len(query)) - np.searchsorted(query, query)
        start, stop = 0, 16
        while start <= rank.max(initial=-1):
            promising = (start <= rank) & (rank < stop) & (bound >= self.value[query])
            self.search_blocks(query[promising], block[promising])
            start, stop = stop, stop * 4
        # With a distance of 1, only the keypoints with high values elsewhere can be better.
        others = np.flatnonzero(heatmap_bounds.max(1)[self.k] - 1 >= self.value)
        unmatched = ~can_match[others]
        unmatched &= heatmap_bounds[self.k[others]] - 1 >= self.value[others, None]
        index, block = np.nonzero(unmatched)
        self.search_blocks(others[index], block)

    def search_blocks(self, query: IndexArray, block: IndexArray) -> None:
        """Searches every pixel of blocks, each for one missing keypoint, in batches."""
        for start in range(0, len(query), _BLOCKS_PER_BATCH):
            part = slice(start, start + _BLOCKS_PER_BATCH)
            self._search_batch(query[part], block[part])

    def _search_batch(self, query: IndexArray, block: IndexArray) -> None:
        row, column = divmod(block, self.heatmaps.columns)
        score = self.heatmaps.blocks(self.k[query], row, column, outside=-np.inf)[0]
        offset = self.tags.blocks(self.tag_map[query], row, column)
        offset -= self.person_tags[query].T[:, None, None]
        offset *= offset
        value = score - np.rint(np.sqrt(offset.sum(0)))
        highest = value.max((0, 1))
        good = np.flatnonzero(highest >= self.value[query])  # few
        first = value[:, :, good].reshape(BLOCK**2, len(good)).argmax(0)
        dy, dx = divmod(first, BLOCK)
        query, row, column = query[good], row[good], column[good]
        value, score = highest[good], score[dy, dx, good]
        pixel = (row * BLOCK + dy) * self.heatmaps.width + column * BLOCK + dx
        order = np.lexsort((pixel, -value, query))  # of equal values, the first in reading order
        first = order[np.diff(query[order], prepend=-1) > 0]  # np.unique imports numpy.ma
        query, value, pixel, score = query[first], value[first], pixel[first], score[first]
        old = self.value[query]
        better = (value > old) | ((value == old) & (pixel < self.pixel[query]))
        self.value[query[better]] = value[better]
        self.pixel[query[better]] = pixel[better]
        self.score[query[better]] = score[better]
