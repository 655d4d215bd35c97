"""Heatmaps → peaks; it corresponds to `decoding/peaks.py`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from higherhrnet.config.inference import DecodeConfig
from higherhrnet.decoding.upsample import BLOCK
from higherhrnet.graph.decode.program import Program
from higherhrnet.graph.decode.tensor import Tensor
from higherhrnet.graph.decode.top_k import MIN_RATIO, select_by_heap
from higherhrnet.graph.decode.upsample import Upsampled

NO_PEAK = np.float32(-1e9)
"""The score where a keypoint has fewer peaks than others."""


class Peaks(NamedTuple):
    """For each keypoint its `max_people` highest peaks, from high to low."""

    x: Tensor
    """(K, max_people) column of the upsampled heatmap."""
    y: Tensor
    """(K, max_people) row of the upsampled heatmap."""
    score: Tensor
    """(K, max_people) value of the heatmap; `NO_PEAK` where there are fewer peaks."""


def find_peaks(program: Program, heatmaps: Upsampled, count: int, config: DecodeConfig) -> Peaks:
    """Finds the pixels that no pixel in the square window around them exceeds.

    One keypoint at a time, so that memory does not depend on the number of keypoints. Equal peaks
    are in the order of the reference implementation, as in the decoder, except on maps of fewer
    than 64 pixels per peak, where those in the upper blocks come first.

    Args:
        program: the program.
        heatmaps: (K, 1, h, w), with a margin of at least half a window.
        count: K.
        config: the settings.
    """
    margin = config.peak_window // 2
    bounds = heatmaps.block_maxima.reshape(count, -1)
    unused = program.constant(np.full(config.max_people + 1, NO_PEAK))
    nowhere = program.constant(np.zeros(config.max_people + 1, np.int64))
    has_order = heatmaps.height * heatmaps.width >= MIN_RATIO * config.max_people

    def find(k: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        block = (bounds.take(k) > config.min_peak).nonzero()
        block = program.concat([block, program.constant(np.zeros(1, np.int64))])  # never empty
        row, column = block // heatmaps.columns, block % heatmaps.columns
        values, is_peak = _block_peaks(program, heatmaps, k, row, column, margin)
        pixel = (is_peak & (values > config.min_peak)).reshape(-1).nonzero()
        y, x = (
            (axis.take(pixel // BLOCK**2) * BLOCK) + offset
            for axis, offset in ((row, pixel // BLOCK % BLOCK), (column, pixel % BLOCK))
        )
        scores = program.concat([values.reshape(-1).take(pixel), unused])
        score, index = program.top_k(scores, config.max_people + 1)
        place = program.concat([y * heatmaps.width + x, nowhere]).take(index)
        after = score.part(1, config.max_people + 1)
        score, place = score.part(0, config.max_people), place.part(0, config.max_people)
        tied = (score.equals(after) & (score > NO_PEAK)).any() & has_order
        place = program.branch(
            tied,
            lambda: _reference_order(program, heatmaps, k, margin, config.max_people),
            lambda: place,
        )
        place = program.where(score > NO_PEAK, place, 0)
        return [], [place % heatmaps.width, place // heatmaps.width, score]

    return Peaks(*program.loop(program.constant(np.int64(count)), [], find))


def _reference_order(
    program: Program, heatmaps: Upsampled, k: Tensor, margin: int, max_peaks: int
) -> Tensor:
    """Finds flat indices of a keypoint's highest peaks, in the reference implementation's order."""
    rows, columns = heatmaps.height // BLOCK, heatmaps.columns
    block = program.concat(
        [program.arange(rows * columns), program.constant(np.zeros(1, np.int64))]
    )
    row, column = block // columns, block % columns
    values, is_peak = _block_peaks(program, heatmaps, k, row, column, margin)
    peaks = program.where(is_peak, values, 0).reshape(rows, columns, BLOCK, BLOCK)
    return select_by_heap(program, peaks.transpose(0, 2, 1, 3).reshape(-1), max_peaks)


def _block_peaks(
    program: Program, heatmaps: Upsampled, k: Tensor, row: Tensor, column: Tensor, margin: int
) -> tuple[Tensor, Tensor]:
    """Computes (M - 1, BLOCK, BLOCK) values of all blocks but the last, and which are peaks."""
    side = BLOCK + 2 * margin
    around = np.arange(-margin, BLOCK + margin)
    inside = []
    for block, size in ((row, heatmaps.height), (column, heatmaps.width)):
        pixel = block.expand_dims(1) * BLOCK + around
        inside.append((pixel >= 0) & (pixel < size))
    pixels = heatmaps.blocks(k, row, column, margin).reshape(-1, side, side)
    pixels = program.where(inside[0].expand_dims(2) & inside[1].expand_dims(1), pixels, NO_PEAK)
    maxima = pixels.expand_dims(1).op("MaxPool", kernel_shape=[2 * margin + 1] * 2)
    values = pixels.part(margin, margin + BLOCK, 1).part(margin, margin + BLOCK, 2)
    values, maxima = (x.part(0, -1) for x in (values, maxima.reshape(-1, BLOCK, BLOCK)))
    return values, values.equals(maxima)
