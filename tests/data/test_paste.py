"""Pasted people: their pixels, keypoints and masks agree."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from higherhrnet.config.data import AugmentConfig
from higherhrnet.config.model import InputConfig
from higherhrnet.data.augment import augment
from higherhrnet.data.dataset import AnnotatedImage
from higherhrnet.data.paste import MAX_PEOPLE, SCALE_RANGE, paste_people
from higherhrnet.data.rle import encode_annotation
from higherhrnet.poses.skeletons import COCO

LABELED = np.ones(17, np.bool_)


def donor_image(people: int = 1) -> AnnotatedImage:
    """Red discs on black, each with a nose at the center and eyes to the left and right of it."""
    image = np.zeros((80, 120, 3), np.uint8)
    keypoints, outlines = np.zeros((people, 17, 3), np.float32), []
    for person in range(people):
        x = 30 + 20 * person
        disc = cv2.circle(np.zeros((80, 120), np.uint8), (x, 40), 20, 1, -1)
        image[disc == 1] = 250, 0, 0
        keypoints[person, :3] = (x, 40, 2), (x + 15, 40, 2), (x - 15, 40, 1)
        contour = cv2.findContours(disc, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0]
        outlines.append(encode_annotation({"segmentation": [contour.ravel().tolist()]}, 80, 120))
    sizes = np.full(people, 40, np.float32)
    return AnnotatedImage(
        "donor.png", image, keypoints, sizes, sizes**2, None, LABELED, tuple(outlines)
    )


def target_image(height: int = 160, width: int = 200) -> AnnotatedImage:
    """A white image with keypoints everywhere, and a mask that includes only a corner."""
    rng = np.random.default_rng(0)
    image = np.full((height, width, 3), 255, np.uint8)
    positions = rng.uniform(0, [width - 1, height - 1], (20, 17, 2))
    keypoints = np.dstack([positions, np.full((20, 17), 2)]).astype(np.float32)
    mask = np.zeros((height, width), np.bool_)
    mask[:50, :50] = True
    sizes = np.ones(20, np.float32)
    return AnnotatedImage("target.png", image, keypoints, sizes, sizes, mask, LABELED)


@pytest.mark.parametrize("seed", range(12))
def test_pixels_keypoints_and_masks_agree(seed: int) -> None:
    before = target_image()
    after = paste_people(before, donor_image(), np.random.default_rng(seed))
    red = after.image[..., 1] < 128
    pasted = after.keypoints[-1]
    scale = after.sizes[-1] / 40
    assert 2 * SCALE_RANGE[0] <= scale <= 2 * SCALE_RANGE[1]  # the target is twice as high
    assert len(after.keypoints) == len(after.sizes) == 21
    labeled = pasted[:, 2] > 0
    for x, y, _ in pasted[labeled]:
        assert red[round(y), round(x)]
    eye_distance = pasted[1, :2] - pasted[2, :2]
    np.testing.assert_allclose(eye_distance, [30 * scale, 0], atol=1e-3)
    inside = ((pasted[:3, :2] >= -0.5) & (pasted[:3, :2] < [199.5, 159.5])).all(1)
    np.testing.assert_array_equal(labeled[:3], inside)
    assert not labeled[3:].any()

    columns, rows = np.rint(before.keypoints[..., :2]).astype(int).transpose(2, 0, 1)
    hidden = after.keypoints[:20, :, 2] == 0
    assert (hidden != red[rows, columns]).mean() < 0.01  # pixels at the soft edge
    assert hidden.any()
    np.testing.assert_array_equal(after.keypoints[:20, :, :2], before.keypoints[..., :2])
    assert before.mask is not None
    assert after.mask is not None
    assert (after.mask != (before.mask | red)).mean() < 0.005
    np.testing.assert_array_equal(before.image, target_image().image)
    np.testing.assert_array_equal(before.mask, target_image().mask)
    np.testing.assert_array_equal(before.keypoints, target_image().keypoints)


def test_pastes_one_to_three_people() -> None:
    counts = {
        len(paste_people(target_image(), donor_image(5), np.random.default_rng(seed)).keypoints)
        - 20
        for seed in range(40)
    }
    assert counts == set(range(1, MAX_PEOPLE + 1))


def test_does_not_paste_people_without_an_outline() -> None:
    donor, target = donor_image(2), target_image()
    one_outline = replace(donor, outlines=(b"", donor.outlines[1]))
    for seed in range(10):
        assert len(paste_people(target, one_outline, np.random.default_rng(seed)).keypoints) == 21
    for outlines in ((), (b"", b"")):
        without = replace(donor, outlines=outlines)
        assert paste_people(target, without, np.random.default_rng(0)) is target


def test_does_not_paste_people_with_fewer_labeled_keypoints() -> None:
    rng, body, target = np.random.default_rng(0), np.arange(17) > 4, target_image()
    assert paste_people(target, replace(donor_image(), labeled=body), rng) is target
    assert len(paste_people(replace(target, labeled=body), donor_image(), rng).keypoints) == 21


def test_augment_pastes_with_the_configured_probability() -> None:
    target, input = replace(target_image(), mask=None), InputConfig(64)
    for probability in (0.0, 0.5, 1.0):
        config = AugmentConfig(paste=probability)
        samples = [
            augment(
                target, config, input, COCO, np.random.default_rng(seed), load_donor=donor_image
            )
            for seed in range(40)
        ]
        share = np.mean([len(sample.keypoints) > 20 for sample in samples])
        assert abs(share - probability) < 0.2
    sample = augment(target, AugmentConfig(paste=1), input, COCO, np.random.default_rng(0))
    assert len(sample.keypoints) == 20
