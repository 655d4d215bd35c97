"""Decoding by centers, peaks and offsets; it corresponds to `decoding/center_decoder.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from higherhrnet.config.header import Header
from higherhrnet.decoding.offsets.offset_decoder import MIN_KEYPOINT_SCORE
from higherhrnet.geometry import FIRST_PIXEL_CENTER, main_scale
from higherhrnet.graph.decode.maps import merge_heatmaps
from higherhrnet.graph.decode.match_peaks import assign_peaks, best_peaks, match_values
from higherhrnet.graph.decode.offsets import average_offsets, regress_at_centers
from higherhrnet.graph.decode.peaks import find_peaks
from higherhrnet.graph.decode.preprocess import View, to_image
from higherhrnet.graph.decode.program import Program
from higherhrnet.graph.decode.rescore import rescore
from higherhrnet.graph.decode.select import pairwise_similarity, suppress_people
from higherhrnet.graph.decode.tensor import Tensor
from higherhrnet.graph.decode.upsample import Upsampled

_STRIDE = 4
"""Pixels of the network's input per cell of the maps of centers and offsets."""


class People(NamedTuple):
    """People in pixels of the merged heatmaps."""

    x: Tensor
    """(P, K) x of the keypoints."""
    y: Tensor
    """(P, K) y of the keypoints."""
    keypoint_scores: Tensor
    """(P, K) scores of the keypoints."""
    centers: Tensor
    """(P,) values of the centers."""

    def take(self, index: Tensor) -> People:
        """Selects people."""
        return People(*(values.take(index) for values in self))

    def scores(self, count: int) -> Tensor:
        """Computes (P,) mean scores of `count` keypoints times the root of the center's value."""
        return self.keypoint_scores.sum(1) / count * self.centers.op("Sqrt")


def decode_centers(
    program: Program,
    scales: Mapping[float, Sequence[Tensor]],
    views: Mapping[float, View],
    header: Header,
) -> tuple[Tensor, Tensor]:
    """Finds the people of one image; see `tags.decode_tags`. Every person has all keypoints."""
    # The heatmaps are merged at the size of the finest, as without `project`.
    header = replace(header, inference=replace(header.inference, project=False))
    config, count = header.inference.decode, len(header.skeleton)
    heads = {scale: levels[:-1] for scale, levels in scales.items()}
    maps, factors, size = merge_heatmaps(program, heads, header)
    heatmaps = Upsampled(program, maps, 1, factors, config.peak_window // 2)
    regressed = _regress(program, scales, heatmaps, size, header)
    peaks = find_peaks(program, heatmaps, count, config)
    k = program.constant(np.arange(count).repeat(config.max_people))
    first = FIRST_PIXEL_CENTER[header.input.convention]
    positions = [
        (axis + first).reshape(count, -1)
        for axis in _locate(program, heatmaps, k, peaks.x.reshape(-1), peaks.y.reshape(-1))
    ]
    match = match_values(
        program, peaks.score, positions, [regressed.x, regressed.y], config.centers.match_sigma
    )
    found = (*positions, peaks.score)
    best = best_peaks(program, match, config.centers.min_match)
    moved = _move_to_peaks(program, regressed, best, found)
    keypoints = program.stack([moved.x, moved.y, moved.keypoint_scores], 2)
    similar = pairwise_similarity(program, keypoints, header) > config.centers.max_similarity
    kept = suppress_people(program, similar, moved.scores(count))
    assigned = assign_peaks(program, match.take(kept), config.centers.min_match)
    people = _move_to_peaks(program, regressed.take(kept), assigned, found)
    smallest = min(views)
    base = main_scale(views)
    x, y = to_image([people.x, people.y], views[smallest], smallest / base / size, header)
    scores, keypoint_scores = people.scores(count), people.keypoint_scores
    if header.rescoring and config.offsets.rescore:
        view, network = views[smallest], header.rescoring
        scores = rescore(program, [x, y], keypoint_scores, scores, view, network)
    return program.stack([x, y, keypoint_scores], 2), scores


def _regress(
    program: Program,
    scales: Mapping[float, Sequence[Tensor]],
    heatmaps: Upsampled,
    size: float,
    header: Header,
) -> People:
    """Finds the centers of all scales and the poses at them; see `center_decoder.regress_poses`."""
    config, count = header.inference.decode, len(header.skeleton)
    base = main_scale(scales)
    found = []
    for scale, levels in scales.items():
        views = [levels[-1].take(np.int64(view)) for view in range(1 + header.inference.flip)]
        center = views[0].take(np.int64(0))
        if header.inference.flip:
            center = (center + views[1].take(np.int64(0)).flip(1)) / 2
        last = np.iinfo(np.int64).max
        offsets = average_offsets([view.part(1, last) for view in views], header)
        stride = _STRIDE * size * base / scale
        minimum = config.centers.min_center
        found.append(regress_at_centers(program, center, offsets, stride, minimum, header))
    x, y, centers = (program.concat(parts) for parts in zip(*found, strict=True))
    first = FIRST_PIXEL_CENTER[header.input.convention]
    columns, rows = (
        (axis - first + 0.5).op("Floor").cast(np.int64).clip(0, length - 1).reshape(-1)
        for axis, length in ((x, heatmaps.width), (y, heatmaps.height))
    )
    k = program.arange(rows.size(0)) % count
    scores = heatmaps.at(k, rows, columns).reshape(-1, count)
    return People(x, y, scores.op("Max", MIN_KEYPOINT_SCORE), centers)


def _locate(program: Program, heatmaps: Upsampled, k: Tensor, x: Tensor, y: Tensor) -> list[Tensor]:
    """Locates peaks between pixels; see `subpixel.locate_by_parabola`."""
    right, left = (x + 1).op("Min", heatmaps.width - 1), (x - 1).op("Max", 0)
    below, above = (y + 1).op("Min", heatmaps.height - 1), (y - 1).op("Max", 0)
    values = heatmaps.at(
        program.concat([k] * 5),
        program.concat([y, y, y, below, above]),
        program.concat([x, right, left, x, x]),
    ).reshape(5, -1)
    middle = values.take(np.int64(0))
    positions = []
    for pixel, index in ((x, 1), (y, 3)):
        after, before = values.take(np.int64(index)), values.take(np.int64(index + 1))
        curvature = middle * 2 - after - before
        step = (after - before) / (curvature.op("Max", np.finfo(np.float32).tiny) * 2)
        step = program.where(curvature > 0, step, np.float32(0)).clip(-0.5, 0.5)
        positions.append(pixel.cast(np.float32) + step)
    return positions


def _move_to_peaks(
    program: Program, people: People, indices: Tensor, peaks: Sequence[Tensor]
) -> People:
    """Moves keypoints to peaks.

    Args:
        program: the program.
        people: P people.
        indices: (P, K) indices of the peaks of each keypoint, -1 for keypoints that stay.
        peaks: (K, max_people) x, y and scores of the peaks.
    """
    count, per_keypoint = peaks[0].size(0), peaks[0].size(1)
    place = program.arange(count) * per_keypoint + indices.op("Max", 0)
    x, y, scores = (
        program.where(indices >= 0, values.reshape(-1).take(place), old)
        for values, old in zip(peaks, people[:3], strict=True)
    )
    return People(x, y, scores, people.centers)
