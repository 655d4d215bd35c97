"""Progress of a training run: a progress bar, or a line per minute if there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

from higherhrnet.messages import counted

_LINE_INTERVAL = 60.0
"""Seconds between lines where there is no terminal."""


class ProgressDisplay:
    """Shows the progress of a training run.

    Args:
        step: the step at which the run starts.
        enabled: whether to show progress; False in all but the main process.
    """

    def __init__(self, step: int, enabled: bool) -> None:
        self.enabled = enabled
        self._bar = tqdm(
            initial=step, unit=" steps", disable=None if enabled else True, smoothing=0.1
        )
        self._last_line = time.monotonic()

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def write(self, text: str) -> None:
        """Writes a line to stderr, above the progress bar."""
        if self.enabled:
            tqdm.write(text, file=sys.stderr)

    def update(
        self, step: int, progress: float, epoch: float, values: Mapping[str, float], left: float
    ) -> None:
        """Shows the latest step.

        Args:
            step: the number of steps done.
            progress: the fraction of the training that is done, 0 to 1.
            epoch: the number of epochs done.
            values: losses, learning rate and images per second.
            left: the estimated number of seconds until the end.
        """
        formatted = {name: f"{value:.2g}" for name, value in values.items()}
        self._bar.total = max(step, round(step / max(progress, 1e-9)))
        self._bar.update(step - self._bar.n)
        self._bar.set_postfix(epoch=f"{epoch:.1f}", **formatted)
        now = time.monotonic()
        if self.enabled and self._bar.disable and now - self._last_line >= _LINE_INTERVAL:
            self._last_line = now
            listed = ", ".join(f"{name} {value}" for name, value in formatted.items())
            minutes = counted(round(left / 60), "minute")
            print(f"epoch {epoch:.2f}, step {step}: {listed}, {minutes} left", file=sys.stderr)
