"""The settings of decoding by centers, peaks and offsets together."""

from __future__ import annotations

from dataclasses import dataclass

from higherhrnet.errors import require


@dataclass(frozen=True)
class CenterDecodeConfig:
    """How heatmaps, centers and offsets are decoded into people.

    The fields are described in the online API reference and in `higherhrnet train RECIPE --help`.
    """

    min_center: float = 0.2
    """Value of the center heatmap above which a local maximum is the center of a person, 0 to 1."""
    max_similarity: float = 0.4
    """Object Keypoint Similarity of two poses, 0 to 1, above which they are of the same person;
    only the pose with the higher score is kept. They are compared after each keypoint has moved to
    its best peak, which several people may share."""
    match_sigma: float = 0.25
    """Standard deviation of the distance between a keypoint's peak and its regressed position, as a
    fraction of the size of the person (the square root of the area of the regressed keypoints'
    box). Peaks that are farther away are less likely to belong to the person."""
    min_match: float = 0.05
    """Value of a peak times the Gaussian of its distance, above which the peak can be assigned to
    the person, 0 to 1. Keypoints without a peak stay at their regressed positions."""

    def __post_init__(self) -> None:
        for name in ("min_center", "min_match"):
            value = getattr(self, name)
            require(0 <= value < 1, f"{name} must be at least 0 and below 1, not {value}")
        require(
            0 < self.max_similarity <= 1,
            f"max_similarity must be above 0 and at most 1, not {self.max_similarity}",
        )
        require(self.match_sigma > 0, f"match_sigma must be above 0, not {self.match_sigma}")
