"""The learning-rate schedule, and the moving average of the weights."""

from __future__ import annotations

from copy import deepcopy
from math import cos, pi

import torch
from torch import Tensor, nn

from higherhrnet.train_config import OptimConfig

_WARMUP_START = 0.1
"""The factor of the learning rate at the beginning of the warmup."""


def learning_rate(optim: OptimConfig, progress: float, epoch: float, processes: int = 1) -> float:
    """Computes the learning rate of a step.

    Args:
        optim: the base learning rate and its schedule.
        progress: the fraction of the training that is done, 0 to 1.
        epoch: the number of epochs done, including fractions.
        processes: the number of processes that train together.
    """
    if optim.schedule == "linear":
        factor = 1 - progress
    elif optim.schedule == "cosine":
        factor = (1 + cos(pi * progress)) / 2
    else:
        factor = 0.1 ** sum(progress >= milestone for milestone in optim.milestones)
    if epoch < optim.warmup:
        factor *= _WARMUP_START + (1 - _WARMUP_START) * epoch / optim.warmup
    return optim.lr * (processes if optim.scale_lr else 1) * factor


class MovingAverage:
    """An exponential moving average of a network's parameters and buffers, as a second network.

    `torch.optim.swa_utils.AveragedModel` collects and groups the tensors anew at each step, which
    takes 2.5 times as long for a network of width 32 on a CPU, and starts from the first step's
    weights instead of the initial ones.

    Args:
        network: the network; its weights are the initial average.
        decay: the weight of the previous average at each step; it is lower in the first steps.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        pairs = list(zip(_tensors(self.network), _tensors(network), strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        counters = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._floats, self._counters = _unzip(floats), _unzip(counters)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Includes the network's weights after `step` steps."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(*self._floats, weight)
        torch._foreach_copy_(*self._counters)


def _unzip(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [average for average, _ in pairs], [current for _, current in pairs]


def _tensors(network: nn.Module) -> list[Tensor]:
    """The parameters and buffers of a network, which stay the same objects during training."""
    return [*network.parameters(), *network.buffers()]
