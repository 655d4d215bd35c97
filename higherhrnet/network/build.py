"""Builds the network of a configuration, which its head selects."""

from __future__ import annotations

from collections.abc import Callable

from higherhrnet.config.model import HeadName, ModelConfig
from higherhrnet.network.dekr import DEKR
from higherhrnet.network.higherhrnet import HigherHRNet

PoseNetwork = HigherHRNet | DEKR
"""A network that a model file may contain."""

NETWORKS: dict[HeadName, Callable[[ModelConfig], PoseNetwork]] = {
    "tags": HigherHRNet.from_config,
    "offsets": DEKR,
    "tags-and-offsets": HigherHRNet.from_config,
}
"""The network of each head."""


def build_network(config: ModelConfig) -> PoseNetwork:
    """Builds a network of the configured architecture, with newly initialized weights."""
    return NETWORKS[config.head](config)
