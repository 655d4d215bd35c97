"""Outputs against targets: heatmaps by mean square, tags by associative embedding.

"HigherHRNet" section 3, "Associative Embedding" (NeurIPS 2017) and "Rethinking the Heatmap
Regression" (SWAHR, CVPR 2021). All are computed in float32, whatever the network computed in, and
give one number an image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from higherhrnet.recipes import PushType


def heatmap_loss(predicted: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """(B,) mean square error; what does not count is 0, and part of the mean.

    Args:
        predicted: (B, K, h, w).
        target: (B, K, h, w), 0 to 1.
        counts: 1 where the loss counts and 0 elsewhere, of any shape that broadcasts to these.
    """
    return ((predicted.float() - target).square() * counts).mean((1, 2, 3))


def adaptive_heatmap_loss(
    predicted: Tensor, scale: Tensor, target: Tensor, counts: Tensor
) -> tuple[Tensor, Tensor]:
    """SWAHR's two losses, (B,) each: of the heatmaps, and of the scale maps' own size.

    The target g becomes g^(1 + s), by its Taylor series in s, where s is the network's; and the
    square error is weighted by how wrong the easy answer (background: 0, keypoint: 1) would be.

    Args:
        predicted: (B, K, h, w) heatmaps.
        scale: (B, K, h, w) scale maps; they mean something around keypoints only.
        target: (B, K, h, w), 0 to 1.
        counts: as for `heatmap_loss`.
    """
    predicted = predicted.float()
    scale = scale.float() * (target > 0)
    exponent = torch.where(target > 0, target, 1).log() * scale
    adapted = target * (1 + exponent + exponent.square() / 2)
    near = target**0.01
    weight = (1 - predicted).abs() * near + predicted.abs() * (1 - near)
    error = (predicted - adapted).square() * weight * counts
    return error.mean((1, 2, 3)), (scale.square() * counts).mean((1, 2, 3))


def tag_loss(tags: Tensor, places: Tensor, seen: Tensor, kind: PushType) -> tuple[Tensor, Tensor]:
    """Associative embedding's pull and push, (B,) each.

    Pull is how far, squared, a person's tags are from their mean, averaged over keypoints, then
    people. Push is how near two people's means are, averaged over pairs, and halved. People without
    a keypoint do not count; an image without people has 0 of both, with one person no push.

    Args:
        tags: (B, T, h, w); T is K, or 1 when keypoints share a map.
        places: (B, P, K) long, keypoints as row · w + column on a map.
        seen: (B, P, K) which keypoints there are.
        kind: push measures nearness by exp(-d²), or by max(0, 1 - d).
    """
    batch, people, keypoints = places.shape
    # One gather whether each keypoint has a map or all share one. Only what it reads becomes
    # float32; most of the time here is the zeros of the maps' gradient.
    wanted = places.transpose(1, 2).reshape(batch, tags.shape[1], -1)
    read = tags.flatten(2).gather(2, wanted).float()
    read = read.view(batch, keypoints, people).transpose(1, 2)  # (B, P, K)

    count = seen.sum(2)
    mean = (read * seen).sum(2) / count.clamp_min(1)
    there = count > 0
    total = there.sum(1)
    away = ((read - mean[..., None]).square() * seen).sum(2) / count.clamp_min(1)
    pull = away.sum(1) / total.clamp_min(1)

    apart = mean[:, :, None] - mean[:, None]
    near = torch.exp(-apart.square()) if kind == "exp" else (1 - apart.abs()).clamp_min(0)
    both = there[:, :, None] & there[:, None]
    push = ((near * both).sum((1, 2)) - total) / (2 * total * (total - 1)).clamp_min(1)
    return pull, push
