"""The folder of a training run, which contains these files:

config.json      the configuration
metrics.jsonl    a line of JSON for each step and for each validation
curves.png       the losses and AP
events.*         the same values for TensorBoard
previews/        predictions for the same validation images at each validation
last.pt          everything that is needed to resume the run
last.safetensors the current network
best.safetensors the network with the highest AP so far
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from higherhrnet.errors import InputError, reading
from higherhrnet.io.atomic import atomic_path
from higherhrnet.train_config import TrainConfig
from higherhrnet.training.curves import TrainingCurves

JsonObject = dict[str, Any]

_EPOCH_DIGITS = 6
_FIXED = ("model.", "input.", "targets.", "losses.", "data.skeleton", "optim.freeze", "optim.slow")
"""Settings that cannot change when a run is resumed: they determine the network, what it is trained
to predict, or the parameters of the optimizer."""
_UNREPORTED = (
    "run.out", "run.resume", "run.init", "run.device", "run.preview_images", "data.workers",
)  # fmt: skip
"""Settings that can change without a message."""
_UNPREFIXED = ("data.", "optim.", "run.")
"""Groups of settings whose flags do not contain the group's name."""


class RunFolder:
    """Writes the files of a training run.

    Args:
        config: the configuration, which names the folder.
        step: the number of steps done when the state to resume from was saved.
        epoch: the number of epochs done then. Lines of `metrics.jsonl` after it are removed,
            because the run repeats these steps.

    Raises:
        InputError: the folder cannot be written to.
    """

    def __init__(self, config: TrainConfig, step: int = 0, epoch: float = 0.0) -> None:
        self.path = config.run.out
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for temporary in self.path.glob(".*.part.*"):  # of a run that was killed while saving
                temporary.unlink()
            done = round(epoch, _EPOCH_DIGITS)
            entries = [entry for entry in self._entries() if entry["epoch"] <= done] if step else []
            with atomic_path(self.path / "config.json") as temporary:
                temporary.write_text(json.dumps(asdict(config), indent=2, default=str) + "\n")
            with atomic_path(self.path / "metrics.jsonl") as temporary:
                temporary.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
            self._metrics = (self.path / "metrics.jsonl").open("a", 1, encoding="utf-8")
            self._tensorboard = SummaryWriter(str(self.path), purge_step=step + 1)
            self._curves = TrainingCurves()
            for entry in entries:
                self._curves.add(entry)
            validations = [entry for entry in entries if "AP" in entry]
            self.best_ap: float = max((entry["AP"] for entry in validations), default=-1.0)
            """The highest AP so far; -1 before the first validation."""
            self.validated_epoch: float = validations[-1]["epoch"] if validations else 0.0
            """The number of epochs done at the latest validation."""
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written to: {error.strerror}") from error

    def _entries(self) -> Iterator[JsonObject]:
        """The lines of `metrics.jsonl`, without an incomplete last one."""
        path = self.path / "metrics.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                yield json.loads(line)
            except ValueError:
                return

    def log(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """Writes the values of a step or validation to `metrics.jsonl` and for TensorBoard."""
        entry = {"step": step, "epoch": round(epoch, _EPOCH_DIGITS), **values}
        self._metrics.write(json.dumps(entry) + "\n")
        self._curves.add(entry)
        for name, value in values.items():
            self._tensorboard.add_scalar(name, value, step)

    def log_validation(self, step: int, epoch: float, metrics: Mapping[str, float]) -> None:
        """Writes the metrics of a validation; call it after writing `best.safetensors`."""
        self.log(step, epoch, metrics)
        self.best_ap = max(self.best_ap, metrics["AP"])

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Writes `last.pt`, which `load_state` reads, and brings the other files up to date."""
        with atomic_path(self.path / "last.pt") as temporary, temporary.open("wb") as file:
            try:
                torch.save(dict(state), file)
            except RuntimeError as error:  # which does not mention a full disk
                raise OSError(f"is the disk full? {error}") from error
        self._metrics.flush()
        self._tensorboard.flush()
        self._curves.draw(self.path / "curves.png")

    def close(self) -> None:
        """Closes the files."""
        self._metrics.close()
        self._tensorboard.close()


def flatten_config(config: TrainConfig) -> JsonObject:
    """Converts a configuration to JSON values by name, such as `optim.lr`."""
    groups = json.loads(json.dumps(asdict(config), default=str))
    return {
        f"{group}.{name}": value
        for group, settings in groups.items()
        for name, value in settings.items()
    }


def load_state(config: TrainConfig, *, verbose: bool = True) -> JsonObject | None:
    """Loads the state that an earlier run saved in the same folder.

    Args:
        config: the configuration of the current run.
        verbose: report changed settings to stderr.

    Returns:
        The state as it was saved; None if the folder contains none.

    Raises:
        InputError: the folder contains a run, but this one does not resume it or has incompatible
            settings; or the file cannot be read.
    """
    folder = config.run.out
    path = folder / "last.pt"
    with reading(path):
        is_file = path.is_file()
    if not is_file:
        if config.run.resume and verbose:
            print(f"{folder} contains no run to resume; starting a new one", file=sys.stderr)
        return None
    if not config.run.resume:
        raise InputError(f"{folder} contains a run: resume it with --resume, or use another --out")
    try:
        state: JsonObject = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises errors of many types
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: cannot be read ({reason}); move it elsewhere to start a new run"
        ) from error
    saved, current = state["config"], flatten_config(config)
    changes = {
        name: f"{_flag(name)} is {current.get(name)}, was {saved.get(name)}"
        for name in sorted(saved.keys() | current.keys())
        if saved.get(name) != current.get(name) and not name.startswith(_UNREPORTED)
    }
    if incompatible := [text for name, text in changes.items() if name.startswith(_FIXED)]:
        raise InputError(
            f"{folder}: the run cannot be resumed with other settings ({'; '.join(incompatible)}); "
            "use the settings in its config.json, or another --out"
        )
    if changes and verbose:
        print(f"resuming with changed settings: {'; '.join(changes.values())}", file=sys.stderr)
    return state


def _flag(name: str) -> str:
    """The command-line flag of a setting."""
    short = name.partition(".")[2] if name.startswith(_UNPREFIXED) else name
    return f"--{short.replace('_', '-')}"
