"""Configuration: frozen dataclasses, one a concern, checked when made, the paper's values first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, Literal, get_args

from higherhrnet.errors import InputError, require
from higherhrnet.plain import from_dict
from higherhrnet.skeleton import COCO, Skeleton

Convention = Literal["reference", "unbiased"]
"""How pixels are counted; see geometry.py."""

StemName = Literal["hrnet", "efficientnet-lite0", "efficientnet-lite2", "movenet"]
"""What makes a network's first features."""


@dataclass(frozen=True)
class ModelConfig:
    """The network's shape: all that is needed to build it."""

    width: int = 32
    """Channels of the finest branch, doubling at each coarser one; the paper uses 32 and 48."""
    num_keypoints: int = 17
    """Heatmaps the network gives: 17 for COCO, 14 for CrowdPose."""
    tag_per_keypoint: bool = True
    """One tag map a keypoint, as the paper; False: one that all keypoints share."""
    deconv_kernels: tuple[int, ...] = (4,)
    """Kernel size (2, 3 or 4) of each transposed-convolution module; every one doubles the
    resolution, and their number is how many there are."""
    deconv_blocks: int = 4
    """Residual blocks after each transposed convolution."""
    stem: StemName = "hrnet"
    """What makes the first features: the paper's own stem, or a small network that can start from
    ImageNet or from MoveNet, whose four resolutions open the branches (EfficientHRNet). Both were
    trained on pixels from -1 to 1: a mean and std of about 0.5."""
    modules: tuple[int, int, int] = (1, 4, 3)
    """Modules in stages 2, 3 and 4, where the resolutions run side by side."""
    blocks: int = 4
    """Residual blocks a branch, in each module."""

    def __post_init__(self) -> None:
        require(self.width >= 1, f"width must be at least 1, not {self.width}")
        require(self.num_keypoints >= 1, f"num_keypoints must be at least 1: {self.num_keypoints}")
        require(
            self.stem in get_args(StemName),
            f"trunk must be one of {', '.join(get_args(StemName))}, not {self.stem!r}",
        )
        require(
            min(self.modules) >= 1 and self.blocks >= 1,
            f"modules and blocks must be at least 1: {self.modules}, {self.blocks}",
        )
        require(
            self.deconv_blocks >= 0, f"deconv_blocks must not be negative: {self.deconv_blocks}"
        )
        require(
            set(self.deconv_kernels) <= {2, 3, 4},
            f"deconv_kernels must each be 2, 3 or 4, not {self.deconv_kernels}",
        )

    @property
    def num_tags(self) -> int:
        """Tag maps the network gives."""
        return self.num_keypoints if self.tag_per_keypoint else 1


@dataclass(frozen=True)
class InputConfig:
    """What the network was trained to see."""

    size: int = 512
    """Pixels of the photograph's shorter side as the network sees it; a multiple of 32."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Of red, green and blue in 0 to 1, subtracted first."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Of red, green and blue, divided by after."""
    convention: Convention = "reference"
    """How pixels are counted: as the authors' code, or with exact flips and resizes."""

    def __post_init__(self) -> None:
        require(
            self.size > 0 and self.size % 32 == 0,
            f"input size must be a multiple of 32, not {self.size}",
        )
        require(min(self.std) > 0, f"std must be above 0, not {self.std}")
        require(
            self.convention in get_args(Convention),
            f"convention must be one of {get_args(Convention)}, not {self.convention!r}",
        )


