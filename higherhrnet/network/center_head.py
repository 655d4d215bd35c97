"""The head for centers and offsets that HigherHRNet may have beside its tags, as in MoveNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from higherhrnet.graph.architecture import CENTER_HEAD_CHANNELS
from higherhrnet.network.stems.efficientnet import DepthwiseConv2d

_INITIAL_LOGIT = -2.2
"""The initial bias of the center heatmap, for values of 0.1 (CenterNet, Zhou et al., 2019)."""


class CenterHead(nn.Module):
    """Predicts the centers of people, and the offsets that lead from them to the keypoints.

    Args:
        channels: channels of the features, of stride 4.
        num_keypoints: number of keypoints K.
    """

    def __init__(self, channels: int, num_keypoints: int) -> None:
        super().__init__()
        self.centers = _branch(channels, 1).append(nn.Sigmoid())
        self.offsets = _branch(channels, 2 * num_keypoints)

    def reset_bias(self) -> None:
        """Sets the bias of the center heatmap so that few centers are found before training."""
        nn.init.constant_(self.centers[3].bias, _INITIAL_LOGIT)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """Predicts the maps: (B, C, h, w) → (B, 1 + 2K, h, w).

        The first map is the center heatmap, from 0 to 1. The others are the offsets in cells, for
        each keypoint x, then y: the center of the cell minus the position of the keypoint.
        """
        return torch.cat([self.centers(features), self.offsets(features)], 1)


def _branch(channels: int, outputs: int) -> nn.Sequential:
    """Builds a 3×3 depthwise convolution, and two 1×1 convolutions with a ReLU between them."""
    return nn.Sequential(
        DepthwiseConv2d(channels, 3, padding=1, bias=False),
        nn.Conv2d(channels, CENTER_HEAD_CHANNELS, 1),
        nn.ReLU(),
        nn.Conv2d(CENTER_HEAD_CHANNELS, outputs, 1),
    )
