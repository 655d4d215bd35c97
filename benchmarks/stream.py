"""Many pictures through `predict`: how busy the network is, and whether memory stays flat.

python -m benchmarks.stream                       # 10,000 small drawn pictures, a stand-in network
python -m benchmarks.stream --model M --images DIR --count 300
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from threading import Lock
from time import perf_counter, sleep

import numpy as np
import tyro

from higherhrnet import Predictor
from higherhrnet.arrays import FloatArray
from higherhrnet.config import Header, InputConfig
from higherhrnet.engines.base import MAX_STREAMS, Engine, EngineName, Precision
from higherhrnet.inference.run import PredictSettings, run_predict
from higherhrnet.io.images import write_image
from higherhrnet.io.sources import list_sources
from higherhrnet.synthetic.scenes import draw_scene


class StandIn(Engine):
    """A network that takes its time elsewhere, as on a GPU, and finds nobody."""

    description, streams = "a stand-in", 1

    def __init__(self, milliseconds: float) -> None:
        self.seconds = milliseconds / 1e3

    def __call__(self, images: FloatArray) -> list[FloatArray]:
        """As an engine."""
        sleep(self.seconds)
        views, _, height, width = images.shape
        return [
            np.zeros((views, 34, height // 4, width // 4), np.float32),
            np.zeros((views, 17, height // 2, width // 2), np.float32),
        ]


class Watched(Engine):
    """An engine that adds up its time, and says now and then how large the process is."""

    def __init__(self, engine: Engine, every: int) -> None:
        self.engine, self.description, self.streams = engine, engine.description, engine.streams
        self.every, self.seconds, self.calls, self._adding = every, 0.0, 0, Lock()

    def __call__(self, images: FloatArray) -> Sequence[FloatArray]:
        """As an engine."""
        if self.calls % self.every == 0:
            print(f"{self.calls:6} pictures, {resident():7.1f} MB", flush=True)
        self.calls += 1
        start = perf_counter()
        try:
            return self.engine(images)
        finally:
            with self._adding:
                self.seconds += perf_counter() - start


def resident() -> float:
    """Megabytes of memory that this process holds (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def drawn(folder: Path, count: int, size: int = 128) -> Path:
    """A folder of so many pictures: 32 drawn ones under many names."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number}.jpg"
        if number < 32:
            write_image(path, draw_scene(number, height=size, width=size).image)
        else:
            path.hardlink_to(folder / f"{number % 32}.jpg")
    return folder


def main(
    model: str | None = None,
    images: Path | None = None,
    count: int = 10_000,
    engine: EngineName = "auto",
    precision: Precision = "f32",
    threads: int | None = None,
    streams: int = MAX_STREAMS,
    draw: bool = False,
    milliseconds: float = 1.0,
) -> None:
    """Prints memory on the way, then the rate and how busy the network was.

    Args:
        model: What finds people; a stand-in if not said.
        images: A folder; drawn ones of 128 pixels if not said.
        count: Pictures, at most.
        engine: What runs the network.
        precision: Of its arithmetic.
        threads: On the CPU.
        streams: Photographs in the network at the same time, on the CPU.
        draw: Write pictures with the people drawn, too.
        milliseconds: What a stand-in takes for a picture.
    """
    with tempfile.TemporaryDirectory() as folder:
        listed = list_sources([str(images or drawn(Path(folder, "in"), count))], [])  # type: ignore[arg-type]
        if model:
            predictor = Predictor.load(
                model, engine=engine, precision=precision, threads=threads, streams=streams
            )
        else:
            predictor = Predictor(StandIn(milliseconds), Header(input=InputConfig(128)))
        watched = predictor.processing.engine = Watched(predictor.engine, max(1, count // 10))
        sources = list(islice(listed, count))
        summary = run_predict(predictor, sources, PredictSettings(Path(folder, "out"), draw=draw))
    busy = watched.seconds / watched.streams / summary.seconds
    print(f"{summary} network busy {busy:.1%}; {resident():.1f} MB")


if __name__ == "__main__":
    tyro.cli(main)
