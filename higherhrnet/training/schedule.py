"""The learning-rate schedule."""

from __future__ import annotations

from math import cos, pi

from higherhrnet.config.training import OptimConfig

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
        # The decrease begins at the end of the warmup, as in the training of SWAHR.
        factor = 1.0
        if epoch >= optim.warmup:
            warmup_progress = progress * optim.warmup / epoch if optim.warmup else 0.0
            factor = (1 - progress) / (1 - warmup_progress) if progress < 1 else 0.0
    elif optim.schedule == "cosine":
        factor = (1 + cos(pi * progress)) / 2
    else:
        factor = 0.1 ** sum(progress >= milestone for milestone in optim.milestones)
    if epoch < optim.warmup:
        factor *= _WARMUP_START + (1 - _WARMUP_START) * epoch / optim.warmup
    return optim.lr * (processes if optim.scale_lr else 1) * factor
