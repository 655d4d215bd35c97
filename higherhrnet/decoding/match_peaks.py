"""Peaks of the heatmaps → people whose approximate poses are known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from higherhrnet.arrays import DoubleArray, FloatArray, IndexArray
from higherhrnet.decoding.peaks import Peaks

_MIN_AREA = 1.0
"""The smallest area of a person's box, in square pixels of the maps."""


def match_values(
    peaks: Peaks, positions: FloatArray, poses: FloatArray, sigma: float
) -> DoubleArray:
    """Computes how well each peak matches each person.

    A match is the peak's score times exp(−d² / (2 · (sigma · size)²)), where d is the distance of
    the peak from the keypoint of the pose, and the size of a person is the square root of the area
    of the keypoints' box.

    Args:
        peaks: N peaks.
        positions: (N, 2) x and y of the peaks.
        poses: (P, K, 2) x and y of the keypoints.
        sigma: standard deviation of the distance relative to the size of the person.

    Returns:
        (P, N) matches.
    """
    sides = poses.max(1) - poses.min(1)
    areas = np.maximum(sides.prod(1, dtype=np.float64), _MIN_AREA)
    squared = ((poses[:, peaks.keypoint] - positions) ** 2).sum(2)
    return np.asarray(peaks.score * np.exp(squared / (-2 * sigma**2 * areas[:, None])))


def best_peaks(peaks: Peaks, match: DoubleArray, count: int, min_match: float) -> IndexArray:
    """Finds the best peak of each keypoint of each person, which several people may share.

    Args:
        peaks: N peaks, sorted by keypoint.
        match: (P, N) what `match_values` returned.
        count: number of keypoints, K.
        min_match: the value that a match must exceed, at least 0.

    Returns:
        (P, K) indices of the peaks; -1 for keypoints without a peak.
    """
    best = np.full((len(match), count), -1)
    ends = np.searchsorted(peaks.keypoint, np.arange(count + 1))
    for k, (start, end) in enumerate(pairwise(ends.tolist())):
        if start < end:
            part = match[:, start:end]
            best[:, k] = np.where(part.max(1) > min_match, start + part.argmax(1), -1)
    return best


def assign_peaks(peaks: Peaks, match: DoubleArray, count: int, min_match: float) -> IndexArray:
    """Assigns each peak to at most one person, in the order of how well they match.

    The best match of all is taken first, then the best of the remaining peaks and keypoints. All
    matches that are the best of their peak and of their keypoint are taken at once, which has the
    same result. The arguments and the result are those of `best_peaks`.
    """
    assigned = np.full((len(match), count), -1)
    if not match.size:
        return assigned
    match = match.copy()
    keypoints, starts, segment = np.unique(peaks.keypoint, return_index=True, return_inverse=True)
    while True:
        person = match.argmax(0)
        value = match[person, np.arange(match.shape[1])]
        best_of_keypoint = np.maximum.reduceat(match, starts, axis=1)  # (P, keypoints)
        mutual = (value > min_match) & (value == best_of_keypoint[person, segment])
        peak = np.flatnonzero(mutual)
        if not len(peak):
            return assigned
        pair = person[peak] * len(keypoints) + segment[peak]
        peak = peak[np.unique(pair, return_index=True)[1]]  # of equal matches, the first peak
        assigned[person[peak], peaks.keypoint[peak]] = peak
        match[:, peak] = 0
        has_peak = assigned[:, keypoints] >= 0
        match[has_peak[:, segment]] = 0
