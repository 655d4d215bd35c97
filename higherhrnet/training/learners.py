"""The learners, one for each head of a network: a batch → losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from higherhrnet.config.model import HeadName
from higherhrnet.config.training import TrainConfig
from higherhrnet.network.build import PoseNetwork
from higherhrnet.training.learner import Learner
from higherhrnet.training.offset_learner import OffsetLearner
from higherhrnet.training.tag_and_offset_learner import TagAndOffsetLearner
from higherhrnet.training.tag_learner import TagLearner

LEARNERS: dict[HeadName, Callable[[Any, TrainConfig], Learner]] = {
    "tags": TagLearner,
    "offsets": OffsetLearner,
    "tags-and-offsets": TagAndOffsetLearner,
}
"""The learner of each head: a subclass of `Learner`, for the class of network in `NETWORKS`."""


def build_learner(network: PoseNetwork, config: TrainConfig) -> Learner:
    """Builds the learner of a network, which its head selects.

    Args:
        network: the network to train.
        config: the training configuration, with bf16 or f32 as the precision.

    Raises:
        InputError: a module to freeze or to train slowly does not exist.
    """
    return LEARNERS[config.model.head](network, config)
