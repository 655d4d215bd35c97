"""Times from a network's outputs to people: the original's way and ours, on the same drawn maps.

python -m benchmarks.decode --json decode.json
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro

from benchmarks import original
from benchmarks.synthetic_maps import Array, draw_maps
from higherhrnet.config import DecodeConfig
from higherhrnet.inference.aggregate import aggregate
from higherhrnet.inference.decode import decode
from higherhrnet.inference.engine import usable_cores
from higherhrnet.skeleton import COCO

HEADINGS = (
    "people | found | original: aggregate | decode | ours: aggregate | decode | "
    "faster | in decode alone | same people"
)


class Run(NamedTuple):
    """One run: its two times in milliseconds and what was found."""

    aggregate: float
    decode: float
    keypoints: Array
    """(P, K, 3 + T)."""
    scores: Array
    """(P,)."""


@dataclass(frozen=True)
class Times:
    """Milliseconds of one step over all runs."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, milliseconds: list[float]) -> Times:
        """What is reported of a step's runs."""
        return cls(median(milliseconds), min(milliseconds), max(milliseconds))

    def __str__(self) -> str:
        return f"{self.median:.1f} ({self.least:.1f}–{self.most:.1f})"


@dataclass(frozen=True)
class Way:
    """One of the two ways: its steps and both together."""

    aggregate: Times
    decode: Times
    total: Times
    found: int

    @classmethod
    def of(cls, runs: list[Run]) -> Way:
        """What is reported of a way's runs."""
        merging, decoding = [run.aggregate for run in runs], [run.decode for run in runs]
        total = [a + b for a, b in zip(merging, decoding, strict=True)]
        return cls(Times.of(merging), Times.of(decoding), Times.of(total), len(runs[0].scores))


@dataclass(frozen=True)
class Row:
    """Both ways with the same number of people drawn."""

    people: int
    original: Way
    ours: Way
    same: bool
    """Coordinates within 1e-3, scores within 1e-5, people in the same order."""

    @property
    def times_faster(self) -> tuple[float, float]:
        """In all, and in decoding alone, of the medians."""
        return (
            self.original.total.median / self.ours.total.median,
            self.original.decode.median / self.ours.decode.median,
        )

    def cells(self) -> list[str]:
        """What the table says."""
        ways = self.original, self.ours
        found = " / ".join(str(way.found) for way in ways)
        times = [f"{step} ms" for way in ways for step in (way.aggregate, way.decode)]
        ratios = [f"{ratio:.0f}×" for ratio in self.times_faster]
        return [str(self.people), found, *times, *ratios, "yes" if self.same else "NO"]


def main(
    people: tuple[int, ...] = (1, 5, 15, 30),
    height: int = 512,
    width: int = 640,
    runs: int = 5,
    seed: int = 0,
    json: Path | None = None,
) -> None:
    """Prints a table of both ways' times.

    Args:
        people: how many are drawn, a row each.
        height: of the network's input, at which people are decoded.
        width: the same.
        runs: timed ones of each way in turn, after one of each that is not.
        seed: of the drawn maps.
        json: also write all figures to this file.
    """
    machine = f"{usable_cores()} cores, torch {torch.__version__}"
    print(
        f"From a network's outputs for {height}×{width} and its mirror image to people;\n"
        f"median (least–most) of {runs} runs, original and ours in turn; {machine}.\n"
    )
    print(f"| {HEADINGS} |")
    print("|" + " ---: |" * len(HEADINGS.split("|")))
    rows = []
    for count in people:
        rows.append(compare(count, height, width, runs, seed))
        print("| " + " | ".join(rows[-1].cells()) + " |", flush=True)
    if json:
        facts = {"height": height, "width": width, "runs": runs, "seed": seed, "machine": machine}
        save({**facts, "milliseconds": [asdict(row) for row in rows]}, json)


def compare(people: int, height: int, width: int, runs: int, seed: int) -> Row:
    """Both ways in turn, so that whatever else the machine does meets both."""
    maps = draw_maps(people, height, width, seed)
    ways: dict[Callable[[Array, Array], Run], list[Run]] = {original_way: [], our_way: []}
    for _ in range(1 + runs):
        for way, done in ways.items():
            done.append(way(*maps))
    theirs, ours = (done[1:] for done in ways.values())
    return Row(people, Way.of(theirs), Way.of(ours), same(theirs[0], ours[0]))


def original_way(low: Array, high: Array) -> Run:
    """With the original's steps: all maps at the input's size, searched once a person."""
    start = perf_counter()
    lows, highs = torch.from_numpy(low), torch.from_numpy(high)
    views = [(lows[i : i + 1], highs[i : i + 1]) for i in range(len(lows))]
    maps = original.aggregate({1: views}, COCO.flip_index, input_size(high))
    middle = perf_counter()
    people = original.decode(*maps, COCO.grouping_order)
    return Run(1e3 * (middle - start), 1e3 * (perf_counter() - middle), *people)


def our_way(low: Array, high: Array) -> Run:
    """With the package's steps."""
    start = perf_counter()
    maps = aggregate({1: [low, high]}, len(COCO), COCO.flip_index, input_size(high))
    middle = perf_counter()
    people = decode(maps, COCO, DecodeConfig())
    return Run(1e3 * (middle - start), 1e3 * (perf_counter() - middle), *people)


def input_size(high: Array) -> tuple[int, int]:
    """Height and width of the network's input, from its outputs at stride 2."""
    return 2 * high.shape[2], 2 * high.shape[3]


def same(theirs: Run, ours: Run) -> bool:
    """Whether both found the same people in the same order."""
    return theirs.keypoints.shape == ours.keypoints.shape and bool(
        np.allclose(theirs.keypoints[..., :2], ours.keypoints[..., :2], rtol=0, atol=1e-3)
        and np.allclose(theirs.keypoints[..., 2], ours.keypoints[..., 2], rtol=0, atol=1e-5)
        and np.allclose(theirs.scores, ours.scores, rtol=0, atol=1e-5)
    )


def save(figures: dict[str, Any], path: Path) -> None:
    """All figures, as JSON."""
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    tyro.cli(main)
