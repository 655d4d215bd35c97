"""Images and skeletons of the tests of drawing."""

import numpy as np

from higherhrnet.arrays import Image
from higherhrnet.poses.skeleton import Skeleton

CHAIN = Skeleton(
    "chain", ("head", "body", "tail"), (("head", "body"), ("body", "tail")), (0.1,) * 3
)
DOT = Skeleton("dot", ("center",), (), (0.1,))

INVALID_IMAGES = [
    np.zeros((20, 30), np.uint8),
    np.zeros((20, 30, 1), np.uint8),
    np.zeros((20, 30, 4), np.uint8),
    np.zeros((20, 30, 3), np.float32),
    np.zeros((0, 30, 3), np.uint8),
]


def noise_image(height: int = 480, width: int = 640) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def non_contiguous_image() -> Image:
    """A view with other strides in every axis."""
    return np.rot90(noise_image())[::-1, :, ::-1]
