"""Other light: brightness, contrast, saturation and hue, varied by chance."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import Image

LIGHT, HUE = 0.4, 30.0
"""At strength 1: the change of brightness, contrast and saturation, as a factor, and of hue, in
degrees, at most."""

_GREY = np.array([0.299, 0.587, 0.114])  # what red, green and blue add to how light a pixel is


def jitter_color(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """(H, W, 3) RGB with its colours changed, by more the larger the strength, from 0 to 1.

    All four changes are affine in red, green and blue, so one matrix does them; contrast is about
    the image's mean, the others leave grey grey.
    """
    brightness, contrast, saturation = 1 + LIGHT * strength * rng.uniform(-1, 1, 3)
    turn = np.deg2rad(HUE * strength * rng.uniform(-1, 1))
    mean = _GREY @ np.array(cv2.mean(image)[:3])
    linear = contrast * _colour_matrix(saturation, turn)
    offset = np.full((3, 1), (1 - contrast) * mean)
    matrix = brightness * np.hstack([linear, offset])
    return np.asarray(cv2.transform(image, matrix.astype(np.float32)), np.uint8)


def _colour_matrix(saturation: float, turn: float) -> NDArray[np.float64]:
    """(3, 3) that keeps each pixel's lightness, and stretches and turns its colour about grey."""
    rotation = cv2.Rodrigues(np.full(3, turn / np.sqrt(3)))[0]  # about the axis of the greys
    light = np.outer(np.ones(3), _GREY)  # to the grey that is as light
    return np.asarray(light + saturation * (np.eye(3) - light) @ rotation, np.float64)
