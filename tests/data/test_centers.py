"""Centers of people, and their sizes, from annotated keypoints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from higherhrnet.config.data import AugmentConfig
from higherhrnet.config.model import InputConfig
from higherhrnet.config.offsets import OffsetTargetConfig
from higherhrnet.data.augment import augment
from higherhrnet.data.centers import add_centers
from higherhrnet.data.dataset import AnnotatedImage
from higherhrnet.poses.skeletons import COCO


def annotated_image() -> AnnotatedImage:
    """A person with three labeled keypoints, one without any, and a small one with two."""
    keypoints = np.zeros((3, 17, 3), np.float32)
    keypoints[0, [0, 5, 16]] = (10, 20, 2), (40, 50, 1), (25, 80, 2)
    keypoints[0, 7] = 90, 90, 0  # not labeled, although it has a position
    keypoints[2, [1, 2]] = (60, 30, 2), (62, 34, 2)
    image, sizes = np.zeros((100, 100, 3), np.uint8), np.array([60, 5, 5], np.float32)
    areas = np.array([3000, 2000, 1023], np.float32)
    return AnnotatedImage("a.png", image, keypoints, sizes, areas, None, np.arange(17) != 3)


def test_the_center_is_the_mean_of_the_labeled_keypoints() -> None:
    source = annotated_image()
    result = add_centers(source, OffsetTargetConfig())
    assert result.keypoints.shape == (3, 18, 3)
    np.testing.assert_array_equal(result.keypoints[:, :17], source.keypoints)
    np.testing.assert_allclose(result.keypoints[0, 17], (25, 50, 1))
    assert result.labeled.tolist() == [*source.labeled.tolist(), True]
    assert source.keypoints.shape == (3, 17, 3)  # not changed


def test_small_and_unlabeled_people_have_a_center_by_their_settings() -> None:
    published = add_centers(annotated_image(), OffsetTargetConfig()).keypoints[:, 17]
    assert published[1:].tolist() == [[0, 0, 1], [0, 0, 0]]
    config = OffsetTargetConfig(min_area=0, unlabeled_centers=False)
    repaired = add_centers(annotated_image(), config).keypoints[:, 17]
    assert repaired[1:].tolist() == [[0, 0, 0], [61, 32, 1]]


def test_sizes_are_diagonals_from_the_corner_of_the_image_or_of_the_keypoints() -> None:
    reference = add_centers(annotated_image(), OffsetTargetConfig()).sizes
    np.testing.assert_allclose(reference, [np.hypot(40, 80), 0, np.hypot(62, 34)])
    box = add_centers(annotated_image(), OffsetTargetConfig(size="box")).sizes
    np.testing.assert_allclose(box, [np.hypot(30, 60), 0, np.hypot(2, 4)])


def test_an_image_without_people_has_no_centers() -> None:
    source = annotated_image()
    people = {name: getattr(source, name)[:0] for name in ("keypoints", "sizes", "areas")}
    result = add_centers(replace(source, **people), OffsetTargetConfig(size="box"))
    assert result.keypoints.shape == (0, 18, 3) and result.sizes.shape == (0,)


@pytest.mark.parametrize("seed", range(4))
def test_centers_move_with_the_keypoints_in_augmentation(seed: int) -> None:
    """An affine transform keeps the mean; flips exchange left and right, but not the center."""
    config, rng = AugmentConfig(rotation=90), np.random.default_rng(seed)
    sample = augment(
        annotated_image(), config, InputConfig(64), COCO, rng, (4,),
        prepare=lambda source: add_centers(source, OffsetTargetConfig()),
    )  # fmt: skip
    person = sample.keypoints[0]
    labeled = person[:17, 2] > 0
    np.testing.assert_allclose(person[17, :2], person[:17][labeled, :2].mean(0), atol=1e-4)
    assert labeled[6 if sample.flipped else 5] and sample.labeled.shape == (18,)
    assert sample.labeled[17] and not sample.labeled[4 if sample.flipped else 3]
    distance = np.hypot(*(person[0, :2] - person[15 if sample.flipped else 16, :2]))
    zoom = distance / np.hypot(15, 60)
    np.testing.assert_allclose(sample.sizes[0], zoom * np.hypot(40, 80), rtol=1e-4)
