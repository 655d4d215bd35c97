"""What people see of a training: a bar; where there is no terminal, a line a minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

_MINUTE = 60.0


class ProgressDisplay:
    """Shows how far a training is.

    Args:
        step: where it begins.
        speaks: False: show nothing, another process does.
    """

    def __init__(self, step: int, speaks: bool) -> None:
        self.speaks = speaks
        self._bar = tqdm(
            initial=step, unit=" steps", disable=None if speaks else True, smoothing=0.1
        )
        self._said = time.monotonic()

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def say(self, text: str) -> None:
        """A line of its own."""
        if self.speaks:
            tqdm.write(text, file=sys.stderr)

    def show(
        self, step: int, done: float, epoch: float, facts: Mapping[str, float], left: float
    ) -> None:
        """The latest step.

        Args:
            step: its number.
            done: how much of the training is, 0 to 1.
            epoch: epochs done.
            facts: losses, learning rate, images a second.
            left: seconds until the end.
        """
        shown = {name: f"{value:.2g}" for name, value in facts.items()}
        self._bar.total = max(step, round(step / max(done, 1e-9)))
        self._bar.update(step - self._bar.n)
        self._bar.set_postfix(epoch=f"{epoch:.1f}", **shown)
        if self.speaks and self._bar.disable and time.monotonic() - self._said >= _MINUTE:
            self._said = time.monotonic()
            listed = ", ".join(f"{name} {value}" for name, value in shown.items())
            minutes = f"{left / 60:.0f} minutes left"
            print(f"epoch {epoch:.2f}, step {step}: {listed}, {minutes}", file=sys.stderr)
