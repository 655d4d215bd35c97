"""Adjustment of keypoints, and the search for missing ones, as in `subpixel.py` and `refine.py`."""

from __future__ import annotations

import numpy as np

from higherhrnet.decoding.upsample import BLOCK
from higherhrnet.graph.decode.program import LARGEST, Program
from higherhrnet.graph.decode.tensor import Tensor
from higherhrnet.graph.decode.upsample import Upsampled

_TOLERANCE = 1e-4
"""As in `decoding/refine.py`."""
_ROUNDING = 1e-5
"""Subtracted from the best value found, which rounding may have raised above every bound."""
_FIRST_BLOCKS = 16
"""Number of blocks, those with the highest bounds, that are searched first."""


def adjust_keypoints(
    program: Program, heatmaps: Upsampled, k: Tensor, x: Tensor, y: Tensor
) -> list[Tensor]:
    """Moves keypoints a quarter of a pixel toward the higher neighbors.

    Args:
        program: the program.
        heatmaps: (K, 1, h, w).
        k: (M,) indices of the keypoints.
        x: (M,) columns of their pixels.
        y: (M,) rows of their pixels.

    Returns:
        (M,) x and (M,) y in pixels, counted from the edge of the map.
    """
    right, left = (x + 1).op("Min", heatmaps.width - 1), (x - 1).op("Max", 0)
    below, above = (y + 1).op("Min", heatmaps.height - 1), (y - 1).op("Max", 0)
    values = heatmaps.at(
        program.concat([k] * 4),
        program.concat([y, y, below, above]),
        program.concat([right, left, x, x]),
    ).reshape(4, -1)
    return [
        position.cast(np.float32)
        + 0.5
        + program.where(
            values.take(np.int64(after)) > values.take(np.int64(after + 1)),
            np.float32(0.25),
            np.float32(-0.25),
        )
        for position, after in ((x, 0), (y, 2))
    ]


def find_missing_keypoints(
    program: Program, heatmaps: Upsampled, tags: Upsampled, person_tags: Tensor, k: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Finds the pixel with the highest heatmap value minus rounded tag distance.

    Keypoints are searched one after the other, so that memory does not depend on their number. The
    blocks with the highest bounds are searched first, and then all blocks that can be better.

    Args:
        program: the program.
        heatmaps: (K, 1, h, w).
        tags: (K or 1, T, h', w'), of the same upsampled size.
        person_tags: (Q, T) mean tags of the person of each missing keypoint.
        k: (Q,) indices of the missing keypoints.

    Returns:
        (Q,) columns, rows and heatmap values of the pixels.
    """
    heat_bounds, minima = heatmaps.block_maxima, tags.block_minima()

    def search(query: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        keypoint, tag = k.take(query), person_tags.take(query)
        tag_map = keypoint.op("Min", minima.size(0) - 1)

        def evaluate(block: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            row, column = block // heatmaps.columns, block % heatmaps.columns
            score = heatmaps.blocks(keypoint, row, column).reshape(-1, BLOCK**2)
            offset = tags.blocks(tag_map, row, column) - tag
            distance = (offset * offset).sum(2).op("Sqrt").op("Round")
            corner = row * BLOCK * heatmaps.width + column * BLOCK
            inner = program.constant(np.arange(BLOCK).repeat(BLOCK)) * heatmaps.width
            inner = inner + np.tile(np.arange(BLOCK), BLOCK)
            pixel = corner.expand_dims(1) + inner
            return ((score - distance).reshape(-1), score.reshape(-1), pixel.reshape(-1))

        limit = tag.expand_dims(1)
        outside = (minima.take(tag_map) > limit + (0.5 + _TOLERANCE)) | (
            tags.block_maxima.take(tag_map) < limit - (0.5 + _TOLERANCE)
        )
        can_match = outside.cast(np.int64).max(0).equals(0)
        bounds = heat_bounds.take(keypoint).reshape(-1)
        bounds = program.where(can_match, bounds, bounds - 1)
        count = bounds.size(0).op("Min", _FIRST_BLOCKS)
        best = evaluate(program.top_k(bounds, count)[1])[0].max(0)
        value, score, pixel = evaluate((bounds >= best - _ROUNDING).nonzero())
        # Of equal values, the first pixel in reading order.
        first = program.where(value.equals(value.max(0)), pixel, LARGEST).argmin()
        return [], [pixel.take(first), score.take(first)]

    pixel, score = program.loop(k.size(0), [], search)
    return pixel % heatmaps.width, pixel // heatmaps.width, score
