"""Requests a second of the service, and how long clients wait, beside the engine alone.

python -m benchmarks.service --model examples/drawn.onnx --photograph examples/scene.png
"""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from time import perf_counter

import numpy as np
import tyro

from higherhrnet import Predictor, read_image
from higherhrnet.engines.base import EngineName, Precision
from higherhrnet.hardware import usable_cores

EXAMPLES = Path(__file__).parent.parent / "examples"


def alone(predictor: Predictor, data: bytes, seconds: float) -> dict[str, float]:
    """Photographs a second of the network by itself, one and four at a time, and of all steps."""
    prepared = predictor.preprocess(read_image(BytesIO(data)))

    def count(step: int, end: float) -> int:
        done = 0
        while perf_counter() < end:
            predictor.forward([prepared] * step)
            done += step
        return done

    def rate(step: int) -> float:
        streams = predictor.engine.streams
        with ThreadPoolExecutor(streams) as pool:
            list(pool.map(count, [step] * streams, [perf_counter() + 0.1] * streams))
            start = perf_counter()
            done = sum(pool.map(count, [step] * streams, [start + seconds] * streams))
            return done / (perf_counter() - start)

    start, done = perf_counter(), 0
    while perf_counter() < start + seconds:
        predictor(BytesIO(data))
        done += 1
    whole = done / (perf_counter() - start)
    return {"the network": rate(1), "the network, 4 at a time": rate(4), "all steps in turn": whole}


@contextmanager
def serving(*flags: object) -> Iterator[int]:
    """A service in a process of its own; its port."""
    command = [sys.executable, "-m", "higherhrnet", "serve", "--port", "0", *map(str, flags)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline().rsplit(":", 1)[1])
        finally:
            process.terminate()


def load(port: int, clients: int, data: bytes, seconds: float) -> list[float]:
    """Each answered request's seconds, of clients that ask again as soon as they are answered."""
    end = perf_counter() + seconds

    def client(_: int) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        times = []
        while (start := perf_counter()) < end:
            connection.request("POST", "/poses", data, {"content-type": "image/png"})
            reply = connection.getresponse()
            reply.read()
            if reply.status != 200:
                raise SystemExit(f"the service answered {reply.status}")
            times.append(perf_counter() - start)
        return times

    with ThreadPoolExecutor(clients) as pool:
        return [time for times in pool.map(client, range(clients)) for time in times]


def main(
    model: Path = EXAMPLES / "drawn.onnx",
    photograph: Path = EXAMPLES / "scene.png",
    engine: EngineName = "onnxruntime",
    precision: Precision = "f32",
    threads: int | None = None,
    streams: int = 1,
    batch: int = 4,
    seconds: float = 10.0,
) -> None:
    """Prints both tables.

    Args:
        model: What to serve.
        photograph: What every client sends, as PNG.
        engine: What runs the network.
        precision: Of its arithmetic.
        threads: Of the engine; all cores if not said.
        streams: Photographs in it at the same time.
        batch: Photographs that the service gives the network together, at most.
        seconds: How long each row is measured.
    """
    data = photograph.read_bytes()
    threads = threads or usable_cores()
    predictor = Predictor.load(
        model, engine=engine, precision=precision, threads=threads, streams=streams
    )
    print(f"{photograph.name}, {model.name}, {predictor.engine.description}\n")
    rates = alone(predictor, data, seconds)
    print("| in one process | photographs a second |\n| :--- | ---: |")
    for name, rate in rates.items():
        print(f"| {name} | {rate:.1f} |")
    best = max(rates["the network"], rates["the network, 4 at a time"])
    print("\n| clients | requests a second | of the network alone | p50 | p99 |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    of_engine = ("--engine", engine, "--precision", precision, "--threads", threads)
    flags = (*of_engine, "--streams", streams, "--batch", batch, "--queue", 64)
    with serving("--model", model, *flags) as port:
        load(port, 8, data, 1.0)
        for clients in (1, 8, 64):
            start = perf_counter()
            times = load(port, clients, data, seconds)
            rate = len(times) / (perf_counter() - start)
            p50, p99 = 1e3 * np.percentile(times, (50, 99))
            print(f"| {clients} | {rate:.1f} | {rate / best:.0%} | {p50:.0f} ms | {p99:.0f} ms |")


if __name__ == "__main__":
    tyro.cli(main)
