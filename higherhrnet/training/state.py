"""The state of a training run, and the training step."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import SyncBatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from higherhrnet.config.header import Header
from higherhrnet.config.training import TrainConfig
from higherhrnet.data.dataset import KeypointDataset
from higherhrnet.data.loader import Batch, BatchSampler, load_batches, loader_workers
from higherhrnet.errors import InputError
from higherhrnet.messages import counted
from higherhrnet.network.build import PoseNetwork
from higherhrnet.training.ema import ExponentialMovingAverage
from higherhrnet.training.initialize import build_network
from higherhrnet.training.learners import build_learner
from higherhrnet.training.parallel import ProcessGroup
from higherhrnet.training.precision import resolve_precision
from higherhrnet.training.resume import flatten_config, load_state
from higherhrnet.training.schedule import learning_rate

_LEARNER = "tag_learner"
"""The key of the learner in `last.pt`, whatever its head; another would end all runs to resume."""


class TrainState:
    """Everything that changes during training: network, average, optimizer, counters.

    Args:
        config: the training configuration; the attribute `config` states the precision that
            `auto` selects.
        dataset: the training data.
        group: the processes that train together.

    Raises:
        InputError: the initial weights cannot be read or do not match the network, or the run to
            resume cannot be read.
    """

    def __init__(self, config: TrainConfig, dataset: KeypointDataset, group: ProcessGroup) -> None:
        torch.manual_seed(config.run.seed)
        config = resolve_precision(config, group)
        self.config, self.dataset, self.group = config, dataset, group
        network, self.initialized_from = build_network(config, dataset.skeleton)
        self.network: PoseNetwork = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        learner = build_learner(network, config).to(group.device)
        self.average = (
            ExponentialMovingAverage(network, config.optim.ema) if config.optim.ema else None
        )
        if config.run.sync_bn and group.size > 1:
            learner = SyncBatchNorm.convert_sync_batchnorm(learner)  # type: ignore[no-untyped-call]
        self.learner = learner
        self.parallel = DistributedDataParallel(learner) if group.size > 1 else learner
        """`learner`, whose gradients are averaged over the processes."""
        optim = config.optim
        self.optimizer = torch.optim.Adam(
            learner.parameter_groups(), optim.lr, weight_decay=optim.weight_decay, fused=True
        )
        self.sampler = BatchSampler(
            dataset.weights, optim.batch_size, config.run.seed, group.rank, group.size
        )
        self.step = 0
        """The number of optimizer steps done."""
        self.seconds = 0.0
        """The duration of the training so far."""

    @property
    def images_per_step(self) -> int:
        """The number of images in a step, of all processes together."""
        return self.config.optim.batch_size * self.config.optim.accumulate * self.group.size

    def describe(self) -> str:
        """Describes the run in one line."""
        config, count = self.config, len(self.dataset)
        steps = self.sampler.batches_per_epoch / config.optim.accumulate
        number = loader_workers(config.data)
        workers = counted(number, "loader process", "loader processes")
        start = f"resuming at epoch {self.epoch:.2f}" if self.step else "starting"
        return (
            f"{self.dataset.skeleton.name}, {counted(count, 'image')}, "
            f"{counted(round(steps), 'step')} of {counted(self.images_per_step, 'image')} per "
            f"epoch, {config.run.precision} on "
            f"{self.group.size} × {self.group.device.type}, {workers}; {start}, "
            f"initialized from {self.initialized_from}"
        )

    def epoch_at(self, step: int) -> float:
        """Returns the number of epochs done after a number of steps."""
        return float(step * self.config.optim.accumulate / self.sampler.batches_per_epoch)

    @property
    def epoch(self) -> float:
        """The number of epochs done."""
        return self.epoch_at(self.step)

    @property
    def progress(self) -> float:
        """The fraction of the training that is done: of `max_hours` if set, else of `epochs`."""
        if self.config.run.max_hours:
            return min(1.0, self.seconds / (3600 * self.config.run.max_hours))
        return min(1.0, self.epoch / self.config.optim.epochs)

    def header(self) -> Header:
        """Returns the header of the network, with training metadata."""
        config = self.config
        training = {
            "data": [dataset.split(",")[0] for dataset in config.data.train],
            "images": len(self.dataset),
            "epochs": round(self.epoch, 2),
            "steps": self.step,
            "batch_size": self.images_per_step,
            "initialized_from": self.initialized_from,
        }
        skeleton = self.dataset.skeleton
        return Header(self.network.config, skeleton, config.input, config.inference, training)

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that is needed to resume the run."""
        cuda = self.group.device.type == "cuda"
        return {
            _LEARNER: self.learner.state_dict(),
            "average": self.average.network.state_dict() if self.average else None,
            "optimizer": self.optimizer.state_dict(),
            "rng_state": torch.get_rng_state(),
            "cuda_rng_state": torch.cuda.get_rng_state() if cuda else None,
            "config": flatten_config(self.config),
            "initialized_from": self.initialized_from,
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
        }

    def resume(self) -> None:
        """Loads the state that an earlier run saved in the same folder, if there is one.

        Raises:
            InputError: the run cannot be resumed, or the processes do not share its folder.
        """
        state = load_state(self.config, verbose=self.group.is_main)
        if state is not None:
            self.load_state_dict(state)
        highest, negative_lowest = self.group.maximum(self.step, -self.step)
        if highest != -negative_lowest:
            raise InputError(
                f"{self.config.run.out}: the processes read different last.pt files; --out must be "
                "a folder that all machines share"
            )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Loads what `state_dict` returned.

        If the batch size or the number of processes has changed, training continues at the same
        epoch.

        Raises:
            InputError: the state is that of another network or optimizer.
        """
        try:
            self.learner.load_state_dict(state[_LEARNER])
            if self.average:
                self.average.network.load_state_dict(state["average"] or self.network.state_dict())
            self.optimizer.load_state_dict(state["optimizer"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{self.config.run.out}: last.pt contains another network or optimizer; resume "
                "with the settings in config.json, or use another --out"
            ) from error
        for group in self.optimizer.param_groups:
            group["weight_decay"] = self.config.optim.weight_decay  # which may have changed
        torch.set_rng_state(state["rng_state"])
        if state["cuda_rng_state"] is not None and self.group.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng_state"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.initialized_from = state["initialized_from"]
        if abs(self.epoch - state["epoch"]) > 1e-6:  # another batch size or number of processes
            steps_per_epoch = self.sampler.batches_per_epoch / self.config.optim.accumulate
            self.step = round(state["epoch"] * steps_per_epoch)

    def batches(self) -> Generator[Batch, None, None]:
        """Loads batches from the current step on, without end."""
        self.sampler.start_batch = self.step * self.config.optim.accumulate
        pin_memory = self.group.device.type == "cuda"
        prepare = partial(self.learner.prepare, config=self.config)
        return load_batches(self.dataset, self.config, self.sampler, pin_memory, prepare)

    def train_step(self, batches: Iterator[Batch]) -> tuple[dict[str, Tensor], list[str]]:
        """Performs one optimizer step, with `accumulate` batches.

        Returns:
            The losses by name, scalars on the device, and the names of the images.
        """
        optim, image_names = self.config.optim, []
        rate = self.learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_factor"]
        self.optimizer.zero_grad(set_to_none=True)
        losses: dict[str, Tensor] = {}
        for index in range(optim.accumulate):
            batch = next(batches)
            image_names += batch.names
            is_last = index + 1 == optim.accumulate
            with nullcontext() if is_last else self._without_gradient_exchange():
                batch_losses = self.parallel(batch.to(self.group.device))
                (sum(batch_losses.values()) / optim.accumulate).backward()
            for name, loss in batch_losses.items():
                losses[name] = losses.get(name, 0) + loss.detach() / optim.accumulate
        if optim.clip:
            clip_grad_norm_(self.learner.parameters(), optim.clip)
        self.optimizer.step()
        self.step += 1
        if self.average:
            self.average.update(self.step)
        return losses, image_names

    def learning_rate(self) -> float:
        """Returns the learning rate of the next step."""
        return learning_rate(self.config.optim, self.progress, self.epoch, self.group.size)

    def evaluated_network(self) -> PoseNetwork:
        """Returns the network to evaluate and save, in evaluation mode.

        It is the moving average of the weights if there is one.

        Call `learner.train()` before the next training step.
        """
        network: PoseNetwork = self.average.network if self.average else self.network  # type: ignore[assignment]
        return network.eval()

    def _without_gradient_exchange(self) -> Any:  # noqa: ANN401
        """Returns a context in which the processes do not exchange gradients."""
        if isinstance(self.parallel, DistributedDataParallel):
            return self.parallel.no_sync()
        return nullcontext()
