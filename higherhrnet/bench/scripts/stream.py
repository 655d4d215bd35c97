"""Measures the memory of `predict` on many images: python -m higherhrnet.bench.scripts.stream."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import Annotated

import numpy as np
import tyro

from higherhrnet.arrays import FloatArray
from higherhrnet.bench.machine import peak_memory
from higherhrnet.bench.pipeline import TimedPredictor
from higherhrnet.bench.tables import markdown_table
from higherhrnet.config.header import Header
from higherhrnet.config.model import InputConfig
from higherhrnet.engines.base import MAX_STREAMS, EngineOptions, FunctionEngine
from higherhrnet.inference.run import PredictSettings, run_predict
from higherhrnet.io.listing import list_sources
from higherhrnet.io.sources import Source
from higherhrnet.synthetic.scenes import write_scenes


def _simulate(images: FloatArray) -> list[FloatArray]:
    """The outputs of a network that runs on another device for 1 ms and finds nobody."""
    sleep(1e-3)
    views, _, height, width = images.shape
    shapes = (views, 34, height // 4, width // 4), (views, 17, height // 2, width // 2)
    return [np.zeros(shape, np.float32) for shape in shapes]


def main(
    images: Path | None = None,
    options: Annotated[EngineOptions, tyro.conf.arg(name="")] = EngineOptions(streams=MAX_STREAMS),
    count: int = 10_000,
) -> None:
    """Prints the throughput and the peak memory after a tenth of the images and after all.

    Args:
        images: A folder of images (default: synthetic images of 128×128 pixels and a simulated
            network that takes 1 ms).
        options: The model and the engine, if --images is given.
        count: Maximum number of images.
    """
    rows = []
    with TemporaryDirectory() as folder:
        if images:
            predictor = TimedPredictor.from_options(options)
            sources = list_sources([str(images)], sys.stdin)[:count]
        else:
            engine = FunctionEngine("simulated network", _simulate)
            predictor = TimedPredictor(engine, Header(input=InputConfig(128)))
            write_scenes(Path(folder), 32, height=128, width=128)
            files = sorted(Path(folder, "images").iterdir())
            sources = [Source(f"{n}.png", files[n % 32]) for n in range(count)]
        assert isinstance(predictor, TimedPredictor)
        for number in (len(sources) // 10, len(sources)):
            settings = PredictSettings(Path(folder, str(number)), draw=False)
            predictor.network_seconds.clear()
            summary = run_predict(predictor, sources[:number], settings)
            busy = sum(predictor.network_seconds) / predictor.processing.streams / summary.seconds
            rate, memory = summary.images / summary.seconds, peak_memory().get("ram", 0) / 1e6
            rows.append([number, f"{rate:.1f}", f"{busy:.0%}", f"{memory:.0f}"])
    print(markdown_table(["images", "images/s", "network busy", "peak memory, MB"], rows))


if __name__ == "__main__":
    tyro.cli(main)
