"""Counts the parameters and multiply-adds of networks in torch."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from higherhrnet.config.model import ModelConfig
from higherhrnet.network.build import build_network


def count_parameters(model: nn.Module) -> int:
    """Counts the parameters of a network."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_multiply_adds(config: ModelConfig, height: int, width: int) -> int:
    """Counts the multiply-adds of all convolutions for one image.

    The numbers of the HigherHRNet paper are about 3 % higher: they count each transposed
    convolution at the size of its output, which gives four times its multiply-adds.

    Args:
        config: the architecture.
        height: height of the input in pixels, a multiple of 32.
        width: width of the input in pixels, a multiple of 32.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        build_network(config)(torch.empty(1, 3, height, width))
    return int(counter.get_total_flops()) // 2
