"""One way from photograph to people, by the clock, in the process that it runs in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Literal, NamedTuple

import numpy as np

from higherhrnet.arrays import Image
from higherhrnet.bench.apart import peak_memory
from higherhrnet.bench.clocks import Clocked, Watched, drawn, gpu, now
from higherhrnet.config import DecodeConfig
from higherhrnet.engines.base import EngineOptions, Precision
from higherhrnet.engines.load import load_engine
from higherhrnet.errors import InputError
from higherhrnet.hardware import usable_cores
from higherhrnet.inference.predictor import PreprocessedImage
from higherhrnet.inference.processing import Outputs
from higherhrnet.inference.stream import FailedSource, predict_stream
from higherhrnet.io.sources import Source, read_frames
from higherhrnet.poses import Poses

RealEngine = Literal["torch", "onnxruntime", "openvino"]
ORIGINAL = "the original's way"
_FLOW_LEAST, _FLOW_SECONDS = 8, 2.0
"""Photographs and time for which a flow goes on, whichever lasts longer."""


class Way(NamedTuple):
    """What runs the network; the original's way where no engine is said."""

    engine: RealEngine | None = None
    precision: Precision = "f32"

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}" if self.engine else ORIGINAL


@dataclass(frozen=True)
class Task:
    """What every way does."""

    photographs: tuple[Source, ...]
    """The first is looked at alone; all of them one after another."""
    size: int | None
    """Pixels of the shorter side as the network sees it; the model's own if None."""
    flip: bool
    """Show the mirrored photograph too, if the model's own settings do."""
    shown: int | None
    """How many people are drawn in place of the network's own maps; None: they stay."""
    people: tuple[int, ...]
    """How many are drawn to be decoded, besides."""
    threads: int | None
    streams: int = 1
    """Photographs in the network at the same time."""


@dataclass(frozen=True)
class Memory:
    """The most that was held at once since the process began, in bytes; None if nobody knows."""

    ram: int | None
    gpu: int | None

    @classmethod
    def of_this_process(cls) -> Memory:
        """Until now."""
        cuda = gpu()
        return cls(peak_memory(), cuda.max_memory_allocated() if cuda else None)


class Facts(NamedTuple):
    """What a way is."""

    description: str
    height: int
    """Of the network's input for the first photograph, pixels."""
    width: int
    flip: bool
    memory: Memory
    """When the way has been loaded and has found the first photograph's people."""


class Reading(NamedTuple):
    """From the network's outputs to people, in seconds."""

    aggregate: float
    decode: float
    poses: Poses


class Turn(NamedTuple):
    """A photograph from the disk to its people, in seconds."""

    read: float
    resize: float
    network: float
    readings: dict[int | None, Reading]
    """By the number of people drawn; None: the network's own maps."""

    def whole(self, people: int | None) -> float:
        """From the disk to so many people."""
        reading = self.readings[people]
        return self.read + self.resize + self.network + reading.aggregate + reading.decode


class Flow(NamedTuple):
    """Many photographs one after another."""

    rate: float
    """Images a second, from the first one's reading to the last one's people."""
    busy: float
    """Of that time, the share in which the network runs; with several streams, their mean."""
    memory: Memory
    streams: int
    """Photographs that were in the network at the same time, at most."""


class Timed:
    """Loads what a way needs, then does the task as often as asked.

    Args:
        way: how.
        model: the file that its engine runs.
        task: what.

    Raises:
        InputError: the way cannot be gone here.
    """

    def __init__(self, way: Way, model: Path, task: Task) -> None:
        self.task, self.predictor = task, _load(way, model, task)
        test = self.predictor.config
        self.predictor.config = replace(
            test,
            size=task.size or test.size,
            flip=test.flip and task.flip,
            scales=(1.0,),
            decode=DecodeConfig(),
        )

    def facts(self) -> Facts:
        """What the way is, and what it needs at the least; to be asked for first."""
        prepared = self.predictor.preprocess(self._photograph())
        (outputs,) = self.predictor.forward([prepared])
        self.predictor.postprocess(prepared, outputs)
        views, _, height, width = prepared.inputs[1.0].shape
        cuda, description = gpu(), self.predictor.engine.description
        description += f", {cuda.get_device_name()}" if cuda else ""
        return Facts(description, height, width, views == 2, Memory.of_this_process())

    def look(self) -> Turn:
        """The first photograph, alone."""
        marks = [now()]
        image = self._photograph()
        marks.append(now())
        prepared = self.predictor.preprocess(image)
        marks.append(now())
        (outputs,) = self.predictor.forward([prepared])
        marks.append(now())
        maps: dict[int | None, Outputs] = {None: outputs} if self.task.shown is None else {}
        views, _, *grid = prepared.inputs[1.0].shape
        for people in self.task.people:
            low, high = drawn(people, *grid, self.predictor.header.skeleton, views == 2)
            maps[people] = {1.0: [low, high]}
        readings = {people: self._read(prepared, given) for people, given in maps.items()}
        read, resize, network = np.diff(marks).tolist()
        return Turn(read, resize, network, readings)

    def _photograph(self) -> Image:
        return next(read_frames(self.task.photographs[0])).image

    def _read(self, prepared: PreprocessedImage, outputs: Outputs) -> Reading:
        start = now()
        poses = self.predictor.postprocess(prepared, outputs)
        merging = self.predictor.merging
        return Reading(merging, now() - start - merging, poses)

    def flow(self) -> Flow:
        """All photographs, again and again, read and decoded around the network."""
        engine, test = self.predictor.engine, self.predictor.config
        watched = Watched(engine, self.task.shown, self.predictor.header.skeleton, test.flip)
        self.predictor.processing.engine, start = watched, now()
        done = list(
            predict_stream(self.predictor, self._some_time(start), lambda found: len(found.poses))
        )
        seconds, self.predictor.processing.engine = now() - start, engine
        for each in done:
            if isinstance(each, FailedSource):
                raise each.reason
        busy = watched.seconds / engine.streams / seconds
        return Flow(len(done) / seconds, busy, Memory.of_this_process(), engine.streams)

    def _some_time(self, start: float) -> Iterator[Source]:
        """Each photograph once, then on until there were some and some time has passed."""
        least = max(_FLOW_LEAST, len(self.task.photographs))
        for count, source in enumerate(cycle(self.task.photographs)):
            if count >= least and perf_counter() - start > _FLOW_SECONDS:
                return
            yield source


def _load(way: Way, model: Path, task: Task) -> Clocked:
    threads = task.threads or usable_cores()
    if way.engine:
        return Clocked(
            *load_engine(
                EngineOptions(str(model), way.engine, way.precision, threads, task.streams)
            )
        )
    missing = [name for name in ("torch", "safetensors", "munkres") if not find_spec(name)]
    if missing:
        raise InputError(f'needs {" and ".join(missing)}: pip install "higherhrnet[train]"')
    from higherhrnet.reference.predictor import ReferencePredictor

    return ReferencePredictor.from_file(model, threads)
