"""One crop for all: the original's to the digit, and the unbiased convention's exact mirrors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from higherhrnet.config import Convention, InputConfig
from higherhrnet.data.augment import Sample, augment, crop, crop_matrix, mirror
from higherhrnet.data.dataset import AnnotatedImage
from higherhrnet.recipes import AugmentConfig
from higherhrnet.skeleton import COCO
from higherhrnet.synthetic.scenes import draw_scene

CONVENTIONS: list[Convention] = ["reference", "unbiased"]
LABELLED = np.arange(17) > 4


def photograph(seed: int = 0, height: int = 96, width: int = 128) -> AnnotatedImage:
    """A drawn scene of which a corner is masked out."""
    scene = draw_scene(seed, height=height, width=width, people=(3, 3), side_tones=False)
    mask = np.ones((height, width), np.bool_)
    mask[: height // 3, : width // 2] = False
    sizes = scene.boxes[:, 2:].max(1)
    return AnnotatedImage("drawn", scene.image, scene.keypoints, sizes, mask, LABELLED)


def unbiased(size: int = 64) -> InputConfig:
    return InputConfig(size, convention="unbiased")


def sample(seed: int, config: AugmentConfig, input: InputConfig, of: AnnotatedImage) -> Sample:
    return augment(of, config, input, COCO, np.random.default_rng(seed))


@pytest.mark.golden
def test_crops_are_the_originals(golden: Path) -> None:
    arrays = np.load(golden / "augment.npz")
    cases = sorted({key.split("/")[0] for key in arrays})
    assert cases
    for case in cases:
        image, mask, people, center, side, degrees = (
            arrays[f"{case}/{what}"]
            for what in ("image", "mask", "people", "centre", "crop_side", "degrees")
        )
        matrix = crop_matrix(center, side, degrees, 128)
        np.testing.assert_allclose(matrix, arrays[f"{case}/matrix_input"], rtol=1e-12, atol=1e-12)
        sizes = np.full(len(people), side)
        keypoints = people.astype(np.float32)
        source = AnnotatedImage(case, image, keypoints, sizes, mask, LABELLED)
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


def test_a_mirrored_unbiased_sample_is_the_sample_of_the_mirrored_photograph() -> None:
    """Mirroring after the crop, and before it with everything in the crop mirrored, agree."""
    shown, size = photograph(), 64
    width = shown.image.shape[1]
    matrix = crop_matrix(np.array([70.3, 41.9]), 77.7, 17, size)
    late = mirror(crop(shown, matrix, unbiased(size)), COCO)
    flip_photograph = np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]])
    flip_input = np.array([[-1, 0, size], [0, 1, 0], [0, 0, 1]])
    early = crop(
        mirrored(shown), (flip_input @ np.vstack([matrix, [0, 0, 1]]) @ flip_photograph)[:2],
        unbiased(size),
    )  # fmt: skip
    np.testing.assert_allclose(early.image.astype(int), late.image, atol=6)  # OpenCV's 32nds
    np.testing.assert_allclose(size - early.keypoints[..., 0], late.keypoints[..., 0], atol=1e-4)
    np.testing.assert_allclose(early.keypoints[..., 1:], late.keypoints[..., 1:], atol=1e-4)
    np.testing.assert_array_equal(early.labeled, late.labeled)
    for one, other in zip(early.masks, late.masks, strict=True):
        assert (one != other).mean() < 0.01


def mirrored(shown: AnnotatedImage) -> AnnotatedImage:
    """In the photograph's pixels, counted by their index, so the last becomes 0."""
    order = list(COCO.flip_index)
    keypoints = shown.keypoints[:, order].copy()
    keypoints[..., 0] = shown.image.shape[1] - 1 - keypoints[..., 0]
    assert shown.mask is not None
    return replace(
        shown,
        image=np.ascontiguousarray(shown.image[:, ::-1]),
        keypoints=keypoints,
        mask=np.ascontiguousarray(shown.mask[:, ::-1]),
        labeled=shown.labeled[order],
    )


