"""The rescoring network of a model file: its weights, and the limbs from which it reads a pose."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, get_args

import numpy as np

from higherhrnet.arrays import FloatArray
from higherhrnet.config.flags import flag
from higherhrnet.config.model import HeadName
from higherhrnet.errors import InputError, require

RescoringInputs = Literal["auto", "pose", "context"]
"""The inputs with which a rescoring network is trained."""
_TYPE = np.dtype("<f4")
NUM_CONTEXT_INPUTS = 5
"""The number of inputs that only networks with context have."""


@dataclass(frozen=True)
class RescoringNetwork:
    """A network of three layers that predicts the accuracy of a pose.

    DEKR's network predicts the Object Keypoint Similarity (OKS) of the pose, by which the person's
    score is multiplied. With `context`, the sigmoid of the network's output predicts which fraction
    of COCO's ten OKS thresholds, from 0.50 to 0.95, the pose passes; this prediction replaces the
    score.

    Raises:
        InputError: a link is invalid, or the weights do not have the size of the network.
    """

    num_keypoints: int
    """K, the number of keypoints of a pose."""
    links: tuple[tuple[int, int], ...]
    """Pairs of keypoints whose differences and distances are inputs of the network."""
    unit_links: tuple[int, ...]
    """Indices of the links whose mean length is the unit of all lengths."""
    hidden: int
    """Number of units of each hidden layer."""
    weights: str
    """The weights and biases of the layers in their order, as little-endian float32 in base64."""
    context: bool = False
    """Whether the inputs of the network also contain the person's score, its size and its overlap
    with the other people of the image; see `decoding.rescore.context_features`."""

    def __post_init__(self) -> None:
        ends = [end for link in self.links for end in link]
        require(
            all(0 <= end < self.num_keypoints for end in ends)
            and len(self.unit_links) > 0
            and all(0 <= link < len(self.links) for link in self.unit_links),
            "the rescoring network has links of unknown keypoints",
        )
        try:
            size = len(base64.b64decode(self.weights, validate=True))
        except (binascii.Error, ValueError) as error:
            raise InputError(f"the rescoring network's weights are invalid: {error}") from error
        expected = sum(rows * columns + rows for rows, columns in self._shapes) * _TYPE.itemsize
        require(
            size == expected,
            f"the rescoring network's weights have {size} bytes instead of {expected}",
        )

    @property
    def num_inputs(self) -> int:
        """The number of inputs.

        They are x, y and length of each link, the score of each keypoint, and those of `context`.
        """
        return 3 * len(self.links) + self.num_keypoints + NUM_CONTEXT_INPUTS * self.context

    @property
    def _shapes(self) -> tuple[tuple[int, int], ...]:
        hidden = self.hidden
        return (hidden, self.num_inputs), (hidden, hidden), (1, hidden)

    @classmethod
    def from_layers(
        cls,
        layers: Sequence[tuple[FloatArray, FloatArray]],
        num_keypoints: int,
        links: Sequence[tuple[int, int]],
        unit_links: Sequence[int],
        context: bool = False,
    ) -> RescoringNetwork:
        """Creates the network from the (outputs, inputs) weights and biases of its layers."""
        values = [np.asarray(part, _TYPE).ravel() for layer in layers for part in layer]
        text = base64.b64encode(np.concatenate(values).tobytes()).decode()
        hidden = len(layers[0][1])
        return cls(num_keypoints, tuple(links), tuple(unit_links), hidden, text, context)

    @cached_property
    def layers(self) -> list[tuple[FloatArray, FloatArray]]:
        """The (outputs, inputs) weights and the biases of each layer, read-only.

        They are decoded once, because this takes longer than running the network.
        """
        values = np.frombuffer(base64.b64decode(self.weights), _TYPE).astype(np.float32)
        values.flags.writeable = False
        layers, start = [], 0
        for rows, columns in self._shapes:
            middle, end = start + rows * columns, start + rows * columns + rows
            layers.append((values[start:middle].reshape(rows, columns), values[middle:end]))
            start = end
        return layers


@dataclass(frozen=True)
class RescoringTraining:
    """The training of a rescoring network; for DEKR, the defaults are its published settings."""

    inputs: RescoringInputs = "auto"
    """Inputs of the rescoring network. pose: the shape of a pose and the scores of its keypoints,
    as in DEKR's paper; the person's score is multiplied by the prediction. context: also the
    person's score and size, the overlap of its box with those of other people, and the number of
    people; the prediction replaces the score. auto: context for models with --model.head
    tags-and-offsets, pose for DEKR."""
    epochs: Annotated[
        int | None, flag("20; for --inputs pose, as many as have 2000 steps", "INT")
    ] = None
    """Number of passes over the poses."""
    batch_size: int = 1024
    """Number of poses per batch; at most an eighth of the poses."""
    lr: float = 1e-3
    """Learning rate of Adam."""
    holdout: float = 0.1
    """Fraction of the images, 0 to 0.9, that are not used for training, but for measuring the
    effect of rescoring."""
    reference: bool = False
    """Train with the faults of the code of DEKR's authors: each pose is repeated for people of all
    sizes, of medium and of large size, and a perfect OKS of 1 counts as 0.
    Excludes --inputs context."""
    seed: int = 0
    """Seed of the initial weights, of the order of the poses and of the choice of images."""

    def __post_init__(self) -> None:
        require(
            self.inputs in get_args(RescoringInputs),
            f"inputs must be one of {', '.join(get_args(RescoringInputs))}, not {self.inputs!r}",
        )
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name} must be at least 1, not {value}")
        require(self.lr > 0, f"lr must be above 0, not {self.lr}")
        require(0 <= self.holdout <= 0.9, f"holdout must be from 0 to 0.9, not {self.holdout}")

    def has_context(self, head: HeadName) -> bool:
        """Returns whether the network to train for a model with this head has context.

        Raises:
            InputError: it has, but `reference` is set.
        """
        automatic = "context" if head == "tags-and-offsets" else "pose"
        context = (automatic if self.inputs == "auto" else self.inputs) == "context"
        require(
            not (context and self.reference),
            "--reference trains as the code of DEKR's authors does, without context; add --inputs "
            "pose",
        )
        return context
