"""Peaks → people whose approximate poses are known; it corresponds to `decoding/match_peaks.py`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from higherhrnet.graph.decode.peaks import NO_PEAK
from higherhrnet.graph.decode.program import Program
from higherhrnet.graph.decode.tensor import Tensor

_NONE = np.int64(-1)


def match_values(
    program: Program,
    scores: Tensor,
    positions: Sequence[Tensor],
    poses: Sequence[Tensor],
    sigma: float,
) -> Tensor:
    """Computes how well each peak matches each person; see `match_peaks.match_values`.

    Args:
        program: the program.
        scores: (K, N) scores of the peaks of each keypoint.
        positions: (K, N) x and (K, N) y of the peaks.
        poses: (P, K) x and (P, K) y of the keypoints.
        sigma: standard deviation of the distance relative to the size of the person.

    Returns:
        (P, K, N) matches; 0 where there is no peak.
    """
    sides = [(axis.max(1) - axis.min(1)).cast(np.float64) for axis in poses]
    area = (sides[0] * sides[1]).op("Max", 1)
    offsets = [
        position - pose.expand_dims(2) for position, pose in zip(positions, poses, strict=True)
    ]
    squared = (offsets[0] * offsets[0] + offsets[1] * offsets[1]).cast(np.float64)
    match = (squared / (area.reshape(-1, 1, 1) * (-2 * sigma**2))).op("Exp")
    match = match * scores.cast(np.float64)
    return program.where(scores > NO_PEAK, match, np.float64(0))


def best_peaks(program: Program, match: Tensor, min_match: float) -> Tensor:
    """Finds (P, K) the best peak of each keypoint of each person; -1 where there is no peak."""
    best = match.op("ArgMax", axis=2, keepdims=0)
    return program.where(match.max(2) > min_match, best, _NONE)


def assign_peaks(program: Program, match: Tensor, min_match: float) -> Tensor:
    """Assigns each peak to at most one person, in the order of how well they match.

    The result is that of `best_peaks`. All keypoints are processed at once, since their peaks are
    not shared.
    """
    people, peaks = match.size(0), match.size(2)
    keypoints = match.size(1)
    person_of = program.arange(people).expand_dims(1)

    def assign_best(
        _index: Tensor, _going: Tensor, match: Tensor, assigned: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        flat = match.transpose(1, 0, 2).reshape(keypoints, -1)  # (K, P · N)
        best = flat.op("ArgMax", axis=1, keepdims=0)
        is_match = flat.max(1) > min_match
        person, peak = best // peaks, best % peaks
        is_person = person_of.equals(person) & is_match  # (P, K)
        assigned = program.where(is_person, peak, assigned)
        is_peak = program.arange(peaks).equals(peak.expand_dims(1))
        is_peak = is_peak & is_match.expand_dims(1)  # (K, N)
        match = program.where(is_person.expand_dims(2) | is_peak, np.float64(0), match)
        return [is_match.any(), match, assigned], []

    nobody = program.full(_NONE, people, keypoints)
    going = people > 0
    return program.loop(None, [going, match, nobody], assign_best)[2]
