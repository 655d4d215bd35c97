"""Measures the engines and the reference implementation in turn, each in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from tqdm import tqdm

from higherhrnet.bench import pipeline
from higherhrnet.bench.pipeline import Pipeline, Task
from higherhrnet.bench.process import FreshProcess
from higherhrnet.bench.results import EngineResult, Latency, SizeResult, Throughput
from higherhrnet.bench.settings import DEFAULT_PRECISIONS, BenchSettings
from higherhrnet.bench.timing import Measurement
from higherhrnet.engines.cache import exported_onnx
from higherhrnet.errors import InputError, require
from higherhrnet.io.images import write_image
from higherhrnet.io.listing import list_sources
from higherhrnet.io.sources import Source
from higherhrnet.synthetic.scenes import draw_scene
from higherhrnet.zoo.resolve import resolve_model

R = TypeVar("R")


def run_bench(settings: BenchSettings) -> Iterator[SizeResult]:
    """Measures latency and throughput of all engines, at one input size after the other.

    Raises:
        InputError: the model or an image cannot be used, or no engine can be measured.
    """
    precisions = settings.precisions or DEFAULT_PRECISIONS
    engines = [(None, "f32"), *product(settings.engines, precisions)]
    with TemporaryDirectory() as folder:
        sources = _list_images(settings, Path(folder))
        model = resolve_model(settings.model)
        if model.suffix != ".onnx" and {*settings.engines} != {"torch"}:
            with FreshProcess() as process:  # since it takes more memory than running the model
                process.call(exported_onnx, model)
        for size in settings.sizes or (None,):
            yield _measure([Task(*engine, model, sources, settings, size) for engine in engines])


def _list_images(settings: BenchSettings, folder: Path) -> tuple[Source, ...]:
    if not settings.images:
        path = folder / "synthetic.jpg"
        write_image(path, draw_scene(0, height=480, width=640, people=(5, 5)).image)
        return (Source(path.name, path),)
    sources = tuple(list_sources(settings.images, sys.stdin))
    for source in sources:
        require(not source.is_video, f"--images: {source.name} is not an image")
    return sources


def _measure(tasks: Sequence[Task]) -> SizeResult:
    """Measures all engines at one input size."""
    settings, skipped = tasks[0].settings, dict[str, str]()
    with _Processes(tasks, skipped) as processes:
        infos = processes.call(Pipeline.describe)
        latency = processes.call(Pipeline.measure_latency, 1 + settings.runs)
    streamed = [
        task._replace(streams=settings.streams)
        for task in tasks
        if task.engine and task.name in latency
    ]
    if not streamed:
        reasons = "; ".join(dict.fromkeys(skipped.values()))
        raise InputError(f"no engine can be measured: {reasons}")
    with _Processes(streamed, skipped) as processes:  # new ones, whose peak memory is their own
        rates = processes.call(Pipeline.measure_throughput, 1 + settings.runs)
        streamed_infos = processes.call(Pipeline.describe)
    engines, reference = [], latency.get(tasks[0].name, [])[1:]
    for name, (_, *runs) in latency.items():  # the first run is a warm-up
        latencies = [
            Latency.of(people, [run[people] for run in runs], [run[people] for run in reference])
            for people in runs[0]
        ]
        throughput = None
        if name in streamed_infos:
            rate, busy = map(Measurement.of, zip(*rates[name][1:], strict=True))
            throughput = Throughput(rate, busy, streamed_infos[name][0])
        engines.append(EngineResult(name, infos[name][0], latencies, throughput))
    return SizeResult(tasks[0].sources[0].name, engines, skipped)


class _Processes(ExitStack):
    """A new process for each task. A task that fails is skipped from then on."""

    def __init__(self, tasks: Sequence[Task], skipped: dict[str, str]) -> None:
        super().__init__()
        self.skipped = skipped
        self.processes = {task: self.enter_context(FreshProcess()) for task in tasks}

    def call(self, method: Callable[[Pipeline], R], runs: int = 1) -> dict[str, list[R]]:
        """Calls a method of the pipelines in turn, so that other load affects all of them.

        Returns:
            For the name of each task that did not fail, the result of each call.
        """
        results: dict[str, list[R]] = {task.name: [] for task in self.processes}
        with tqdm([*self.processes] * runs, disable=None, leave=False) as turns:
            for task in turns:
                turns.set_description(task.name)
                if task not in self.processes:
                    continue
                try:
                    results[task.name].append(
                        self.processes[task].call(pipeline.call, task, method)
                    )
                except InputError as error:
                    self.skipped[task.name] = str(error)
                    del self.processes[task], results[task.name]
        return results
