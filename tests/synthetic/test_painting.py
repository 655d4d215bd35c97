"""Painted people: keypoints lie where they are painted, and hidden ones are said to be hidden."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from higherhrnet.skeleton import COCO, mirrored
from higherhrnet.synthetic.bodies import COLORS, POINTS, DrawnPeople, sample_people
from higherhrnet.synthetic.painting import Objects, paint_scene

BLACK = np.zeros((200, 200, 3), np.uint8)


def one_person(seed: int, height: float = 120) -> DrawnPeople:
    return sample_people(np.random.default_rng(seed), np.full((1, 2), 100.0), np.array([height]))


def together(*people: DrawnPeople) -> DrawnPeople:
    return DrawnPeople(*(np.concatenate(fields) for fields in zip(*people, strict=True)))


@pytest.mark.parametrize("offset", [0.0, 0.25, 0.5, 0.8])
def test_a_disc_is_painted_around_its_point(offset: float) -> None:
    body = np.full((1, len(POINTS), 3), -1000.0)  # all else is out of the picture
    x, y = 40 + offset, 60 - offset
    body[0, POINTS.index("left_ear")] = x, y, 0
    person = DrawnPeople(body, np.array([300.0]), np.full((1, len(COLORS), 3), 200.0))
    scene = paint_scene(BLACK, person)
    weight = scene.image[..., 0].astype(float)
    rows, columns = np.indices(weight.shape)
    center = (columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()
    assert center == pytest.approx((x, y), abs=0.1)
    assert scene.keypoints[0, COCO.names.index("left_ear")] == pytest.approx([x, y, 2])


def test_a_nearer_person_hides_the_farther() -> None:
    far, near = one_person(1), one_person(2)
    near.bodies[..., 0] += 12
    alone, both = paint_scene(BLACK, far).keypoints[0], paint_scene(BLACK, together(far, near))
    covered = paint_scene(BLACK, near).owners > 0
    x, y = np.rint(alone[:, :2]).astype(int).T
    hidden = covered[y, x]
    assert hidden.any() and not hidden.all()
    np.testing.assert_array_equal(both.keypoints[0, hidden, 2], 1)
    np.testing.assert_array_equal(both.keypoints[0, ~hidden], alone[~hidden])
    np.testing.assert_array_equal(both.keypoints[1], paint_scene(BLACK, near).keypoints[0])


def test_an_object_hides_only_those_behind_it() -> None:
    people = together(one_person(1), one_person(2))
    people.bodies[:, :, 0] += [[-50], [50]]
    across = np.array([[(0, 90), (199, 90), (199, 199), (0, 199)]], float)
    bar = Objects(across.repeat(6, 1), np.full((1, 3), 99.0), np.array([1]))
    plain, scene = paint_scene(BLACK, people), paint_scene(BLACK, people, bar)
    below = plain.keypoints[0, :, 1] > 91
    np.testing.assert_array_equal(scene.keypoints[0, below, 2], 1)
    np.testing.assert_array_equal(scene.keypoints[0, ~below], plain.keypoints[0, ~below])
    np.testing.assert_array_equal(scene.keypoints[1], plain.keypoints[1])


def test_who_shows_no_keypoint_joins_the_crowd() -> None:
    hidden, front = one_person(1), one_person(1)
    hidden.bodies[..., 0] += 1  # only a sliver shows
    scene = paint_scene(BLACK, together(hidden, front))
    assert len(scene.keypoints) == 1
    assert scene.crowd.any()
    assert scene.areas[0] == (scene.owners == 1).sum()


def test_faces_are_seen_from_the_front_only() -> None:
    eyes = [COCO.names.index(name) for name in ("left_eye", "right_eye")]
    nose, hair = POINTS.index("nose"), POINTS.index("hair")
    ways = set()
    for person in map(one_person, range(40)):
        forward = np.diff(person.bodies[0, [hair, nose], 2])[0] / person.heights[0]
        left, right = paint_scene(BLACK, person).keypoints[0, eyes]
        if forward > 0.07:
            assert left[0] > right[0]
            ways.add("towards")
        elif forward < -0.07:
            assert left[0] < right[0]
            assert left[2] == right[2] == 1
            ways.add("away")
    assert ways == {"towards", "away"}


@pytest.mark.parametrize("seed", range(8))
def test_a_mirrored_person_paints_the_mirrored_picture(seed: int) -> None:
    person = one_person(seed)
    swap = [POINTS.index(mirrored(name)) for name in POINTS]
    body = person.bodies[:, swap].copy()
    body[..., 0] = 199 - body[..., 0]
    tones = [COLORS.index(mirrored(name)) for name in COLORS]
    scene = paint_scene(BLACK, person)
    mirror = paint_scene(BLACK, person._replace(bodies=body, colors=person.colors[:, tones]))
    expected = scene.keypoints[:, list(COCO.flip_index)] * (-1, 1, 1) + (199, 0, 0)
    np.testing.assert_allclose(mirror.keypoints, expected, atol=1e-3)
    difference = cv2.absdiff(mirror.image[:, ::-1].copy(), scene.image).max(-1)
    assert (difference > 60).mean() < 0.002  # edges alone
