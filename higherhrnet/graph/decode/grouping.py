"""Peaks → people, by tag; it corresponds to `decoding/grouping.py`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from higherhrnet.config.inference import DecodeConfig
from higherhrnet.graph.decode.assignment import assign
from higherhrnet.graph.decode.peaks import NO_PEAK, Peaks
from higherhrnet.graph.decode.program import LARGEST, Program
from higherhrnet.graph.decode.tensor import Tensor

_NEW = np.int64(-1)


def group_by_tag(
    program: Program, peaks: Peaks, tags: Tensor, order: Sequence[int], config: DecodeConfig
) -> Tensor:
    """Assigns peaks to people, one keypoint after the other, as `grouping.group_by_tag` does.

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
    slots = program.constant(np.arange(capacity))
    is_later = program.constant(np.triu(np.ones((capacity, capacity), bool), 1))

    def group(
        index: Tensor, people: Tensor, keys: Tensor, sums: Tensor, sizes: Tensor
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
        person = program.concat([person, unused]).part(0, capacity)
        is_new = (person < 0) & (slots < count)
        number, people, keys = _start_people(program, is_new, tags.take(k), people, keys)
        person = program.where(is_new, number, person)
        # A peak that starts a person again replaces its tags, and of two peaks the later one stays.
        again = person.expand_dims(1).equals(person) & (person >= 0) & is_later
        belongs = person.equals(slots.expand_dims(1))  # (capacity, capacity) people × peaks
        counted = (belongs & ~_any(again & is_new)).cast(np.float32)
        kept = (~_any(belongs & is_new)).cast(np.float32).expand_dims(1)
        sums = sums * kept + counted @ tags.take(k)
        sizes = sizes * kept + counted.sum(1).expand_dims(1)
        return [people, keys, sums, sizes], [program.where(_any(again), _NEW, person)]

    keys = program.constant(np.zeros(len(order) * capacity, np.float32))
    sums = program.full(np.float32(0), capacity, tags.size(2))
    sizes = program.constant(np.zeros((capacity, 1), np.float32))
    people, _, _, _, person = program.loop(
        program.constant(np.int64(len(order))),
        [program.constant(np.int64(0)), keys, sums, sizes],
        group,
    )
    return _collect(program, peaks, tags, order, people, person)


def _start_people(
    program: Program, is_new: Tensor, tag: Tensor, people: Tensor, keys: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers the people that peaks start; see `grouping.group_by_tag` for equal first tags.

    Args:
        program: the program.
        is_new: (N,) whether the peak starts a person.
        tag: (N, T) the tags of the peaks.
        people: the number of people.
        keys: the first tag of the peak that started each person; (maximum number of people,).

    Returns:
        (N,) numbers of the people, the new number of people, and the new first tags.
    """
    first = tag.take(np.int64(0), 1).expand_dims(1)
    numbers = program.arange(keys.size(0))
    old = first.equals(keys) & (numbers < people)
    same = first.equals(first.reshape(-1)) & is_new
    rows = program.arange(tag.size(0))
    leader = program.where(same, rows, LARGEST).min(1)  # the first peak with the same first tag
    starts = is_new & ~_any(old) & leader.equals(rows)
    number = people + starts.cast(np.int64).op("CumSum", np.int64(0)) - 1
    written = number.expand_dims(1).equals(numbers) & starts.expand_dims(1)
    keys = program.where(
        _any(written, 0), program.where(written, first, np.float32(0)).sum(0), keys
    )
    known = program.where(old, numbers, LARGEST).min(1)
    new = number.take(leader.op("Min", tag.size(0) - 1))
    number = program.where(_any(old), known, new)
    return number, people + starts.cast(np.int64).sum(0), keys


def _any(values: Tensor, axis: int = 1) -> Tensor:
    """Returns whether an element along an axis, which is removed, is true."""
    return values.cast(np.int64).max(axis) > 0


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
    above = program.constant(np.float64(1e10))
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
