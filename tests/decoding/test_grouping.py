"""Tests of grouping, and of the assignment against the munkres package and scipy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from munkres import Munkres
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from higherhrnet.arrays import DoubleArray, FloatArray
from higherhrnet.config.inference import DecodeConfig
from higherhrnet.decoding.assignment import assign
from higherhrnet.decoding.grouping import group_by_tag
from higherhrnet.decoding.peaks import Peaks
from higherhrnet.poses.skeletons import COCO
from higherhrnet.reference.decoder import match_by_tag

Random = np.random.Generator
Row = tuple[int, float, float]
"""Keypoint, score and tag of a peak; its x is its index in the list, counted from 1."""

KINDS: dict[str, Callable[[Random, int, int], NDArray[Any]]] = {
    "all equal": lambda rng, rows, columns: np.zeros((rows, columns)),
    "two values": lambda rng, rows, columns: 100.0 * rng.integers(0, 2, (rows, columns)),
    "integers": lambda rng, rows, columns: rng.integers(0, 6, (rows, columns)),
    "rounded distance minus score": lambda rng, rows, columns: (
        100.0 * rng.integers(0, 4, (rows, columns)) - rng.random((rows, 1))
    ),
    "equal scores": lambda rng, rows, columns: (
        100.0 * rng.integers(0, 3, (rows, columns)) - rng.choice([0.25, 0.5], (rows, 1))
    ),
    "more peaks than people": lambda rng, rows, columns: np.where(
        np.arange(rows) < rows // 2, 100.0 * rng.integers(0, 3, (rows, rows)), 1e10
    ),
    "no ties": lambda rng, rows, columns: rng.standard_normal((rows, columns)),
}


def matrices(kind: str, rows: range, columns: range, count: int) -> list[DoubleArray]:
    """Random cost matrices with at least as many columns as rows."""
    rng = np.random.default_rng(len(kind))
    sizes = [(int(rng.choice(rows)), int(rng.choice(columns))) for _ in range(count)]
    return [
        KINDS[kind](rng, row_count, column_count).astype(np.float64)
        for row_count, column_count in sizes
        if row_count <= column_count
    ]


def munkres(cost: DoubleArray) -> NDArray[np.intp]:
    return np.array([column for _, column in sorted(Munkres().compute(cost.tolist()))])


def total(cost: DoubleArray, columns: NDArray[np.intp]) -> float:
    assert len(set(columns.tolist())) == len(cost)  # no column twice
    return float(cost[np.arange(len(cost)), columns].sum())


@pytest.mark.parametrize("kind", KINDS)
def test_assignment_equals_that_of_munkres(kind: str) -> None:
    for cost in matrices(kind, range(1, 31), range(1, 36), 150):
        if cost.size >= 16:
            np.testing.assert_array_equal(assign(cost), munkres(cost))


@pytest.mark.parametrize("kind", KINDS)
def test_small_assignments_have_the_cost_of_munkres_and_rarely_differ(
    kind: str,
) -> None:
    costs = [c for c in matrices(kind, range(1, 5), range(1, 9), 300) if c.size < 16]
    same = [np.array_equal(assign(cost), munkres(cost)) for cost in costs]
    assert len(costs) > 100
    assert np.mean(same) > 0.95
    for cost in costs:
        assert total(cost, assign(cost)) == pytest.approx(total(cost, munkres(cost)))


@pytest.mark.parametrize("kind", KINDS)
def test_assignment_has_the_minimum_cost(kind: str) -> None:
    for cost in matrices(kind, range(1, 31), range(1, 36), 150):
        rows, columns = linear_sum_assignment(cost)
        assert total(cost, assign(cost)) == pytest.approx(cost[rows, columns].sum(), abs=1e-6)


def group(rows: list[Row], config: DecodeConfig | None = None, keypoints: int = 3) -> FloatArray:
    """Groups peaks that are sorted by keypoint, as those of `find_peaks`."""
    keypoint, score, tag = (np.array(values) for values in zip(*rows, strict=True))
    x = np.arange(1, len(rows) + 1)
    peaks = Peaks(keypoint.astype(np.intp), x, 10 * x, score.astype(np.float32))
    tags = tag.astype(np.float32)[:, None]
    return group_by_tag(peaks, tags, range(keypoints), config or DecodeConfig())


def test_no_peaks_give_no_people() -> None:
    none = np.zeros(0, np.intp)
    peaks = Peaks(none, none, none, np.zeros(0, np.float32))
    people = group_by_tag(peaks, np.zeros((0, 2), np.float32), range(3), DecodeConfig())
    assert people.shape == (0, 3, 5)


def test_people_are_in_the_order_in_which_they_were_started() -> None:
    people = group([(0, 0.9, 5.0), (0, 0.8, 1.0), (1, 0.7, 1.25), (1, 0.6, 5.5), (2, 0.5, 5.0)])
    expected = [
        [(1, 10, 0.9, 5.0), (4, 40, 0.6, 5.5), (5, 50, 0.5, 5.0)],
        [(2, 20, 0.8, 1.0), (3, 30, 0.7, 1.25), (0, 0, 0, 0)],
    ]
    np.testing.assert_array_equal(people, np.array(expected, np.float32))


def test_keypoints_are_grouped_in_the_given_order() -> None:
    peaks = Peaks(
        np.array([0, 1]), np.array([1, 2]), np.array([1, 2]), np.array([0.5, 0.9], np.float32)
    )
    tags = np.array([[1.0], [3.0]], np.float32)
    for order, first in (((0, 1), [1, 0]), ((1, 0), [0, 2])):
        people = group_by_tag(peaks, tags, order, DecodeConfig())
        np.testing.assert_array_equal(people[0, :, 0], first)


@pytest.mark.parametrize(("tag", "people"), [(1.0, 2), (0.999, 1), (-1.0, 2), (-0.999, 1)])
def test_a_peak_joins_a_person_only_below_the_maximum_tag_distance(tag: float, people: int) -> None:
    assert len(group([(0, 0.9, 0.0), (1, 0.9, tag)])) == people


def test_the_tag_of_a_person_is_the_mean_of_its_keypoints() -> None:
    # The tag 1.7 has distance 1.7 to the first keypoint, 1.3 to the mean, 0.9 to the second.
    assert len(group([(0, 0.9, 0.0), (1, 0.9, 0.8), (2, 0.9, 1.7)])) == 2
    assert len(group([(0, 0.9, 0.0), (1, 0.9, 0.8), (2, 0.9, 1.39)])) == 1


def test_the_tag_distance_is_euclidean() -> None:
    peaks = Peaks(np.array([0, 1]), np.array([1, 2]), np.array([1, 2]), np.full(2, 0.9, np.float32))
    for second, people in ((0.6, 1), (0.9, 2)):  # the distance of (0.6, 0.6) is 0.85
        tags = np.array([[0.0, 0.0], [0.6, second]], np.float32)
        assert len(group_by_tag(peaks, tags, range(2), DecodeConfig())) == people


@pytest.mark.parametrize(("score_in_cost", "joins"), [(True, 3), (False, 4)])
def test_the_higher_peak_is_preferred_at_equal_rounded_distances(
    score_in_cost: bool, joins: int
) -> None:
    """Two peaks have the distances 0.4 and 0.1 to a person; both are rounded to 0."""
    rows = [(0, 0.9, 0.0), (0, 0.8, 9.0), (1, 0.7, 0.4), (1, 0.6, 0.1), (1, 0.5, 9.0)]
    people = group(rows, DecodeConfig(score_in_cost=score_in_cost))
    assert people[0, 1, 0] == joins


def test_a_peak_with_the_first_tag_of_a_person_replaces_its_keypoint() -> None:
    """The reference implementation identifies people by the first tag of their first peak."""
    people = group([(0, 0.9, 2.0), (0, 0.8, 5.0), (0, 0.7, 2.0), (1, 0.6, 2.0)])
    assert len(people) == 2
    np.testing.assert_array_equal(people[:, 0, 0], [3, 2])  # the third peak, not the first
    np.testing.assert_array_equal(people[:, 1, 0], [4, 0])


def test_a_peak_with_the_first_tag_of_a_person_restarts_its_mean_tag() -> None:
    """Of two peaks for one person, the one that is not assigned has the person's first tag."""
    rows = [(0, 0.9, 0.0), (1, 0.9, 0.9), (2, 0.9, 1.4), (3, 0.9, 0.0), (3, 0.8, 0.75)]
    # The mean was 0.77 and is now 0.38, whose distance to -0.6 is less than 1.
    people = group([*rows, (4, 0.9, -0.6)], keypoints=5)
    np.testing.assert_array_equal(people[:, :, 0], [[1, 2, 3, 5, 6]])


