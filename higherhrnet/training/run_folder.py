"""A run's folder: what it was told, how it went, and all that is needed to go on.

config.json      the training as it was asked for
metrics.jsonl    a line a step, and one a measurement on the validation set
curves.png       losses and AP so far
events.*         the same for TensorBoard
pictures/        what the network saw in the same photographs, measurement after measurement
last.pt          everything needed to go on
last.safetensors the network as it is, ready to use
best.safetensors the network that had the highest AP
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from higherhrnet.errors import InputError
from higherhrnet.io.atomic import atomic_path
from higherhrnet.recipes import TrainConfig
from higherhrnet.training.curves import Curves

Facts = dict[str, Any]

_DIGITS = 6
_FIXED = ("model.", "input.", "targets.", "losses.", "data.skeleton", "optim.freeze", "optim.slow")
"""Settings that make another network, another answer of it, or another optimiser."""
_FREE = ("run.out", "run.resume", "run.init", "run.device", "run.pictures", "data.workers")
"""Settings that may change without a word."""
_PLAIN = ("data.", "optim.", "run.")
"""Groups whose flags go without their name."""


class RunFolder:
    """Writes a run down.

    Args:
        config: names the folder.
        step: steps that were done when the state to go on from was saved.
        epoch: epochs, likewise; what was written down after them is dropped, since it will be done
            again.

    Raises:
        InputError: the folder cannot be written to.
    """

    def __init__(self, config: TrainConfig, step: int = 0, epoch: float = 0.0) -> None:
        self.folder = config.run.out
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for left_behind in self.folder.glob(".*.part.*"):  # by a run killed while it saved
                left_behind.unlink()
            done = round(epoch, _DIGITS)
            kept = [line for line in self._lines() if line["epoch"] <= done] if step else []
            with atomic_path(self.folder / "config.json") as beside:
                beside.write_text(json.dumps(asdict(config), indent=2, default=str) + "\n")
            with atomic_path(self.folder / "metrics.jsonl") as beside:
                beside.write_text("".join(json.dumps(line) + "\n" for line in kept))
            self._file = (self.folder / "metrics.jsonl").open("a", 1, encoding="utf-8")
            self._board = SummaryWriter(str(self.folder), purge_step=step + 1)
            self._curves = Curves()
            for line in kept:
                self._curves.add(line)
            measured = [line for line in kept if "AP" in line]
            self.best: float = max((line["AP"] for line in measured), default=-1.0)
            """Highest AP so far."""
            self.measured: float = measured[-1]["epoch"] if measured else 0.0
            """Epochs after which it was measured last."""
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written to: {error.strerror}") from error

    def _lines(self) -> Iterator[Facts]:
        """What is written down so far, but for a last line that was cut off."""
        path = self.folder / "metrics.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                yield json.loads(line)
            except ValueError:
                return

    def add(self, step: int, epoch: float, **facts: float) -> None:
        """Writes down a step, or a measurement."""
        line = {"step": step, "epoch": round(epoch, _DIGITS), **facts}
        self._file.write(json.dumps(line) + "\n")
        self._curves.add(line)
        for name, value in facts.items():
            self._board.add_scalar(name, value, step)

    def measure(self, step: int, epoch: float, figures: Mapping[str, float]) -> None:
        """Writes down a measurement; best.safetensors must be there already if it is the best."""
        self.add(step, epoch, **figures)
        self.best = max(self.best, figures["AP"])

    def close(self) -> None:
        """Ends the record."""
        self._file.close()
        self._board.close()

    def save(self, state: Mapping[str, Any]) -> None:
        """Writes what `load_state` gives back, and sees that all else is on disk."""
        with atomic_path(self.folder / "last.pt") as beside, beside.open("wb") as file:
            try:
                torch.save(dict(state), file)
            except RuntimeError as error:  # of a full disk it says where in the file it was
                raise OSError(f"is the disk full? {error}") from error
        self._file.flush()
        self._board.flush()
        self._curves.draw(self.folder / "curves.png")


def flat(config: TrainConfig) -> Facts:
    """A training's settings as JSON has them, each under its full name."""
    groups = json.loads(json.dumps(asdict(config), default=str))
    return {f"{group}.{name}": value for group, of in groups.items() for name, value in of.items()}


def load_state(config: TrainConfig, *, speaks: bool = True) -> Facts | None:
    """What an earlier run into the same folder saved last; None where there was none.

    What was asked for then and is otherwise now is said, if going on makes sense and this process
    is the one that speaks.

    Raises:
        InputError: there is one, but this run is not to go on with it; it learnt something else;
            or it cannot be read.
    """
    folder = config.run.out
    path = folder / "last.pt"
    if not path.is_file():
        if config.run.resume and speaks:
            print(f"{folder} holds no run yet: begins anew", file=sys.stderr)
        return None
    if not config.run.resume:
        raise InputError(f"{folder} holds a run: --resume goes on with it, or take another --out")
    try:
        state: Facts = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: cannot be read ({reason}); move it away to begin anew"
        ) from error
    before, now = state["config"], flat(config)
    changes = {
        name: f"{_flag(name)} is {now.get(name)}, was {before.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name) and not name.startswith(_FREE)
    }
    if wrong := [text for name, text in changes.items() if name.startswith(_FIXED)]:
        raise InputError(
            f"{folder}: its run learnt something else ({'; '.join(wrong)}); resume with the "
            "settings in its config.json, or take another --out"
        )
    if changes and speaks:
        print(f"going on with changes: {'; '.join(changes.values())}", file=sys.stderr)
    return state


def _flag(name: str) -> str:
    """A setting as the command line has it."""
    short = name.partition(".")[2] if name.startswith(_PLAIN) else name
    return f"--{short.replace('_', '-')}"
