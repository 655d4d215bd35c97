"""What was measured: a row for each way, with medians and what they range over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from higherhrnet.bench.timed import Facts, Flow, Memory, Turn, Way
from higherhrnet.poses import Poses


@dataclass(frozen=True)
class Spread:
    """One quantity over all runs."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float], unit: float = 1) -> Spread:
        """Of at least one value, in multiples of the unit."""
        counted = sorted(value / unit for value in values)
        return cls(median(counted), counted[0], counted[-1])


@dataclass(frozen=True)
class Crowd:
    """From the network's outputs to so many people; times in milliseconds."""

    people: int | None
    """How many were drawn in the maps; None: the maps are the network's own."""
    found: int
    aggregate: Spread
    decode: Spread
    all: Spread
    """From the photograph on the disk to these people."""
    faster: float | None
    """How many times as long the original's way takes, by the medians; None without that."""
    same: bool | None
    """Whether these are the original's way's people, in its order."""


@dataclass(frozen=True)
class Row:
    """One way at one size; times in milliseconds."""

    way: str
    description: str
    read: Spread
    resize: Spread
    network: Spread
    crowds: list[Crowd]
    streamed: Spread | None
    """Images a second; None for the original's way, which has no stream."""
    busy: Spread | None
    """The share of the stream's time in which the network runs, 0 to 1; with several photographs in
    it at the same time, their mean."""
    streams: int | None
    """How many these are, at most."""
    memory_alone: Memory
    """When it had found the people of one photograph."""
    memory_streamed: Memory | None
    """After a stream of them."""

    def crowd(self, people: int | None) -> Crowd:
        """That with so many drawn."""
        return next(crowd for crowd in self.crowds if crowd.people == people)


@dataclass(frozen=True)
class Figures:
    """All ways at one size."""

    photograph: str
    height: int
    """Of the network's input, pixels."""
    width: int
    flip: bool
    shown: int | None
    """How many people stand for the photograph's own, drawn in the maps; None: its own do."""
    rows: list[Row]
    """The original's way first, if it could be gone."""
    left_out: dict[str, str]
    """Ways that could not be gone, and why."""


def make_row(
    way: Way, facts: Facts, turns: Sequence[Turn], flows: Sequence[Flow], first: Sequence[Turn]
) -> Row:
    """What a way took, against the turns of the original's way; there may be none of `first`."""
    return Row(
        way=str(way),
        description=facts.description,
        read=Spread.of((turn.read for turn in turns), 1e-3),
        resize=Spread.of((turn.resize for turn in turns), 1e-3),
        network=Spread.of((turn.network for turn in turns), 1e-3),
        crowds=[_crowd(people, turns, first) for people in turns[0].readings],
        streamed=Spread.of(flow.rate for flow in flows) if flows else None,
        busy=Spread.of(flow.busy for flow in flows) if flows else None,
        streams=flows[-1].streams if flows else None,
        memory_alone=facts.memory,
        memory_streamed=flows[-1].memory if flows else None,
    )


def _crowd(people: int | None, turns: Sequence[Turn], first: Sequence[Turn]) -> Crowd:
    readings = [turn.readings[people] for turn in turns]
    whole = Spread.of((turn.whole(people) for turn in turns), 1e-3)
    before = [turn.whole(people) for turn in first]
    return Crowd(
        people=people,
        found=len(readings[0].poses),
        aggregate=Spread.of((reading.aggregate for reading in readings), 1e-3),
        decode=Spread.of((reading.decode for reading in readings), 1e-3),
        all=whole,
        faster=Spread.of(before, 1e-3).median / whole.median if first else None,
        same=same(first[0].readings[people].poses, readings[0].poses) if first else None,
    )


def same(theirs: Poses, ours: Poses) -> bool:
    """Whether both found the same people, in the same order, to a hundredth of a pixel."""
    return len(theirs) == len(ours) and bool(
        np.allclose(theirs.keypoints, ours.keypoints, rtol=0, atol=1e-2)
        and np.allclose(theirs.keypoint_scores, ours.keypoint_scores, rtol=0, atol=1e-4)
        and np.allclose(theirs.scores, ours.scores, rtol=0, atol=1e-4)
    )
