"""Painted people: positions and visibility of keypoints against the painted pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from higherhrnet.poses.keypoint_names import opposite_name
from higherhrnet.poses.skeletons import COCO
from higherhrnet.synthetic.bodies import COLORS, POINTS, SyntheticPeople, sample_people
from higherhrnet.synthetic.painting import Objects, paint_scene

BLACK = np.zeros((200, 200, 3), np.uint8)


def one_person(seed: int, height: float = 120) -> SyntheticPeople:
    return sample_people(np.random.default_rng(seed), np.full((1, 2), 100.0), np.array([height]))


def combine(*people: SyntheticPeople) -> SyntheticPeople:
    return SyntheticPeople(*(np.concatenate(fields) for fields in zip(*people, strict=True)))


@pytest.mark.parametrize("offset", [0.0, 0.25, 0.5, 0.8])
def test_a_disc_is_painted_around_its_point(offset: float) -> None:
    body = np.full((1, len(POINTS), 3), -1000.0)  # all other points are outside the image
    x, y = 40 + offset, 60 - offset
    body[0, POINTS.index("left_ear")] = x, y, 0
    person = SyntheticPeople(body, np.array([300.0]), np.full((1, len(COLORS), 3), 200.0))
    scene = paint_scene(BLACK, person)
    weight = scene.image[..., 0].astype(float)
    rows, columns = np.indices(weight.shape)
    center = (columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()
    assert center == pytest.approx((x, y), abs=0.1)
    assert scene.keypoints[0, COCO.names.index("left_ear")] == pytest.approx([x, y, 2])


def test_near_people_hide_far_people() -> None:
    far, near = one_person(1), one_person(2)
    near.bodies[..., 0] += 12
    only_far, only_near = paint_scene(BLACK, far), paint_scene(BLACK, near)
    both = paint_scene(BLACK, combine(far, near))
    unhidden = only_far.keypoints[0]
    x, y = np.rint(unhidden[:, :2]).astype(int).T
    hidden = (only_near.instance_map > 0)[y, x]
    assert hidden.any() and not hidden.all()
    np.testing.assert_array_equal(both.keypoints[0, hidden, 2], 1)
    np.testing.assert_array_equal(both.keypoints[0, ~hidden], unhidden[~hidden])
    np.testing.assert_array_equal(both.keypoints[1], only_near.keypoints[0])


def test_an_object_hides_only_the_people_behind_it() -> None:
    people = combine(one_person(1), one_person(2))
    people.bodies[:, :, 0] += [[-50], [50]]
    lower_half = np.array([[(0, 90), (199, 90), (199, 199), (0, 199)]], float)
    wall = Objects(lower_half.repeat(6, 1), np.full((1, 3), 99.0), np.array([1]))
    plain, scene = paint_scene(BLACK, people), paint_scene(BLACK, people, wall)
    below = plain.keypoints[0, :, 1] > 91
    np.testing.assert_array_equal(scene.keypoints[0, below, 2], 1)
    np.testing.assert_array_equal(scene.keypoints[0, ~below], plain.keypoints[0, ~below])
    np.testing.assert_array_equal(scene.keypoints[1], plain.keypoints[1])


def test_people_without_a_visible_keypoint_become_part_of_the_crowd() -> None:
    hidden, front = one_person(1), one_person(1)
    hidden.bodies[..., 0] += 1  # only a thin edge is visible
    scene = paint_scene(BLACK, combine(hidden, front))
    assert len(scene.keypoints) == 1
    assert scene.crowd.any()
    assert scene.areas[0] == (scene.instance_map == 1).sum()


def test_eyes_are_hidden_in_people_who_face_away() -> None:
    eyes = [COCO.names.index(name) for name in ("left_eye", "right_eye")]
    nose, hair = POINTS.index("nose"), POINTS.index("hair")
    orientations = set()
    for person in map(one_person, range(40)):
        forward = np.diff(person.bodies[0, [hair, nose], 2])[0] / person.heights[0]
        left, right = paint_scene(BLACK, person).keypoints[0, eyes]
        if forward > 0.07:
            assert left[0] > right[0]
            orientations.add("toward")
        elif forward < -0.07:
            assert left[0] < right[0]
            assert left[2] == right[2] == 1
            orientations.add("away")
    assert orientations == {"toward", "away"}


@pytest.mark.parametrize("seed", range(8))
def test_a_flipped_person_gives_the_flipped_image(seed: int) -> None:
    person = one_person(seed)
    opposite_points = [POINTS.index(opposite_name(name)) for name in POINTS]
    opposite_colors = [COLORS.index(opposite_name(name)) for name in COLORS]
    body = person.bodies[:, opposite_points].copy()
    body[..., 0] = 199 - body[..., 0]
    flipped_person = person._replace(bodies=body, colors=person.colors[:, opposite_colors])
    scene, flipped = paint_scene(BLACK, person), paint_scene(BLACK, flipped_person)
    expected = scene.keypoints[:, list(COCO.flip_index)] * (-1, 1, 1) + (199, 0, 0)
    np.testing.assert_allclose(flipped.keypoints, expected, atol=1e-3)
    difference = cv2.absdiff(flipped.image[:, ::-1].copy(), scene.image).max(-1)
    assert (difference > 60).mean() < 0.002  # pixels at edges
