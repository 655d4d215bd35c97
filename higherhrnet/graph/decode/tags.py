"""Decoding by tags: the steps of `decoding/tag_decoder.py` and `decoding/decode.py` in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from higherhrnet.config.header import Header
from higherhrnet.errors import require
from higherhrnet.geometry import main_scale
from higherhrnet.graph.decode.grouping import group_by_tag
from higherhrnet.graph.decode.maps import merge_maps
from higherhrnet.graph.decode.peaks import find_peaks
from higherhrnet.graph.decode.preprocess import View, to_image
from higherhrnet.graph.decode.program import Program
from higherhrnet.graph.decode.refine import adjust_keypoints, find_missing_keypoints
from higherhrnet.graph.decode.tensor import Tensor
from higherhrnet.graph.decode.upsample import Upsampled


def check_tag_settings(header: Header) -> None:
    """Raises InputError if a setting of the header is not supported."""
    require(
        header.input.convention != "udp",
        "--decode does not support the convention udp; export without --decode",
    )
    require(
        header.inference.decode.min_peak >= 0,
        f"--decode needs a min_peak of at least 0, not {header.inference.decode.min_peak}",
    )


def decode_tags(
    program: Program,
    scales: Mapping[float, Sequence[Tensor]],
    views: Mapping[float, View],
    header: Header,
) -> tuple[Tensor, Tensor]:
    """Finds the people of one image.

    Args:
        program: the program.
        scales: for each scale the network's outputs.
        views: for each scale the transform from the image to the network's input.
        header: the header of the model.

    Returns:
        (P, K, 3) x and y in pixels of the image, and scores; zeros for missing keypoints. (P,)
        scores of the people.
    """
    config, count = header.inference.decode, len(header.skeleton)
    maps = merge_maps(program, scales, header)
    heatmaps = Upsampled(program, maps.heatmaps, 1, maps.heatmap_factors, config.peak_window // 2)
    tags = Upsampled(program, maps.tags, maps.num_tags, maps.tag_factors)
    peaks = find_peaks(program, heatmaps, count, config)
    tag_maps = np.arange(count) if header.model.tag_per_keypoint else np.zeros(count, np.int64)
    k = program.constant(tag_maps.repeat(config.max_people))
    peak_tags = tags.at(k, peaks.y.reshape(-1), peaks.x.reshape(-1))
    peak_tags = peak_tags.reshape(count, config.max_people, maps.num_tags)
    people = group_by_tag(program, peaks, peak_tags, header.skeleton.grouping_order, config)
    scores = people.take(np.int64(2), 2).sum(1) / count
    if config.min_score > 0:  # refinement does not change scores
        strong = (scores >= config.min_score).nonzero()
        people, scores = people.take(strong), scores.take(strong)
    rows = people.reshape(-1, 3 + maps.num_tags)
    keypoints = _locate(program, rows, heatmaps, count, config.adjust)
    if config.refine:
        keypoints = _refine(program, people, keypoints, heatmaps, tags, config.min_refined_score)
    smallest = min(views)
    base = main_scale(views)
    stride = smallest / base / maps.size
    positions = [keypoints.take(np.int64(axis), 1) for axis in (0, 1)]
    score = keypoints.take(np.int64(2), 1)
    found = (score > 0).cast(np.float32)
    x, y = (v * found for v in to_image(positions, views[smallest], stride, header))
    return program.stack([x, y, score], 1).reshape(-1, count, 3), scores


def _locate(
    program: Program, rows: Tensor, heatmaps: Upsampled, count: int, adjust: bool
) -> Tensor:
    """Returns (P · K, 3) adjusted x, y and scores; x and y of missing keypoints are undefined."""
    x, y, score = (rows.take(np.int64(column), 1) for column in range(3))
    if adjust:
        k = program.arange(rows.size(0)) % count
        columns, lines = x.cast(np.int64), y.cast(np.int64)
        x, y = adjust_keypoints(program, heatmaps, k, columns, lines)
    return program.stack([x, y, score], 1)


def _refine(
    program: Program,
    people: Tensor,
    keypoints: Tensor,
    heatmaps: Upsampled,
    tags: Upsampled,
    min_score: float,
) -> Tensor:
    """Adds missing keypoints whose score is above 0 and at least `min_score`."""
    count = people.size(1)
    found = (people.take(np.int64(2), 2) > 0).cast(np.float32).expand_dims(2)
    person_tags = people.part(3, np.iinfo(np.int64).max, 2)
    means = (person_tags * found).sum(1) / found.sum(1)
    missing = found.reshape(-1).equals(0).nonzero()

    def add() -> Tensor:
        k = missing % count
        tags_of = means.take(missing // count)
        column, row, score = find_missing_keypoints(program, heatmaps, tags, tags_of, k)
        keep = ((score > 0) & (score >= min_score)).nonzero()
        added = (value.take(keep) for value in (k, column, row))
        x, y = adjust_keypoints(program, heatmaps, *added)
        rows = program.stack([x, y, score.take(keep)], 1)
        return keypoints.op("ScatterND", missing.take(keep).expand_dims(1), rows)

    return program.branch(missing.size(0) > 0, add, lambda: keypoints)
