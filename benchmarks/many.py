"""Pictures through `predict --ray` with one actor and with two, beside the command in one process.

python -m benchmarks.many                        # drawn pictures of 128 pixels, a small network
python -m benchmarks.many --model M --images DIR --count 200

Every process that finds people has one thread for the network and stays on one core, an own one
where there are enough. All ways look at `count` pictures and at twice as many, in turn: the
difference is what the pictures take, the rest is what starting takes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import count as numbers
from pathlib import Path
from statistics import median
from time import perf_counter

import ray
import tyro
from ray.cluster_utils import Cluster

from benchmarks.stream import drawn
from higherhrnet import Predictor
from higherhrnet.engines.base import EngineName, Precision
from higherhrnet.ray.predict import run_predict_ray

CORES = sorted(os.sched_getaffinity(0))


def loaded(claims: Path, model: str, engine: EngineName, precision: Precision) -> Predictor:
    """A predictor, in an actor on a core that it has claimed by making a file."""
    if ray.is_initialized():
        claims.mkdir(exist_ok=True)
        for number in numbers():
            try:
                (claims / str(number)).touch(exist_ok=False)
            except FileExistsError:
                continue
            os.sched_setaffinity(0, {CORES[number % len(CORES)]})
            break
    return Predictor.load(model, engine=engine, precision=precision, threads=1)


def chosen(folder: Path, images: Path, count: int) -> Path:
    """A folder with the first so many of the pictures in another."""
    folder.mkdir()
    for path in sorted(images.iterdir())[:count]:
        (folder / path.name).symlink_to(path.absolute())
    if len(list(folder.iterdir())) < count:
        raise SystemExit(f"{images}: fewer than {count} pictures")
    return folder


def main(
    model: str = "examples/drawn.onnx",
    images: Path | None = None,
    count: int = 500,
    per_file: int = 25,
    engine: EngineName = "onnxruntime",
    precision: Precision = "f32",
    rounds: int = 3,
) -> None:
    """Prints milliseconds a picture and seconds to start of each way, medians of some rounds.

    Args:
        model: What finds people.
        images: A folder; drawn ones if not said.
        count: Pictures; twice as many are needed.
        per_file: Of them to a Parquet file.
        engine: What runs the network.
        precision: Of its arithmetic.
        rounds: Of all ways in turn.
    """
    with tempfile.TemporaryDirectory() as temporary:
        place, number = Path(temporary), numbers()
        given = images or drawn(place / "drawn", 2 * count)
        folders = [chosen(place / str(n), given, n) for n in (count, 2 * count)]
        cluster = Cluster(True, head_node_args={"num_cpus": 2, "include_dashboard": False})

        def alone(folder: Path) -> None:
            flags = ["--model", model, "--engine", engine, "--precision", precision]
            flags += ["--threads", "1", "--no-draw", "--out", str(place / str(next(number)))]
            command = [sys.executable, "-m", "higherhrnet", "predict", str(folder), *flags]
            pinned = partial(os.sched_setaffinity, 0, CORES[:1])
            subprocess.run(command, check=True, capture_output=True, preexec_fn=pinned)

        def actors(size: int, folder: Path) -> None:
            out = place / f"out-{next(number)}"
            load = partial(loaded, out / "claims", str(Path(model).absolute()), engine, precision)
            options = {"address": cluster.address, "actors": size, "per_file": per_file}
            run_predict_ray(load, [str(folder)], str(out), **options)

        ways: dict[str, Callable[[Path], None]] = {"one process": alone}
        ways |= {"1 actor": partial(actors, 1), "2 actors": partial(actors, 2)}
        times: dict[str, list[list[float]]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, run in ways.items():
                times[way].append([seconds(partial(run, folder)) for folder in folders])
        cluster.shutdown()  # type: ignore[no-untyped-call]
    print(f"{len(CORES)} cores; {count} pictures and twice as many, {rounds} rounds")
    report(times, count)


def report(times: dict[str, list[list[float]]], count: int) -> None:
    """Prints what each way took for so many pictures and for twice as many."""
    each = {way: [1e3 * (b - a) / count for a, b in pairs] for way, pairs in times.items()}
    for way, taken in each.items():
        start = median(2 * a - b for a, b in times[way])
        spread = f"{min(taken):.1f}–{max(taken):.1f}"
        print(f"{way:12} {median(taken):7.1f} ms a picture ({spread}), {start:5.1f} s to start")
    one, two = median(each["1 actor"]), median(each["2 actors"])
    print(f"overhead a file {one - median(each['one process']):.1f} ms")
    print(f"efficiency from one actor to two {one / two / 2:.0%}")


def seconds(run: partial[None]) -> float:
    """How long a call takes."""
    start = perf_counter()
    run()
    return perf_counter() - start


if __name__ == "__main__":
    tyro.cli(main)
