"""Tests of decoding against the reference implementation and against synthetic people."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from higherhrnet.arrays import FloatArray
from higherhrnet.config.inference import DecodeConfig
from higherhrnet.decoding.aggregate import Maps
from higherhrnet.decoding.decode import DecodedPeople, decode
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO, CROWDPOSE
from higherhrnet.reference import decoder as reference
from higherhrnet.synthetic.maps import gaussian_profiles, synthesize_outputs
from tests.decoding.aggregated_maps import aggregate

SETTINGS = {
    "raw": DecodeConfig(adjust=False, refine=False),
    "adjust": DecodeConfig(refine=False),
    "adjust_refine": DecodeConfig(),
}
HEIGHT, WIDTH = 256, 320


@pytest.mark.golden
@pytest.mark.parametrize("setting", SETTINGS)
def test_people_equal_the_golden_arrays(setting: str, golden: Path) -> None:
    arrays = np.load(golden / "grouping.npz")
    cases = {key.split("/")[0] for key in arrays}
    assert cases
    for case in sorted(cases):
        heatmaps = arrays[f"{case}/heatmaps"][0].astype(np.float32)
        tags = arrays[f"{case}/tags"][0].astype(np.float32).transpose(0, 3, 1, 2)
        skeleton = COCO if len(heatmaps) == 17 else CROWDPOSE
        people = decode(Maps(heatmaps, tags, (), ()), skeleton, SETTINGS[setting])
        expected = arrays[f"{case}/{setting}/people"]
        assert_same(people, expected, arrays[f"{case}/{setting}/scores"])


def assert_same(people: DecodedPeople, keypoints: FloatArray, scores: FloatArray) -> None:
    """Asserts that the people are equal and in the same order."""
    assert len(people.scores) == len(scores)
    np.testing.assert_allclose(people.scores, scores, atol=1e-5)
    if len(scores):
        np.testing.assert_allclose(people.keypoints, keypoints, atol=1e-3)
        np.testing.assert_allclose(people.keypoints[..., 2], keypoints[..., 2], atol=1e-5)


def synthesize_maps(
    people: int, seed: int, skeleton: Skeleton = COCO, flip: bool = True, project: bool = True
) -> Maps:
    """Aggregated synthetic outputs of a network."""
    outputs = synthesize_outputs(people, HEIGHT, WIDTH, seed, skeleton, flip)
    grid = (HEIGHT, WIDTH) if project else None
    return aggregate({1.0: outputs}, len(skeleton), skeleton.flip_index, grid)


@pytest.mark.parametrize(
    ("skeleton", "flip", "project"),
    [
        (COCO, True, True),
        (COCO, True, False),
        (COCO, False, True),
        (CROWDPOSE, True, False),
        (CROWDPOSE, False, True),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
@pytest.mark.parametrize(("people", "seeds"), [(1, 1), (5, 2), (15, 1), (30, 1)])
def test_synthetic_people_equal_the_reference(
    people: int, seeds: int, skeleton: Skeleton, flip: bool, project: bool
) -> None:
    for seed in range(seeds):
        outputs = synthesize_outputs(people, HEIGHT, WIDTH, seed, skeleton, flip)
        views = list(
            zip(*(map(torch.from_numpy, level[:, None]) for level in outputs), strict=True)
        )
        size = HEIGHT, WIDTH
        dense = reference.aggregate({1: views}, skeleton.flip_index, size, project)
        expected, scores = reference.decode(*dense, skeleton.grouping_order)
        assert len(scores) >= people
        maps = synthesize_maps(people, seed, skeleton, flip, project)
        assert_same(decode(maps, skeleton, DecodeConfig()), expected, scores)


@settings(max_examples=20, deadline=None)
@given(cells=st.sets(st.integers(0, 11), min_size=1), seed=st.integers(0, 2**32))
def test_people_in_perfect_maps_are_found_at_their_positions(cells: set[int], seed: int) -> None:
    """Each person is in a square of 64 pixels, in which all tags are its own.

    No keypoint is near the edge of a square.
    """
    rng = np.random.default_rng(seed)
    corners = 64 * np.stack(np.divmod(sorted(cells), 4)[::-1], 1)
    # Halfway between two cells, both would be peaks, as in the reference implementation; this
    # is avoided by positions that are not at even pixels.
    inside = 2 * rng.integers(4, 28, (len(cells), 17, 2)) + rng.uniform(0.25, 1.75, (1, 17, 2))
    truth = corners[:, None] + inside
    heights = rng.uniform(0.3, 1, truth.shape[:2]) * (rng.random(truth.shape[:2]) < 0.8)
    heights[:, 0] = 1
    tags = np.zeros((3, 4), np.float32)
    tags.flat[sorted(cells)] = 3 * (1 + rng.permutation(len(cells)))
    levels = []
    for stride in (4, 2):
        down, across = gaussian_profiles(truth / stride, 2, 192 // stride, 256 // stride)
        levels.append((heights[..., None, None] * down[..., None] * across[:, :, None]).max(0))
    tag_maps = np.broadcast_to(np.kron(tags, np.ones((16, 16))), levels[0].shape)
    outputs = [np.concatenate([levels[0], tag_maps])[None], levels[1][None]]
    maps = aggregate(
        {1.0: [o.astype(np.float32) for o in outputs]}, 17, COCO.flip_index, (192, 256)
    )

    people = decode(maps, COCO, DecodeConfig(refine=False))
    assert len(people.scores) == len(cells)
    own_tags = tags.flat[sorted(cells)]
    order = [int(np.abs(own_tags - tag).argmin()) for tag in people.keypoints[:, 0, 3]]
    assert sorted(order) == list(range(len(cells)))
    found = people.keypoints[..., 2] > 0
    np.testing.assert_array_equal(found, heights[order] > 0)
    error = np.abs(people.keypoints[..., :2] - truth[order])[found]
    assert error.max() < 1


@pytest.mark.parametrize("refine", [False, True])
def test_position_weight_separates_distant_people_with_equal_tags(refine: bool) -> None:
    """Two people of 56 pixels in opposite corners of a 256×192 image have similar tags."""
    rng = np.random.default_rng(0)
    truth = np.array([[[0, 0]], [[192, 128]]]) + 2 * rng.integers(4, 28, (2, 17, 2)) + 0.75
    levels = []
    for stride in (4, 2):
        down, across = gaussian_profiles(truth / stride, 2, 192 // stride, 256 // stride)
        levels.append((down[..., None] * across[:, :, None]).max(0))
    tags = np.broadcast_to(np.linspace(0, 0.1, 64), levels[0].shape)
    outputs = [np.concatenate([levels[0], tags])[None], levels[1][None]]
    maps = aggregate(
        {1.0: [o.astype(np.float32) for o in outputs]}, 17, COCO.flip_index, (192, 256)
    )
    people = decode(maps, COCO, DecodeConfig(position_weight=2, refine=refine))
    order = np.argsort(people.keypoints[:, 0, 0])
    assert len(order) == 2
    assert np.abs(people.keypoints[order, :, :2] - truth).max() < 1
    unweighted = decode(maps, COCO, DecodeConfig(refine=refine)).keypoints
    assert len(unweighted) != 2 or np.abs(unweighted[:, :, :2] - truth).max() > 100


def test_empty_maps_have_no_people() -> None:
    maps = Maps(
        np.zeros((17, 32, 40), np.float32), np.zeros((17, 2, 16, 20), np.float32), (2,), (2, 2)
    )
    people = decode(maps, COCO, DecodeConfig())
    assert people.keypoints.shape == (0, 17, 5)
    assert people.scores.shape == (0,)


def test_refinement_changes_neither_found_keypoints_nor_scores() -> None:
    maps = synthesize_maps(5, 0)
    plain, refined = (decode(maps, COCO, SETTINGS[name]) for name in ("adjust", "adjust_refine"))
    found = plain.keypoints[..., 2] > 0
    assert 0 < found.sum() < (refined.keypoints[..., 2] > 0).sum()
    np.testing.assert_array_equal(refined.keypoints[found], plain.keypoints[found])
    np.testing.assert_array_equal(refined.scores, plain.scores)


def test_refined_keypoints_below_the_minimum_score_stay_missing() -> None:
    maps = synthesize_maps(5, 0)
    plain, all_refined = (
        decode(maps, COCO, SETTINGS[name]) for name in ("adjust", "adjust_refine")
    )
    refined = (plain.keypoints[..., 2] == 0) & (all_refined.keypoints[..., 2] > 0)
    threshold = float(np.median(all_refined.keypoints[refined, 2]))
    weak = refined & (all_refined.keypoints[..., 2] < threshold)
    assert weak.any()
    strong = decode(maps, COCO, DecodeConfig(min_refined_score=threshold))
    assert not strong.keypoints[weak].any()
    np.testing.assert_array_equal(strong.keypoints[~weak], all_refined.keypoints[~weak])


def test_unadjusted_keypoints_have_integer_coordinates() -> None:
    maps = synthesize_maps(5, 0)
    raw, adjusted = (decode(maps, COCO, SETTINGS[name]).keypoints for name in ("raw", "adjust"))
    found = raw[..., 2] > 0
    np.testing.assert_array_equal(raw[..., :2] % 1, 0)
    moved = adjusted[found][:, :2] - raw[found][:, :2]
    assert set(np.unique(moved)) == {0.25, 0.75}
