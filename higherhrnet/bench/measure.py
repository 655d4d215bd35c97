"""Every way from photograph to people, each in a process of its own, all of them in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product, starmap
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self, TypeVar

from tqdm import tqdm

from higherhrnet.bench.apart import Apart
from higherhrnet.bench.figures import Figures, make_row
from higherhrnet.bench.subjects import TYPICAL, models, photographs
from higherhrnet.bench.timed import Facts, Flow, RealEngine, Task, Timed, Turn, Way
from higherhrnet.config import InferenceConfig
from higherhrnet.engines.base import Precision
from higherhrnet.errors import InputError, require

R = TypeVar("R")


@dataclass(frozen=True)
class Plan:
    """What to measure, and how often."""

    model: str | None
    """A file or name; None for a w32 with random weights."""
    images: tuple[str, ...]
    """Files, folders or patterns; a drawn scene if empty."""
    sizes: tuple[int, ...]
    """Pixels of the shorter side as the network sees it; the model's own if empty."""
    engines: tuple[RealEngine, ...]
    precisions: tuple[Precision, ...]
    people: tuple[int, ...]
    """How many are drawn to be decoded."""
    runs: int
    """Counted ones, after one that is not."""
    flip: bool
    """Whether to show the mirrored photograph too, if the model's own settings do."""
    threads: int | None
    """Of the network, on the CPU; all cores if None."""
    streams: int
    """Photographs in the network at the same time, on the CPU, where they are streamed."""

    def __post_init__(self) -> None:
        require(self.streams >= 1, f"--streams must be at least 1, not {self.streams}")
        require(self.runs >= 1, f"--runs must be at least 1, not {self.runs}")
        require(min(self.people, default=0) >= 0, f"--people must not be negative: {self.people}")
        for size in self.sizes:
            InferenceConfig(size)


def measure(plan: Plan) -> Iterator[Figures]:
    """Measures at one size after the other: a photograph alone, then many.

    Each way has a process of its own, fresh for either at each size. They take turns, so that
    whatever else the machine does meets all of them; while one works the others wait.

    Raises:
        InputError: the model or a photograph cannot be used, or no engine can be measured.
    """
    shown = None if plan.model else TYPICAL
    people = sorted({*plan.people} if shown is None else {shown, *plan.people})
    with TemporaryDirectory() as folder:
        given = photographs(plan.images, Path(folder))
        files = models(plan.model, set(plan.engines) != {"torch"}, Path(folder))
        for size in plan.sizes or (None,):
            task = Task(given, size, plan.flip, shown, tuple(people), plan.threads)
            ways = Way(), *starmap(Way, product(plan.engines, plan.precisions))
            with _Workers(ways, files, task) as workers:
                facts = workers.in_turn(Timed.facts, 1)
                turns = workers.in_turn(Timed.look, 1 + plan.runs)
            left_out, many = workers.left_out, replace(task, streams=plan.streams)
            with _Workers([way for way in turns if way.engine], files, many) as workers:
                flows = workers.in_turn(Timed.flow, 1 + plan.runs)
            yield _figures(task, facts, turns, flows, left_out | workers.left_out)


def _figures(
    task: Task,
    facts: Mapping[Way, Sequence[Facts]],
    turns: Mapping[Way, Sequence[Turn]],
    flows: Mapping[Way, Sequence[Flow]],
    left_out: dict[str, str],
) -> Figures:
    """What came of all runs, of which the first is not counted."""
    if not any(way.engine for way in turns):
        reasons = "; ".join(dict.fromkeys(left_out.values()))
        raise InputError(f"no engine can be measured: {reasons}")
    first = turns.get(Way(), [])[1:]
    rows = [
        make_row(way, facts[way][0], taken[1:], flows.get(way, [])[1:], first)
        for way, taken in turns.items()
    ]
    seen, name = next(iter(facts.values()))[0], task.photographs[0].name
    return Figures(name, seen.height, seen.width, seen.flip, task.shown, rows, left_out)


class _Workers:
    """A process for each way that can be gone."""

    def __init__(self, ways: Iterable[Way], files: Mapping[RealEngine, Path], task: Task) -> None:
        self.stack = ExitStack()
        self.left_out: dict[str, str] = {}
        self.workers: dict[Way, Apart[Timed]] = {}
        for way in tqdm(ways, desc="loading", disable=None, leave=False):
            try:
                worker = Apart(Timed, way, files[way.engine or "torch"], task)
            except InputError as error:
                self.left_out[str(way)] = str(error)
            else:
                self.workers[way] = self.stack.enter_context(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def in_turn(self, function: Callable[[Timed], R], rounds: int) -> dict[Way, list[R]]:
        """What the ways answer, round by round; one that fails is left out from then on."""
        answers: dict[Way, list[R]] = {way: [] for way in self.workers}
        with tqdm([*answers] * rounds, disable=None, leave=False) as turns:
            for way in turns:
                turns.set_description(str(way))
                if way not in self.workers:
                    continue
                try:
                    answers[way].append(self.workers[way].ask(function))
                except InputError as error:
                    self.left_out[str(way)] = str(error)
                    del self.workers[way]
        return {way: answers[way] for way in answers if way in self.workers}