@pytest.mark.parametrize("max_people", [30, 4])
def test_peaks_join_only_the_first_max_people_but_more_are_returned(max_people: int) -> None:
    """Two keypoints start people of their own; the third one's peaks match one of each kind."""
    config = DecodeConfig(max_people=max_people)
    tags = [10.0 * i for i in range(2 * max_people)]
    first, second = tags[:max_people], tags[max_people:]
    rows = [(0, 0.9, t) for t in first] + [(1, 0.9, t) for t in second]
    rows += [(2, 0.9, t + 0.5) for t in (first[0], second[0])]
    people = group(rows, config)
    assert len(people) == 2 * max_people + 1  # the last peak could not join its person
    assert people[0, 2, 0] == 2 * max_people + 1
    assert people[max_people, 2, 0] == 0
    assert people[-1, 2, 0] == 2 * max_people + 2


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("step", [0.125, 0.5, 1.0])
def test_people_equal_the_reference_when_tags_and_scores_are_tied(step: float, views: int) -> None:
    rng = np.random.default_rng(views)
    for peak_count in (2, 5, 30, 30):
        positions = rng.integers(0, 99, (len(COCO), 30, 2))
        scores = -np.sort(-rng.choice([0.0, 0.3, 0.5, 0.9], (len(COCO), 30)), 1)
        scores[:, peak_count:] = 0
        tags = step * rng.integers(0, 2 * peak_count, (len(COCO), 30, views))
        scores, tags = scores.astype(np.float32), tags.astype(np.float32)
        keypoint, rank = np.nonzero(scores > 0.1)
        x, y = positions[keypoint, rank].T
        people = group_by_tag(
            Peaks(keypoint, x, y, scores[keypoint, rank]),
            tags[keypoint, rank],
            COCO.grouping_order,
            DecodeConfig(),
        )
        assert len(people) > peak_count / 2
        expected = match_by_tag(positions, scores, tags, COCO.grouping_order)
        np.testing.assert_array_equal(people, expected)
