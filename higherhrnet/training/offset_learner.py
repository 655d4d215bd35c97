"""DEKR with its losses: a batch → named losses, all on the network's device."""

from __future__ import annotations

from torch import Tensor

from higherhrnet.config.training import TrainConfig
from higherhrnet.data.centers import add_centers
from higherhrnet.data.dataset import AnnotatedImage
from higherhrnet.data.loader import Batch
from higherhrnet.network.dekr import DEKR
from higherhrnet.training.learner import Learner
from higherhrnet.training.offset_losses import offset_loss, weighted_heatmap_loss
from higherhrnet.training.offset_targets import make_offset_targets


class OffsetLearner(Learner):
    """A network that predicts offsets, with its losses.

    Args:
        network: the network to train.
        config: the training configuration, with bf16 or f32 as the precision.

    Raises:
        InputError: a module to freeze or to train slowly does not exist.
    """

    def __init__(self, network: DEKR, config: TrainConfig) -> None:
        super().__init__(network, config)
        self._maps = self.compiled(network.forward)

    @staticmethod
    def prepare(source: AnnotatedImage, config: TrainConfig) -> AnnotatedImage:
        """Adds the center of each person."""
        return add_centers(source, config.targets.offsets)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Computes the losses of a batch.

        Returns:
            The scalars `heatmap_4` and `offset_4`, multiplied by their weights, so that their sum
            is the loss.
        """
        targets = make_offset_targets(batch, self.config.targets, self.config.input.convention)
        with self.autocast():
            heatmaps, offsets = self._maps(self.normalize(batch.images))
        of_heatmaps = weighted_heatmap_loss(heatmaps, targets.heatmaps, targets.heatmap_weights)
        of_offsets = offset_loss(offsets, targets.offsets, targets.offset_weights)
        weights = self.config.losses
        return {
            "heatmap_4": weights.heatmap[0] * of_heatmaps,
            "offset_4": weights.offset * of_offsets,
        }
