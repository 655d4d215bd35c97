"""One crop for all: the original's to the digit, and the unbiased convention's exact mirrors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from higherhrnet.config import Convention, InputConfig
from higherhrnet.data.augment import Sample, augment, crop, crop_matrix, mirror
from higherhrnet.data.dataset import Photograph
from higherhrnet.data.scenes import draw_scene
from higherhrnet.recipes import AugmentConfig
from higherhrnet.skeleton import COCO

CONVENTIONS: list[Convention] = ["original", "unbiased"]
LABELLED = np.arange(17) > 4


def photograph(seed: int = 0, height: int = 96, width: int = 128) -> Photograph:
    """A drawn scene of which a corner is masked out."""
    scene = draw_scene(seed, height=height, width=width, people=(3, 3), side_tones=False)
    mask = np.ones((height, width), np.bool_)
    mask[: height // 3, : width // 2] = False
    sizes = scene.boxes[:, 2:].max(1)
    return Photograph("drawn", scene.image, scene.keypoints, sizes, mask, LABELLED)


def unbiased(size: int = 64) -> InputConfig:
    return InputConfig(size, convention="unbiased")


def sample(seed: int, config: AugmentConfig, input: InputConfig, of: Photograph) -> Sample:
    return augment(of, config, input, COCO, np.random.default_rng(seed))


@pytest.mark.golden
def test_crops_are_the_originals(golden: Path) -> None:
    arrays = np.load(golden / "augment.npz")
    cases = sorted({key.split("/")[0] for key in arrays})
    assert cases
    for case in cases:
        image, mask, people, centre, side, degrees = (
            arrays[f"{case}/{what}"]
            for what in ("image", "mask", "people", "centre", "crop_side", "degrees")
        )
        matrix = crop_matrix(centre, side, degrees, 128)
        np.testing.assert_allclose(matrix, arrays[f"{case}/matrix_input"], rtol=1e-12, atol=1e-12)
        sizes = np.full(len(people), side)
        keypoints = people.astype(np.float32)
        source = Photograph(case, image, keypoints, sizes, mask, LABELLED)
        cropped = crop(source, matrix, InputConfig(128))
        np.testing.assert_array_equal(cropped.image, arrays[f"{case}/out_image"], err_msg=case)
        np.testing.assert_allclose(cropped.sizes, 128, rtol=1e-5)
        for level, stride in enumerate((4, 2)):
            expected = arrays[f"{case}/out_mask{level}"] == 1
            np.testing.assert_array_equal(cropped.masks[level], expected, err_msg=case)
            on_map = cropped.keypoints[..., :2] / stride
            points = arrays[f"{case}/out_people{level}"]
            np.testing.assert_allclose(on_map, points[..., :2], atol=1e-4, err_msg=case)
            np.testing.assert_array_equal(cropped.keypoints[..., 2], points[..., 2])
