"""HigherHRNet with tags and offsets, with its losses: a batch → named losses."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from higherhrnet.config.training import TrainConfig
from higherhrnet.data.centers import add_centers
from higherhrnet.data.dataset import AnnotatedImage
from higherhrnet.data.loader import Batch
from higherhrnet.training.offset_losses import offset_loss, weighted_heatmap_loss
from higherhrnet.training.offset_targets import make_offset_targets
from higherhrnet.training.tag_learner import TagLearner


class TagAndOffsetLearner(TagLearner):
    """HigherHRNet that predicts tags and offsets, and the losses that train it."""

    @staticmethod
    def prepare(source: AnnotatedImage, config: TrainConfig) -> AnnotatedImage:
        """Adds the center of each person."""
        return add_centers(source, config.targets.offsets)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Computes the losses of a batch.

        Returns:
            The scalars of `TagLearner`, and `center_4` and `offset_4`, multiplied by their weights,
            so that their sum is the loss.
        """
        outputs, _ = self._predict(batch.images)
        *tag_outputs, maps = outputs
        coarsest = replace(batch, masks=batch.masks[:1])
        targets = make_offset_targets(coarsest, self.config.targets, self.config.input.convention)
        of_centers = weighted_heatmap_loss(
            maps[:, :1], targets.heatmaps[:, -1:], targets.heatmap_weights[:, -1:]
        )
        of_offsets = offset_loss(maps[:, 1:], targets.offsets, targets.offset_weights)
        without_centers = replace(
            batch, keypoints=batch.keypoints[:, :, :-1], labeled=batch.labeled[:, :-1]
        )
        weights = self.config.losses
        return self._tag_losses(tag_outputs, [], without_centers) | {
            "center_4": weights.heatmap[0] * of_centers,
            "offset_4": weights.offset * of_offsets,
        }
