"""The configuration of a model: architecture, input and inference settings.

Frozen dataclasses that check their values when they are created. The defaults are the published
settings of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import Annotated, Literal, get_args

from higherhrnet.errors import require
from higherhrnet.flags import flag
from higherhrnet.offset_config import OffsetDecodeConfig

Convention = Literal["reference", "unbiased", "udp"]
"""The definition of pixel coordinates; see `higherhrnet.geometry`."""

HeadName = Literal["tags", "offsets"]
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
    of tags and of transposed convolutions do not apply."""
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
    def strides(self) -> tuple[int, ...]:
        """The stride of each output of the network, coarsest first."""
        if self.head == "offsets":
            return 4, 4
        return tuple(4 >> output for output in range(1 + len(self.deconv_kernels)))

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


@dataclass(frozen=True)
class DecodeConfig:
    """How maps are decoded into people; the defaults are those of the reference implementation.

    The fields are described in the online API reference and in `higherhrnet train RECIPE --help`.
    """

    max_people: int = 30
    """Maximum number of peaks per keypoint. Peaks are also assigned only to the first people of an
    image, up to this number. With offsets, the maximum number of centers per scale and of people.
    --inference.decode.max-results limits the number of returned people."""
    min_peak: float = 0.1
    """Heatmap value above which a local maximum is a peak (DETECTION_THRESHOLD in the reference
    implementation)."""
    max_tag_distance: float = 1.0
    """Distance between the tags of a peak and of a person below which the peak can be assigned to
    the person (TAG_THRESHOLD in the reference implementation)."""
    position_weight: float = 0.0
    """Weight of positions in grouping: x and y, divided by the map's shorter side and multiplied by
    this weight, are appended to the tag, so that people who are far apart may have similar tags.
    0 groups by tags only, as in the paper."""
    score_in_cost: bool = True
    """Round tag distances in the assignment cost of peaks and people, so that the heatmap value
    decides between nearly equal distances."""
    peak_window: int = 5
    """Side in pixels of the square window on the decoded maps in which a peak must have the highest
    value; an odd number. Larger windows suppress double peaks."""
    adjust: bool = True
    """Shift keypoints by a quarter of a pixel toward the higher neighbor in the heatmap. Refined
    keypoints are always shifted."""
    refine: bool = True
    """Search each missing keypoint of a person at the pixel with the highest heatmap value minus
    rounded tag distance."""
    min_refined_score: float = 0.0
    """Minimum score of keypoints that are found by refinement, 0 to 1; others stay missing. The
    reference implementation uses 0."""
    min_score: float = 0.0
    """Minimum score of a person, 0 to 1; people with lower scores are omitted. The score is the
    mean heatmap value of all keypoints before refinement; missing keypoints count as 0."""
    oks_nms: Annotated[float | None, flag("nobody is omitted", "FLOAT")] = None
    """Omit a person whose Object Keypoint Similarity with a person of a higher score is above this
    value, 0 to 1."""
    max_results: Annotated[int | None, flag("no limit", "INT")] = None
    """Maximum number of people per image; those with the highest scores are kept."""
    offsets: OffsetDecodeConfig = field(default_factory=OffsetDecodeConfig)
    """Settings for networks that predict offsets. Of the settings above, these networks use only
    max_people, min_score, oks_nms and max_results."""

    def __post_init__(self) -> None:
        require(self.max_people >= 1, f"max_people must be at least 1, not {self.max_people}")
        require(
            self.peak_window >= 1 and self.peak_window % 2 == 1,
            f"peak_window must be odd and positive, not {self.peak_window}",
        )
        require(
            self.position_weight >= 0,
            f"position_weight must not be negative: {self.position_weight}",
        )
        for name in ("min_peak", "max_tag_distance"):
            value = getattr(self, name)
            require(isfinite(value), f"{name} must be a finite number, not {value}")
        for name in ("min_refined_score", "min_score"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"{name} must be between 0 and 1, not {value}")
        require(
            self.oks_nms is None or 0 < self.oks_nms <= 1,
            f"oks_nms must be above 0 and at most 1, not {self.oks_nms}",
        )
        require(
            self.max_results is None or self.max_results >= 1,
            f"max_results must be at least 1, not {self.max_results}",
        )


@dataclass(frozen=True)
class InferenceConfig:
    """Inference settings: the views of an image and the decoding of the maps.

    The fields are described in the online API reference and in `higherhrnet train RECIPE --help`.
    """

    size: Annotated[int | None, flag("the model's input size", "INT")] = None
    """Length in pixels of the shorter side of the network's input, a multiple of 32, which is
    rounded up to a multiple of 64 (at the smallest scale). Accuracy is highest where people are
    about as large as in the training crops."""
    flip: bool = True
    """Also run the network on the horizontally flipped image and average the maps. Doubles the
    computation."""
    align_flip: bool = False
    """Shift the flipped view by three input pixels, so that its maps at stride 4 align with those
    of the original view. Only for the reference convention."""
    scales: tuple[float, ...] = (1.0,)
    """Scales at which each image is processed, relative to the size. Several scales must include 1.
    Heatmaps are averaged over the scales; tags are taken from scale 1."""
    project: bool = True
    """Decode maps at the resolution of the network's input, as the reference implementation does;
    otherwise at the resolution of the network's finest output."""
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    """How maps are decoded into people; the defaults are those of the reference implementation."""

    def __post_init__(self) -> None:
        require(
            self.size is None or (self.size > 0 and self.size % 32 == 0),
            f"size must be a multiple of 32, not {self.size}",
        )
        require(
            len(self.scales) > 0 and min(self.scales) > 0,
            f"scales must be above 0, not {self.scales}",
        )
        require(
            len(self.scales) == 1 or 1 in self.scales,
            f"scales must include 1, from which the tags are taken, not {self.scales}",
        )

    def require_convention(self, convention: Convention) -> None:
        """Raises InputError if a setting is invalid with the convention of pixel coordinates."""
        require(
            not self.align_flip or convention == "reference",
            "align_flip needs the reference convention; turn it off, since the views of the "
            f"{convention} convention are aligned without it",
        )
