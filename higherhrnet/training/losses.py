"""Losses: heatmaps by mean squared error, tags by associative embedding.

"HigherHRNet", section 3, "Multi-Resolution Supervision" and "Grouping"; "Associative Embedding"
(Newell et al., NeurIPS 2017); "Rethinking the Heatmap Regression for Bottom-up Human Pose
Estimation" (SWAHR, Luo et al., CVPR 2021). Losses are computed in float32, also for maps in bf16,
and have one value for each image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from higherhrnet.config.training import PushType


def heatmap_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Computes the mean squared error over all cells; the error of masked cells is 0.

    Args:
        predicted: (B, K, h, w) heatmaps.
        target: (B, K, h, w) target heatmaps, 0 to 1.
        mask: True or 1 where the error counts, of a shape that broadcasts to (B, K, h, w).

    Returns:
        (B,) the loss of each image.
    """
    return ((predicted.float() - target).square() * mask).mean((1, 2, 3))


def adaptive_heatmap_loss(
    predicted: Tensor, scale: Tensor, target: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Computes the losses of SWAHR, for target heatmaps whose sigma the network adapts.

    The error of `predicted` from `adapted_target` is squared and multiplied by `adaptive_weight`.
    Gradients reach the heatmaps also through the weight, and the scale maps through the target.

    Args:
        predicted: (B, K, h, w) heatmaps.
        scale: (B, K, h, w) scale maps; only the values where the target is above 0 are used.
        target: (B, K, h, w) target heatmaps, 0 to 1.
        mask: True or 1 where the error counts, of a shape that broadcasts to (B, K, h, w).

    Returns:
        (B,) the loss of the heatmaps, and (B,) the mean square of the scale maps, a regularizer.
    """
    predicted = predicted.float()
    scale = scale.float() * (target > 0)
    weight = adaptive_weight(predicted, target) * mask
    error = (predicted - adapted_target(target, scale)).square() * weight
    return error.mean((1, 2, 3)), (scale.square() * mask).mean((1, 2, 3))


def adapted_target(target: Tensor, scale: Tensor) -> Tensor:
    """Returns the scale-adaptive target of SWAHR: g^(1 + s) for a target g and a scale s.

    It is computed by its Taylor series around s = 0, up to the second order. Positive scales make
    Gaussians narrower, negative ones wider; where the target is 0, it stays 0.
    """
    exponent = torch.where(target > 0, target, 1).log() * scale
    return target * (1 + exponent + exponent.square() / 2)


def adaptive_weight(predicted: Tensor, target: Tensor) -> Tensor:
    """Returns the weights of the squared errors in SWAHR.

    It is the distance of the prediction from 0 in the background and from about 1 near a keypoint.
    """
    foreground = target**0.01
    return (1 - predicted).abs() * foreground + predicted.abs() * (1 - foreground)


def tag_loss(
    tags: Tensor, cells: Tensor, visible: Tensor, push_type: PushType
) -> tuple[Tensor, Tensor]:
    """Computes the pull and push losses of associative embedding.

    Pull is the squared distance of a person's tags from their mean, averaged over the keypoints and
    then over the people. Push is the similarity of two people's mean tags, averaged over the pairs
    and halved. People without a visible keypoint are ignored; pull is 0 in an image without people,
    push in one with fewer than two.

    Args:
        tags: (B, T, h, w) tag maps; T is K, or 1 if the keypoints share a map.
        cells: (B, P, K) int64, the cell of each keypoint as row · w + column.
        visible: (B, P, K) bool, the keypoints that are labeled and on the map.
        push_type: similarity of mean tags at a distance d: `exp` is exp(-d²), `max` is
            max(0, 1 - d).

    Returns:
        (B,) the pull loss and (B,) the push loss of each image.
    """
    batch, people, keypoints = cells.shape
    # One gather reads the tags, whether each keypoint has a map or all share one. Only its result
    # becomes float32, because most of the time is spent on the zeros of the maps' gradient.
    indices = cells.transpose(1, 2).reshape(batch, tags.shape[1], -1)
    values = tags.flatten(2).gather(2, indices).float()
    values = values.view(batch, keypoints, people).transpose(1, 2)  # (B, P, K)

    counts = visible.sum(2)
    means = (values * visible).sum(2) / counts.clamp_min(1)
    present = counts > 0
    num_people = present.sum(1)
    variances = ((values - means[..., None]).square() * visible).sum(2) / counts.clamp_min(1)
    pull = variances.sum(1) / num_people.clamp_min(1)

    difference = means[:, :, None] - means[:, None]  # (B, P, P)
    if push_type == "exp":
        similarity = torch.exp(-difference.square())
    else:
        similarity = (1 - difference.abs()).clamp_min(0)
    pairs = present[:, :, None] & present[:, None]
    total = (similarity * pairs).sum((1, 2)) - num_people  # minus the diagonal
    push = total / (2 * num_people * (num_people - 1)).clamp_min(1)
    return pull, push
