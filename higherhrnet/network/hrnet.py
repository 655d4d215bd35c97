"""HRNet, the backbone: images → features at strides 4, 8, 16 and 32 (Sun et al., CVPR 2019).

The stem reduces an image to a quarter of its height and width. From there, branches at strides 4,
8, 16 and 32 run in parallel, and each module ends by summing all branches at each stride
("HigherHRNet", section 3, "HRNet"). Attribute names are those of the paper's authors, so that
published weights load.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from higherhrnet.config.model import ModelConfig, StemName
from higherhrnet.errors import InputError
from higherhrnet.geometry import STRIDE
from higherhrnet.graph.architecture import BOTTLENECK_EXPANSION, LAYER1_BLOCKS, STEM_CHANNELS
from higherhrnet.network.stems.efficientnet import EfficientNetLite
from higherhrnet.network.stems.movenet import MoveNet
from higherhrnet.network.stems.stem import Stem

STEMS: dict[StemName, Callable[[], Stem]] = {
    "efficientnet-lite0": partial(EfficientNetLite, "efficientnet-lite0"),
    "efficientnet-lite2": partial(EfficientNetLite, "efficientnet-lite2"),
    "movenet": MoveNet,
}
"""The networks that replace the paper's stem, which has the name `hrnet`."""


def conv_bn(
    channels: int, out: int, kernel: int = 3, stride: int = 1, relu: bool = True
) -> nn.Sequential:
    """Builds a convolution with batch norm and, by default, ReLU.

    (B, channels, H, W) → (B, out, H / stride, W / stride).
    """
    conv = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), *([nn.ReLU(inplace=True)] if relu else []))


