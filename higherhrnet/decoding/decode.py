"""Decoding: maps → peaks → people, adjusted and refined."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from higherhrnet.arrays import FloatArray
from higherhrnet.config.inference import DecodeConfig
from higherhrnet.decoding.aggregate import Maps
from higherhrnet.decoding.grouping import group_by_tag
from higherhrnet.decoding.pixels import ArrayPixels, Pixels
from higherhrnet.decoding.subpixel import adjust_keypoints, locate_by_newton
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
    pixels = ArrayPixels(maps, config.position_weight)
    return decode_pixels(pixels, skeleton, config, maps.align_corners)


def decode_pixels(
    pixels: Pixels, skeleton: Skeleton, config: DecodeConfig, align_corners: bool
) -> DecodedPeople:
    """Finds the people of one image; see `decode`.

    Args:
        pixels: the maps of the image.
        skeleton: the keypoints.
        config: the settings.
        align_corners: whether the maps have aligned corners.
    """
    peaks, peak_tags = pixels.find_peaks(config)
    people = group_by_tag(peaks, peak_tags, skeleton.grouping_order, config)
    scores = people[:, :, 2].mean(1)
    person, k = np.nonzero(people[:, :, 2] > 0)
    if config.adjust and len(person):
        x, y = people[person, k, :2].astype(np.intp).T
        if align_corners:
            people[person, k, :2] = locate_by_newton(pixels.heatmaps, k, x, y)
        else:
            people[person, k, :2] = adjust_keypoints(pixels.heatmaps, k, x, y)
    if config.refine:
        strong = scores >= config.min_score  # refinement does not change scores: skip the others
        first_center = 0.0 if align_corners else 0.5
        people[strong] = _refine(people[strong], pixels, config.min_refined_score, first_center)
    return DecodedPeople(people, scores)


def _refine(
    people: FloatArray, pixels: Pixels, min_score: float, first_center: float
) -> FloatArray:
    """Adds missing keypoints whose score is above 0 and at least `min_score`, in place."""
    found = people[:, :, 2] > 0
    person, k = np.nonzero(~found)
    if not len(person):
        return people
    mean = (people[:, :, 3:] * found[..., None]).sum(1) / found.sum(1, keepdims=True)
    x, y, score = pixels.find_missing(mean[person].astype(np.float32), k)
    keep = np.flatnonzero((score > 0) & (score >= min_score))
    person, k = person[keep], k[keep]
    people[person, k, :2] = adjust_keypoints(pixels.heatmaps, k, x[keep], y[keep], first_center)
    people[person, k, 2] = score[keep]
    return people
