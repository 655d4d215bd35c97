"""The loop: step after step until the schedule is done; written down, saved, measured."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from higherhrnet.data.dataset import load_dataset
from higherhrnet.errors import InputError
from higherhrnet.io.images import write_image
from higherhrnet.network import checkpoint
from higherhrnet.recipes import TrainConfig
from higherhrnet.training.parallel import process_group
from higherhrnet.training.progress import ProgressDisplay
from higherhrnet.training.run_folder import RunFolder
from higherhrnet.training.state import TrainState
from higherhrnet.training.validate import Validator, load_validator

_SETTLE = {"cuda": 10}
"""Steps between looks at the losses: each makes a GPU wait, so there they are fewer."""
_MIN_SAVE = 1.0
"""Minutes between saves, however short the epochs are."""


def run_training(config: TrainConfig) -> bool:
    """Trains a network, or goes on with it, and leaves it in the run's folder.

    Under torchrun this is one of several processes that train together.

    Returns:
        Whether it came to its end; SIGTERM and Ctrl-C make it save and stop before.

    Raises:
        InputError: data, weights or folder cannot be used, memory does not suffice, or the loss is
            no number any more.
    """
    if config.data.overfit:
        still = replace(
            config.augment, rotation=0, scale=(1, 1), center_on_keypoint=0, color=0, paste=0
        )
        config = replace(config, augment=replace(still, mask_padding=False))
    with process_group(config.run.device) as world:
        photographs = load_dataset(config.data, outlines=config.augment.paste > 0)
        validation = load_validator(config.data, photographs.skeleton, world)
        trainer = TrainState(config, photographs, world)
        trainer.resume()
        try:
            return TrainingLoop(trainer, validation).complete()
        except (RuntimeError, MemoryError) as error:  # of the GPU's or CPU's tensors, or of arrays
            if not re.search("(out of|allocate|enough) memory|Unable to allocate", str(error)):
                raise
            raise InputError(
                f"out of memory: lower --batch-size, now {config.optim.batch_size} (with twice the "
                "--accumulate and half the size it learns the same), or --input.size, now "
                f"{config.input.size}"
            ) from error


class TrainingLoop:
    """A training under way, with its record.

    Args:
        trainer: learns.
        validation: what to measure on, if anything.
    """

    def __init__(self, trainer: TrainState, validation: Validator | None) -> None:
        self.trainer, self.validation = trainer, validation
        self.config, self.world = trainer.config, trainer.world
        self.record = (
            RunFolder(self.config, trainer.step, trainer.epoch) if self.world.first else None
        )
        (self.measured,) = self.world.most(self.record.measured if self.record else 0.0)
        self.progress = ProgressDisplay(trainer.step, self.world.first)
        self.pending: list[tuple[int, float, dict[str, Tensor], list[str]]] = []
        self.looked = self.saved = self.learning = time.monotonic()
        self.stop = False

    def complete(self) -> bool:
        """Goes on to the end, or until it is told to stop."""
        trainer, settle = self.trainer, _SETTLE.get(self.world.device.type, 1)
        self.progress.say(trainer.describe())
        with _told_to_stop() as told, self.progress, closing(trainer.batches()) as batches:
            if self._missed():
                self._measure()
            while trainer.progress < 1 and not self.stop:
                rate = trainer.rate()
                self.pending.append((trainer.step + 1, rate, *trainer.learn(batches)))
                measure = self._passed(self.config.run.eval_every)
                epoch_ends = self._passed(1)
                if not (epoch_ends or measure or trainer.step % settle == 0):
                    continue
                self._settle(bool(told))
                measure &= trainer.progress < 1 and not self.stop
                if measure or self._save_is_due(epoch_ends):
                    self._save()
                if measure:
                    self._measure()
            self._settle(bool(told))
            self._save()
            if not self.stop and self.measured < trainer.epoch - 1e-6:  # as it is written
                self._measure()
            if self.record:
                self.record.close()
        folder = self.config.run.out
        which = "last" if self.validation is None else "best"
        end = f"done: {folder / which}.safetensors"
        self.progress.say(f"saved: {folder}; go on with --resume" if self.stop else end)
        return not self.stop

    def _passed(self, epochs: float) -> bool:
        """Whether a multiple of so many epochs was completed with the last step."""
        before, now = self.trainer.epoch_at(self.trainer.step - 1), self.trainer.epoch
        return now // epochs > before // epochs

    def _missed(self) -> bool:
        """Whether an earlier run was killed while it measured."""
        every = self.config.run.eval_every
        return self.trainer.epoch // every > self.measured // every

    def _save_is_due(self, epoch_ends: bool) -> bool:
        minutes, often = (time.monotonic() - self.saved) / 60, self.config.run.save_minutes
        return minutes >= (min(_MIN_SAVE, often) if epoch_ends else often)

    def _settle(self, told: bool) -> None:
        """Looks at the losses since the last look, and agrees with the other processes.

        Raises:
            InputError: a loss is no number.
        """
        now = time.monotonic()
        trainer, passed = self.trainer, now - self.looked
        seconds, stop = self.world.most(trainer.seconds + passed, told)
        trainer.seconds, self.stop, self.looked = seconds, stop > 0, now
        if not self.pending:
            return
        names = list(self.pending[0][2])
        values = torch.stack([torch.stack(list(terms.values())) for _, _, terms, _ in self.pending])
        everyone = self.world.mean(values).tolist()
        self._check(values)
        speed = trainer.batch * len(self.pending) / (now - self.learning)
        self.learning = now
        for (step, rate, _, _), row in zip(self.pending, everyone, strict=True):
            facts = {"loss": sum(row), **dict(zip(names, row, strict=True))}
            facts |= {"lr": rate, "images_per_second": round(speed, 2)}
            if self.record:
                self.record.add(step, trainer.epoch_at(step), **facts)
        self.pending.clear()
        left = seconds * (1 / max(trainer.progress, 1e-9) - 1)
        self.progress.show(trainer.step, trainer.progress, trainer.epoch, facts, left)

    def _check(self, values: Tensor) -> None:
        wrong = (~values.isfinite().all(1)).nonzero().flatten().tolist()
        (anywhere,) = self.world.most(bool(wrong))
        if anywhere:
            step, _, _, names = self.pending[wrong[0] if wrong else -1]
            where = f"in the batch of {', '.join(names)}" if wrong else "in another process"
            raise InputError(
                f"the loss of step {step} is no number, {where}; lower --lr or set --clip 1, then "
                f"go on with --resume from what {self.config.run.out} holds"
            )

    def _measure(self) -> None:
        """AP on the validation set; the best network so far is kept."""
        if self.validation is None:
            return
        trainer, network, header = self.trainer, self.trainer.result(), self.trainer.header()
        self.world.share(network.buffers())
        figures = self.validation.measure(network, header)
        self.measured = trainer.epoch
        if self.record:
            folder = self.record.folder
            self.progress.say(f"epoch {trainer.epoch:.1f}: AP {figures['AP']:.3f}")
            if figures["AP"] >= self.record.best:  # of equals, say 0 at first, what learnt longer
                header.training["AP"] = round(figures["AP"], 4)
                checkpoint.save(folder / "best.safetensors", network, header)
            self.record.measure(trainer.step, trainer.epoch, figures)
            sheet = self.validation.draw(network, header, self.config.run.preview_images)
            if sheet is not None:
                name = f"epoch-{trainer.epoch:07.1f}.jpg"
                write_image(folder / "pictures" / name, sheet)
        trainer.learner.train()
        self.learning = time.monotonic()

    def _save(self) -> None:
        start = self.saved = time.monotonic()
        if self.record:
            self.record.save(self.trainer.state())
            result, header = self.trainer.result(), self.trainer.header()
            checkpoint.save(self.record.folder / "last.safetensors", result, header)
            self.trainer.learner.train()
        self.learning += time.monotonic() - start


@contextmanager
def _told_to_stop() -> Iterator[list[int]]:
    """A list that holds the signals that have asked to stop; a second Ctrl-C does not ask."""
    told: list[int] = []
    previous = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def hear(number: int, _: object) -> None:
        if told and number == signal.SIGINT:
            raise KeyboardInterrupt
        told.append(number)

    signal.signal(signal.SIGINT, hear)
    signal.signal(signal.SIGTERM, hear)
    try:
        yield told
    finally:
        signal.signal(signal.SIGINT, previous[0])
        signal.signal(signal.SIGTERM, previous[1])
