"""Losses of networks that predict offsets.

"Bottom-Up Human Pose Estimation via Disentangled Keypoint Regression" (DEKR, Geng et al., CVPR
2021), section 3, "Loss Function". They are computed in float32, also for maps in bf16.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

_BETA = 1 / 9
"""The error in cells below which the offset loss is quadratic."""


def weighted_heatmap_loss(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Computes the mean over all cells of the weighted squared error.

    Args:
        predicted: (B, K + 1, h, w) heatmaps.
        target: (B, K + 1, h, w) target heatmaps, 0 to 1.
        weight: (B, K + 1, h, w) the weight of each cell.

    Returns:
        A scalar.
    """
    return ((predicted.float() - target).square() * weight).mean()


def offset_loss(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Computes the weighted smooth L1 error, divided by the number of offsets with a weight.

    Args:
        predicted: (B, 2K, h, w) offsets in cells.
        target: (B, 2K, h, w) target offsets in cells.
        weight: (B, 2K, h, w) the weight of each offset, 0 where nothing is learned.

    Returns:
        A scalar, 0 if all weights are 0.
    """
    error = F.smooth_l1_loss(predicted.float(), target, reduction="none", beta=_BETA)
    return (error * weight).sum() / (weight > 0).sum().clamp_min(1)
