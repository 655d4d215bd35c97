"""Candidates → people, by their tags (associative embedding, NeurIPS 2017, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from higherhrnet.arrays import DoubleArray, FloatArray
from higherhrnet.config import DecodeConfig
from higherhrnet.decoding.assignment import assign
from higherhrnet.decoding.peaks import Peaks


def group_by_tag(
    candidates: Peaks, tags: FloatArray, order: Sequence[int], config: DecodeConfig
) -> FloatArray:
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


def _assign_to(rows: DoubleArray, people: FloatArray, config: DecodeConfig) -> list[int]:
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
