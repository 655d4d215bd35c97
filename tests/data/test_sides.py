"""Detection of swapped sides in synthetic people, with and without swapped keypoints."""

from __future__ import annotations

import numpy as np
import pytest

from higherhrnet.arrays import FloatArray
from higherhrnet.data.sides import find_swapped_sides
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO
from higherhrnet.synthetic.scenes import draw_scene

FLIP_INDEX = list(COCO.flip_index)


@pytest.fixture(scope="module")
def people() -> FloatArray:
    """(P, 17, 3) keypoints of people in all poses and orientations."""
    return np.concatenate([draw_scene(seed).keypoints for seed in range(120)])


def test_false_positives_are_rare(people: FloatArray) -> None:
    assert len(people) > 200
    assert find_swapped_sides(people, COCO).mean() < 0.02


def test_finds_swapped_bodies_with_a_face(people: FloatArray) -> None:
    swapped = people[:, FLIP_INDEX].copy()
    swapped[:, :5] = people[:, :5]
    labeled = (people[:, [1, 2, 5, 6, 11, 12], 2] > 0).all(1)
    assert find_swapped_sides(swapped, COCO)[labeled].mean() > 0.7


@pytest.mark.parametrize("degrees", [0, 90, 180, 250])
def test_finds_swapped_faces_in_any_rotation(people: FloatArray, degrees: float) -> None:
    facing = people[(people[:, :3, 2] == 2).all(1)]
    assert len(facing) > 50
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rotated = facing.copy()
    rotated[..., :2] = facing[..., :2] @ np.array([[cosine, sine], [-sine, cosine]])
    assert find_swapped_sides(rotated[:, FLIP_INDEX], COCO).mean() > 0.9
    assert find_swapped_sides(rotated, COCO).mean() < 0.05


def test_compares_with_the_shoulders_if_the_skeleton_has_no_face(people: FloatArray) -> None:
    body = Skeleton("body", COCO.names[5:], (), (0.1,) * 12)
    keypoints = people[:, 5:]
    swapped = keypoints.copy()
    swapped[:, [0, 1]] = keypoints[:, [1, 0]]
    complete = (keypoints[..., 2] > 0).all(1)
    assert find_swapped_sides(keypoints, body).mean() < 0.03
    assert find_swapped_sides(swapped, body)[complete].mean() > 0.6


@pytest.mark.parametrize("count", [0, 3])
def test_people_without_labeled_pairs_are_not_suspected(count: int) -> None:
    unlabeled = np.zeros((count, 17, 3), np.float32)
    assert find_swapped_sides(unlabeled, COCO).tolist() == [False] * count
    hand = Skeleton("hand", ("thumb", "palm"), (), (0.1, 0.1))
    assert find_swapped_sides(np.ones((count, 2, 3), np.float32), hand).tolist() == [False] * count


def test_sides_are_found_in_other_forms_of_names(people: FloatArray) -> None:
    names = tuple(
        name.replace("left_", "L_").replace("right_", "R_").title() for name in COCO.names
    )
    other = Skeleton("other", names, (), COCO.sigmas)
    swapped = people[:, FLIP_INDEX]
    assert find_swapped_sides(swapped, COCO).sum() > 20
    for keypoints in (people, swapped):
        expected = find_swapped_sides(keypoints, COCO)
        np.testing.assert_array_equal(find_swapped_sides(keypoints, other), expected)
