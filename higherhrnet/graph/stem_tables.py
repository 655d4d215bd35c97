"""The layers of the pretrained stems, which the stems in torch and their ONNX graphs share."""

from __future__ import annotations

from typing import NamedTuple

from higherhrnet.config.model import StemName


class StemStage(NamedTuple):
    """A sequence of inverted residuals with the same number of channels."""

    blocks: int
    channels: int
    kernel: int
    stride: int
    expansion: int = 6


EFFICIENTNET_STAGES: dict[StemName, tuple[StemStage, ...]] = {
    "efficientnet-lite0": (
        StemStage(1, 16, 3, 1, 1), StemStage(2, 24, 3, 2), StemStage(2, 40, 5, 2),
        StemStage(3, 80, 3, 2), StemStage(3, 112, 5, 1), StemStage(4, 192, 5, 2),
        StemStage(1, 320, 3, 1),
    ),
    "efficientnet-lite2": (
        StemStage(1, 16, 3, 1, 1), StemStage(3, 24, 3, 2), StemStage(3, 48, 5, 2),
        StemStage(4, 88, 3, 2), StemStage(4, 120, 5, 1), StemStage(5, 208, 5, 2),
        StemStage(1, 352, 3, 1),
    ),
}  # fmt: skip
"""The stages of EfficientNet-Lite (EfficientNet, table 1)."""
EFFICIENTNET_FIRST_CHANNELS = 32
EFFICIENTNET_EPSILON = 1e-3
"""Epsilon of batch norm in the published networks."""

MOVENET_STAGES = (
    StemStage(1, 24, 3, 1, 1), StemStage(2, 40, 3, 2), StemStage(3, 48, 3, 2),
    StemStage(4, 96, 3, 2), StemStage(3, 144, 3, 1), StemStage(3, 240, 3, 2),
    StemStage(1, 480, 3, 1),
)  # fmt: skip
MOVENET_FIRST_CHANNELS, MOVENET_LAST_CHANNELS, MOVENET_HEAD_CHANNELS = 48, 1280, 96
MOVENET_HEATMAPS = 17
"""Number of heatmaps, of COCO's keypoints, that MoveNet predicts."""
MOVENET_PYRAMID = ((96, 64), (48, 32), (40, 24))
"""At strides 16, 8 and 4: channels of the MobileNet's features, and channels in the pyramid."""
MOVENET_PYRAMID_BLOCKS = {16: 10, 8: 6, 4: 3}
"""By stride: the number of the block, from 1, whose output the pyramid includes."""
MOVENET_LAST_BLOCKS = {8: 6, 16: 13, 32: 17}
"""By stride: the number of the last block, from 1, whose output is a feature of the stem."""


def same_padding(kernel: int) -> tuple[int, int]:
    """Returns the padding before and after the input of a convolution of stride 2.

    It is TensorFlow's padding SAME: for an even height and width, the right and bottom get one
    column and row more than the left and top. The published weights were trained with it; symmetric
    padding would shift their input by a pixel.
    """
    before = (kernel - 2) // 2
    return before, kernel - 2 - before
