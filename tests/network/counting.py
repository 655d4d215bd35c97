"""Counts the parameters and multiply-adds of networks in torch; marks the large networks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from higherhrnet.config.model import ModelConfig
from higherhrnet.network.build import PoseNetwork, build_network


def count_parameters(model: nn.Module) -> int:
    """Counts the parameters of a network."""
    return sum(parameter.numel() for parameter in model.parameters())


@cache
def meta_network(config: ModelConfig) -> PoseNetwork:
    """Builds a network without memory for its weights, in evaluation mode."""
    with torch.device("meta"):
        return build_network(config).eval()


def count_multiply_adds(config: ModelConfig, height: int, width: int) -> int:
    """Counts the multiply-adds of all convolutions for one image.

    The numbers of the HigherHRNet paper are about 3 % higher: they count each transposed
    convolution at the size of its output, which gives four times its multiply-adds.

    Args:
        config: the architecture.
        height: height of the input in pixels, a multiple of 32.
        width: width of the input in pixels, a multiple of 32.
    """
    model = meta_network(config)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, height, width))
    return int(counter.get_total_flops()) // 2


def computed(cases: Iterable[str]) -> list[Any]:
    """Marks cases whose computation takes seconds as slow: width 48, and CrowdPose's keypoints."""
    return [
        pytest.param(case, marks=pytest.mark.slow) if re.search("48|crowdpose", case) else case
        for case in cases
    ]
