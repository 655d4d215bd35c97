"""What a network that replaces the paper's stem must provide."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


class Stem(nn.Module):
    """A network that replaces the paper's stem; `higherhrnet.network.hrnet.STEMS` lists them."""

    channels: Sequence[int]
    """Channels of the features of each stride, finest first: at strides 4, 8, 16 and 32, or at
    stride 4 only."""
    num_heatmaps: int = 0
    """Number of heatmaps of COCO's keypoints, which are the last channels of the finest
    features."""

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """Computes features: (B, 3, H, W) → (B, channels[i], H / 2^(i+2), W / 2^(i+2)).

        H and W are multiples of 32.
        """
