"""Plots the losses and the AP of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from higherhrnet.io.atomic import atomic_path

_MIN_POINTS = 1000
"""The number of points of a loss curve stays between this and its double: when it reaches the
double, neighboring points are averaged."""

MetricsLine = Mapping[str, float]
"""A line of `metrics.jsonl`: values by name."""


class TrainingCurves:
    """Losses at each step and AP at each validation, in bounded memory for runs of any length."""

    def __init__(self) -> None:
        self._points: list[MetricsLine] = []
        self._pending: list[MetricsLine] = []
        self._steps_per_point = 1
        self._validations: list[MetricsLine] = []

    def add(self, entry: MetricsLine) -> None:
        """Adds a line of `metrics.jsonl`."""
        if "AP" in entry:
            self._validations.append(entry)
            return
        self._pending.append(entry)
        if len(self._pending) == self._steps_per_point:
            self._points.append(_mean(self._pending))
            self._pending = []
        if len(self._points) == 2 * _MIN_POINTS:
            pairs = zip(self._points[::2], self._points[1::2], strict=True)
            self._points = [_mean(pair) for pair in pairs]
            self._steps_per_point *= 2

    def draw(self, path: Path) -> None:
        """Plots all losses (left, logarithmic) and AP, AP50 and AR (right) over the epochs.

        Args:
            path: the image file to write; its suffix determines the format.
        """
        figure = Figure(figsize=(12, 4.5))
        figure.subplots_adjust(left=0.06, right=0.98, bottom=0.12, top=0.92, wspace=0.12)
        left, right = figure.subplots(1, 2)
        epochs = [point["epoch"] for point in self._points]
        for name in self._points[0] if self._points else ():
            if name.startswith(("loss", "heatmap", "pull", "push", "scale", "offset")):
                left.plot(epochs, [point[name] for point in self._points], label=name)
        for name in ("AP", "AP50", "AR"):
            values = [
                (entry["epoch"], entry[name]) for entry in self._validations if entry[name] >= 0
            ]
            if values:
                right.plot(*zip(*values, strict=True), ".-", label=name)
        left.set(yscale="log", xlabel="epoch", title="losses")
        right.set(ylim=(0, 1), xlabel="epoch", title="validation")
        # "best", the default position of legends, is slow for thousands of points
        for axes, location in ((left, "upper right"), (right, "lower right")):
            axes.grid(alpha=0.3)
            if axes.lines:
                axes.legend(loc=location)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=110)


def _mean(entries: Sequence[MetricsLine]) -> MetricsLine:
    return {name: sum(entry[name] for entry in entries) / len(entries) for name in entries[0]}
