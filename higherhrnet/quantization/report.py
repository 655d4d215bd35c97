"""What int8 costs and saves, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from higherhrnet.arrays import FloatArray
from higherhrnet.engines.base import Engine
from higherhrnet.io.atomic import atomic_path

ROUNDS = 5
"""Times that each photograph is timed, after one that is not."""


@dataclass(frozen=True)
class Change:
    """One engine before and after."""

    milliseconds: tuple[float, float]
    """Of the network, a photograph with all its views."""
    AP: tuple[float, float] | None
    """None where there was nothing to measure it on."""
    heatmap_error: float
    """Root mean square, as a part of the float heatmaps'."""
    tag_error: float


@dataclass(frozen=True)
class Report:
    """What int8 costs and saves."""

    photographs: int
    """That it was calibrated on."""
    layers: int
    float_layers: list[str]
    """Those that stayed float, the most sensitive first."""
    bytes: tuple[int, int]
    """Of the float and the int8 file."""
    engines: dict[str, Change]

    def write(self, path: Path) -> None:
        """Writes it as JSON."""
        with atomic_path(path) as beside:
            beside.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    def __str__(self) -> str:
        before, after = (size / 1e6 for size in self.bytes)
        rows = [
            f"{'':24}{'float':>10}{'int8':>10}",
            f"{'file':24}{before:>7.1f} MB{after:>7.1f} MB",
        ]
        for name, change in self.engines.items():
            slow, fast = change.milliseconds
            rows.append(f"{name:24}{slow:>7.1f} ms{fast:>7.1f} ms  {slow / fast:.2f} times as fast")
            if change.AP:
                rows.append(f"{'  AP':24}{change.AP[0]:>10.3f}{change.AP[1]:>10.3f}")
            off = f"{change.heatmap_error:>10.1%}  tags {change.tag_error:.1%}"
            rows.append(f"{'  heatmaps off by':24}{'':10}{off}")
        kept = ", ".join(self.float_layers)
        rows.append(f"{len(self.float_layers)} of {self.layers} layers stayed float: {kept}")
        return "\n".join(rows)


def time_in_turn(engines: Sequence[Engine], samples: Sequence[FloatArray]) -> list[float]:
    """The median milliseconds that each engine takes for a sample, the engines taking turns."""
    times: list[list[float]] = [[] for _ in engines]
    for views in samples:
        for turn in range(ROUNDS + 1):
            for engine, taken in zip(engines, times, strict=True):
                start = perf_counter()
                engine(views)
                if turn:  # the first prepares for the shape
                    taken.append(1e3 * (perf_counter() - start))
    return [median(taken) for taken in times]
