"""Color augmentation: brightness, contrast, saturation and hue."""

from __future__ import annotations

import cv2
import numpy as np

from higherhrnet.arrays import DoubleArray, Image

MAX_FACTOR_CHANGE = 0.4
"""Maximum change of the factors of brightness, contrast and saturation at strength 1."""
MAX_HUE_CHANGE = 30.0
"""Maximum rotation of the hue at strength 1, in degrees."""

_LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601)


def jitter_color(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Changes the brightness, contrast, saturation and hue of an image at random.

    All four changes are affine in RGB, so a single matrix applies them. Contrast is relative to the
    mean of the image; the other three keep gray pixels gray.

    Args:
        image: (H, W, 3) RGB.
        strength: 0 for no change to 1 for the largest changes.
        rng: the source of random numbers.
    """
    brightness, contrast, saturation = 1 + MAX_FACTOR_CHANGE * strength * rng.uniform(-1, 1, 3)
    hue = np.deg2rad(MAX_HUE_CHANGE * strength * rng.uniform(-1, 1))
    mean = _LUMA_WEIGHTS @ np.array(cv2.mean(image)[:3])
    linear = contrast * _color_matrix(saturation, hue)
    offset = np.full((3, 1), (1 - contrast) * mean)
    matrix = brightness * np.hstack([linear, offset])
    return np.asarray(cv2.transform(image, matrix.astype(np.float32)), np.uint8)


def _color_matrix(saturation: float, hue: float) -> DoubleArray:
    """Computes the (3, 3) matrix that changes saturation and hue (radians), and keeps the luma."""
    rotation = cv2.Rodrigues(np.full(3, hue / np.sqrt(3)))[0]  # about the gray axis
    to_gray = np.outer(np.ones(3), _LUMA_WEIGHTS)
    return np.asarray(to_gray + saturation * (np.eye(3) - to_gray) @ rotation, np.float64)
