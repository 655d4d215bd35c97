"""The head for centers and offsets that HigherHRNet may have beside its tags."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from higherhrnet.graph.architecture import CENTER_HEAD_CHANNELS
from higherhrnet.network.stems.efficientnet import DepthwiseConv2d

_INITIAL_LOGIT = -2.2
"""The initial bias of the center heatmap, for values of 0.1 (CenterNet, Zhou et al., 2019)."""


class CenterHead(nn.Module):
    """Predicts the centers of people, and the offsets that lead from them to the keypoints.

    The center heatmap is predicted from the finest features alone, as in MoveNet. The offsets of
    large people need a larger receptive field, and are predicted from the features of all strides.

    Args:
        channels: channels of the features of each stride, finest first: at strides 4, 8, 16 and 32.
        num_keypoints: number of keypoints K.
    """

    def __init__(self, channels: Sequence[int], num_keypoints: int) -> None:
        super().__init__()
        self.centers = CenterBranch(channels[:1], 1)
        self.offsets = CenterBranch(channels, 2 * num_keypoints)

    def reset_bias(self) -> None:
        """Sets the bias of the center heatmap so that few centers are found before training."""
        nn.init.constant_(self.centers.predict.bias, _INITIAL_LOGIT)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predicts the maps: (B, channels[i], h / 2^i, w / 2^i) → (B, 1 + 2K, h, w).

        The first map is the center heatmap, from 0 to 1. The others are the offsets in cells, for
        each keypoint x, then y: the center of the cell minus the position of the keypoint.
        """
        centers = self.centers(features[:1]).sigmoid()
        return torch.cat([centers, self.offsets(features)], 1)


class CenterBranch(nn.Module):
    """A 3×3 depthwise convolution and two 1×1 convolutions with a ReLU between them.

    The first 1×1 convolution also applies to the features of coarser strides, whose results are
    enlarged to the finest stride and added.

    Args:
        channels: channels of the features of each stride, finest first; each stride is twice the
            one before.
        outputs: number of maps that the branch predicts.
    """

    def __init__(self, channels: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv2d(channels[0], 3, padding=1, bias=False)
        self.project = nn.ModuleList(
            nn.Conv2d(count, CENTER_HEAD_CHANNELS, 1, bias=index == 0)
            for index, count in enumerate(channels)
        )
        self.predict = nn.Conv2d(CENTER_HEAD_CHANNELS, outputs, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predicts the maps: (B, channels[i], h / 2^i, w / 2^i) → (B, outputs, h, w)."""
        finest, *coarser = features
        total = self.project[0](self.depthwise(finest))
        for index, x in enumerate(coarser, 1):
            enlarged = F.interpolate(
                self.project[index](x), scale_factor=2.0**index, mode="bilinear"
            )
            total = total + enlarged
        maps: Tensor = self.predict(F.relu(total))
        return maps
