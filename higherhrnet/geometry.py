"""Where a pixel goes: every resize, flip and offset between photograph and maps is decided here.

Two conventions. `original` is what the paper's authors' code does: coordinates count pixels by
their index and are scaled as they are, so that a flip at stride s is off by 1 - 1/s cells; their
weights have learnt it. `unbiased` counts from the image's edge: the first pixel's centre is at 0.5,
and resizes and flips are exact inverses of themselves (the idea known as UDP, CVPR 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.config import Convention
from higherhrnet.errors import InputError

Matrix = NDArray[np.float64]
"""(2, 3): (x, y, 1) to (x', y')."""

FIRST_PIXEL_CENTER: dict[Convention, float] = {"reference": 0.0, "unbiased": 0.5}
"""The coordinates of the first pixel's centre. Annotations and OpenCV count pixels by their index:
this is what is added to theirs."""

MAX_NETWORK_PIXELS = 2**23
STRIDE = 32
"""The network's coarsest; its input's sides are multiples of it."""


def transform(points: NDArray[np.floating], matrix: Matrix) -> NDArray[np.float64]:
    """(..., 2) points through an affine matrix."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def invert(matrix: Matrix) -> Matrix:
    """The matrix that undoes an affine matrix."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.concatenate([linear, -linear @ matrix[:, 2:]], 1)


def network_size(
    height: int, width: int, input_size: int, scale: float = 1.0, min_scale: float = 1.0
) -> tuple[int, int]:
    """Width and height at which a photograph is shown to the network (the original's rule).

    The shorter side becomes `input_size` times `scale`. The longer is rounded up to a multiple of
    64 at the smallest scale, so that the maps of all scales lie over each other.
    """

    def round_up(pixels: float) -> int:
        return int((pixels + 63) // 64 * 64)

    short = round_up(min_scale * input_size)
    long = round_up(short / min(height, width) * max(height, width))
    sides = int(short * scale / min_scale), int(long * scale / min_scale)
    return sides if width < height else sides[::-1]


def warp(
    image: NDArray[np.uint8],
    matrix: Matrix,
    width: int,
    height: int,
    convention: Convention,
    border: int = 0,
) -> NDArray[np.uint8]:
    """(h, w) or (h, w, C) image through a matrix in the convention's coordinates, linearly.

    The result is (height, width) or (height, width, C), and `border` where the image is not.
    """
    center = FIRST_PIXEL_CENTER[convention]
    matrix = matrix.copy()
    matrix[:, 2] += matrix[:, :2].sum(1) * center - center
    value = (border,) * 4
    warped = cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=value
    )
    return np.asarray(warped, np.uint8)


@dataclass(frozen=True)
class Resize:
    """A photograph's way into the network, and its own undo."""

    width: int
    height: int
    matrix: Matrix
    """Photograph to network input, both in the convention's coordinates."""
    convention: Convention

    def warp(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(h, w, 3) photograph → (height, width, 3) network input; black where there is none.

        Raises:
            InputError: the network's input would be too large for memory, or of a size that it
                cannot take.
        """
        if self.width % STRIDE or self.height % STRIDE:
            raise InputError(
                f"these scales would show the network {self.width}×{self.height} pixels, no "
                f"multiples of {STRIDE}; use scales that halve or double, like 0.5 1 2"
            )
        if self.width * self.height > MAX_NETWORK_PIXELS:
            raise InputError(
                f"{image.shape[1]}×{image.shape[0]} pixels would be shown to the network at "
                f"{self.width}×{self.height}, past {MAX_NETWORK_PIXELS / 1e6:.1f} million pixels; "
                "crop it, or use smaller scales"
            )
        return warp(image, self.matrix, self.width, self.height, self.convention)

    def to_image(
        self, points: NDArray[np.floating], map_width: int, map_height: int
    ) -> NDArray[np.float64]:
        """(..., 2) points on a map that spans the network's input → the photograph's pixels.

        In both conventions the result counts pixels by their index, as annotations do.
        """
        strides = np.array([self.width / map_width, self.height / map_height])
        return (
            transform(points * strides, invert(self.matrix)) - FIRST_PIXEL_CENTER[self.convention]
        )

    def box(self) -> tuple[float, float, float, float]:
        """x, y, width and height of the network's input on the photograph, pixels from its edge."""
        sides = (
            np.array([[0, 0], [self.width, self.height]])
            + FIRST_PIXEL_CENTER[self.convention]
            - 0.5
        )
        (left, top), (right, bottom) = self.to_image(sides, self.width, self.height) + 0.5
        return float(left), float(top), float(right - left), float(bottom - top)


def resize_for_network(
    height: int,
    width: int,
    input_size: int,
    scale: float = 1.0,
    min_scale: float = 1.0,
    convention: Convention = "reference",
) -> Resize:
    """How a photograph of this size is resized and centred for the network.

    Args:
        height: of the photograph, pixels.
        width: of the photograph, pixels.
        input_size: pixels of the shorter side at scale 1.
        scale: this view's size.
        min_scale: the smallest of all views' sizes.
        convention: how pixels are counted.
    """
    w, h = network_size(height, width, input_size, scale, min_scale)
    factor = w / width if width < height else h / height
    center = np.array([width / 2, height / 2])
    if convention == "reference":
        center = np.floor(center + 0.5)  # on a whole pixel
    offset = np.array([w / 2, h / 2]) - factor * center
    matrix = np.array([[factor, 0, offset[0]], [0, factor, offset[1]]])
    return Resize(w, h, matrix, convention)
