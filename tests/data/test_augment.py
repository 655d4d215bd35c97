"""Random crops equal those of the reference implementation, and move annotations with pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from higherhrnet.config.data import AugmentConfig
from higherhrnet.config.model import InputConfig
from higherhrnet.data.augment import Sample, augment, crop, crop_matrix, flip_sample
from higherhrnet.data.dataset import AnnotatedImage
from higherhrnet.geometry import Convention
from higherhrnet.poses.skeletons import COCO
from higherhrnet.synthetic.scenes import draw_scene

CONVENTIONS: list[Convention] = ["reference", "unbiased"]
LABELED = np.arange(17) > 4


UNBIASED = InputConfig(64, convention="unbiased")


def annotated_scene(height: int = 96, width: int = 128) -> AnnotatedImage:
    """A synthetic scene with a mask that excludes a corner."""
    scene = draw_scene(0, height=height, width=width, people=(3, 3), side_colors=False)
    mask = np.ones((height, width), np.bool_)
    mask[: height // 3, : width // 2] = False
    sizes = scene.boxes[:, 2:].max(1)
    return AnnotatedImage("scene.png", scene.image, scene.keypoints, sizes, sizes**2, mask, LABELED)


def random_sample(
    seed: int, config: AugmentConfig, input: InputConfig, source: AnnotatedImage
) -> Sample:
    return augment(source, config, input, COCO, np.random.default_rng(seed))


@pytest.mark.golden
def test_crops_equal_those_of_the_reference_implementation(golden: Path) -> None:
    arrays = np.load(golden / "augment.npz")
    cases = sorted({key.split("/")[0] for key in arrays})
    assert cases
    for case in cases:
        image, mask, people, center, side, degrees = (
            arrays[f"{case}/{name}"]
            for name in ("image", "mask", "people", "centre", "crop_side", "degrees")
        )
        matrix = crop_matrix(center, side, degrees, 128)
        np.testing.assert_allclose(matrix, arrays[f"{case}/matrix_input"], rtol=1e-12, atol=1e-12)
        sizes = np.full(len(people), side)
        keypoints = people.astype(np.float32)
        source = AnnotatedImage(case, image, keypoints, sizes, sizes**2, mask, LABELED)
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


def test_unbiased_flips_before_and_after_cropping_are_equal() -> None:
    source, size = annotated_scene(), UNBIASED.size
    width = source.image.shape[1]
    matrix = crop_matrix(np.array([70.3, 41.9]), 77.7, 17, size)
    flipped_after = flip_sample(crop(source, matrix, UNBIASED), COCO)
    flip_source = np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]])
    flip_input = np.array([[-1, 0, size], [0, 1, 0], [0, 0, 1]])
    flipped_matrix = (flip_input @ np.vstack([matrix, [0, 0, 1]]) @ flip_source)[:2]
    flipped_before = crop(flip_image(source), flipped_matrix, UNBIASED)
    # OpenCV interpolates at positions that are rounded to 1/32 of a pixel.
    np.testing.assert_allclose(flipped_before.image.astype(int), flipped_after.image, atol=6)
    before, after = flipped_before.keypoints, flipped_after.keypoints
    np.testing.assert_allclose(size - before[..., 0], after[..., 0], atol=1e-4)
    np.testing.assert_allclose(before[..., 1:], after[..., 1:], atol=1e-4)
    np.testing.assert_array_equal(flipped_before.labeled, flipped_after.labeled)
    for one, other in zip(flipped_before.masks, flipped_after.masks, strict=True):
        assert (one != other).mean() < 0.01


def flip_image(source: AnnotatedImage) -> AnnotatedImage:
    """Flips an annotated image; the center of the first pixel is at 0 before and after."""
    order = list(COCO.flip_index)
    keypoints = source.keypoints[:, order].copy()
    keypoints[..., 0] = source.image.shape[1] - 1 - keypoints[..., 0]
    assert source.mask is not None
    return replace(
        source,
        image=np.ascontiguousarray(source.image[:, ::-1]),
        keypoints=keypoints,
        mask=np.ascontiguousarray(source.mask[:, ::-1]),
        labeled=source.labeled[order],
    )


def test_flipping_twice_restores_the_sample() -> None:
    plain = crop(annotated_scene(), crop_matrix(np.array([50, 40]), 90, 5, 64), InputConfig(64))
    plain = replace(plain, labeled=np.arange(17) % 2 == 0)
    flipped = flip_sample(plain, COCO)
    restored = flip_sample(flipped, COCO)
    for field in ("image", "keypoints", "labeled", "flipped", "sizes"):
        np.testing.assert_array_equal(getattr(restored, field), getattr(plain, field))
    for one, other in zip(restored.masks, plain.masks, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(flipped.image[:, 0], plain.image[:, -1])
    assert flipped.labeled[[0, 1, 2, 3, 4]].tolist() == [True, True, False, True, False]
    np.testing.assert_array_equal(flipped.keypoints[:, 1], plain.keypoints[:, 2])


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("seed", range(5))
def test_keypoints_move_with_the_image_content(seed: int, convention: Convention) -> None:
    """The centroid of a bright spot around a keypoint is at the keypoint after cropping."""
    rng = np.random.default_rng(seed)
    point = rng.uniform([50, 35], [78, 60])
    y, x = np.mgrid[:96, :128]
    spot = 255 * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / 18)
    keypoints = np.zeros((1, 17, 3), np.float32)
    keypoints[0, 0] = *point, 2
    image = np.repeat(spot.astype(np.uint8)[..., None], 3, 2)
    source = AnnotatedImage(
        "spot", image, keypoints, np.ones(1, np.float32), np.ones(1, np.float32), None, LABELED
    )
    config = AugmentConfig(rotation=180, translation=0.1, flip=0)
    sample = random_sample(seed, config, InputConfig(128, convention=convention), source)
    weights = sample.image[..., 0].astype(float)
    centroid = [np.arange(128) @ weights.sum(axis) / weights.sum() for axis in (0, 1)]
    first_pixel = 0.5 if convention == "unbiased" else 0
    np.testing.assert_allclose(
        sample.keypoints[0, 0, :2], np.array(centroid) + first_pixel, atol=0.1
    )
    assert not sample.flipped


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("padding", [True, False])
def test_masks_exclude_the_masked_pixels(convention: Convention, padding: bool) -> None:
    """The image is black where it is masked and white elsewhere, so the sample shows the mask."""
    source = annotated_scene()
    assert source.mask is not None
    white = np.full_like(source.image, 255)
    masked = white * source.mask[..., None].astype(np.uint8)
    config = AugmentConfig(rotation=20, scale=(1.2, 1.2), mask_padding=padding, flip=1)
    input = InputConfig(128, convention=convention)
    sample = random_sample(3, config, input, replace(source, image=masked))
    unmasked = random_sample(3, config, input, replace(source, image=white))
    for stride, mask in zip((4, 2), sample.masks, strict=True):
        step = slice(0, None, stride)  # with the reference convention, cells are at these pixels
        counted = sample.image[step, step, 0] > 127
        inside = unmasked.image[step, step, 0] > 127
        expected = counted | (~inside & (not padding))
        assert mask.shape == (128 // stride,) * 2
        assert (mask != expected).mean() < (0.03 if convention == "reference" else 0.08)


def test_without_a_mask_only_the_padding_is_masked() -> None:
    source = annotated_scene()
    full = replace(source, mask=np.ones(source.image.shape[:2], np.bool_))
    for padding in (True, False):
        config = AugmentConfig(scale=(1.3, 1.3), mask_padding=padding)
        with_mask, without_mask = (
            random_sample(1, config, InputConfig(64), image)
            for image in (full, replace(source, mask=None))
        )
        for one, other in zip(with_mask.masks, without_mask.masks, strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.all() is np.bool_(not padding)


def test_random_crops_stay_within_the_configured_limits() -> None:
    """Keypoints at three corners of the image show the scale, rotation and offset of the crop."""
    config = AugmentConfig(rotation=30, scale=(0.75, 1.5), translation=0.2, flip=0)
    keypoints = np.zeros((1, 17, 3), np.float32)
    keypoints[0, :3, :2] = [0, 0], [127, 0], [0, 95]
    source = replace(annotated_scene(), keypoints=keypoints, sizes=np.array([96], np.float32))
    scales, angles, offsets = [], [], []
    for seed in range(300):
        sample = random_sample(seed, config, InputConfig(64), source)
        corner, right, bottom = sample.keypoints[0, :3, :2]
        across, down = right - corner, bottom - corner
        scales.append(127 * 64 / np.linalg.norm(across) / 96)
        angles.append(np.degrees(np.arctan2(-across[1], across[0])))
        center = corner + across * 64 / 127 + down * 48 / 95
        offsets.append((center - 32) / 64)
        np.testing.assert_allclose(sample.sizes, 64 / scales[-1], rtol=1e-4)
    for values, low, high in ((scales, 0.75, 1.5), (angles, -30, 30)):
        assert low - 1e-3 <= min(values) < low + 0.05 * (high - low)
        assert high + 1e-3 >= max(values) > high - 0.05 * (high - low)
    # Offsets are along the axes of the image, and then rotated.
    assert 0.2 < np.abs(offsets).max() < 0.2 * np.sqrt(2)


def test_half_of_the_samples_are_flipped_by_default() -> None:
    source = annotated_scene()
    flips = [
        random_sample(seed, AugmentConfig(), InputConfig(64), source).flipped for seed in range(100)
    ]
    assert 0.35 < np.mean(flips) < 0.65


def test_crops_can_be_relative_to_the_longer_side() -> None:
    config = AugmentConfig(rotation=0, scale=(1, 1), base_side="long", translation=0, flip=0)
    sample = random_sample(0, config, InputConfig(64), annotated_scene())
    np.testing.assert_allclose(sample.sizes, annotated_scene().sizes / 2)
    assert not sample.image[:7].any()  # padding: the image has 96 rows, the crop 128
    assert sample.image[8:56].any(2).mean() > 0.9


def test_crops_can_be_centered_on_keypoints() -> None:
    source = annotated_scene()
    config = AugmentConfig(scale=(0.3, 0.5), translation=0, flip=0, center_on_keypoint=0.7)
    centered = 0
    for seed in range(200):
        sample = random_sample(seed, config, UNBIASED, source)
        visible = sample.keypoints[sample.keypoints[..., 2] > 0, :2]
        distance = np.linalg.norm(visible - 32, axis=1).min(initial=64)
        # Half a pixel on each axis, because (0, 0) is the center of a pixel in annotations and the
        # corner of the image in the unbiased convention.
        centered += distance <= np.sqrt(0.5) * 64 / (0.3 * 96)
    assert 0.6 < centered / 200 < 0.85
    nobody = replace(source, keypoints=source.keypoints[:0], sizes=source.sizes[:0])
    assert random_sample(0, config, UNBIASED, nobody).image.any()


def test_samples_depend_on_the_seed_and_leave_the_image_unchanged() -> None:
    source = annotated_scene()
    config = AugmentConfig(color=1, flip=0.5)
    image, keypoints = source.image.copy(), source.keypoints.copy()
    one, equal, other = (random_sample(seed, config, UNBIASED, source) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.image, equal.image)
    np.testing.assert_array_equal(one.keypoints, equal.keypoints)
    assert (one.image != other.image).any()
    np.testing.assert_array_equal(source.image, image)
    np.testing.assert_array_equal(source.keypoints, keypoints)


@pytest.mark.parametrize("people", [0, 1, 45])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_accepts_any_number_of_people_at_any_position(people: int, convention: Convention) -> None:
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(-500, 500, (people, 17, 3)).astype(np.float32)
    source = replace(annotated_scene(), keypoints=keypoints, sizes=np.ones(people, np.float32))
    input = InputConfig(64, convention=convention)
    sample = random_sample(0, AugmentConfig(color=1), input, source)
    assert sample.keypoints.shape == (people, 17, 3)
    assert sample.keypoints.dtype == np.float32
    assert sample.sizes.shape == (people,)
