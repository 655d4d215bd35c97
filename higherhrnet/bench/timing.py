"""Durations of calls, and their summary."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


@dataclass(frozen=True)
class Measurement:
    """A quantity over all runs."""

    median: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Measurement:
        """Summarizes the values of at least one run."""
        listed = list(values)
        return cls(median(listed), min(listed), max(listed))

    def __str__(self) -> str:
        digits = 2 if self.median < 10 else 1 if self.median < 100 else 0
        return f"{self.median:.{digits}f} ({self.minimum:.{digits}f}–{self.maximum:.{digits}f})"


def cuda() -> Any:  # noqa: ANN401 (a module)
    """`torch.cuda` if this process uses a CUDA device, else None."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch and torch.cuda.is_initialized() else None


def timed(function: Callable[..., R], *args: Any) -> tuple[float, R]:  # noqa: ANN401
    """Calls a function and returns the duration in seconds and the result.

    The duration includes the work on a CUDA device that the function starts.
    """
    start = _now()
    result = function(*args)
    return _now() - start, result


def _now() -> float:
    if device := cuda():
        device.synchronize()
    return perf_counter()


def time_in_turn(functions: Mapping[K, Callable[[], object]], runs: int) -> dict[K, list[float]]:
    """Calls functions in turn, so that other load of the machine affects all of them.

    Returns:
        For each function, the durations of its calls in seconds.
    """
    seconds: dict[K, list[float]] = {name: [] for name in functions}
    for _ in range(runs):
        for name, function in functions.items():
            seconds[name].append(timed(function)[0])
    return seconds
