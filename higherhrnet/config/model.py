"""The configuration of a network: its architecture and its input.

Frozen dataclasses that check their values when they are created. The defaults are the published
settings of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from higherhrnet.errors import require
from higherhrnet.geometry import Convention

HeadName = Literal["tags", "offsets", "tags-and-offsets"]
"""The maps that a network predicts beside the heatmaps, by which keypoints become people."""

StemName = Literal["hrnet", "efficientnet-lite0", "efficientnet-lite2", "movenet"]
"""The first layers of the network."""


@dataclass(frozen=True)
class ModelConfig:
    """The architecture of the network.

    The fields are described in the online API reference and in `higherhrnet train RECIPE --help`.
    """

    width: int = 32
    """Number of channels of the backbone's branch at stride 4; each coarser branch has twice as
    many as the one before. The paper uses 32 and 48."""
    num_keypoints: int = 17
    """Number of keypoints of the skeleton, which is the number of heatmaps: 17 for COCO, 14 for
    CrowdPose. Training sets it to that of the training skeleton."""
    tag_per_keypoint: bool = True
    """Predict one tag map for each keypoint, as in the paper; otherwise one map for all of them."""
    deconv_kernels: tuple[int, ...] = (4,)
    """Kernel size (2, 3 or 4) of each transposed-convolution module. There are as many modules as
    values, and each doubles the height and width of the maps."""
    deconv_blocks: int = 4
    """Number of residual blocks in each transposed-convolution module."""
    stem: StemName = "hrnet"
    """The first layers of the network: hrnet (two strided convolutions and layer1, as in the paper)
    or the name of a network whose pretrained weights --init can load: EfficientNet-Lite (ImageNet,
    as in EfficientHRNet) or MoveNet. Those need --input.mean and --input.std of about 0.5."""
    modules: tuple[int, int, int] = (1, 4, 3)
    """Number of modules in stages 2, 3 and 4 of the backbone, whose modules have 2, 3 and 4
    branches."""
    blocks: int = 4
    """Number of residual blocks in each branch of a module."""
    head: HeadName = "tags"
    """The maps that the network predicts beside the heatmaps: tags, by which keypoints are grouped
    into people (HigherHRNet); or offsets, which lead from the center of a person to the keypoints,
    and a heatmap of the centers (DEKR). With offsets, all maps have stride 4, and the settings
    of tags and of transposed convolutions do not apply. tags-and-offsets: HigherHRNet with a light
    head for centers and offsets in addition, as in MoveNet, whose weights --init can load. Unlike
    MoveNet's, the offsets are predicted from the features at strides 4, 8, 16 and 32."""
    scale_maps: bool = False
    """Also predict scale maps (SWAHR), by which training adapts the target heatmaps. Inference does
    not compute them. Training sets it to --losses.swahr."""

    def __post_init__(self) -> None:
        require(
            self.head in get_args(HeadName),
            f"head must be one of {', '.join(get_args(HeadName))}, not {self.head!r}",
        )
        require(self.width >= 1, f"width must be at least 1, not {self.width}")
        require(
            self.num_keypoints >= 1, f"num_keypoints must be at least 1, not {self.num_keypoints}"
        )
        require(
            self.stem in get_args(StemName),
            f"stem must be one of {', '.join(get_args(StemName))}, not {self.stem!r}",
        )
        require(min(self.modules) >= 1, f"modules must be at least 1, not {self.modules}")
        require(self.blocks >= 1, f"blocks must be at least 1, not {self.blocks}")
        require(
            self.deconv_blocks >= 0, f"deconv_blocks must not be negative: {self.deconv_blocks}"
        )
        require(
            set(self.deconv_kernels) <= {2, 3, 4},
            f"deconv_kernels must each be 2, 3 or 4, not {self.deconv_kernels}",
        )
        require(
            not self.scale_maps or self.head == "tags",
            f"scale maps (SWAHR) need the head tags, not {self.head}",
        )

    @property
    def num_tags(self) -> int:
        """The number of tag maps of a network that predicts tags."""
        return self.num_keypoints if self.tag_per_keypoint else 1

    @property
    def has_tags(self) -> bool:
        """Whether the network predicts tags."""
        return self.head in ("tags", "tags-and-offsets")

    @property
    def has_offsets(self) -> bool:
        """Whether the network predicts centers and offsets."""
        return self.head in ("offsets", "tags-and-offsets")

    @property
    def strides(self) -> tuple[int, ...]:
        """The stride of each output of the network, coarsest first, centers and offsets last."""
        if self.head == "offsets":
            return 4, 4
        strides = tuple(4 >> output for output in range(1 + len(self.deconv_kernels)))
        return (*strides, 4) if self.has_offsets else strides

    @property
    def heatmap_strides(self) -> tuple[int, ...]:
        """The strides at which the network predicts heatmaps, coarsest first."""
        return tuple(dict.fromkeys(self.strides))


@dataclass(frozen=True)
class InputConfig:
    """The input of the network.

    The fields are described in the online API reference and in `higherhrnet train RECIPE --help`.
    """

    size: int = 512
    """Length in pixels of the sides of the square training crops, and by default of the shorter
    side of images at inference; a multiple of 32."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean of the red, green and blue values, from 0 to 1, which is subtracted from each pixel."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Standard deviation of the red, green and blue values, from 0 to 1, by which each pixel is
    divided after the mean is subtracted."""
    convention: Convention = "reference"
    """Definition of pixel coordinates. reference: the first pixel's center is at 0, as in the code
    of the paper's authors; unbiased: it is at 0.5, so that flips and resizes are exact; udp:
    resizes align the centers of the outermost pixels, as in MMPose's UDP (not for training)."""

    def __post_init__(self) -> None:
        require(
            self.size > 0 and self.size % 32 == 0,
            f"input size must be a multiple of 32, not {self.size}",
        )
        require(min(self.std) > 0, f"std must be above 0, not {self.std}")
        require(
            self.convention in get_args(Convention),
            f"convention must be one of {', '.join(get_args(Convention))}, not {self.convention!r}",
        )

    @property
    def align_corners(self) -> bool:
        """Whether the centers of the corner cells of all maps are at the same positions."""
        return self.convention == "udp"
