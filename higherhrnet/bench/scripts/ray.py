"""Measures `predict-ray` against `predict` in one process: python -m higherhrnet.bench.scripts.ray.

Each process uses one CPU core, which needs Linux. Run it in the root of the repository.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import ray
import tyro
from ray.cluster_utils import Cluster

from higherhrnet.bench.tables import markdown_table
from higherhrnet.bench.timing import Measurement, time_in_turn
from higherhrnet.engines.base import EngineOptions
from higherhrnet.inference.predictor import Predictor
from higherhrnet.ray.predict import run_predict_ray
from higherhrnet.synthetic.scenes import write_scenes
from higherhrnet.zoo.resolve import resolve_model

assert sys.platform == "linux", "the script sets the CPU affinity of processes, as Linux can"
CORES = sorted(os.sched_getaffinity(0))
OPTIONS = EngineOptions("examples/drawn.onnx", "onnxruntime", threads=1)


def load_predictor(options: EngineOptions, actors: Path) -> Predictor:
    """Loads the predictor; in an actor, on the next CPU core. A file has a byte for each actor."""
    if ray.is_initialized():
        with actors.open("ab") as file:
            file.write(b".")
            file.flush()
            os.sched_setaffinity(0, {CORES[file.tell() % len(CORES)]})
    return Predictor.from_options(options)


def main(
    options: Annotated[EngineOptions, tyro.conf.arg(name="")] = OPTIONS,
    images: int = 500,
    images_per_shard: int = 25,
    runs: int = 3,
) -> None:
    """Prints the time per image and the time to start, from runs on `images` and twice as many.

    Args:
        options: The model and the engine.
        images: Number of synthetic images of 128×128 pixels.
        images_per_shard: Number of images per Parquet file.
        runs: Number of measured runs, after one warm-up run.
    """
    options = replace(options, model=str(resolve_model(options.model).absolute()))
    with TemporaryDirectory() as temporary:
        root, names = Path(temporary), map(str, count())
        folders = {number: root / f"scenes{number}" for number in (images, 2 * images)}
        for number, folder in folders.items():
            write_scenes(folder, number, height=128, width=128)
        cluster = Cluster(True, head_node_args={"num_cpus": 2, "include_dashboard": False})

        def predict(folder: Path) -> None:
            command = [sys.executable, "-m", "higherhrnet", "predict", "--threads=1", "--no-draw"]
            flags = [
                f"--{name}={getattr(options, name)}" for name in ("model", "engine", "precision")
            ]
            paths = [f"--out={root / next(names)}", str(folder / "images")]
            pin = partial(os.sched_setaffinity, 0, CORES[:1])
            arguments = [*command, *flags, *paths]
            subprocess.run(arguments, check=True, capture_output=True, preexec_fn=pin)

        def predict_ray(actors: int, folder: Path) -> None:
            run_predict_ray(
                partial(load_predictor, options, root / next(names)),
                [str(folder / "images")],
                str(root / next(names)),
                address=cluster.address,
                actors=actors,
                images_per_shard=images_per_shard,
            )

        commands = {"predict": predict}
        commands |= {f"predict-ray --actors {n}": partial(predict_ray, n) for n in (1, 2)}
        calls = {
            (name, number): partial(command, folder)
            for name, command in commands.items()
            for number, folder in folders.items()
        }
        seconds = time_in_turn(calls, 1 + runs)  # the first run is a warm-up
        cluster.shutdown()  # type: ignore[no-untyped-call]
    rows = []
    for name in commands:
        pairs = list(zip(seconds[name, images], seconds[name, 2 * images], strict=True))[1:]
        each = Measurement.of(1e3 * (twice - once) / images for once, twice in pairs)
        rows.append([name, each, f"{median(2 * once - twice for once, twice in pairs):.1f}"])
    print(markdown_table(["command", "ms per image", "seconds to start"], rows))


if __name__ == "__main__":
    tyro.cli(main)
