"""The HRNet trunk: image → features that never lost their resolution (HRNet, CVPR 2019).

A stem takes the photograph to a quarter of its size; from there, branches at strides 4, 8, 16 and
32 run side by side, and after every module each branch receives the sum of all the others.
Attribute names are the authors', so that published weights load.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from higherhrnet.config import StemName
from higherhrnet.errors import InputError
from higherhrnet.network.stems.efficientnet import EfficientNetLite
from higherhrnet.network.stems.movenet import MoveNet

STRIDE = 32
"""The coarsest branch's; an input's sides must be multiples of it."""
BLOCKS = 4
"""Residual blocks a branch, in every module."""
MODULES = (1, 4, 3)
"""Modules in stages 2, 3 and 4."""


def conv_bn(
    channels: int, out: int, kernel: int = 3, stride: int = 1, relu: bool = True
) -> nn.Sequential:
    """A convolution that keeps the size but for its stride, batch norm and, if wanted, ReLU."""
    conv = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), *([nn.ReLU(inplace=True)] if relu else []))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around which the input passes unchanged."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape."""
        y = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.relu(self.bn2(self.conv2(y)) + x)
        return out


class Bottleneck(nn.Module):
    """1×1 down to `planes`, 3×3, 1×1 up to four times as many, around which the input passes."""

    EXPANSION = 4

    def __init__(self, channels: int, planes: int) -> None:
        super().__init__()
        out = planes * self.EXPANSION
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
        """(B, C, H, W) → (B, 4 · planes, H, W)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        out: Tensor = self.relu(self.bn3(self.conv3(y)) + self.downsample(x))
        return out


class Module(nn.Module):
    """Branches of residual blocks, then each resolution becomes the sum of all of them.

    Args:
        widths: channels of each branch, finest first.
        outputs: how many resolutions to give, finest first.
        blocks: in each branch.
    """

    def __init__(self, widths: Sequence[int], outputs: int, blocks: int = BLOCKS) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width) for _ in range(blocks))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self._path(widths, source, to) for source in range(len(widths)))
            for to in range(outputs)
        )
        self.relu = nn.ReLU(inplace=True)

    @staticmethod
    def _path(widths: Sequence[int], source: int, to: int) -> nn.Module:
        """From one resolution to another: 1×1 and repeat upwards, strided 3×3 steps downwards."""
        if source == to:
            return nn.Identity()
        if source > to:
            lift = conv_bn(widths[source], widths[to], kernel=1, relu=False)
            return lift.append(nn.Upsample(scale_factor=2.0 ** (source - to), mode="nearest"))
        last = conv_bn(widths[source], widths[to], stride=2, relu=False)
        steps = [conv_bn(widths[source], widths[source], stride=2) for _ in range(to - source - 1)]
        return nn.Sequential(*steps, last)

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        """One (B, C_i, H / 2^i, W / 2^i) a branch → the same for each output."""
        xs = [branch(x) for branch, x in zip(self.branches, inputs, strict=True)]
        fused = []
        for paths in self.fuse_layers:
            y = paths[0](xs[0])  # type: ignore[index]
            for path, x in zip(paths[1:], xs[1:], strict=True):  # type: ignore[index]
                y = y + path(x)
            fused.append(self.relu(y))
        return fused


class HRNet(nn.Module):
    """The trunk, usable alone as a feature extractor.

    Args:
        width: channels of the finest branch; branch i has 2^i times as many.
        all_resolutions: give all four resolutions; False gives the finest only, as HigherHRNet
            uses it, and leaves out the weights that the others would need.
        trunk: what makes the first features: the authors' stem, or a network whose four
            resolutions open the branches (EfficientHRNet).
        modules: in stages 2, 3 and 4.
        blocks: residual blocks a branch, in every module.
    """

    def __init__(
        self,
        width: int = 32,
        *,
        all_resolutions: bool = True,
        stem: StemName = "hrnet",
        modules: Sequence[int] = MODULES,
        blocks: int = BLOCKS,
    ) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(4)]
        outputs = 4 if all_resolutions else 1
        self.stem = _pretrained_stem(stem)
        self.num_heatmaps = self.stem.num_heatmaps if self.stem else 0
        if self.stem:
            finest, *opening = self.stem.channels
        else:
            finest, opening = self._add_reference_stem(), []
        self.transition1 = self._transition([finest], widths[:2], opening[:1])
        self.stage2 = self._stage(widths[:2], modules[0], 2, blocks)
        self.transition2 = self._transition(widths[:2], widths[:3], opening[1:2])
        self.stage3 = self._stage(widths[:3], modules[1], 3, blocks)
        self.transition3 = self._transition(widths[:3], widths, opening[2:3])
        self.stage4 = self._stage(widths, modules[2], outputs, blocks)

    def _add_reference_stem(self) -> int:
        """Makes the authors' stem and layer1, whose channels it returns."""
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        channels = 64 * Bottleneck.EXPANSION
        self.layer1 = nn.Sequential(
            Bottleneck(64, 64), *(Bottleneck(channels, 64) for _ in range(BLOCKS - 1))
        )
        return channels

    @staticmethod
    def _transition(
        before: Sequence[int], after: Sequence[int], opening: Sequence[int]
    ) -> nn.ModuleList:
        """Fits each branch's channels, and opens a coarser branch.

        Args:
            before: channels of the branches there are.
            after: channels of the branches there will be.
            opening: channels of what the new one is made from; empty: it is the coarsest branch,
                at half its resolution.
        """
        fits = [
            nn.Identity() if old == new else conv_bn(old, new)
            for old, new in zip(before, after, strict=False)
        ]
        if opening:
            return nn.ModuleList([*fits, conv_bn(opening[0], after[-1], kernel=1)])
        return nn.ModuleList([*fits, nn.Sequential(conv_bn(before[-1], after[-1], stride=2))])

    @staticmethod
    def _stage(widths: Sequence[int], modules: int, outputs: int, blocks: int) -> nn.Sequential:
        full = [Module(widths, len(widths), blocks) for _ in range(modules - 1)]
        return nn.Sequential(*full, Module(widths, outputs, blocks))

    def features(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) → (B, width · 2^i, H / 2^(i+2), W / 2^(i+2)), finest first.

        The trunk's own heatmaps, where it has some, are that many channels more of the finest.

        Raises:
            InputError: H or W is not a multiple of 32.
        """
        height, width = images.shape[-2:]
        if not torch.compiler.is_exporting() and (height % STRIDE or width % STRIDE):
            raise InputError(
                f"the network's input must have sides that are multiples of {STRIDE}, "
                f"not {height}×{width} (height × width)"
            )
        if self.stem:
            first, *opening = self.stem(images)
        else:
            x = self.relu(self.bn1(self.conv1(images)))
            x = self.relu(self.bn2(self.conv2(x)))
            first, opening = self.layer1(x), []
        xs = [first]
        for number, (transition, stage) in enumerate(
            (
                (self.transition1, self.stage2),
                (self.transition2, self.stage3),
                (self.transition3, self.stage4),
            )
        ):
            source = opening[number] if opening else xs[-1]
            xs = stage([fit(x) for fit, x in zip(transition, [*xs, source], strict=True)])
        if self.num_heatmaps:
            xs[0] = torch.cat([xs[0], first[:, -self.num_heatmaps :]], 1)
        return xs

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The features, as a tuple."""
        return tuple(self.features(images))


def _pretrained_stem(stem: StemName) -> EfficientNetLite | MoveNet | None:
    """What takes the place of the authors' stem, if anything does."""
    if stem == "hrnet":
        return None
    return MoveNet() if stem == "movenet" else EfficientNetLite(stem)
