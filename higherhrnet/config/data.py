"""The settings of training data: datasets and augmentation.

Frozen dataclasses that check their values when they are created. The defaults are those of the
reference implementation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from higherhrnet.config.flags import flag, required
from higherhrnet.errors import require

BaseSide = Literal["short", "long"]


@dataclass(frozen=True)
class DataConfig:
    """The datasets of a training run."""

    train: Annotated[
        tuple[str, ...],
        required("ANNOTATIONS[,IMAGES[,WEIGHT]] ..."),
    ] = ()
    """Training datasets. ANNOTATIONS is a COCO keypoints file; IMAGES is the folder or .zip file
    of its images, searched for next to ANNOTATIONS if it is omitted; WEIGHT is how often each
    image is used per epoch, 1 if it is omitted. Several datasets are merged by the names of their
    keypoints."""
    val: Annotated[str | None, flag("none; AP is not measured", "ANNOTATIONS[,IMAGES]")] = None
    """Validation dataset, on which AP is measured during training."""
    skeleton: Annotated[str | None, flag("all keypoints of the datasets", "NAME|FILE")] = None
    """Keypoints that the network learns: coco, crowdpose, aic, coco_wholebody or a .toml file that
    describes them."""
    mask: bool = True
    """Exclude crowd regions and people without annotated keypoints from the loss. No effect on
    CrowdPose, which has no such annotations."""
    overfit: Annotated[int | None, flag("use all images", "INT")] = None
    """Train and validate on this number of images of the first dataset, with flips and translations
    as the only augmentation, to test that the network can learn them; --val is ignored. An epoch
    then has few steps: set --epochs to 1000 or more."""
    workers: Annotated[
        int | None,
        flag("CPU cores divided by local training processes, minus 1, at most 16", "INT"),
    ] = None
    """Number of data-loading processes per training process."""

    def __post_init__(self) -> None:
        require(
            self.overfit is None or self.overfit >= 1,
            f"overfit must be at least 1, not {self.overfit}",
        )
        require(
            self.workers is None or self.workers >= 0,
            f"workers must not be negative: {self.workers}",
        )


@dataclass(frozen=True)
class AugmentConfig:
    """Data augmentation of the training images."""

    rotation: float = 30.0
    """Maximum rotation in degrees, in either direction."""
    scale: tuple[float, float] = (0.75, 1.5)
    """Minimum and maximum side of the square crop, as factors of the side of the image that
    --augment.base-side selects. Larger crops make people smaller."""
    base_side: BaseSide = "short"
    """The side of the image to which the factors of --augment.scale refer: the shorter or the
    longer."""
    translation: float = 0.2
    """Maximum offset of the crop's center along x and y, as a factor of the crop's side."""
    center_on_keypoint: float = 0.0
    """Probability that the crop is centered on a random keypoint instead of on the image. Useful if
    crops are smaller than the images, because fewer crops are without people."""
    flip: float = 0.5
    """Probability of a horizontal flip."""
    mask_padding: bool = True
    """Exclude the area outside the image from the loss, as the reference implementation does;
    otherwise it is background."""
    color: float = 0.0
    """Strength of the color augmentation, 0 to 1: brightness, contrast, saturation and hue."""
    paste: float = 0.0
    """Probability that people from another training image are pasted into the image."""

    def __post_init__(self) -> None:
        require(self.rotation >= 0, f"rotation must not be negative: {self.rotation}")
        require(
            0 < self.scale[0] <= self.scale[1],
            f"scale must be a minimum above 0 and a maximum, not {self.scale}",
        )
        require(
            self.base_side in get_args(BaseSide),
            f"base_side must be short or long, not {self.base_side!r}",
        )
        require(self.translation >= 0, f"translation must not be negative: {self.translation}")
        for name in ("center_on_keypoint", "flip", "color", "paste"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"{name} must be between 0 and 1, not {value}")
