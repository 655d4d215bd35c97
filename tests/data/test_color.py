"""Colours against SciPy's rotations and plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from higherhrnet.data.color import HUE, LIGHT, jitter_color
from higherhrnet.synthetic.scenes import draw_scene

GREY = np.array([0.299, 0.587, 0.114])


def gentle(seed: int = 0) -> NDArray[np.uint8]:
    """A picture whose colours are far from black and white, so that nothing is cut off."""
    image = draw_scene(seed, height=64, width=64).image
    return (96 + image.astype(np.float64) / 5).astype(np.uint8)


def one_by_one(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float64]:
    """Each change by itself, for strength 1."""
    brightness, contrast, saturation = 1 + LIGHT * rng.uniform(-1, 1, 3)
    turn = HUE * rng.uniform(-1, 1)
    colors = image.reshape(-1, 3).astype(np.float64)
    light = (colors @ GREY)[:, None]
    turned = Rotation.from_rotvec(np.ones(3) / 3**0.5 * turn, degrees=True).apply(colors)
    turned += light - (turned @ GREY)[:, None]  # as light as it was
    saturated = light + saturation * (turned - light)
    contrasted = light.mean() + contrast * (saturated - light.mean())
    return np.asarray((brightness * contrasted).reshape(image.shape))


@pytest.mark.parametrize("seed", range(8))
def test_one_matrix_does_what_four_changes_do(seed: int) -> None:
    image = gentle(seed)
    varied = jitter_color(image, 1, np.random.default_rng(seed))
    expected = one_by_one(image, np.random.default_rng(seed)).clip(0, 255)
    np.testing.assert_allclose(varied, expected, atol=1.01)
    assert np.abs(varied.astype(int) - image).max() > 3


def test_strength_is_how_much_changes() -> None:
    image = gentle()
    changes = [
        np.mean([
            np.abs(jitter_color(image, strength, np.random.default_rng(seed)).astype(int) - image)
            for seed in range(20)
        ])
        for strength in (0, 0.3, 1)
    ]  # fmt: skip
    assert changes[0] == 0
    assert 0.2 < changes[1] / changes[2] < 0.4


def test_grey_stays_grey_and_extremes_are_cut_off() -> None:
    gray = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None].repeat(4, 1), 3, 2)
    for seed in range(10):
        varied = jitter_color(gray, 1, np.random.default_rng(seed)).astype(int)
        assert np.ptp(varied, axis=2).max() <= 1
        assert (np.diff(varied[:, 0, 0]) >= 0).all()  # what was lighter is still: nothing wraps
