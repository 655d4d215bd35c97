"""Peaks → people, by tag ("Associative Embedding", Newell et al., NeurIPS 2017, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from higherhrnet.arrays import DoubleArray, FloatArray
from higherhrnet.config.inference import DecodeConfig
from higherhrnet.decoding.assignment import assign
from higherhrnet.decoding.peaks import Peaks


def group_by_tag(
    peaks: Peaks, tags: FloatArray, order: Sequence[int], config: DecodeConfig
) -> FloatArray:
    """Assigns peaks to people, one keypoint after the other.

    The tag of a person is the mean of the tags of its keypoints. The peaks of the next keypoint are
    assigned to the people so that the total tag distance is as small as possible, and a peak that
    fits nobody starts a new person. As in the reference implementation, people are identified by
    the first tag of the peak that started them: a peak that would start a person with exactly the
    same first tag is added to the earlier person instead, and its tag becomes that person's tag.

    Args:
        peaks: N peaks.
        tags: (N, T) the tags of the peaks.
        order: the keypoints, in the order in which they are grouped.
        config: the thresholds.

    Returns:
        (P, K, 3 + T) x, y, score and tags of each person's keypoints; zeros for missing keypoints.
        People are in the order in which they were started.
    """
    rows = np.column_stack([peaks.x, peaks.y, peaks.score, tags])
    people = np.zeros((len(rows), len(order), rows.shape[1]), np.float32)
    tag_sums = np.zeros_like(tags)
    counts = np.zeros(len(rows), np.float32)
    index: dict[float, int] = {}
    starts = np.searchsorted(peaks.keypoint, np.arange(len(order) + 1))
    for keypoint in order:
        part = slice(starts[keypoint], starts[keypoint + 1])
        candidates = min(len(index), config.max_people)
        assigned = _assign_to(rows[part], tag_sums[:candidates] / counts[:candidates, None], config)
        for row, tag, person in zip(rows[part], tags[part], assigned, strict=True):
            if person < 0:
                person = index.setdefault(tag[0], len(index))
                tag_sums[person], counts[person] = tag, 1
            else:
                tag_sums[person] += tag
                counts[person] += 1
            people[person, keypoint] = row
    return people[: len(index)]


def _assign_to(rows: DoubleArray, person_tags: FloatArray, config: DecodeConfig) -> list[int]:
    """Returns the person to which each peak of a keypoint is assigned; -1 for a new person."""
    if not len(rows) or not len(person_tags):
        return [-1] * len(rows)
    distance = np.linalg.norm(rows[:, None, 3:] - person_tags, axis=2)
    cost = np.round(distance) * 100 - rows[:, 2:3] if config.score_in_cost else distance
    if len(rows) > len(person_tags):
        surplus = np.full((len(rows), len(rows) - len(person_tags)), 1e10)
        cost = np.concatenate([cost, surplus], 1)
    columns = assign(cost)
    return [
        column
        if column < len(person_tags) and distance[row, column] < config.max_tag_distance
        else -1
        for row, column in enumerate(columns.tolist())
    ]
