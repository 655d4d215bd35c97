"""Keypoints → better keypoints: a quarter pixel towards the slope, and the missing ones found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from higherhrnet.inference.upsample import BLOCK, Array, Indices, Upsampled

_SLACK = 1e-4
"""A bound on a tag distance is lowered by this, so that rounding errors cannot make it wrong."""


def towards_the_slope(heatmaps: Upsampled, k: Indices, x: Indices, y: Indices) -> Array:
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


def find_missing(
    heatmaps: Upsampled, bounds: Array, tags: Upsampled, person_tags: Array, k: Indices
) -> tuple[Indices, Indices, Array]:
    """For each missing keypoint, the pixel where heatmap minus rounded tag distance is largest.

    The original computes this for every pixel. Here the pixels are in blocks, a block's largest
    possible value follows from its highest heatmap and its range of tags, and only blocks that can
    beat the most promising block's best pixel are looked at. The result is the same.

    Args:
        heatmaps: (K, 1, h, w) enlarged.
        bounds: (K, rows, columns) what no heatmap pixel of a block exceeds.
        tags: (K or 1, T, h', w') enlarged to the same size.
        person_tags: (Q, T) of the person who misses it.
        k: (Q,) the missing keypoint.

    Returns:
        (Q,) columns, rows, and the heatmap's values there.
    """
    tag_map = np.minimum(k, tags.count - 1)
    possible = _best_possible(bounds[k], tags, tag_map, person_tags)

    def best_pixels(query: Indices, block: Indices) -> tuple[Array, Indices, Array]:
        row, column = divmod(block, bounds.shape[2])
        score = heatmaps.blocks(k[query], row, column).reshape(len(query), -1)
        away = tags.blocks(tag_map[query], row, column) - person_tags[query][:, :, None, None]
        value = score - np.round(np.sqrt(np.square(away).sum(1))).reshape(score.shape)
        pixel = value.argmax(1)
        chosen = np.arange(len(query)), pixel
        dy, dx = divmod(pixel, BLOCK)
        place = (row * BLOCK + dy) * heatmaps.width + column * BLOCK + dx
        return value[chosen], place, score[chosen]

    first = possible.argmax(1)
    everyone = np.arange(len(k))
    to_beat, _, _ = best_pixels(everyone, first)
    query, block = np.nonzero(possible >= to_beat[:, None])
    value, place, score = best_pixels(query, block)
    order = np.lexsort((place, -value, query))  # among equals the first in reading order
    best = order[np.searchsorted(query[order], everyone)]
    row, column = divmod(place[best], heatmaps.width)
    return column, row, score[best]


def _best_possible(bounds: Array, tags: Upsampled, tag_map: Indices, person_tags: Array) -> Array:
    """(Q, blocks): no pixel of a block has a larger heatmap minus rounded tag distance."""
    low, high = tags.block_maxima(-1)[tag_map], tags.block_maxima()[tag_map]
    mine = person_tags[:, :, None, None]
    away = np.maximum(np.maximum(low - mine, mine - high), 0)
    least = np.sqrt(np.square(away).sum(1))
    return (bounds - np.round(np.maximum(least - _SLACK, 0))).reshape(len(bounds), -1)
