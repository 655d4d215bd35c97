"""The settings of inference: the views of an image, and the decoding of the maps.

Frozen dataclasses that check their values when they are created. The defaults are the published
settings of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import Annotated

from higherhrnet.config.centers import CenterDecodeConfig
from higherhrnet.config.flags import flag
from higherhrnet.config.offsets import OffsetDecodeConfig
from higherhrnet.errors import require
from higherhrnet.geometry import Convention


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
    mean heatmap value of all keypoints before refinement; missing keypoints count as 0. Networks
    that predict offsets multiply it by the value of the person's center or its square root. A
    rescoring network in the model file multiplies the score by its prediction, or its prediction
    is the score."""
    oks_nms: Annotated[float | None, flag("nobody is omitted", "FLOAT")] = None
    """Omit a person whose Object Keypoint Similarity with a person of a higher score is above this
    value, 0 to 1."""
    max_results: Annotated[int | None, flag("no limit", "INT")] = None
    """Maximum number of people per image; those with the highest scores are kept."""
    offsets: OffsetDecodeConfig = field(default_factory=OffsetDecodeConfig)
    """Settings for networks that predict offsets. Of the settings above, these networks use only
    max_people, min_score, oks_nms and max_results."""
    centers: CenterDecodeConfig = field(default_factory=CenterDecodeConfig)
    """Settings for networks that predict tags and offsets. Of the other settings, these networks
    use only max_people, min_peak, peak_window, min_score, oks_nms, max_results and
    offsets.rescore."""

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
    """Length in pixels of the shorter side of the network's input. It must be a multiple of 32 and
    is rounded up to a multiple of 64 (at the smallest scale). Accuracy is highest where people are
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
            len(self.scales) > 0 and all(isfinite(scale) and scale > 0 for scale in self.scales),
            f"scales must be above 0 and finite, not {self.scales}",
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
