"""The settings of centers and offsets (DEKR): their targets in training, and their decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from higherhrnet.config.flags import flag
from higherhrnet.errors import require

NmsOrder = Literal["scale", "score"]
"""The order in which poses suppress their neighbors."""
PersonSize = Literal["reference", "box"]
"""The definition of the size of a person."""
Overlap = Literal["cell", "keypoint"]
"""What is compared where the offsets of several people overlap."""


@dataclass(frozen=True)
class OffsetTargetConfig:
    """The targets of centers and offsets; the defaults are DEKR's published settings for COCO."""

    center_sigma: float = 4.0
    """Standard deviation of the Gaussian at each center, in map cells. The reference implementation
    has 4 for COCO and, since it confuses the center with a keypoint, 2 for CrowdPose."""
    radius: int = 4
    """Half of the side, in map cells, of the square around a center in which the offsets are
    learned."""
    background: float = 0.1
    """Weight of the heatmap loss where no Gaussian is; it is 1 near keypoints and centers."""
    min_area: float = 1024.0
    """Annotated area, in square pixels of the image, below which a person has no center and no
    offsets. The reference implementation has 1024 for COCO and 0 for CrowdPose."""
    size: PersonSize = "reference"
    """Size of a person, by which the offset loss is divided, and which decides between people who
    overlap. reference: the diagonal of the box around the keypoints and the top left corner of the
    image, in pixels, as in the reference implementation; box: the diagonal of the box around the
    keypoints, in map cells, for which --losses.offset 0.002 is suitable."""
    unlabeled_centers: bool = True
    """Place the center of people without labeled keypoints at the top left corner of the image, as
    the reference implementation does; otherwise they have no center."""
    overlap: Overlap = "cell"
    """Which offset is learned where those of several people overlap. keypoint: that of the smaller
    person; cell: as in the reference implementation, which compares with the size last written in
    the cell, whichever keypoint it was written for, so that some offsets are of the larger person.
    """

    def __post_init__(self) -> None:
        require(self.center_sigma > 0, f"center_sigma must be above 0, not {self.center_sigma}")
        require(self.radius >= 1, f"radius must be at least 1, not {self.radius}")
        for name in ("background", "min_area"):
            value = getattr(self, name)
            require(value >= 0, f"{name} must not be negative: {value}")
        for name, kind in (("size", PersonSize), ("overlap", Overlap)):
            value = getattr(self, name)
            require(
                value in get_args(kind),
                f"{name} must be {' or '.join(get_args(kind))}, not {value!r}",
            )


@dataclass(frozen=True)
class OffsetDecodeConfig:
    """How heatmaps and offsets are decoded into people; the defaults are DEKR's published settings.

    The fields are described in the online API reference and in `higherhrnet train RECIPE --help`.
    """

    min_center: float = 0.01
    """Value of the center heatmap above which a local maximum is the center of a person
    (KEYPOINT_THRESHOLD in the reference implementation)."""
    nms_distance: Annotated[
        float | None, flag("0.05 with one scale, 0.15 with several", "FLOAT")
    ] = None
    """Distance, relative to the diagonal of a pose's box, below which a keypoint of another pose is
    near (NMS_THRE in the reference implementation)."""
    nms_keypoints: Annotated[int | None, flag("half of the keypoints, rounded down", "INT")] = None
    """Number of near keypoints above which two poses are of the same person, of which only one pose
    is kept (NMS_NUM_THRE in the reference implementation)."""
    nms_order: NmsOrder = "scale"
    """Order in which poses suppress those of the same person. scale: by scale and by the value of
    the center, as in the reference implementation, where a pose may suppress others that are not
    near the pose that is kept; score: by mean heatmap value, where only neighbors are removed."""
    other_scales: float = 0.9
    """Factor of the scores of poses that are found at scales other than 1 (DECREASE in the
    reference implementation); published as 0.9 for COCO and 0.8 for CrowdPose."""
    match: bool = False
    """Move each keypoint to the nearest peak of its heatmap, and then to the center of a Gaussian
    that is fitted to the heatmap (MATCH_HMP in the reference implementation)."""
    max_match_distance: float = 75.0
    """Distance in pixels of the network's input below which a keypoint is moved to a peak
    (MAX_ABSORB_DISTANCE in the reference implementation)."""
    min_fit_score: float = 0.05
    """Score above which a keypoint is moved to the center of a fitted Gaussian
    (ADJUST_THRESHOLD in the reference implementation)."""
    exact_fit: bool = False
    """Fit Gaussians at the border of the map to the positions of the pixels. The reference
    implementation mixes up rows and columns there."""
    rescore: bool = True
    """Correct the score of each person by the rescoring network, if the model file contains one:
    multiply it by the network's prediction, or replace it if the network has context. Applies also
    to networks that predict tags and offsets."""

    def __post_init__(self) -> None:
        require(
            self.nms_order in get_args(NmsOrder),
            f"nms_order must be one of {', '.join(get_args(NmsOrder))}, not {self.nms_order!r}",
        )
        for name in ("min_center", "min_fit_score"):
            value = getattr(self, name)
            require(0 <= value < 1, f"{name} must be at least 0 and below 1, not {value}")
        require(
            0 < self.other_scales <= 1,
            f"other_scales must be above 0 and at most 1, not {self.other_scales}",
        )
        for name in ("nms_distance", "nms_keypoints", "max_match_distance"):
            value = getattr(self, name)
            require(value is None or value >= 0, f"{name} must not be negative: {value}")
