"""A run's metrics → a picture of its losses and its AP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from higherhrnet.files import replacing

_POINTS = 400
"""At most so many of a curve; more steps are averaged."""


def draw_curves(lines: Iterable[Mapping[str, float]], path: Path) -> None:
    """Writes a picture of every loss (left, logarithmic) and of AP (right) over the epochs.

    Args:
        lines: of `metrics.jsonl`.
        path: the picture; its suffix says in what format.
    """
    lines = list(lines)
    steps = [line for line in lines if "loss" in line]
    measured = [line for line in lines if "AP" in line]
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    terms = [n for n in steps[-1] if n.startswith(("loss", "heat", "pull", "push", "scale"))]
    epochs = _thinned([line["epoch"] for line in steps])
    for name in terms if steps else ():
        left.plot(epochs, _thinned([line[name] for line in steps]), label=name)
    for name in ("AP", "AP50", "AR"):
        points = [(line["epoch"], line[name]) for line in measured if line[name] >= 0]
        if points:
            right.plot(*zip(*points, strict=True), ".-", label=name)
    left.set(yscale="log", xlabel="epoch", title="losses")
    right.set(ylim=(0, 1), xlabel="epoch", title="on the validation set")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    with replacing(path) as beside:
        figure.savefig(beside, dpi=110)


def _thinned(values: list[float]) -> NDArray[np.float64]:
    parts = np.array_split(np.array(values), min(len(values), _POINTS))
    return np.array([part.mean() for part in parts])
