"""Color jitter against SciPy's rotations and four separate changes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from higherhrnet.arrays import DoubleArray, Image
from higherhrnet.data.color import MAX_FACTOR_CHANGE, MAX_HUE_CHANGE, jitter_color
from higherhrnet.synthetic.scenes import draw_scene

LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114])


def low_contrast_image(seed: int = 0) -> Image:
    """An image whose colors are so far from black and white that no change clips them."""
    image = draw_scene(seed, height=64, width=64).image
    return (96 + image.astype(np.float64) / 5).astype(np.uint8)


def change_one_by_one(image: Image, rng: np.random.Generator) -> DoubleArray:
    """Changes hue, saturation, contrast and brightness one after another, at strength 1."""
    brightness, contrast, saturation = 1 + MAX_FACTOR_CHANGE * rng.uniform(-1, 1, 3)
    hue = MAX_HUE_CHANGE * rng.uniform(-1, 1)
    colors = image.reshape(-1, 3).astype(np.float64)
    luma = (colors @ LUMA_WEIGHTS)[:, None]
    rotated = Rotation.from_rotvec(np.ones(3) / 3**0.5 * hue, degrees=True).apply(colors)
    rotated += luma - (rotated @ LUMA_WEIGHTS)[:, None]
    saturated = luma + saturation * (rotated - luma)
    contrasted = luma.mean() + contrast * (saturated - luma.mean())
    return np.asarray((brightness * contrasted).reshape(image.shape))


@pytest.mark.parametrize("seed", range(8))
def test_equals_four_separate_changes(seed: int) -> None:
    image = low_contrast_image(seed)
    changed = jitter_color(image, 1, np.random.default_rng(seed))
    expected = change_one_by_one(image, np.random.default_rng(seed)).clip(0, 255)
    np.testing.assert_allclose(changed, expected, atol=1.01)
    assert np.abs(changed.astype(int) - image).max() > 3


def test_changes_are_proportional_to_the_strength() -> None:
    image = low_contrast_image()

    def mean_change(strength: float) -> float:
        changed = [jitter_color(image, strength, np.random.default_rng(seed)) for seed in range(20)]
        return float(np.abs(np.stack(changed).astype(int) - image).mean())

    assert mean_change(0) == 0
    assert 0.2 < mean_change(0.3) / mean_change(1) < 0.4


def test_gray_stays_gray_and_values_are_clipped() -> None:
    gray = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None].repeat(4, 1), 3, 2)
    for seed in range(10):
        changed = jitter_color(gray, 1, np.random.default_rng(seed)).astype(int)
        assert np.ptp(changed, axis=2).max() <= 1
        assert (np.diff(changed[:, 0, 0]) >= 0).all()  # values that overflow would decrease
