"""The transforms between images, the network's input and its maps.

There are three conventions for coordinates. `reference` is that of the reference implementation:
the center of the first pixel is at 0, and coordinates are scaled without regard to pixel centers,
so that a flip at stride s is off by 1 - 1/s cells. Weights of the paper's authors are trained with
it.
`unbiased` counts from the edge of the image: the center of the first pixel is at 0.5, and resizes
and flips are exact. `udp` is that of MMPose's UDP weights (Huang et al., CVPR 2020), whose resizes
and flips are exact, too: the center of the first pixel is at 0, and resizes align the centers of
the outermost pixels, so that n pixels have the length n - 1. The first pixels of the image, of the
network's input and of its maps coincide; what the input has in excess is to the right and below.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import DoubleArray
from higherhrnet.errors import InputError

Convention = Literal["reference", "unbiased", "udp"]
"""The definition of pixel coordinates."""

Matrix = NDArray[np.float64]
"""(2, 3) affine transform from (x, y, 1) to (x', y')."""

FIRST_PIXEL_CENTER: dict[Convention, float] = {"reference": 0.0, "unbiased": 0.5, "udp": 0.0}
"""For each convention, the coordinate of the center of the first pixel. In annotations and in
OpenCV it is 0, so this is the offset to their coordinates."""
FLIP_SHIFT = 3
"""Offset, in input pixels, between the maps of the flipped and the plain view in the `reference`
convention: the stride of the coarsest head minus 1."""

MAX_NETWORK_PIXELS = 2**23
"""Maximum number of pixels of the network's input."""
STRIDE = 32
"""Stride of the network's lowest resolution; the sides of its input are multiples of it."""


def main_scale(scales: Iterable[float]) -> float:
    """Returns scale 1, or the only scale: that whose tags are decoded and whose maps are drawn."""
    available = list(scales)
    return 1.0 if 1 in available else available[0]


def transform(points: NDArray[np.floating], matrix: Matrix) -> DoubleArray:
    """Applies an affine transform to (..., 2) points."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def invert(matrix: Matrix) -> Matrix:
    """Returns the inverse of an affine transform."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.concatenate([linear, -linear @ matrix[:, 2:]], 1)


