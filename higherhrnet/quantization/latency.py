"""Measurement of the latency of several engines under the same conditions."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from time import perf_counter

from higherhrnet.arrays import FloatArray
from higherhrnet.engines.base import Engine

REPETITIONS = 5


def measure_latencies(engines: Sequence[Engine], inputs: Sequence[FloatArray]) -> list[float]:
    """Measures the median latency of each engine in milliseconds.

    The engines run alternately, so that other load on the machine affects them equally. The first
    run on each input is not measured, because engines prepare for its shape.
    """
    latencies: list[list[float]] = [[] for _ in engines]
    for images in inputs:
        for repetition in range(REPETITIONS + 1):
            for engine, measured in zip(engines, latencies, strict=True):
                start = perf_counter()
                engine(images)
                if repetition:
                    measured.append(1e3 * (perf_counter() - start))
    return [median(measured) for measured in latencies]
