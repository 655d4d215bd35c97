"""The entry of a published model: its address, and what its publishers state about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from higherhrnet.config.model import HeadName, ModelConfig
from higherhrnet.poses.skeletons import COCO, SKELETONS


@dataclass(frozen=True)
class PublishedModel:
    """A weight file on the web that `higherhrnet convert` reads.

    None means that the value is not published or does not apply.
    """

    name: str
    """The name for `--model`, and for `--init` if it is a backbone."""
    url: str
    """The address of the file."""
    page: str
    """The address of a page that describes the model, from which it can be downloaded manually."""
    weight_format: Literal["authors", "mmpose", "imagenet"]
    """The format of the weights: that of the paper's authors, of MMPose, or of a classifier trained
    on ImageNet, which is only a backbone."""
    width: int
    """The number of channels at the highest resolution."""
    license: str
    """The SPDX identifier of the license."""
    input_size: int | None = None
    """The shorter side of the input in pixels."""
    skeleton: str | None = None
    """A key of `higherhrnet.poses.skeletons.SKELETONS`; None for a backbone."""
    evaluated_on: str | None = None
    """The dataset of the published AP."""
    ap: float | None = None
    """AP in percent at one scale, with the flipped view."""
    ap_multi_scale: float | None = None
    """AP in percent at scales 0.5, 1 and 2, unless the note states others. MMPose does not publish
    it for all models."""
    size: int | None = None
    """The size of the file in bytes."""
    digest: str | None = None
    """`sha256:` or `sha384:` followed by the hexadecimal digits, or the first ones if only these
    are published."""
    note: str = ""
    """A remark for the user."""
    head: HeadName = "tags"
    """The head of the network."""

    @property
    def config(self) -> ModelConfig:
        """The architecture."""
        keypoints = len(SKELETONS[self.skeleton or COCO.name])
        return ModelConfig(self.width, keypoints, head=self.head)
