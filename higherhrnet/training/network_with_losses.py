"""The network with its losses: a batch → named losses, all on the network's device."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from higherhrnet.data.loader import Batch
from higherhrnet.errors import InputError
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.train_config import TrainConfig
from higherhrnet.training.losses import adaptive_heatmap_loss, heatmap_loss, tag_loss
from higherhrnet.training.targets import make_targets

_SLOW_FACTOR = 0.1
"""The factor of the learning rate for the modules in `OptimConfig.slow`."""


class NetworkWithLosses(nn.Module):
    """The network and the losses that train it.

    Args:
        network: the network to train; it predicts scale maps if the losses are those of SWAHR.
        config: the training configuration, with bf16 or f32 as the precision.

    Raises:
        InputError: a module to freeze or to train slowly does not exist.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: HigherHRNet, config: TrainConfig) -> None:
        super().__init__()
        self.network, self.config = network, config
        compute = network.features_and_maps
        self._features_and_maps = torch.compile(compute) if config.run.compile else compute
        for name, values in (("mean", config.input.mean), ("std", config.input.std)):
            pixel_values = 255 * torch.tensor(values).view(3, 1, 1)
            self.register_buffer(name, pixel_values, persistent=False)

        for module in self._selected_modules("freeze"):
            module.requires_grad_(False)

    def _selected_modules(self, flag: Literal["freeze", "slow"]) -> list[nn.Module]:
        """Returns the modules of the network that a flag names."""
        try:
            names = getattr(self.config.optim, flag)
            return [self.network.get_submodule(name) for name in names]
        except AttributeError as error:
            available = ", ".join(name for name, _ in self.network.named_children())
            raise InputError(f"--{flag}: {error}; available modules: {available}") from error

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups the trained parameters for an optimizer.

        Returns:
            For each group `params`, and `lr_factor`, the factor of its learning rate.
        """
        slow = {p for module in self._selected_modules("slow") for p in module.parameters()}
        trained = [p for p in self.parameters() if p.requires_grad]
        groups = {
            1.0: [p for p in trained if p not in slow],
            _SLOW_FACTOR: [p for p in trained if p in slow],
        }
        return [
            {"params": params, "lr_factor": factor} for factor, params in groups.items() if params
        ]

    def train(self, mode: bool = True) -> NetworkWithLosses:
        """Sets training or evaluation mode; frozen modules stay in evaluation mode."""
        super().train(mode)
        for module in self._selected_modules("freeze"):
            module.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Computes the losses of a batch, averaged over its images.

        Returns:
            Scalars by name, multiplied by their weights, so that their sum is the loss:
            `heatmap_4`, `heatmap_2` and so on by stride, `pull`, `push`, and for SWAHR `scale_4`,
            `scale_2` and so on.
        """
        outputs, scales = self._predict(batch.images)
        targets = make_targets(batch, self.config.targets, self.config.input.convention)
        losses: dict[str, Tensor] = {}
        keypoints, config = self.network.config.num_keypoints, self.config.losses
        for index, (maps, target, mask) in enumerate(
            zip(outputs, targets.heatmaps, targets.masks, strict=True)
        ):
            stride, heatmaps = self.network.config.strides[index], maps[:, :keypoints]
            if scales:
                error, regularizer = adaptive_heatmap_loss(heatmaps, scales[index], target, mask)
                factor = config.scale if config.heatmap[index] else 0.0
                losses[f"scale_{stride}"] = factor * regularizer.mean()
            else:
                error = heatmap_loss(heatmaps, target, mask)
            losses[f"heatmap_{stride}"] = config.heatmap[index] * error.mean()
            if index == 0:
                tags = maps[:, keypoints:]
                pull, push = tag_loss(tags, targets.tag_cells, targets.visible, config.push_type)
                losses |= {"pull": config.pull * pull.mean(), "push": config.push * push.mean()}
        return losses

    def _predict(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Computes the maps of each output, coarsest first, and its scale maps, if any."""
        bf16 = self.config.run.precision == "bf16"
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            outputs = self._features_and_maps((images - self.mean) / self.std)
            scales = self.network.scale_maps(outputs)
        return [maps for _, maps in outputs], scales
