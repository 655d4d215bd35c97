"""Candidates → people, by their tags (associative embedding, NeurIPS 2017, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from higherhrnet.config import DecodeConfig
from higherhrnet.decoding.peaks import Peaks
from higherhrnet.decoding.upsample import Array

Costs = NDArray[np.float64]


def group_by_tag(
    candidates: Peaks, tags: Array, order: Sequence[int], config: DecodeConfig
) -> Array:
    """Joins candidates to people, keypoint after keypoint.

    A person's tag is the mean of its keypoints' tags; each further keypoint's candidates are
    assigned to the people at the least total tag distance, and those that fit nobody open a person
    of their own. Like the original, people are told apart by their first keypoint's first tag:
    where two are equal to the last bit, the later replaces the earlier.

    Args:
        candidates: N of them.
        tags: (N, T) theirs.
        order: the keypoints, in the order of the visit.
        config: the thresholds.

    Returns:
        (P, K, 3 + T): x, y, score and tags, zeros where a keypoint was not found. People are in the
        order of their opening.
    """
    rows = np.column_stack([candidates.x, candidates.y, candidates.score, tags])
    people = np.zeros((len(rows), len(order), rows.shape[1]), np.float32)
    sums = np.zeros_like(tags)
    members = np.zeros(len(rows), np.float32)
    index: dict[float, int] = {}
    starts = np.searchsorted(candidates.keypoint, np.arange(len(order) + 1))
    for keypoint in order:
        mine = slice(starts[keypoint], starts[keypoint + 1])
        known = min(len(index), config.max_people)
        joined = _assign_to(rows[mine], sums[:known] / members[:known, None], config)
        for row, tag, person in zip(rows[mine], tags[mine], joined, strict=True):
            if person < 0:
                person = index.setdefault(tag[0], len(index))
                sums[person], members[person] = tag, 1
            else:
                sums[person] += tag
                members[person] += 1
            people[person, keypoint] = row
    return people[: len(index)]


def _assign_to(rows: Costs, people: Array, config: DecodeConfig) -> list[int]:
    """The person that each of a keypoint's candidates joins; -1 for none."""
    if not len(rows) or not len(people):
        return [-1] * len(rows)
    distance = np.linalg.norm(rows[:, None, 3:] - people, axis=2)
    cost = np.round(distance) * 100 - rows[:, 2:3] if config.score_in_cost else distance
    if len(rows) > len(people):
        surplus = np.full((len(rows), len(rows) - len(people)), 1e10)
        cost = np.concatenate([cost, surplus], 1)
    columns = assign(cost)
    return [
        column if column < len(people) and distance[row, column] < config.max_tag_distance else -1
        for row, column in enumerate(columns.tolist())
    ]


def assign(cost: Costs) -> NDArray[np.intp]:
    """The cheapest assignment of rows to columns.

    Rounded costs tie often, and which of the cheapest assignments is found decides who is who. So
    this is what the `munkres` package (3.0) does when the original calls it, to the order of its
    additions: rows take their first cheapest free column in turn, then each row left over finds its
    shortest augmenting path. Where that first pass serves everyone, as nearly always, all releases
    of the package agree; past it, older ones may choose another of the cheapest assignments.

    Args:
        cost: (R, C), R ≤ C.

    Returns:
        (R,) the column of each row.
    """
    row_price, column_price = cost.min(1), np.zeros(cost.shape[1])
    column_of, row_of = np.full(cost.shape[0], -1), np.full(cost.shape[1], -1)
    for row in range(len(cost)):
        free = np.flatnonzero((cost[row] == row_price[row]) & (row_of < 0))
        if len(free):
            column_of[row], row_of[free[0]] = free[0], row
    for left_over in np.flatnonzero(column_of < 0):
        _serve_one_more(cost, left_over, row_price, column_price, column_of, row_of)
    return column_of


def _serve_one_more(
    cost: Costs,
    start: np.intp,
    row_price: Costs,
    column_price: Costs,
    column_of: NDArray[np.intp],
    row_of: NDArray[np.intp],
) -> None:
    """Changes the assignment along the cheapest path that gives one more row a column."""
    small = cost.size < 16  # these the package solves by another routine
    left = np.arange(len(row_of)) if small else np.arange(len(row_of))[::-1].copy()
    shortest = np.full(len(row_of), np.inf)
    previous = np.full(len(row_of), -1)
    visited: list[int] = []
    row, length = start, 0.0
    while True:
        reach = length + cost[row, left] - row_price[row] - column_price[left]
        nearer = reach < shortest[left]
        shortest[left[nearer]], previous[left[nearer]] = reach[nearer], row
        length = shortest[left].min()
        nearest = np.flatnonzero(shortest[left] == length)
        free = nearest[row_of[left[nearest]] < 0]
        index = free[-1] if len(free) and not small else nearest[0]
        column = left[index]
        if row_of[column] < 0:
            break
        visited.append(column)
        row = row_of[column]
        if small:
            left = np.delete(left, index)
        else:
            left[index], left = left[-1], left[:-1]
    row_price[start] += length
    row_price[row_of[visited]] += length - shortest[visited]
    column_price[visited] -= length - shortest[visited]
    while column >= 0:
        row = previous[column]
        row_of[column], column_of[row], column = row, column, column_of[row]
