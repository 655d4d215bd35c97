"""Draws heatmaps on an image, and the parts that other drawings of maps share."""

from __future__ import annotations

import cv2
import numpy as np

from higherhrnet.arrays import FloatArray, Image
from higherhrnet.io.images import require_rgb


def draw_heatmaps(image: Image, heatmaps: FloatArray) -> Image:
    """Draws the maximum of heatmaps as a glow on a darkened gray copy of an image.

    Args:
        image: (H, W, 3) RGB.
        heatmaps: (K, h, w), about 0 to 1; they cover the same area as the image.

    Returns:
        (H, W, 3) RGB.

    Raises:
        InputError: the image is not a uint8 array of shape (H, W, 3).
    """
    require_rgb(image)
    height, width = image.shape[:2]
    heat = cv2.resize(heatmaps.max(0).clip(0, 1), (width, height), interpolation=cv2.INTER_LINEAR)
    # The colormap is black at 0, so its colors are added like light instead of blended.
    glow = apply_colormap(heat, cv2.COLORMAP_INFERNO)
    return to_uint8(darkened(image) * (1 - heat[..., None]) + glow)


def apply_colormap(values: FloatArray, colormap: int) -> Image:
    """Converts (H, W) values from 0 to 1 to (H, W, 3) RGB."""
    bgr = cv2.applyColorMap(to_uint8(values * 255), colormap)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def darkened(image: Image) -> FloatArray:
    """Returns a darkened gray copy of an image in three channels, on which colors are visible."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.repeat(gray[..., None] * np.float32(0.4), 3, 2)


def to_uint8(values: FloatArray) -> Image:
    """Rounds values to 0 to 255."""
    return np.asarray(values.round().clip(0, 255), np.uint8)
