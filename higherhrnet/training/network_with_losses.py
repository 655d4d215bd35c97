"""A network with its losses: batch → targets → named losses, all on the network's device."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from higherhrnet.data.loader import Batch
from higherhrnet.errors import InputError
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.recipes import TrainConfig
from higherhrnet.training.losses import adaptive_heatmap_loss, heatmap_loss, tag_loss
from higherhrnet.training.targets import (
    cell_indices,
    person_sigmas,
    render_heatmaps,
    to_map_coordinates,
)

_SLOW = 0.1
"""Of the learning rate."""


class NetworkWithLosses(nn.Module):
    """What is trained: the network, and for SWAHR the heads that only training needs.

    Args:
        network: gives maps at stride 4, then at half the stride each.
        config: the training.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: HigherHRNet, config: TrainConfig) -> None:
        super().__init__()
        self.network, self.config = network, config
        keypoints, heads = network.config.num_keypoints, network.final_layers
        self.scale_layers = nn.ModuleList(
            _scale_head(head.in_channels, keypoints)  # type: ignore[arg-type]
            for head in heads
            if config.losses.swahr
        )
        self._levels = torch.compile(network.levels) if config.run.compile else network.levels
        for name, values in (("mean", config.input.mean), ("std", config.input.std)):
            pixels = 255 * torch.tensor(values).view(3, 1, 1)
            self.register_buffer(name, pixels, persistent=False)

        for part in self._parts("freeze"):
            part.requires_grad_(False)

    def _parts(self, flag: Literal["freeze", "slow"]) -> list[nn.Module]:
        try:
            names = getattr(self.config.optim, flag)
            return [self.network.get_submodule(name) for name in names]
        except AttributeError as error:
            parts = ", ".join(name for name, _ in self.network.named_children())
            raise InputError(f"--{flag}: {error}; the network's parts are {parts}") from error

    def groups(self) -> list[dict[str, Any]]:
        """What is learnt, for an optimiser, with the pace at which each part of it learns."""
        slow = {p for part in self._parts("slow") for p in part.parameters()}
        learnt = [p for p in self.parameters() if p.requires_grad]
        paces = {1.0: [p for p in learnt if p not in slow], _SLOW: [p for p in learnt if p in slow]}
        return [{"params": group, "pace": pace} for pace, group in paces.items() if group]

    def train(self, mode: bool = True) -> NetworkWithLosses:
        """As any module, but frozen parts go on as in evaluation."""
        super().train(mode)
        for part in self._parts("freeze"):
            part.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The batch's losses by name, each with its factor in, so that their sum is the loss."""
        device = batch.images.device.type
        lower = self.config.run.precision == "bf16"
        with torch.autocast(device, torch.bfloat16, enabled=lower):
            levels = self._levels((batch.images - self.mean) / self.std)
            scales = [head(x) for head, (x, _) in zip(self.scale_layers, levels, strict=False)]
        losses: dict[str, Tensor] = {}
        keypoints, factors = self.network.config.num_keypoints, self.config.losses
        for level, (_, maps) in enumerate(levels):
            stride, factor = 4 >> level, factors.heatmap[level]
            cells = to_map_coordinates(
                batch.keypoints,
                batch.flipped,
                stride,
                maps.shape[3],
                self.config.input.convention,
            )
            target, heatmaps = self._heatmaps(cells, batch, maps), maps[:, :keypoints]
            counts = batch.masks[level][:, None] & batch.labeled[:, :, None, None]
            if scales:
                error, size = adaptive_heatmap_loss(heatmaps, scales[level], target, counts)
                losses[f"scale_{stride}"] = factor * size.mean()
            else:
                error = heatmap_loss(heatmaps, target, counts)
            losses[f"heatmap_{stride}"] = factor * error.mean()
            if level == 0:
                pull, push = self._tag_losses(cells, maps[:, keypoints:])
                losses |= {"pull": factors.pull * pull.mean(), "push": factors.push * push.mean()}
        return losses

    def _heatmaps(self, cells: Tensor, batch: Batch, maps: Tensor) -> Tensor:
        targets, convention = self.config.targets, self.config.input.convention
        sigma: float | Tensor = targets.sigma
        widest = targets.sigma
        if targets.scale_aware:
            sigma = person_sigmas(batch.sizes, targets.sigma, targets.scale_base)
            widest *= max(1.0, batch.largest / targets.scale_base)
        return render_heatmaps(cells, maps.shape[2], maps.shape[3], sigma, convention, widest)

    def _tag_losses(self, cells: Tensor, tags: Tensor) -> tuple[Tensor, Tensor]:
        height, width = tags.shape[2:]
        column, row, seen = cell_indices(cells, height, width, self.config.input.convention)
        places = (row * width + column).where(seen, 0)
        return tag_loss(tags, places, seen, self.config.losses.push_type)


def _scale_head(channels: int, keypoints: int) -> nn.Sequential:
    """SWAHR's head: features → scale maps, which begin at 0, where targets are the plain ones."""
    first = nn.Conv2d(channels, keypoints, 1)
    around = nn.Conv2d(keypoints, keypoints, 9, padding=4, groups=keypoints)
    nn.init.normal_(first.weight, std=0.001)
    for start in (first.bias, around.weight, around.bias):
        nn.init.zeros_(start)  # type: ignore[arg-type]
    return nn.Sequential(first, nn.BatchNorm2d(keypoints), nn.ReLU(inplace=True), around)
