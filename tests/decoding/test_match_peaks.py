"""The assignment of peaks to poses equals a loop over all pairs."""

import numpy as np
import pytest

from higherhrnet.arrays import FloatArray, IndexArray
from higherhrnet.decoding.match_peaks import assign_peaks, best_peaks, match_values
from higherhrnet.decoding.peaks import Peaks


def peaks_of(keypoint: list[int], score: list[float] | FloatArray) -> Peaks:
    zeros = np.zeros(len(keypoint), np.intp)
    return Peaks(np.array(keypoint, np.intp), zeros, zeros, np.asarray(score, np.float32))


def match_peaks(
    peaks: Peaks, positions: FloatArray, poses: FloatArray, sigma: float, min_match: float
) -> IndexArray:
    match = match_values(peaks, positions, poses, sigma)
    return assign_peaks(peaks, match, poses.shape[1], min_match)


def naive_greedy(
    peaks: Peaks, positions: FloatArray, poses: FloatArray, sigma: float, min_match: float
) -> list[list[int]]:
    """Takes the best of all pairs again and again."""
    matches = []
    for p, pose in enumerate(poses):
        width, height = pose.max(0) - pose.min(0)
        size = max(1.0, float(width) * float(height)) ** 0.5
        for n, k in enumerate(peaks.keypoint.tolist()):
            distance = float(np.hypot(*(pose[k].astype(float) - positions[n])))
            value = float(peaks.score[n]) * np.exp(-(distance**2) / (2 * (sigma * size) ** 2))
            if value > min_match:
                matches.append((value, p, k, n))
    assigned = [[-1] * poses.shape[1] for _ in poses]
    used = set()
    for _, p, k, n in sorted(matches, reverse=True):
        if assigned[p][k] < 0 and n not in used:
            assigned[p][k] = n
            used.add(n)
    return assigned


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("people", [1, 2, 12])
def test_equals_a_loop_over_all_pairs(seed: int, people: int) -> None:
    rng = np.random.default_rng(seed)
    poses = rng.uniform(0, 50, (people, 5, 2)).astype(np.float32)
    keypoint = np.sort(rng.integers(0, 5, 60)).tolist()
    peaks = peaks_of(keypoint, rng.uniform(0.1, 1, 60).astype(np.float32))
    positions = rng.uniform(0, 50, (60, 2)).astype(np.float32)
    assigned = match_peaks(peaks, positions, poses, 0.3, 0.05)
    assert assigned.tolist() == naive_greedy(peaks, positions, poses, 0.3, 0.05)
    assert (assigned >= 0).any() and (people < 12 or (assigned < 0).any())


@pytest.mark.parametrize("seed", range(4))
def test_several_people_may_share_their_best_peak(seed: int) -> None:
    rng = np.random.default_rng(seed)
    poses = rng.uniform(0, 50, (6, 5, 2)).astype(np.float32)
    peaks = peaks_of(
        np.sort(rng.integers(0, 4, 12)).tolist(), rng.uniform(0.1, 1, 12).astype(np.float32)
    )
    positions = rng.uniform(0, 50, (12, 2)).astype(np.float32)
    match = match_values(peaks, positions, poses, 0.3)
    best = best_peaks(peaks, match, 5, 0.05)
    for p, pose in enumerate(poses):  # alone, each person has its best peaks
        alone = naive_greedy(peaks, positions, pose[None], 0.3, 0.05)
        assert best[p].tolist() == alone[0]
    assert (best[:, 4] == -1).all() and len(np.unique(best[best >= 0])) < (best >= 0).sum()


def test_nobody_and_no_peak() -> None:
    poses = np.ones((2, 3, 2), np.float32)
    positions = np.zeros((1, 2), np.float32)
    assert (match_peaks(peaks_of([], []), positions[:0], poses, 1, 0) == -1).all()
    assert match_peaks(peaks_of([0], [1]), positions, poses[:0], 1, 0).shape == (
        0,
        3,
    )


def test_of_equal_peaks_the_first_is_taken() -> None:
    poses = np.array([[[0, 0], [9, 9]]], np.float32)
    positions = np.array([[0, 1], [1, 0]], np.float32)
    assigned = match_peaks(peaks_of([0, 0], [0.5, 0.5]), positions, poses, 1, 0)
    assert assigned.tolist() == [[0, -1]]


def test_a_peak_goes_to_the_nearer_person_and_the_other_stays_without() -> None:
    poses = np.array([[[0, 0], [9, 9]], [[3, 0], [12, 9]]], np.float32)
    peaks = peaks_of([0], [0.9])
    assigned = match_peaks(peaks, np.array([[2, 0]], np.float32), poses, 0.3, 0.05)
    assert assigned.tolist() == [[-1, -1], [0, -1]]
    far = match_peaks(peaks, np.array([[50, 50]], np.float32), poses, 0.3, 0.05)
    assert (far == -1).all()