@dataclass(frozen=True)
class DecodeConfig:
    """How maps become people. The defaults are the original's published settings."""

    max_people: int = 30
    """Peaks kept a keypoint, and groups that a peak can join."""
    min_peak: float = 0.1
    """A peak is a candidate when its heatmap is above this (DETECTION_THRESHOLD)."""
    max_tag_distance: float = 1.0
    """A candidate joins a group when their tags are nearer than this (TAG_THRESHOLD)."""
    position_weight: float = 0.0
    """Where a keypoint is counts as two tags more, each this number times x or y in shorter sides
    of the map: people who are far apart may then share a tag. The original has only tags."""
    score_in_cost: bool = True
    """Tag distances are rounded, and among equals the higher peak is served first."""
    peak_window: int = 5
    """Side of the square, in pixels of the decoded map, in which a peak must be the largest.
    The original's 5 spans half a cell of the network's output; larger values merge twin peaks."""
    adjust: bool = True
    """Move each keypoint a quarter pixel towards its higher neighbours."""
    refine: bool = True
    """Give each person its missing keypoints from where map and tag agree best."""
    min_refined_score: float = 0.0
    """A refined keypoint below this is left out. The original keeps all above 0."""
    min_score: float = 0.0
    """People below this score are left out."""
    oks_nms: float | None = None
    """Of two people more alike than this (Object Keypoint Similarity, 0 to 1), keep the better."""
    limit: int | None = None
    """Give no more than this many people, the best first to stay; the original has no limit."""

    def __post_init__(self) -> None:
        require(self.max_people >= 1, f"max_people must be at least 1, not {self.max_people}")
        require(
            self.peak_window >= 1 and self.peak_window % 2 == 1,
            f"peak_window must be odd, not {self.peak_window}",
        )
        require(
            self.position_weight >= 0,
            f"position_weight must not be negative: {self.position_weight}",
        )
        for name in ("min_peak", "max_tag_distance"):
            require(isfinite(getattr(self, name)), f"{name} must be a number")
        for name in ("min_refined_score", "min_score"):
            require(0 <= getattr(self, name) <= 1, f"{name} must be between 0 and 1")
        require(
            self.oks_nms is None or 0 < self.oks_nms <= 1,
            f"oks_nms must be between 0 and 1, not {self.oks_nms}",
        )
        require(
            self.limit is None or self.limit >= 1,
            f"limit must be at least 1, not {self.limit}",
        )


@dataclass(frozen=True)
class InferenceConfig:
    """How a photograph is shown to the network at test time, and how its maps are read."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    size: int | None = None
    """Pixels of the photograph's shorter side, a multiple of 32; the input's own size if not said.
    Networks trained on crops see people best where these are as large as in the crops."""
    flip: bool = True
    """Show the mirrored photograph too, and average."""
    align_flip: bool = False
    """Shift the mirrored view so that its maps fall exactly on the plain view's, where the
    original's training leaves them three pixels apart."""
    scales: tuple[float, ...] = (1.0,)
    """Sizes at which the photograph is shown, relative to the input size; heatmaps are averaged,
    tags come from scale 1."""
    project: bool = True
    """Decode at the network's input resolution, as the original; False: at its finest map's."""
    decode: DecodeConfig = field(default_factory=DecodeConfig)

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
            f"scales must include 1, whose tags are used, not {self.scales}",
        )


@dataclass(frozen=True)
class Header:
    """What a weight file says about itself: enough to build, feed and read the network."""

    model: ModelConfig = field(default_factory=ModelConfig)
    skeleton: Skeleton = COCO
    input: InputConfig = field(default_factory=InputConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    """The settings that suit these weights best."""
    training: dict[str, Any] = field(default_factory=dict)
    """Facts about how the weights came to be: data, recipe, epochs, figures, licence."""

    def __post_init__(self) -> None:
        require(
            self.model.num_keypoints == len(self.skeleton),
            f"the network gives {self.model.num_keypoints} keypoints, "
            f"the skeleton {self.skeleton.name} has {len(self.skeleton)}",
        )

    KEY = "higherhrnet"
    """The entry of a file's metadata that holds the header."""

    def to_metadata(self) -> dict[str, str]:
        """The header as the one string entry that safetensors and ONNX files carry."""
        return {self.KEY: json.dumps(asdict(self))}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str] | None, source: str) -> Header:
        """The header out of a file's metadata.

        Args:
            metadata: the file's own entries.
            source: the file, for the error's sake.

        Raises:
            InputError: there is none, or it does not make sense.
        """
        try:
            return from_dict(cls, _with_current_names(json.loads((metadata or {})[cls.KEY])))
        except KeyError as error:
            raise InputError(
                f"{source}: no higherhrnet header inside, so its shape is unknown; for weights "
                f"of the paper's authors or MMPose run `higherhrnet convert {source} OUT` first"
            ) from error
        except (TypeError, ValueError) as error:
            raise InputError(f"{source}: its header cannot be read: {error}") from error


def _with_current_names(header: Any) -> Any:  # noqa: ANN401 (JSON)
    """A header whose names are those of today, where it was written with earlier ones."""
    if not isinstance(header, dict):
        return header
    header = dict(header)
    if "test" in header:
        header["inference"] = header.pop("test")
    for path, old, new in (
        (("model",), "trunk", "stem"),
        (("inference", "decode"), "position", "position_weight"),
    ):
        parts: Any = header
        for key in path:
            parts = parts.get(key) if isinstance(parts, dict) else None
        if isinstance(parts, dict) and old in parts:
            parts[new] = parts.pop(old)
    if isinstance(header.get("input"), dict) and header["input"].get("convention") == "original":
        header["input"]["convention"] = "reference"
    return header
