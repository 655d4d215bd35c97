"""Left and right: what is right is left alone, what was swapped is found."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from higherhrnet.data.sides import find_swapped_sides
from higherhrnet.skeleton import COCO, Skeleton
from higherhrnet.synthetic.scenes import draw_scene

FLIP = list(COCO.flip_index)


@pytest.fixture(scope="module")
def people() -> NDArray[np.float32]:
    """(P, 17, 3) in every posture, turned every way."""
    return np.concatenate([draw_scene(seed).keypoints for seed in range(120)])


def test_few_are_suspected_wrongly(people: NDArray[np.float32]) -> None:
    assert len(people) > 200
    assert find_swapped_sides(people, COCO).mean() < 0.02


def test_bodies_that_contradict_their_face_are_found(people: NDArray[np.float32]) -> None:
    swapped = people[:, FLIP].copy()
    swapped[:, :5] = people[:, :5]
    telling = (people[:, [5, 6, 11, 12], 2] > 0).all(1) & (people[:, [1, 2], 2] > 0).all(1)
    assert find_swapped_sides(swapped, COCO)[telling].mean() > 0.7


@pytest.mark.parametrize("degrees", [0, 90, 180, 250])
def test_faces_with_the_eyes_exchanged_are_found(
    people: NDArray[np.float32], degrees: float
) -> None:
    facing = people[(people[:, :3, 2] == 2).all(1)]
    assert len(facing) > 50
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = facing.copy()
    turned[..., :2] = facing[..., :2] @ np.array([[cosine, sine], [-sine, cosine]])
    assert find_swapped_sides(turned[:, FLIP], COCO).mean() > 0.9
    assert find_swapped_sides(turned, COCO).mean() < 0.05


def test_without_a_face_the_shoulders_are_held_against_the_rest(
    people: NDArray[np.float32],
) -> None:
    body = Skeleton("body", COCO.names[5:], (), (0.1,) * 12)
    faceless = people[:, 5:]
    shoulders = faceless.copy()
    shoulders[:, [0, 1]] = faceless[:, [1, 0]]
    whole = (faceless[..., 2] > 0).all(1)
    assert find_swapped_sides(faceless, body).mean() < 0.03
    assert find_swapped_sides(shoulders, body)[whole].mean() > 0.6


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_is_said_of_what_is_not_labelled(count: int) -> None:
    assert (
        find_swapped_sides(np.zeros((count, 17, 3), np.float32), COCO).tolist() == [False] * count
    )
    hand = Skeleton("hand", ("thumb", "palm"), (), (0.1, 0.1))
    assert find_swapped_sides(np.ones((count, 2, 3), np.float32), hand).tolist() == [False] * count
