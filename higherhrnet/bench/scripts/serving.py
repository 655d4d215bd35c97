"""Measures throughput and latency of the service.

Run with: python -m higherhrnet.bench.scripts.serving
"""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from math import nan
from pathlib import Path
from time import perf_counter, process_time
from typing import Annotated

import numpy as np
import tyro

from higherhrnet.bench.tables import markdown_table
from higherhrnet.bench.timing import timed
from higherhrnet.engines.base import EngineOptions
from higherhrnet.errors import require
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.images import encode_image, read_image
from higherhrnet.messages import counted
from higherhrnet.synthetic.scenes import draw_scene

CPU_SECONDS = "process_cpu_seconds_total"
"""The metric with the CPU time of a service."""
COLUMNS = ["measured", "images/s", "of the network", "CPU time, ms/image"]


def repeat(functions: Sequence[Callable[[], object]], seconds: float) -> tuple[float, list[float]]:
    """Calls each function over and over in a thread of its own, for some seconds.

    Returns:
        Calls per second, and the duration of each call in seconds.
    """
    end = perf_counter() + seconds

    def repeat_one(function: Callable[[], object]) -> list[float]:
        durations = []
        while perf_counter() < end:
            durations.append(timed(function)[0])
        return durations

    with ThreadPoolExecutor(len(functions)) as pool:
        elapsed, lists = timed(lambda: list(pool.map(repeat_one, functions)))
    durations = [duration for each in lists for duration in each]
    return len(durations) / elapsed, durations


@contextmanager
def running_service(options: EngineOptions, max_queue: int = 64) -> Iterator[int]:
    """Runs the service in a process of its own and yields its port."""
    values = asdict(options)
    flags = ["--compile"] if values.pop("compile") else []
    flags += [f"--{name}={value}" for name, value in values.items() if value is not None]
    flags += ["--port=0", f"--max-queue={max_queue}"]
    command = [sys.executable, "-m", "higherhrnet", "serve", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline().rsplit(":", 1)[1])
        finally:
            process.terminate()


def client(port: int, data: bytes) -> Callable[[], None]:
    """A function that posts an image over a connection of its own and reads the response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def post() -> None:
        connection.request("POST", "/poses", data, {"content-type": "image/png"})
        response = connection.getresponse()
        response.read()
        require(response.status == 200, f"the service responded with status {response.status}")

    return post


def read_metrics(port: int) -> dict[str, float]:
    """Reads the metrics of a service; those of its process exist on Linux only."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    with closing(connection):
        connection.request("GET", "/metrics")
        lines = [line.split() for line in connection.getresponse().read().decode().splitlines()]
    return {fields[0]: float(fields[-1]) for fields in lines if fields[0] != "#"}


def main(
    options: Annotated[EngineOptions, tyro.conf.arg(name="")] = EngineOptions(streams=1),
    image: Path | None = None,
    seconds: float = 10.0,
) -> None:
    """Prints the throughput without the service, and with 1, 8 and 64 clients.

    Each client sends the next request as soon as it has received a response. Clients and service
    share the processor. The CPU time is that of all threads of the network or of the service.

    Args:
        options: The model and the engine.
        image: The image file that clients send (default: a synthetic scene of 640×480 pixels).
        seconds: Duration of each measurement.
    """
    scene = draw_scene(0, height=480, width=640).image
    data = image.read_bytes() if image else encode_image(scene, ".png")
    predictor = Predictor.from_options(options)
    network = partial(predictor.forward, [predictor.preprocess(read_image(data))])
    print(f"{options.model}: {predictor.engine.description}\n")
    rows, network_rate = [], 0.0
    for name, functions in (
        ("the network", [network] * predictor.processing.streams),
        ("all steps", [partial(predictor, data)]),
    ):
        start = process_time()
        rate, durations = repeat(functions, seconds)
        milliseconds = 1e3 * (process_time() - start) / len(durations)
        network_rate = network_rate or rate
        rows.append([name, f"{rate:.1f}", f"{rate / network_rate:.0%}", f"{milliseconds:.1f}"])
    with running_service(options) as port:
        repeat([client(port, data)], 1.0)  # warm-up
        for clients in (1, 8, 64):
            before = read_metrics(port)
            rate, durations = repeat([client(port, data) for _ in range(clients)], seconds)
            used = read_metrics(port).get(CPU_SECONDS, nan) - before.get(CPU_SECONDS, nan)
            latency = [f"{1e3 * each:.0f}" for each in np.percentile(durations, (50, 99))]
            name = counted(clients, "client")
            milliseconds = 1e3 * used / len(durations)
            share = f"{rate / network_rate:.0%}"
            rows.append([name, f"{rate:.1f}", share, f"{milliseconds:.1f}", *latency])
    print(markdown_table([*COLUMNS, "latency p50, ms", "latency p99, ms"], rows))


if __name__ == "__main__":
    tyro.cli(main)
