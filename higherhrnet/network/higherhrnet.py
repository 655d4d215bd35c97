"""HigherHRNet: image → heatmaps and tags at a quarter, heatmaps at half of its resolution.

"HigherHRNet: Scale-Aware Representation Learning for Bottom-Up Human Pose Estimation", CVPR 2020,
section 3. Attribute names are the authors', so that published weights load.
"""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from higherhrnet.config import ModelConfig, StemName
from higherhrnet.network.hrnet import BLOCKS, MODULES, BasicBlock, HRNet

_DECONV_PADDING = {4: (1, 0), 3: (1, 1), 2: (0, 0)}
"""Padding and output padding with which a transposed convolution of stride 2 doubles the size."""


class HigherHRNet(HRNet):
    """The trunk, a head at stride 4, and modules that each double the resolution for a finer head.

    Args:
        width: channels of the finest branch; 32 and 48 in the paper.
        num_keypoints: heatmaps to give.
        tag_per_keypoint: one tag map a keypoint, or one that all share.
        deconv_kernels: kernel size (2, 3 or 4) of each transposed-convolution module.
        deconv_blocks: residual blocks in each of these modules.
        trunk: what makes the first features.
        modules: in the trunk's stages 2, 3 and 4.
        blocks: residual blocks a branch, in each of them.

    Raises:
        InputError: a value makes no sense.
    """

    def __init__(
        self,
        width: int = 32,
        num_keypoints: int = 17,
        tag_per_keypoint: bool = True,
        deconv_kernels: tuple[int, ...] = (4,),
        deconv_blocks: int = 4,
        stem: StemName = "hrnet",
        modules: tuple[int, int, int] = MODULES,
        blocks: int = BLOCKS,
    ) -> None:
        self.config = ModelConfig(
            width,
            num_keypoints,
            tag_per_keypoint,
            deconv_kernels,
            deconv_blocks,
            stem,
            modules,
            blocks,
        )
        super().__init__(width, all_resolutions=False, stem=stem, modules=modules, blocks=blocks)
        outputs = num_keypoints + self.config.num_tags
        features = width + self.num_heatmaps
        finals = [nn.Conv2d(features, outputs, 1)]
        deconvs = []
        for kernel in deconv_kernels:
            deconvs.append(self._deconv(features + outputs, kernel))
            features, outputs = width, num_keypoints
            finals.append(nn.Conv2d(width, outputs, 1))
        self.final_layers = nn.ModuleList(finals)
        self.deconv_layers = nn.ModuleList(deconvs)
        self.apply(_initialise)

    @classmethod
    def from_config(cls, config: ModelConfig) -> HigherHRNet:
        """The network of this shape, with fresh weights."""
        return cls(**asdict(config))

    def _deconv(self, channels: int, kernel: int) -> nn.Sequential:
        width = self.config.width
        padding, output_padding = _DECONV_PADDING[kernel]
        up = nn.ConvTranspose2d(channels, width, kernel, 2, padding, output_padding, bias=False)
        blocks = (nn.Sequential(BasicBlock(width)) for _ in range(self.config.deconv_blocks))
        doubling = nn.Sequential(up, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        return nn.Sequential(doubling, *blocks)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps of a batch of normalised images.

        Args:
            images: (B, 3, H, W), H and W multiples of 32.

        Returns:
            (B, K + T, H/4, W/4): heatmaps, then tags; then a (B, K, H/2, W/2) of heatmaps, and
            another of twice that size for every further transposed-convolution module.

        Raises:
            InputError: H or W is not a multiple of 32.
        """
        return tuple(maps for _, maps in self.levels(images))

    def levels(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """`forward`'s maps, each after the (B, width, h, w) features that it was made from."""
        (x,) = self.features(images)
        levels = [(x, self.final_layers[0](x))]
        for deconv, final in zip(self.deconv_layers, self.final_layers[1:], strict=True):
            x = deconv(torch.cat(levels[-1], 1))
            levels.append((x, final(x)))
        return levels


def _initialise(module: nn.Module) -> None:
    """The original's: convolutions from N(0, 0.001), biases 0; batch norm is 1 and 0 by itself."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.001)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def count_parameters(model: nn.Module) -> int:
    """Numbers that training can change."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_multiply_adds(config: ModelConfig, height: int, width: int) -> int:
    """Multiply-adds of all convolutions for one image.

    The paper's figures are about 3 % higher: they count a transposed convolution at the size of its
    output, which is four times what it does.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        HigherHRNet.from_config(config)(torch.empty(1, 3, height, width))
    return int(counter.get_total_flops()) // 2
