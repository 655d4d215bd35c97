"""Peaks → people, by tag; it corresponds to `decoding/grouping.py`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from higherhrnet.config.inference import DecodeConfig
from higherhrnet.graph.decode.assignment import assign
from higherhrnet.graph.decode.peaks import NO_PEAK, Peaks
from higherhrnet.graph.decode.program import Program
from higherhrnet.graph.decode.tensor import Tensor

_NEW = np.int64(-1)


def group_by_tag(
    program: Program, peaks: Peaks, tags: Tensor, order: Sequence[int], config: DecodeConfig
) -> Tensor:
    """Assigns peaks to people, one keypoint after the other, as `grouping.group_by_tag` does.

    A peak that fits nobody always starts a new person, also if an earlier person was started by a
    peak with exactly the same first tag.

    Args:
        program: the program.
        peaks: the peaks.
        tags: (K, max_people, T) the tags of the peaks.
        order: the keypoints, in the order in which they are grouped.
        config: the thresholds.

    Returns:
        (P, K, 3 + T) x, y, score and tags of each person's keypoints; zeros for missing keypoints.
        People are in the order in which they were started.
    """
    order_of, capacity = program.constant(np.array(order)), config.max_people
    unused = program.constant(np.full(capacity, _NEW))
    counts = (peaks.score > NO_PEAK).cast(np.int64).sum(1)

    def group(
        index: Tensor, people: Tensor, sums: Tensor, sizes: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        k = order_of.take(index)
        count = counts.take(k)
        tag, score = tags.take(k).part(0, count), peaks.score.take(k).part(0, count)
        candidates = people.op("Min", capacity)
        means = sums.part(0, candidates) / sizes.part(0, candidates)
        person = program.branch(
            (count > 0) & (candidates > 0),
            lambda: _assign_to(program, tag, score, means, config),
            lambda: program.full(_NEW, count),
        )
        is_new = person < 0
        number = people + is_new.cast(np.int64).op("CumSum", np.int64(0)) - 1
        person = program.where(is_new, number, person)
        person = program.concat([person, unused]).part(0, capacity)
        belongs = person.equals(slots).cast(np.float32)  # (capacity, capacity) people × peaks
        sums = sums + belongs @ tags.take(k)
        sizes = sizes + belongs.sum(1).expand_dims(1)
        people = people + is_new.cast(np.int64).sum(0)
        return [people, sums, sizes], [person]

    slots = program.constant(np.arange(capacity)[:, None])
    sums = program.full(np.float32(0), capacity, tags.size(2))
    sizes = program.constant(np.zeros((capacity, 1), np.float32))
    people, _, _, person = program.loop(
        program.constant(np.int64(len(order))),
        [program.constant(np.int64(0)), sums, sizes],
        group,
    )
    return _collect(program, peaks, tags, order, people, person)


def _assign_to(
    program: Program, tag: Tensor, score: Tensor, means: Tensor, config: DecodeConfig
) -> Tensor:
    """Returns the person to which each peak of a keypoint is assigned; -1 for a new person."""
    rows, people = tag.size(0), means.size(0)
    offset = tag.expand_dims(1).cast(np.float64) - means.cast(np.float64)
    distance = (offset * offset).sum(2).op("Sqrt")
    cost = distance
    if config.score_in_cost:
        cost = distance.op("Round") * 100 - score.expand_dims(1).cast(np.float64)
    # Columns for the rows that no person gets, above all costs but small: OpenVINO computes in
    # float32.
    above = cost.reshape(-1).max(0) + 1
    shape = program.shape(rows, (rows - people).op("Max", 0))
    cost = program.concat([cost, above.op("Expand", shape)], 1)
    column = assign(program, cost)
    person = column.op("Min", people - 1)
    reached = distance.reshape(-1).take(program.arange(rows) * people + person)
    return program.where((column < people) & (reached < config.max_tag_distance), person, _NEW)


def _collect(
    program: Program,
    peaks: Peaks,
    tags: Tensor,
    order: Sequence[int],
    people: Tensor,
    person: Tensor,
) -> Tensor:
    """Writes the peaks of each person; `person` (K, max_people) is in the order of grouping."""
    keypoints = len(order)
    person = person.take(np.argsort(order))  # in the order of the skeleton
    used = (person.reshape(-1) >= 0).nonzero()
    columns = [values.cast(np.float32).expand_dims(2) for values in peaks]
    rows = program.concat([*columns, tags], 2).op("Flatten", axis=2).take(used)
    place = person * keypoints + np.arange(keypoints)[:, None]
    place = place.reshape(-1).take(used).expand_dims(1)
    width = tags.size(2) + 3
    empty = program.full(np.float32(0), people * keypoints, width)
    return empty.op("ScatterND", place, rows).reshape(-1, keypoints, width)