def initialize_convolution(module: nn.Module) -> None:
    """Initializes a convolution as the reference implementation does: N(0, 0.001²), biases 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.001)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class BasicBlock(nn.Module):
    """A residual block of two 3×3 convolutions (ResNet)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Applies the block: (B, C, H, W) → (B, C, H, W)."""
        y = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.relu(self.bn2(self.conv2(y)) + x)
        return out


class Bottleneck(nn.Module):
    """A residual block of 1×1, 3×3 and 1×1 convolutions, the last with 4 · `planes` channels."""

    def __init__(self, channels: int, planes: int) -> None:
        super().__init__()
        out = planes * BOTTLENECK_EXPANSION
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            nn.Identity() if channels == out else conv_bn(channels, out, kernel=1, relu=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Applies the block: (B, channels, H, W) → (B, 4 · planes, H, W)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        out: Tensor = self.relu(self.bn3(self.conv3(y)) + self.downsample(x))
        return out


class HighResolutionModule(nn.Module):
    """Parallel branches of residual blocks, and fuse layers summing all branches at each stride.

    Args:
        widths: channels of each branch, finest first.
        outputs: number of strides at which features are returned, finest first.
        blocks: residual blocks in each branch.
    """

    def __init__(self, widths: Sequence[int], outputs: int, blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width) for _ in range(blocks))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self._fuse_layer(widths, source, target) for source in range(len(widths)))
            for target in range(outputs)
        )
        self.relu = nn.ReLU(inplace=True)

    @staticmethod
    def _fuse_layer(widths: Sequence[int], source: int, target: int) -> nn.Module:
        """Builds the layers that convert one branch to the channels and stride of another.

        A finer branch is reached by a 1×1 convolution and nearest-neighbor upsampling, a coarser
        one by a 3×3 convolution of stride 2 for each halving.
        """
        if source == target:
            return nn.Identity()
        if source > target:
            project = conv_bn(widths[source], widths[target], kernel=1, relu=False)
            return project.append(
                nn.Upsample(scale_factor=2.0 ** (source - target), mode="nearest")
            )
        halvings = [
            conv_bn(widths[source], widths[source], stride=2) for _ in range(target - source - 1)
        ]
        last = conv_bn(widths[source], widths[target], stride=2, relu=False)
        return nn.Sequential(*halvings, last)

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        """Applies the module: (B, widths[i], H / 2^i, W / 2^i) of each branch → of each output."""
        xs = [branch(x) for branch, x in zip(self.branches, inputs, strict=True)]
        fused = []
        for layers in self.fuse_layers:
            y = layers[0](xs[0])  # type: ignore[index]
            for layer, x in zip(layers[1:], xs[1:], strict=True):  # type: ignore[index]
                y = y + layer(x)
            fused.append(self.relu(y))
        return fused


class HRNet(nn.Module):
    """The backbone, which can also be used alone as a feature extractor.

    Args:
        width: channels of the branch at stride 4; each coarser branch has twice as many.
        all_strides: return the features at strides 4, 8, 16 and 32. False: only at stride 4, as
            the heads for heatmaps and tags use it, without the weights that the others need.
        stem: the first layers: `hrnet`, the paper's, or a key of `STEMS`, a network whose features
            at four strides start the branches (EfficientHRNet, Neff et al., 2020).
        modules: number of modules in stages 2, 3 and 4.
        blocks: residual blocks in each branch of a module.
    """

    def __init__(
        self,
        width: int = 32,
        *,
        all_strides: bool = True,
        stem: StemName = "hrnet",
        modules: Sequence[int] = ModelConfig.modules,
        blocks: int = ModelConfig.blocks,
    ) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(4)]
        outputs = 4 if all_strides else 1
        self.stem = STEMS[stem]() if stem != "hrnet" else None
        self.num_heatmaps = self.stem.num_heatmaps if self.stem else 0
        """Number of heatmaps that the stem predicts and the features include."""
        if self.stem:
            finest, *coarser = self.stem.channels
        else:
            finest, coarser = self._add_hrnet_stem(), []
        self.transition1 = self._transition([finest], widths[:2], coarser[:1])
        self.stage2 = self._stage(widths[:2], modules[0], 2, blocks)
        self.transition2 = self._transition(widths[:2], widths[:3], coarser[1:2])
        self.stage3 = self._stage(widths[:3], modules[1], 3, blocks)
        self.transition3 = self._transition(widths[:3], widths, coarser[2:3])
        self.stage4 = self._stage(widths, modules[2], outputs, blocks)

    def _add_hrnet_stem(self) -> int:
        """Adds the paper's stem, two convolutions of stride 2 and layer1.

        Returns:
            The number of its output channels.
        """
        channels = STEM_CHANNELS
        self.conv1 = nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        out = channels * BOTTLENECK_EXPANSION
        self.layer1 = nn.Sequential(
            Bottleneck(channels, channels),
            *(Bottleneck(out, channels) for _ in range(LAYER1_BLOCKS - 1)),
        )
        return out

    @staticmethod
    def _transition(
        before: Sequence[int], after: Sequence[int], stem: Sequence[int]
    ) -> nn.ModuleList:
        """Builds the layers that adapt the channels of each branch and start a coarser branch.

        Args:
            before: channels of the existing branches.
            after: channels of the branches of the next stage, one more.
            stem: channels of the stem's features that start the new branch; empty: the coarsest
                branch starts it, at twice its stride.
        """
        layers = [
            nn.Identity() if old == new else conv_bn(old, new)
            for old, new in zip(before, after, strict=False)
        ]
        if stem:
            return nn.ModuleList([*layers, conv_bn(stem[0], after[-1], kernel=1)])
        return nn.ModuleList([*layers, nn.Sequential(conv_bn(before[-1], after[-1], stride=2))])

    @staticmethod
    def _stage(widths: Sequence[int], modules: int, outputs: int, blocks: int) -> nn.Sequential:
        """Builds a stage of modules, the last of which returns features at `outputs` strides."""
        inner = [HighResolutionModule(widths, len(widths), blocks) for _ in range(modules - 1)]
        return nn.Sequential(*inner, HighResolutionModule(widths, outputs, blocks))

    def features(self, images: Tensor) -> list[Tensor]:
        """Computes the features of a batch of normalized images.

        Args:
            images: (B, 3, H, W), with H and W multiples of 32.

        Returns:
            A list of (B, width · 2^i, H / 2^(i+2), W / 2^(i+2)), finest first. Without
            `all_strides`, a list with one tensor (B, width, H/4, W/4), the finest features. The
            finest features have `num_heatmaps` further channels for the heatmaps of a MoveNet stem.

        Raises:
            InputError: H or W is not a multiple of 32.
        """
        return self._features_of_stem_and_branches(images)[1]

    def _features_of_stem_and_branches(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Returns the features of the stem, without its heatmaps, and `features`."""
        height, width = images.shape[-2:]
        if not torch.compiler.is_exporting() and (height % STRIDE or width % STRIDE):
            raise InputError(
                f"height and width of the network's input must be multiples of {STRIDE}, "
                f"not {height}×{width} (height × width)"
            )
        if self.stem:
            finest, *coarser = self.stem(images)
        else:
            x = self.relu(self.bn1(self.conv1(images)))
            x = self.relu(self.bn2(self.conv2(x)))
            finest, coarser = self.layer1(x), []
        xs = [finest]
        for index, (transition, stage) in enumerate(
            (
                (self.transition1, self.stage2),
                (self.transition2, self.stage3),
                (self.transition3, self.stage4),
            )
        ):
            start = coarser[index] if coarser else xs[-1]
            xs = stage([layer(x) for layer, x in zip(transition, [*xs, start], strict=True)])
        if not self.num_heatmaps:
            return [finest, *coarser], xs
        count = finest.shape[1] - self.num_heatmaps
        xs[0] = torch.cat([xs[0], finest[:, count:]], 1)
        return [finest[:, :count], *coarser], xs

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Returns `features` as a tuple."""
        return tuple(self.features(images))
