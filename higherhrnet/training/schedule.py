"""The learning rate's course, and the running average of the weights."""

from __future__ import annotations

from copy import deepcopy
from math import cos, pi

import torch
from torch import Tensor, nn

from higherhrnet.recipes import OptimConfig

_WARMUP_START = 0.1


def learning_rate(optim: OptimConfig, progress: float, epoch: float, world: int = 1) -> float:
    """The learning rate of a step.

    Args:
        optim: the schedule.
        progress: how much of the training is done, 0 to 1.
        epoch: epochs done, fractions included.
        world: processes that train together.
    """
    if optim.schedule == "linear":
        factor = 1 - progress
    elif optim.schedule == "cosine":
        factor = (1 + cos(pi * progress)) / 2
    else:
        factor = 0.1 ** sum(progress >= milestone for milestone in optim.milestones)
    if epoch < optim.warmup:
        factor *= _WARMUP_START + (1 - _WARMUP_START) * epoch / optim.warmup
    return optim.lr * (world if optim.scale_lr else 1) * factor


class Average:
    """A running average of a network's weights and statistics, as a network of its own.

    Args:
        network: begins as the average.
        decay: of what was before, at each step; less in the first ones.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        pairs = list(zip(_tensors(self.network), _tensors(network), strict=True))
        moving = [pair for pair in pairs if pair[0].is_floating_point()]
        counting = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._moving, self._counting = _columns(moving), _columns(counting)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the network as it is after `step` steps."""
        rate = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(*self._moving, rate)
        torch._foreach_copy_(*self._counting)


def _columns(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [mine for mine, _ in pairs], [theirs for _, theirs in pairs]


def _tensors(network: nn.Module) -> list[Tensor]:
    """All that a network's answers depend on; the same tensors as long as it lives."""
    return [*network.parameters(), *network.buffers()]
