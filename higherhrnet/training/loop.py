"""The training loop: steps until the schedule ends, with logging, checkpoints and validation."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from higherhrnet.config.training import TrainConfig
from higherhrnet.data.dataset import load_dataset
from higherhrnet.errors import InputError
from higherhrnet.io.images import write_image
from higherhrnet.network import checkpoint
from higherhrnet.training.parallel import process_group
from higherhrnet.training.progress import ProgressDisplay
from higherhrnet.training.run_folder import RunFolder
from higherhrnet.training.state import TrainState
from higherhrnet.training.validate import Validator, load_validator

_LOG_INTERVAL = {"cuda": 10}
"""Steps between log entries by device type (default: 1); reading losses synchronizes a GPU."""
_MIN_SAVE_MINUTES = 1.0
"""The minimum time between the checkpoints at the ends of epochs."""


def run_training(config: TrainConfig) -> bool:
    """Trains a network or resumes a training run; the results are in the run's folder.

    Under torchrun, this is one of several processes that train together.

    Returns:
        Whether the training is finished; False: SIGTERM or Ctrl-C stopped it, after it was saved.

    Raises:
        InputError: data, weights or folder cannot be used, memory does not suffice, or the loss is
            not finite.
    """
    if config.data.overfit:
        augment = replace(
            config.augment,
            rotation=0,
            scale=(1, 1),
            center_on_keypoint=0,
            color=0,
            paste=0,
            mask_padding=False,
        )
        config = replace(config, augment=augment)
    with process_group(config.run.device) as group:
        validator = load_validator(config.data, group)
        dataset = load_dataset(
            config.data,
            outlines=config.augment.paste > 0,
            parsed=[validator.annotations] if validator else [],  # may be the training data
        )
        if validator:
            validator.check_skeleton(dataset.skeleton)
        state = TrainState(config, dataset, group)
        state.resume()
        try:
            return TrainingLoop(state, validator).run()
        except (RuntimeError, MemoryError) as error:  # raised by CUDA, by torch and by NumPy
            if not re.search("(out of|allocate|enough) memory|Unable to allocate", str(error)):
                raise
            raise InputError(
                f"out of memory: lower --batch-size, now {config.optim.batch_size} (half of it "
                "with twice the --accumulate trains nearly the same), or --input.size, now "
                f"{config.input.size}"
            ) from error


class _LoggedStep(NamedTuple):
    """A step whose losses have not been read from the device yet."""

    step: int
    learning_rate: float
    losses: dict[str, Tensor]
    image_names: list[str]


class TrainingLoop:
    """Trains until the schedule ends, and writes the run's folder.

    Args:
        state: the state to start from.
        validator: the validation dataset, if there is one.
    """

    def __init__(self, state: TrainState, validator: Validator | None) -> None:
        self.state, self.validator = state, validator
        self.config, self.group = state.config, state.group
        self.folder = (
            RunFolder(self.config, state.step, state.epoch) if self.group.is_main else None
        )
        validated_epoch = self.folder.validated_epoch if self.folder else 0.0
        (self._validated_epoch,) = self.group.maximum(validated_epoch)
        self.progress = ProgressDisplay(state.step, self.group.is_main)
        self._unlogged: list[_LoggedStep] = []
        self._stop = False
        self._last_log = self._last_save = time.monotonic()
        self._speed_start = self._last_log
        """When the unlogged steps began, without the time of validation and saving."""

    def run(self) -> bool:
        """Trains until the schedule ends, or until a signal stops the run.

        Returns:
            Whether the training is finished.
        """
        state, log_interval = self.state, _LOG_INTERVAL.get(self.group.device.type, 1)
        for note in state.dataset.notes:
            self.progress.write(note)
        self.progress.write(state.describe())
        with _catch_stop_signals() as signals, self.progress, closing(state.batches()) as batches:
            if self._validation_was_interrupted():
                self._validate()
            while state.progress < 1 and not self._stop:
                rate = state.learning_rate()
                losses, image_names = state.train_step(batches)
                self._unlogged.append(_LoggedStep(state.step, rate, losses, image_names))
                validate = self._completed_multiple_of(self.config.run.eval_every)
                epoch_ended = self._completed_multiple_of(1)
                if not (epoch_ended or validate or state.step % log_interval == 0):
                    continue
                self._log(bool(signals))
                validate &= state.progress < 1 and not self._stop
                if validate or self._save_is_due(epoch_ended):
                    self._save()
                if validate:
                    self._validate()
            self._log(bool(signals))
            self._save()
            # metrics.jsonl, from which this value may come, contains rounded epochs
            if not self._stop and self._validated_epoch < state.epoch - 1e-6:
                self._validate()
            if self.folder:
                self.folder.close()
        out = self.config.run.out
        if self._stop:
            self.progress.write(f"stopped, and saved in {out}; continue with --resume")
        else:
            name = "last" if self.validator is None else "best"
            self.progress.write(f"finished: {out / name}.safetensors")
        return not self._stop

    def _completed_multiple_of(self, epochs: float) -> bool:
        """Returns whether the last step completed a multiple of this number of epochs."""
        before, now = self.state.epoch_at(self.state.step - 1), self.state.epoch
        return now // epochs > before // epochs

    def _validation_was_interrupted(self) -> bool:
        """Returns whether an earlier run ended after a checkpoint, before its validation ended."""
        interval = self.config.run.eval_every
        return self.state.epoch // interval > self._validated_epoch // interval

    def _save_is_due(self, epoch_ended: bool) -> bool:
        minutes = (time.monotonic() - self._last_save) / 60
        interval = self.config.run.save_minutes
        return minutes >= (min(_MIN_SAVE_MINUTES, interval) if epoch_ended else interval)

    def _log(self, stop: bool) -> None:
        """Logs the steps since the last call; the processes agree on the time and on stopping.

        Args:
            stop: whether this process received a signal to stop.

        Raises:
            InputError: a loss is not finite.
        """
        state, now = self.state, time.monotonic()
        seconds, any_stop = self.group.maximum(state.seconds + now - self._last_log, stop)
        state.seconds, self._stop, self._last_log = seconds, any_stop > 0, now
        if not self._unlogged:
            return
        names = list(self._unlogged[0].losses)
        losses = torch.stack([torch.stack(list(step.losses.values())) for step in self._unlogged])
        mean_losses = self.group.mean(losses).tolist()
        self._check_finite(losses)
        speed = state.images_per_step * len(self._unlogged) / (now - self._speed_start)
        self._speed_start = now
        for logged, row in zip(self._unlogged, mean_losses, strict=True):
            values = {"loss": sum(row), **dict(zip(names, row, strict=True))}
            values |= {"lr": logged.learning_rate, "images_per_second": round(speed, 2)}
            if self.folder:
                self.folder.log(logged.step, state.epoch_at(logged.step), values)
        self._unlogged.clear()
        left = seconds * (1 / max(state.progress, 1e-9) - 1)
        self.progress.update(state.step, state.progress, state.epoch, values, left)

    def _check_finite(self, losses: Tensor) -> None:
        """Ends the run in all processes if a loss of one of them is not finite."""
        invalid = (~losses.isfinite().all(1)).nonzero().flatten().tolist()
        (any_invalid,) = self.group.maximum(bool(invalid))
        if any_invalid:
            step = self._unlogged[invalid[0] if invalid else -1]
            where = f"images {', '.join(step.image_names)}" if invalid else "in another process"
            raise InputError(
                f"the loss of step {step.step} is not finite ({where}); lower --lr or set --clip "
                f"1, and continue with --resume from the last checkpoint in {self.config.run.out}"
            )

    def _validate(self) -> None:
        """Computes the metrics; saves the network if its AP is the best so far."""
        if self.validator is None:
            return
        state, network, header = self.state, self.state.evaluated_network(), self.state.header()
        self.group.broadcast(network.buffers())
        metrics = self.validator.evaluate(network, header)
        self._validated_epoch = state.epoch
        if self.folder:
            self.progress.write(f"epoch {state.epoch:.1f}: AP {metrics['AP']:.3f}")
            if metrics["AP"] >= self.folder.best_ap:  # at equal AP the later network is kept
                header.training["AP"] = round(metrics["AP"], 4)
                checkpoint.save(self.folder.path / "best.safetensors", network, header)
            self.folder.log_validation(state.step, state.epoch, metrics)
            previews = self.validator.draw_previews(network, header, self.config.run.preview_images)
            if previews is not None:
                name = f"epoch-{state.epoch:07.1f}.jpg"
                write_image(self.folder.path / "previews" / name, previews)
        state.learner.train()
        self._speed_start = time.monotonic()

    def _save(self) -> None:
        """Saves the state of the run and the network."""
        start = self._last_save = time.monotonic()
        if self.folder:
            self.folder.save_state(self.state.state_dict())
            network, header = self.state.evaluated_network(), self.state.header()
            checkpoint.save(self.folder.path / "last.safetensors", network, header)
            self.state.learner.train()
        self._speed_start += time.monotonic() - start


@contextmanager
def _catch_stop_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM in a list; a second SIGINT raises KeyboardInterrupt."""
    received: list[int] = []
    previous = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def handle(number: int, _: object) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, previous[0])
        signal.signal(signal.SIGTERM, previous[1])
