"""A run's metrics → a picture of its losses and its AP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from higherhrnet.io.atomic import atomic_path

_POINTS = 1000
"""Of a curve, at least so many as soon as there are; neighbours are averaged at twice as many."""

Line = Mapping[str, float]


class Curves:
    """Losses over the epochs and AP at each measurement, in little memory however long a run is."""

    def __init__(self) -> None:
        self._steps: list[Line] = []
        self._bucket: list[Line] = []
        self._every = 1  # steps a point
        self._measured: list[Line] = []

    def add(self, line: Line) -> None:
        """Takes in a line of `metrics.jsonl`."""
        if "AP" in line:
            self._measured.append(line)
            return
        self._bucket.append(line)
        if len(self._bucket) == self._every:
            self._steps.append(_mean(self._bucket))
            self._bucket = []
        if len(self._steps) == 2 * _POINTS:
            pairs = zip(self._steps[::2], self._steps[1::2], strict=True)
            self._steps = [_mean(pair) for pair in pairs]
            self._every *= 2

    def draw(self, path: Path) -> None:
        """Writes a picture: every loss (left, logarithmic) and AP (right) over the epochs.

        Its suffix says in what format.
        """
        figure = Figure(figsize=(12, 4.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        epochs = [line["epoch"] for line in self._steps]
        for name in self._steps[0] if self._steps else ():
            if name.startswith(("loss", "heatmap", "pull", "push", "scale")):
                left.plot(epochs, [line[name] for line in self._steps], label=name)
        for name in ("AP", "AP50", "AR"):
            points = [(line["epoch"], line[name]) for line in self._measured if line[name] >= 0]
            if points:
                right.plot(*zip(*points, strict=True), ".-", label=name)
        left.set(yscale="log", xlabel="epoch", title="losses")
        right.set(ylim=(0, 1), xlabel="epoch", title="on the validation set")
        for axes in (left, right):
            axes.grid(alpha=0.3)
            if axes.lines:
                axes.legend()
        with atomic_path(path) as beside:
            figure.savefig(beside, dpi=110)


def _mean(lines: Sequence[Line]) -> Line:
    return {name: sum(line[name] for line in lines) / len(lines) for name in lines[0]}
