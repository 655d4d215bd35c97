"""All that changes in a training, and one step of it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import SyncBatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from higherhrnet.config import Header
from higherhrnet.data.dataset import KeypointDataset
from higherhrnet.data.loader import Batch, BatchSampler, load_batches
from higherhrnet.errors import InputError
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.recipes import TrainConfig
from higherhrnet.training.initialize import build_network
from higherhrnet.training.network_with_losses import NetworkWithLosses
from higherhrnet.training.parallel import ProcessGroup
from higherhrnet.training.run_folder import flat, load_state
from higherhrnet.training.schedule import Average, learning_rate


class TrainState:
    """All that changes in a training.

    Args:
        config: the training.
        photographs: to learn from.
        world: the processes that train together.

    Raises:
        InputError: the weights to start from cannot be read or do not fit.
    """

    def __init__(
        self, config: TrainConfig, photographs: KeypointDataset, world: ProcessGroup
    ) -> None:
        torch.manual_seed(config.run.seed)
        self.config, self.photographs, self.world = config, photographs, world
        network, self.origin = build_network(config, photographs.skeleton)
        self.network: HigherHRNet = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        learner = NetworkWithLosses(network, config).to(world.device)
        self.average = Average(network, config.optim.ema) if config.optim.ema else None
        if config.run.sync_bn and world.size > 1:
            learner = SyncBatchNorm.convert_sync_batchnorm(learner)  # type: ignore[no-untyped-call]
        self.learner = learner
        self.parallel = DistributedDataParallel(learner) if world.size > 1 else learner
        optim = config.optim
        self.optimizer = torch.optim.Adam(
            learner.groups(), optim.lr, weight_decay=optim.weight_decay, fused=True
        )
        self.order = BatchSampler(
            photographs.weights, optim.batch_size, config.run.seed, world.rank, world.size
        )
        self.step, self.seconds = 0, 0.0

    @property
    def batch(self) -> int:
        """Photographs a step, of all processes together."""
        return self.config.optim.batch_size * self.config.optim.accumulate * self.world.size

    def describe(self) -> str:
        """What is about to be done, in a line."""
        config, count = self.config, len(self.photographs)
        steps = self.order.batches_an_epoch / config.optim.accumulate
        before = f"goes on at epoch {self.epoch:.2f}" if self.step else f"starts {self.origin}"
        return (
            f"{self.photographs.skeleton.name}, {count:,} photographs, {steps:,.0f} steps of "
            f"{self.batch} an epoch, {config.run.precision} on {self.world.size} × "
            f"{self.world.device.type}; {before}"
        )

    def epoch_at(self, step: int) -> float:
        """Epochs done after so many steps."""
        return float(step * self.config.optim.accumulate / self.order.batches_an_epoch)

    @property
    def epoch(self) -> float:
        """Epochs done."""
        return self.epoch_at(self.step)

    @property
    def progress(self) -> float:
        """How much of the training is done: of its hours if they are given, else of its epochs."""
        if self.config.run.max_hours:
            return min(1.0, self.seconds / (3600 * self.config.run.max_hours))
        return min(1.0, self.epoch / self.config.optim.epochs)

    def header(self) -> Header:
        """What the weights are, and how they came to be."""
        config = self.config
        facts = {
            "data": [text.split(",")[0] for text in config.data.train],
            "photographs": len(self.photographs),
            "epochs": round(self.epoch, 2),
            "steps": self.step,
            "batch": self.batch,
            "start": self.origin,
        }
        skeleton = self.photographs.skeleton
        return Header(self.network.config, skeleton, config.input, config.inference, facts)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on."""
        cuda = self.world.device.type == "cuda"
        return {
            "learner": self.learner.state_dict(),
            "average": self.average.network.state_dict() if self.average else None,
            "optimiser": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if cuda else None,
            "config": flat(self.config),
            "origin": self.origin,
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
        }

    def resume(self) -> None:
        """Takes on what an earlier run into the same folder saved, if there was one.

        Raises:
            InputError: this run is not to go on with it or cannot, or the processes do not all see
                the same folder.
        """
        state = load_state(self.config, speaks=self.world.first)
        if state is not None:
            self.load(state)
        most, least = self.world.most(self.step, -self.step)
        if most != -least:
            raise InputError(
                f"{self.config.run.out}: not all processes find the same last.pt there; --out must "
                "be a folder that all machines share"
            )

    def load(self, state: dict[str, Any]) -> None:
        """Takes on what `state` gave.

        Raises:
            InputError: it is another network's.
        """
        try:
            self.learner.load_state_dict(state["learner"])
            if self.average:
                self.average.network.load_state_dict(state["average"] or self.network.state_dict())
            self.optimizer.load_state_dict(state["optimiser"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{self.config.run.out}: its last.pt is of another network or optimiser; resume "
                "with the settings in its config.json, or take another --out"
            ) from error
        for group in self.optimizer.param_groups:
            group["weight_decay"] = self.config.optim.weight_decay  # as it is now asked for
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None and self.world.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"])
        self.step, self.seconds, self.origin = state["step"], state["seconds"], state["origin"]
        if abs(self.epoch - state["epoch"]) > 1e-6:  # another batch size or number of processes
            steps = self.order.batches_an_epoch / self.config.optim.accumulate
            self.step = round(state["epoch"] * steps)

    def batches(self) -> Generator[Batch, None, None]:
        """The batches from here on, without end."""
        self.order.first = self.step * self.config.optim.accumulate
        pin = self.world.device.type == "cuda"
        return load_batches(self.photographs, self.config, self.order, pin)

    def learn(self, batches: Iterator[Batch]) -> tuple[dict[str, Tensor], list[str]]:
        """One step of the optimiser.

        Returns:
            The losses, on the device, and the names of the photographs that they are of.
        """
        optim, names = self.config.optim, []
        rate = self.rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["pace"]
        self.optimizer.zero_grad(set_to_none=True)
        losses: dict[str, Tensor] = {}
        for part in range(optim.accumulate):
            batch = next(batches)
            names += batch.names
            with self._unshared() if part + 1 < optim.accumulate else nullcontext():
                terms = self.parallel(batch.to(self.world.device))
                (sum(terms.values()) / optim.accumulate).backward()
            for name, term in terms.items():
                losses[name] = losses.get(name, 0) + term.detach() / optim.accumulate
        if optim.clip:
            clip_grad_norm_(self.learner.parameters(), optim.clip)
        self.optimizer.step()
        self.step += 1
        if self.average:
            self.average.update(self.step)
        return losses, names

    def rate(self) -> float:
        """The learning rate of the next step."""
        return learning_rate(self.config.optim, self.progress, self.epoch, self.world.size)

    def result(self) -> HigherHRNet:
        """The network that is measured and kept, in evaluation mode: the average if there is one.

        `learn` goes on only after `self.learner.train()`.
        """
        network: HigherHRNet = self.average.network if self.average else self.network  # type: ignore[assignment]
        return network.eval()

    def _unshared(self) -> Any:  # noqa: ANN401
        """Leaves the gradients in this process until the last part of a step."""
        if isinstance(self.parallel, DistributedDataParallel):
            return self.parallel.no_sync()
        return nullcontext()