def test_mirroring_twice_changes_nothing() -> None:
    once = crop(photograph(), crop_matrix(np.array([50, 40]), 90, 5, 64), InputConfig(64))
    asymmetric = replace(once, labeled=np.arange(17) % 2 == 0)
    back = mirror(mirror(asymmetric, COCO), COCO)
    for field in ("image", "keypoints", "labelled", "flipped", "sizes"):
        np.testing.assert_array_equal(getattr(back, field), getattr(asymmetric, field))
    for one, other in zip(back.masks, asymmetric.masks, strict=True):
        np.testing.assert_array_equal(one, other)
    turned = mirror(asymmetric, COCO)
    np.testing.assert_array_equal(turned.image[:, 0], once.image[:, -1])
    assert turned.labeled[[0, 1, 2, 3, 4]].tolist() == [True, True, False, True, False]
    np.testing.assert_array_equal(turned.keypoints[:, 1], once.keypoints[:, 2])


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("seed", range(5))
def test_keypoints_stay_on_what_they_mark(seed: int, convention: Convention) -> None:
    """A soft spot around a keypoint has its middle where the crop puts the keypoint."""
    rng = np.random.default_rng(seed)
    point = rng.uniform([50, 35], [78, 60])
    y, x = np.mgrid[:96, :128]
    spot = 255 * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / 18)
    keypoints = np.zeros((1, 17, 3), np.float32)
    keypoints[0, 0] = *point, 2
    image = np.repeat(spot.astype(np.uint8)[..., None], 3, 2)
    source = AnnotatedImage("spot", image, keypoints, np.ones(1, np.float32), None, LABELLED)
    config = AugmentConfig(rotation=180, translation=0.1, flip=0)
    found = sample(seed, config, InputConfig(128, convention=convention), source)
    weights = found.image[..., 0].astype(float)
    middle = [np.arange(128) @ weights.sum(axis) / weights.sum() for axis in (0, 1)]
    center = 0.5 if convention == "unbiased" else 0
    np.testing.assert_allclose(found.keypoints[0, 0, :2], np.array(middle) + center, atol=0.1)
    assert not found.flipped


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("padding", [True, False])
def test_masks_lie_where_the_image_is_masked(convention: Convention, padding: bool) -> None:
    """Against the pixels: the photograph is black where it is masked, and white elsewhere."""
    shown = photograph()
    assert shown.mask is not None
    white = np.repeat(255 * shown.mask.astype(np.uint8)[..., None], 3, 2)
    config = AugmentConfig(rotation=20, scale=(1.2, 1.2), mask_padding=padding, flip=1)
    input = InputConfig(128, convention=convention)
    found = sample(3, config, input, replace(shown, image=white))
    everywhere = sample(3, config, input, replace(shown, image=np.full_like(white, 255)))
    for stride, mask in zip((4, 2), found.masks, strict=True):
        at = slice(0, None, stride)  # the original's cells lie on every so many-th pixel
        counts, inside = found.image[at, at, 0] > 127, everywhere.image[at, at, 0] > 127
        expected = counts | (~inside & (not padding))
        assert mask.shape == (128 // stride,) * 2
        assert (mask != expected).mean() < (0.03 if convention == "reference" else 0.08)


def test_without_a_mask_only_the_padding_is_masked() -> None:
    shown = photograph()
    config = AugmentConfig(scale=(1.3, 1.3))
    for padding in (True, False):
        chosen = replace(config, mask_padding=padding)
        full = replace(shown, mask=np.ones(shown.image.shape[:2], np.bool_))
        with_mask, without = (
            sample(1, chosen, InputConfig(64), one) for one in (full, replace(shown, mask=None))
        )
        for one, other in zip(with_mask.masks, without.masks, strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.all() is np.bool_(not padding)


def test_chance_stays_within_its_bounds() -> None:
    shown, config = photograph(), AugmentConfig(rotation=30, scale=(0.75, 1.5), translation=0.2)
    corners = np.array([[0, 0], [127, 0], [0, 95]], np.float32)
    keypoints = np.zeros((1, 17, 3), np.float32)
    keypoints[0, :3, :2] = corners
    tracked = replace(shown, keypoints=keypoints, sizes=np.array([96], np.float32))
    config = replace(config, flip=0)
    sides, turns, shifts = [], [], []
    for seed in range(300):
        found = sample(seed, config, InputConfig(64), tracked)
        origin, right, below = found.keypoints[0, :3, :2]
        across = right - origin
        sides.append(127 * 64 / np.linalg.norm(across) / 96)
        turns.append(np.degrees(np.arctan2(-across[1], across[0])))
        middle = origin + across * 64 / 127 + (below - origin) * 48 / 95
        shifts.append((middle - 32) / 64)
        np.testing.assert_allclose(found.sizes, 64 / sides[-1], rtol=1e-4)
    for values, low, high in ((sides, 0.75, 1.5), (turns, -30, 30)):
        assert low - 1e-3 <= min(values) < low + 0.05 * (high - low)
        assert high + 1e-3 >= max(values) > high - 0.05 * (high - low)
    reach = np.abs(shifts).max()
    assert 0.2 < reach < 0.2 * np.sqrt(2)  # the shift is along the photograph's axes, then turned
    assert 0.35 < np.mean([sample(s, AugmentConfig(), InputConfig(64), shown).flipped
                           for s in range(100)]) < 0.65  # fmt: skip


def test_the_longer_side_can_be_what_fits() -> None:
    config = AugmentConfig(rotation=0, scale=(1, 1), base_side="long", translation=0, flip=0)
    found = sample(0, config, InputConfig(64), photograph())
    np.testing.assert_allclose(found.sizes, photograph().sizes / 2)
    assert not found.image[:7].any()  # black above: 96 of 128 rows
    assert found.image[8:56].any(2).mean() > 0.9


def test_crops_that_follow_have_a_keypoint_in_their_middle() -> None:
    shown = photograph()
    config = AugmentConfig(scale=(0.3, 0.5), translation=0, flip=0, center_on_keypoint=0.7)
    followed = 0
    for seed in range(200):
        found = sample(seed, config, unbiased(), shown)
        seen = found.keypoints[found.keypoints[..., 2] > 0, :2]
        away = np.linalg.norm(seen - 32, axis=1).min(initial=64)
        # half a pixel: keypoints are annotated by the pixel's index, crops begin at its corner
        followed += away <= np.sqrt(0.5) * 64 / (0.3 * 96)
    assert 0.6 < followed / 200 < 0.85
    nobody = replace(shown, keypoints=shown.keypoints[:0], sizes=shown.sizes[:0])
    assert sample(0, config, unbiased(), nobody).image.any()


def test_a_seed_gives_one_sample_and_the_photograph_is_left_alone() -> None:
    shown = photograph()
    config = AugmentConfig(color=1, flip=0.5)
    before = shown.image.copy(), shown.keypoints.copy()
    one, again, other = (sample(seed, config, unbiased(), shown) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.keypoints, again.keypoints)
    assert (one.image != other.image).any()
    np.testing.assert_array_equal(shown.image, before[0])
    np.testing.assert_array_equal(shown.keypoints, before[1])


@pytest.mark.parametrize("people", [0, 1, 45])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_any_number_of_people_anywhere(people: int, convention: Convention) -> None:
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(-500, 500, (people, 17, 3)).astype(np.float32)
    source = replace(photograph(), keypoints=keypoints, sizes=np.ones(people, np.float32))
    found = sample(0, AugmentConfig(color=1), InputConfig(64, convention=convention), source)
    assert found.keypoints.shape == (people, 17, 3)
    assert found.keypoints.dtype == np.float32
    assert found.sizes.shape == (people,)
