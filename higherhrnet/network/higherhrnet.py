"""HigherHRNet: images → heatmaps and tags at stride 4, and heatmaps at finer strides.

"HigherHRNet: Scale-Aware Representation Learning for Bottom-Up Human Pose Estimation", CVPR 2020,
section 3. Attribute names are those of the paper's authors, so that published weights load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import torch
from torch import Tensor, nn

from higherhrnet.config.model import ModelConfig, StemName
from higherhrnet.graph.architecture import DECONV_PADDING
from higherhrnet.network.center_head import CenterHead
from higherhrnet.network.hrnet import BasicBlock, HRNet, initialize_convolution


class HigherHRNet(HRNet):
    """HRNet as the backbone, a head at stride 4, and transposed-convolution modules with heads.

    Each transposed-convolution module (section 3, "Deconvolution Module") doubles the height and
    width of the features and maps at the stride before it; a head predicts heatmaps from its
    output.

    Args:
        width: channels of the branch at stride 4; each coarser branch has twice as many. The paper
            uses 32 and 48.
        num_keypoints: number of keypoints K, and so of heatmaps.
        tag_per_keypoint: predict one tag map for each keypoint; False: one for all keypoints.
        deconv_kernels: kernel size (2, 3 or 4) of each transposed-convolution module.
        deconv_blocks: residual blocks in each transposed-convolution module.
        stem: 'hrnet' (two strided convolutions and layer1, as in the paper) or the name of a
            pretrained network.
        modules: number of modules in stages 2, 3 and 4 of the backbone.
        blocks: residual blocks in each branch of a module.
        scale_maps: add the scale heads of SWAHR, which are used only in training.
        offsets: add a head for the centers of people and the offsets to their keypoints. It reads
            the features of the backbone at all strides; with a MoveNet stem, those of the stem, for
            which MoveNet's weights of this head were trained.

    Raises:
        InputError: a value is invalid.
    """

    LAST_LAYERS = ("final_layers", "center_head.centers.predict", "center_head.offsets.predict")
    """The prefixes of the names of the convolutions that predict the maps."""
    KEYPOINT_WEIGHTS = (
        r"final_layers\.|conv_scale_layers\.|deconv_layers\.\d+\.0\.0\.|"
        r"center_head\.offsets\.predict\."
    )
    """A regular expression that matches the names of the weights whose shape depends on the
    keypoints."""

    def __init__(
        self,
        width: int = 32,
        num_keypoints: int = 17,
        tag_per_keypoint: bool = True,
        deconv_kernels: tuple[int, ...] = (4,),
        deconv_blocks: int = 4,
        stem: StemName = "hrnet",
        modules: tuple[int, int, int] = ModelConfig.modules,
        blocks: int = ModelConfig.blocks,
        scale_maps: bool = False,
        offsets: bool = False,
    ) -> None:
        self.config = ModelConfig(
            width=width,
            num_keypoints=num_keypoints,
            tag_per_keypoint=tag_per_keypoint,
            deconv_kernels=deconv_kernels,
            deconv_blocks=deconv_blocks,
            stem=stem,
            modules=modules,
            blocks=blocks,
            head="tags-and-offsets" if offsets else "tags",
            scale_maps=scale_maps,
        )
        all_strides = offsets and stem != "movenet"
        super().__init__(width, all_strides=all_strides, stem=stem, modules=modules, blocks=blocks)
        outputs = num_keypoints + self.config.num_tags
        features = width + self.num_heatmaps
        heads = [nn.Conv2d(features, outputs, 1)]
        deconvs = []
        for kernel in deconv_kernels:
            deconvs.append(self._deconv(features + outputs, kernel))
            features, outputs = width, num_keypoints
            heads.append(nn.Conv2d(width, outputs, 1))
        self.final_layers = nn.ModuleList(heads)
        self.deconv_layers = nn.ModuleList(deconvs)
        self.center_head = None
        if offsets:
            channels = [width * 2**i for i in range(4)]
            if self.stem and self.num_heatmaps:
                finest, *coarser = self.stem.channels
                channels = [finest - self.num_heatmaps, *coarser]
            self.center_head = CenterHead(channels, num_keypoints)
        self.apply(initialize_convolution)
        if self.center_head:
            self.center_head.reset_bias()
        self.conv_scale_layers = nn.ModuleList(
            _scale_head(head.in_channels, num_keypoints) for head in heads if scale_maps
        )

    @classmethod
    def from_config(cls, config: ModelConfig) -> HigherHRNet:
        """Builds a network of the configured architecture, with newly initialized weights."""
        values = asdict(config)
        offsets = values.pop("head") == "tags-and-offsets"
        return cls(**values, offsets=offsets)

    def _deconv(self, channels: int, kernel: int) -> nn.Sequential:
        """Builds a transposed-convolution module: (B, channels, h, w) → (B, width, 2h, 2w)."""
        width = self.config.width
        padding, output_padding = DECONV_PADDING[kernel]
        deconv = nn.ConvTranspose2d(channels, width, kernel, 2, padding, output_padding, bias=False)
        blocks = (nn.Sequential(BasicBlock(width)) for _ in range(self.config.deconv_blocks))
        upsampling = nn.Sequential(deconv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        return nn.Sequential(upsampling, *blocks)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Predicts the maps of a batch of normalized images.

        Args:
            images: (B, 3, H, W), with H and W multiples of 32.

        Returns:
            (B, K + T, H/4, W/4): K heatmaps, then T tag maps; (B, K, H/2, W/2): heatmaps; and
            heatmaps of twice that height and width for each further transposed-convolution module.
            With `offsets`, (B, 1 + 2K, H/4, W/4) in addition: see `CenterHead`.

        Raises:
            InputError: H or W is not a multiple of 32.
        """
        return tuple(maps for _, maps in self.features_and_maps(images))

    def features_and_maps(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Computes the features and maps of each output, coarsest first; centers and offsets last.

        Args:
            images: (B, 3, H, W), with H and W multiples of 32.

        Returns:
            For each output the features (B, C, h, w) from which the head predicts it, of which
            those for centers and offsets are only the finest, and the maps, as `forward` returns
            them.

        Raises:
            InputError: H or W is not a multiple of 32.
        """
        of_stem, features = self._features_of_stem_and_branches(images)
        x = features[0]
        outputs = [(x, self.final_layers[0](x))]
        for deconv, head in zip(self.deconv_layers, self.final_layers[1:], strict=True):
            x = deconv(torch.cat(outputs[-1], 1))
            outputs.append((x, head(x)))
        if self.center_head:
            of_centers = of_stem if self.num_heatmaps else features
            outputs.append((of_centers[0], self.center_head(of_centers)))
        return outputs

    def scale_maps(self, outputs: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """Predicts the scale maps of SWAHR, by which training adapts the target heatmaps.

        Args:
            outputs: what `features_and_maps` returned.

        Returns:
            (B, K, h, w) the scale maps of each output; an empty list if the network has none.
        """
        heads = zip(self.conv_scale_layers, outputs, strict=False)
        return [head(features) for head, (features, _) in heads]


def _scale_head(channels: int, keypoints: int) -> nn.Sequential:
    """Builds a scale head: features → scale maps, initially 0, which keep the targets."""
    project = nn.Conv2d(channels, keypoints, 1)
    depthwise = nn.Conv2d(keypoints, keypoints, 9, padding=4, groups=keypoints)
    initialize_convolution(project)
    nn.init.zeros_(depthwise.weight)
    nn.init.zeros_(depthwise.bias)  # type: ignore[arg-type]
    return nn.Sequential(project, nn.BatchNorm2d(keypoints), nn.ReLU(inplace=True), depthwise)
