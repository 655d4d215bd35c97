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
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from higherhrnet.config.training import TrainConfig
from higherhrnet.errors import InputError
from higherhrnet.io.atomic import atomic_path
from higherhrnet.training.curves import MetricsLine, TrainingCurves

_EPOCH_DIGITS = 6


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
                text = json.dumps(asdict(config), indent=2, default=str)
                temporary.write_text(text + "\n", encoding="utf-8")
            with atomic_path(self.path / "metrics.jsonl") as temporary:
                lines = (json.dumps(entry) + "\n" for entry in entries)
                temporary.write_text("".join(lines), encoding="utf-8")
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

    def _entries(self) -> Iterator[MetricsLine]:
        """Reads the lines of `metrics.jsonl`, without an incomplete last one."""
        path = self.path / "metrics.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
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
        self._curves.draw(self.path / "curves.png")  # the last validation follows the last state
        self.best_ap = max(self.best_ap, metrics["AP"])

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Writes `last.pt`, which `resume.load_state` reads, and updates the other files."""
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