def network_size(
    height: int, width: int, input_size: int, scale: float = 1.0, base_scale: float = 1.0
) -> tuple[int, int]:
    """Computes the size of the network's input for an image, as the reference implementation does.

    The shorter side becomes `input_size * scale`. The longer side is rounded up to a multiple of 64
    at one of the scales, so that the maps of all scales cover the same part of the image.

    Args:
        height: height of the image in pixels.
        width: width of the image in pixels.
        input_size: length of the shorter side at scale 1, in pixels.
        scale: scale of this view.
        base_scale: the scale at which the sides are multiples of 64; see `Decoder.base_scale`.

    Returns:
        Height and width in pixels.
    """

    def round_up(pixels: float) -> int:
        return int((pixels + 63) // 64 * 64)

    short = round_up(base_scale * input_size)
    long = round_up(short / min(height, width) * max(height, width))
    sides = int(short * scale / base_scale), int(long * scale / base_scale)
    return sides[::-1] if width < height else sides


def warp(
    image: NDArray[np.uint8],
    matrix: Matrix,
    size: tuple[int, int],
    convention: Convention,
    border: int = 0,
) -> NDArray[np.uint8]:
    """Applies an affine transform to an image, with bilinear interpolation.

    Args:
        image: (h, w) or (h, w, C).
        matrix: maps the image to the result, in the coordinates of the convention.
        size: height and width of the result in pixels.
        convention: the definition of pixel coordinates.
        border: value of pixels outside the image.

    Returns:
        (height, width) or (height, width, C).
    """
    center = FIRST_PIXEL_CENTER[convention]
    matrix = matrix.copy()
    matrix[:, 2] += matrix[:, :2].sum(1) * center - center
    value = (border,) * 4
    warped = cv2.warpAffine(image, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderValue=value)
    return np.asarray(warped, np.uint8)


@dataclass(frozen=True)
class Resize:
    """The transform of an image to the network's input, and its inverse."""

    size: tuple[int, int]
    """Height and width of the network's input in pixels."""
    matrix: Matrix
    """Maps the image to the network's input, both in the coordinates of the convention."""
    convention: Convention
    """The definition of pixel coordinates."""

    @property
    def height(self) -> int:
        """Height of the network's input in pixels."""
        return self.size[0]

    @property
    def width(self) -> int:
        """Width of the network's input in pixels."""
        return self.size[1]

    @property
    def image_side(self) -> float:
        """Length in pixels of the shorter side of the image."""
        if self.convention != "udp":
            return min(self.box()[2:])
        first, last = self.to_image(
            np.array([[0, 0], [self.width - 1, self.height - 1]]), self.size
        )
        return float((last - first).min()) + 1  # between the centers of the outermost pixels

    def warp(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resizes an image for the network.

        Args:
            image: (h, w, 3).

        Returns:
            (height, width, 3); black outside the image.

        Raises:
            InputError: the network's input would be too large, or its sides are not multiples of
                32.
        """
        if self.width % STRIDE or self.height % STRIDE:
            raise InputError(
                f"these scales would resize the image to {self.width}×{self.height} pixels, which "
                f"are not multiples of {STRIDE}; use powers of 2 as scales, for example 0.5 1 2"
            )
        if self.width * self.height > MAX_NETWORK_PIXELS:
            raise InputError(
                f"an image of {image.shape[1]}×{image.shape[0]} pixels would be resized to "
                f"{self.width}×{self.height} pixels for the network, more than the maximum of "
                f"{MAX_NETWORK_PIXELS / 1e6:.1f} million; crop it, or use smaller scales"
            )
        return warp(image, self.matrix, self.size, self.convention)

    def to_image(self, points: NDArray[np.floating], map_size: tuple[int, int]) -> DoubleArray:
        """Transforms points on a map to points on the image.

        Args:
            points: (..., 2) x and y on the map, in the coordinates of the convention.
            map_size: height and width of the map, which covers the network's input.

        Returns:
            (..., 2) x and y in pixels. As in annotations, the center of the first pixel is at 0 in
            all conventions.
        """
        sizes = np.array([self.size[::-1], map_size[::-1]])  # x before y, as in the points
        lengths = sizes - 1 if self.convention == "udp" else sizes
        strides = lengths[0] / lengths[1]
        return (
            transform(points * strides, invert(self.matrix)) - FIRST_PIXEL_CENTER[self.convention]
        )

    def box(self) -> tuple[float, float, float, float]:
        """Computes the part of the image that the network's input covers.

        Returns:
            x, y, width and height in pixels, where (0, 0) is the corner of the image.
        """
        sides = (
            np.array([[0, 0], [self.width, self.height]])
            + FIRST_PIXEL_CENTER[self.convention]
            - 0.5
        )
        (left, top), (right, bottom) = self.to_image(sides, self.size) + 0.5
        return float(left), float(top), float(right - left), float(bottom - top)


def resize_for_network(
    height: int,
    width: int,
    input_size: int,
    scale: float = 1.0,
    base_scale: float = 1.0,
    convention: Convention = "reference",
) -> Resize:
    """Computes the transform that resizes and centers an image for the network.

    Args:
        height: height of the image in pixels.
        width: width of the image in pixels.
        input_size: length of the shorter side at scale 1, in pixels.
        scale: scale of this view.
        base_scale: as in `network_size`.
        convention: the definition of pixel coordinates.
    """
    h, w = size = network_size(height, width, input_size, scale, base_scale)
    if convention == "udp":
        base_size = network_size(height, width, input_size, base_scale, base_scale)
        smallest = np.array(base_size[::-1]) - 1
        factor = min(smallest) / max(min(width, height) - 1, 1)
        factors = (np.array([w, h]) - 1) / smallest * factor
        return Resize(size, np.hstack([np.diag(factors), np.zeros((2, 1))]), convention)
    factor = w / width if width < height else h / height
    center = np.array([width / 2, height / 2])
    if convention == "reference":
        center = np.floor(center + 0.5)  # the reference implementation rounds to whole pixels
    offset = np.array([w / 2, h / 2]) - factor * center
    matrix = np.array([[factor, 0, offset[0]], [0, factor, offset[1]]])
    return Resize(size, matrix, convention)
