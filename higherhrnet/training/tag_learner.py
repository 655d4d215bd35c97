"""HigherHRNet with its losses: a batch → named losses, all on the network's device."""

from __future__ import annotations

from torch import Tensor

from higherhrnet.config.training import TrainConfig
from higherhrnet.data.loader import Batch
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.training.learner import Learner
from higherhrnet.training.losses import adaptive_heatmap_loss, heatmap_loss, tag_loss
from higherhrnet.training.targets import make_targets


class TagLearner(Learner):
    """HigherHRNet and the losses that train it.

    Args:
        network: the network to train; it predicts scale maps if the losses are those of SWAHR.
        config: the training configuration, with bf16 or f32 as the precision.

    Raises:
        InputError: a module to freeze or to train slowly does not exist.
    """

    network: HigherHRNet

    def __init__(self, network: HigherHRNet, config: TrainConfig) -> None:
        super().__init__(network, config)
        self._features_and_maps = self.compiled(network.features_and_maps)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Computes the losses of a batch, averaged over its images.

        Returns:
            Scalars by name, multiplied by their weights, so that their sum is the loss:
            `heatmap_4`, `heatmap_2` and so on by stride, `pull`, `push`, and for SWAHR `scale_4`,
            `scale_2` and so on.
        """
        return self._tag_losses(*self._predict(batch.images), batch)

    def _tag_losses(
        self, outputs: list[Tensor], scales: list[Tensor], batch: Batch
    ) -> dict[str, Tensor]:
        """Computes the losses of heatmaps and tags from what `_predict` returns."""
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
        with self.autocast():
            outputs = self._features_and_maps(self.normalize(images))
            scales = self.network.scale_maps(outputs)
        return [maps for _, maps in outputs], scales
