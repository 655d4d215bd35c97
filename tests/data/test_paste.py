"""Pasted people: where their pixels are, their keypoints are, and nobody else's."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from higherhrnet.config import InputConfig
from higherhrnet.data import masks as regions
from higherhrnet.data.augment import augment
from higherhrnet.data.dataset import AnnotatedImage
from higherhrnet.data.paste import FACTOR, MOST, paste_people
from higherhrnet.recipes import AugmentConfig
from higherhrnet.skeleton import COCO

LABELLED = np.ones(17, np.bool_)


def donor(people: int = 1) -> AnnotatedImage:
    """Red discs on black; the nose in the middle, the eyes left and right of it."""
    image = np.zeros((80, 120, 3), np.uint8)
    keypoints, outlines = np.zeros((people, 17, 3), np.float32), []
    for person in range(people):
        x = 30 + 20 * person
        disc = cv2.circle(np.zeros((80, 120), np.uint8), (x, 40), 20, 1, -1)
        image[disc == 1] = 250, 0, 0
        keypoints[person, :3] = (x, 40, 2), (x + 15, 40, 2), (x - 15, 40, 1)
        contour = cv2.findContours(disc, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0]
        outlines.append(regions.encode({"segmentation": [contour.ravel().tolist()]}, 80, 120))
    sizes = np.full(people, 40, np.float32)
    return AnnotatedImage("donor", image, keypoints, sizes, None, LABELLED, tuple(outlines))


def onto(height: int = 160, width: int = 200) -> AnnotatedImage:
    """White, with keypoints all over, and masked out but for a corner."""
    rng = np.random.default_rng(0)
    image = np.full((height, width, 3), 255, np.uint8)
    places = rng.uniform(0, [width - 1, height - 1], (20, 17, 2))
    keypoints = np.dstack([places, np.full((20, 17), 2)]).astype(np.float32)
    mask = np.zeros((height, width), np.bool_)
    mask[:50, :50] = True
    return AnnotatedImage("onto", image, keypoints, np.ones(20, np.float32), mask, LABELLED)


@pytest.mark.parametrize("seed", range(12))
def test_pixels_keypoints_and_mask_agree(seed: int) -> None:
    before = onto()
    after = paste_people(before, donor(), np.random.default_rng(seed))
    red = after.image[..., 1] < 128
    new = after.keypoints[-1]
    factor = after.sizes[-1] / 40
    assert 2 * FACTOR[0] <= factor <= 2 * FACTOR[1]  # the photograph is twice as high
    assert len(after.keypoints) == len(after.sizes) == 21
    seen = new[:, 2] > 0
    for x, y, _ in new[seen]:
        assert red[round(y), round(x)]
    eyes = new[1, :2] - new[2, :2]
    np.testing.assert_allclose(eyes, [30 * factor, 0], atol=1e-3)
    inside = ((new[:3, :2] >= -0.5) & (new[:3, :2] < [199.5, 159.5])).all(1)
    np.testing.assert_array_equal(seen[:3], inside)
    assert not seen[3:].any()

    columns, rows = np.rint(before.keypoints[..., :2]).astype(int).transpose(2, 0, 1)
    hidden = after.keypoints[:20, :, 2] == 0
    assert (hidden != red[rows, columns]).mean() < 0.01  # the edge is soft
    assert hidden.any()
    np.testing.assert_array_equal(after.keypoints[:20, :, :2], before.keypoints[..., :2])
    assert before.mask is not None
    assert after.mask is not None
    assert (after.mask != (before.mask | red)).mean() < 0.005
    np.testing.assert_array_equal(before.image, onto().image)
    np.testing.assert_array_equal(before.mask, onto().mask)
    np.testing.assert_array_equal(before.keypoints, onto().keypoints)


def test_one_to_three_people_come() -> None:
    counts = {
        len(paste_people(onto(), donor(5), np.random.default_rng(seed)).keypoints) - 20
        for seed in range(40)
    }
    assert counts == set(range(1, MOST + 1))


def test_who_has_no_outline_is_not_pasted() -> None:
    two = donor(2)
    half = replace(two, outlines=(b"", two.outlines[1]))
    for seed in range(10):
        assert len(paste_people(onto(), half, np.random.default_rng(seed)).keypoints) == 21
    for nobody in (replace(two, outlines=()), replace(two, outlines=(b"", b""))):
        before = onto()
        assert paste_people(before, nobody, np.random.default_rng(0)) is before


def test_people_with_fewer_labelled_keypoints_are_not_pasted() -> None:
    rng, faceless, before = np.random.default_rng(0), np.arange(17) > 4, onto()
    assert paste_people(before, replace(donor(), labeled=faceless), rng) is before
    assert len(paste_people(replace(before, labeled=faceless), donor(), rng).keypoints) == 21


def test_augmenting_pastes_as_often_as_it_should() -> None:
    shown, input = replace(onto(), mask=None), InputConfig(64)
    for chance in (0.0, 0.5, 1.0):
        config = AugmentConfig(paste=chance)
        samples = [
            augment(shown, config, input, COCO, np.random.default_rng(seed), other=donor)
            for seed in range(40)
        ]
        share = np.mean([len(sample.keypoints) > 20 for sample in samples])
        assert abs(share - chance) < 0.2
    alone = augment(shown, AugmentConfig(paste=1), input, COCO, np.random.default_rng(0))
    assert len(alone.keypoints) == 20
