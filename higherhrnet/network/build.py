"""Builds the network of a configuration, which its head selects, and counts its computation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from higherhrnet.config import HeadName, ModelConfig
from higherhrnet.network.dekr import DEKR
from higherhrnet.network.higherhrnet import HigherHRNet

PoseNetwork = HigherHRNet | DEKR
"""A network that a model file may contain."""

NETWORKS: dict[HeadName, Callable[[ModelConfig], PoseNetwork]] = {
    "tags": HigherHRNet.from_config,
    "offsets": DEKR,
}
"""The network of each head."""


def build_network(config: ModelConfig) -> PoseNetwork:
    """Builds a network of the configured architecture, with newly initialized weights."""
    return NETWORKS[config.head](config)


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
