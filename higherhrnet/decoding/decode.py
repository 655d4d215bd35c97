"""Decoding: maps → peaks → people, adjusted and refined."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from higherhrnet.arrays import FloatArray
from higherhrnet.config.inference import DecodeConfig
from higherhrnet.decoding.aggregate import Maps
from higherhrnet.decoding.grouping import group_by_tag
from higherhrnet.decoding.peaks import find_peaks
from higherhrnet.decoding.refine import adjust_keypoints, find_missing_keypoints
from higherhrnet.decoding.subpixel import locate_peaks
from higherhrnet.decoding.upsample import Upsampled
from higherhrnet.poses.skeleton import Skeleton


class DecodedPeople(NamedTuple):
    """The people of one image, in pixels of the maps in which they were decoded."""

    keypoints: FloatArray
    """(P, K, 3 + T) x, y, score and tags; zeros for missing keypoints."""
    scores: FloatArray
    """(P,) mean of the keypoints' scores before refinement; a missing keypoint counts as 0."""


def decode(maps: Maps, skeleton: Skeleton, config: DecodeConfig) -> DecodedPeople:
    """Finds the people of one image in its maps.

    Coordinates are counted from the edge of the map, so that pixel centers are at half-integers;
    without `adjust` they are the indices of the pixels, as in the reference implementation. On maps
    with aligned corners, the center of the first pixel is at 0, and `adjust` locates peaks between
    pixels, as MMPose does.

    Args:
        maps: the maps of the image.
        skeleton: the keypoints.
        config: the settings.

    Returns:
        The people, in the order in which grouping started them.
    """
    if config.position_weight:
        maps = replace(maps, tags=_append_positions(maps.tags, config.position_weight))
    heatmaps, tags = maps.upsampled()
    bounds = heatmaps.block_maxima()[:, 0]
    peaks = find_peaks(heatmaps, bounds, config.min_peak, config.peak_window, config.max_people)
    tag_map = np.minimum(peaks.keypoint, tags.count - 1)
    peak_tags = tags.at(tag_map, peaks.y, peaks.x)
    people = group_by_tag(peaks, peak_tags, skeleton.grouping_order, config)
    scores = people[:, :, 2].mean(1)
    first_center = 0.0 if maps.align_corners else 0.5
    person, k = np.nonzero(people[:, :, 2] > 0)
    if config.adjust and len(person):
        x, y = people[person, k, :2].astype(np.intp).T
        if maps.align_corners:
            people[person, k, :2] = locate_peaks(heatmaps, k, x, y)
        else:
            people[person, k, :2] = adjust_keypoints(heatmaps, k, x, y)
    if config.refine:
        strong = scores >= config.min_score  # refinement does not change scores: skip the others
        people[strong] = _refine(
            people[strong], heatmaps, bounds, tags, config.min_refined_score, first_center
        )
    return DecodedPeople(people, scores)


def _append_positions(tags: FloatArray, weight: float) -> FloatArray:
    """(K or 1, T, h, w) tags → (·, T + 2, h, w) with x and y of each cell as two more tags.

    The unit of x and y is the length of the map's shorter side divided by `weight`.
    """
    count, _, height, width = tags.shape
    y, x = np.indices((height, width), np.float32) * np.float32(weight / min(height, width))
    positions = np.broadcast_to(np.stack([x, y]), (count, 2, height, width))
    return np.concatenate([tags, positions], 1)


def _refine(
    people: FloatArray,
    heatmaps: Upsampled,
    bounds: FloatArray,
    tags: Upsampled,
    min_score: float,
    first_center: float,
) -> FloatArray:
    """Adds missing keypoints whose score is above 0 and at least `min_score`, in place."""
    found = people[:, :, 2] > 0
    person, k = np.nonzero(~found)
    if not len(person):
        return people
    mean = (people[:, :, 3:] * found[..., None]).sum(1) / found.sum(1, keepdims=True)
    x, y, score = find_missing_keypoints(heatmaps, bounds, tags, mean[person].astype(np.float32), k)
    keep = np.flatnonzero((score > 0) & (score >= min_score))
    person, k = person[keep], k[keep]
    people[person, k, :2] = adjust_keypoints(heatmaps, k, x[keep], y[keep], first_center)
    people[person, k, 2] = score[keep]
    return people
