"""Poses hold together, are chosen like arrays and survive COCO's form."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from higherhrnet.errors import InputError
from higherhrnet.poses import Poses
from higherhrnet.skeleton import COCO, CROWDPOSE, Skeleton


def random_poses(people: int, skeleton: Skeleton = COCO) -> Poses:
    """A third of the keypoints were not found."""
    rng = np.random.default_rng(people)
    scores = rng.uniform(0.01, 1, (people, len(skeleton)))
    scores *= rng.random(scores.shape) < 0.7
    keypoints = rng.uniform(0, 600, (*scores.shape, 2)) * (scores > 0)[..., None]
    x, y, z = (a.astype(np.float32) for a in (keypoints, scores, scores.mean(1)))
    return Poses(x, y, z, skeleton)


def assert_same(poses: Poses, others: Poses, decimals: float = 0) -> None:
    np.testing.assert_allclose(poses.keypoints, others.keypoints, rtol=0, atol=decimals)
    np.testing.assert_allclose(poses.keypoint_scores, others.keypoint_scores, atol=decimals)
    np.testing.assert_allclose(poses.scores, others.scores, rtol=0, atol=decimals)
    assert poses.skeleton == others.skeleton


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 17, 3), (2, 17), (2,)), "keypoints must have the shape (2, 17, 2), not (2, 17, 3)"),
        (((2, 14, 2), (2, 14), (2,)), "keypoints must have the shape (2, 17, 2), not (2, 14, 2)"),
        (((3, 17, 2), (2, 17), (2,)), "keypoints must have the shape (2, 17, 2), not (3, 17, 2)"),
        (((0,), (0,), (0,)), "keypoints must have the shape (0, 17, 2), not (0,)"),
        (((2, 17, 2), (2, 17, 1), (2,)), "keypoint_scores must have the shape (2, 17)"),
        (((2, 17, 2), (2, 17), (2, 1)), "scores must have the shape (2,), not (2, 1)"),
        (((1, 17, 2), (1, 17), ()), "scores must have the shape"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(
    shapes: tuple[tuple[int, ...], ...], message: str
) -> None:
    keypoints, keypoint_scores, scores = (np.zeros(shape, np.float32) for shape in shapes)
    with pytest.raises(InputError) as refused:
        Poses(keypoints, keypoint_scores, scores)
    assert message in str(refused.value)


def test_arrays_of_any_number_type_become_float32() -> None:
    poses = Poses(*(np.ones(shape, int) for shape in ((2, 17, 2), (2, 17), (2,))))  # type: ignore[arg-type]
    for array in (poses.keypoints, poses.keypoint_scores, poses.scores):
        assert array.dtype == np.float32


@pytest.mark.parametrize(
    ("index", "people"),
    [
        (0, [0]),
        (4, [4]),
        (-1, [4]),
        (np.int64(2), [2]),
        (slice(1, 3), [1, 2]),
        (slice(None, None, -2), [4, 2, 0]),
        (slice(7, 9), []),
        ([3, 1, 3], [3, 1, 3]),
        ([-2, 0], [3, 0]),
        ([], []),
        (np.array([2, 0]), [2, 0]),
        (np.array([], int), []),
        (np.array([True, False, True, False, False]), [0, 2]),
        ([False, True, False, False, True], [1, 4]),
        (np.zeros(5, bool), []),
    ],
    ids=str,
)
def test_people_are_chosen_as_from_an_array(
    index: int | slice | NDArray[Any] | list[int], people: list[int]
) -> None:
    poses = random_poses(5, CROWDPOSE)
    chosen = poses[index]
    assert len(chosen) == len(people)
    for field in ("keypoints", "keypoint_scores", "scores"):
        rows = [getattr(poses, field)[person] for person in people]
        assert getattr(chosen, field).tolist() == [row.tolist() for row in rows]
    assert chosen.skeleton is CROWDPOSE


@pytest.mark.parametrize("index", [5, -6, [0, 5], np.ones(4, bool)], ids=str)
def test_people_who_are_not_there_cannot_be_chosen(index: int | list[int] | NDArray[Any]) -> None:
    with pytest.raises(IndexError):
        random_poses(5)[index]


def test_nobody_can_be_chosen_from_nobody() -> None:
    nobody = random_poses(0)
    assert len(nobody[:]) == len(nobody[[]]) == len(nobody.above(0.5)) == 0
    assert nobody.boxes.shape == (0, 4)
    assert nobody.found.shape == (0, 17)
    assert nobody.to_coco(1) == []


def test_a_loop_meets_each_person() -> None:
    poses = random_poses(3)
    scores = [person.scores.tolist() for person in poses]
    assert scores == [[score] for score in poses.scores.tolist()]


def test_people_at_least_as_good_as_a_score_are_above_it() -> None:
    poses = random_poses(9)
    least = float(np.median(poses.scores))
    above = poses.above(least)
    assert above.scores.tolist() == [s for s in poses.scores.tolist() if s >= least]
    assert len(above) == 5


def test_a_box_lies_around_the_keypoints_that_were_found() -> None:
    poses = random_poses(4)
    for person, box in enumerate(poses.boxes.tolist()):
        found = [poses.keypoints[person, k].tolist() for k in range(17) if poses.found[person, k]]
        left, top = (min(place[axis] for place in found) for axis in (0, 1))
        right, bottom = (max(place[axis] for place in found) for axis in (0, 1))
        assert box == pytest.approx([left, top, right - left, bottom - top], abs=1e-3)


def test_a_box_is_zero_where_nothing_was_found_and_flat_around_one_keypoint() -> None:
    keypoints, scores = np.full((2, 17, 2), 7, np.float32), np.zeros((2, 17), np.float32)
    scores[1, 3] = 0.5
    keypoints[1, 3] = -4, 9
    boxes = Poses(keypoints, scores, np.ones(2, np.float32)).boxes
    assert boxes.tolist() == [[0, 0, 0, 0], [-4, 9, 0, 0]]


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize("people", [0, 1, 6])
def test_people_come_back_from_coco_results(people: int, skeleton: Skeleton) -> None:
    poses = random_poses(people, skeleton)
    written = json.loads(json.dumps(poses.to_coco(7)))
    back = Poses.from_coco(written, skeleton)
    assert_same(back, poses, decimals=5.1e-4)  # written with three digits
    np.testing.assert_array_equal(back.found, poses.found)


def test_a_coco_result_has_what_coco_asks_for_and_the_facts_given() -> None:
    poses = random_poses(2)
    for person, result in enumerate(poses.to_coco("a.jpg", 3, frame=5, file_name="b.jpg")):
        assert list(result) == [
            "image_id", "frame", "file_name", "category_id", "keypoints", "score", "bbox"
        ]  # fmt: skip
        assert (result["image_id"], result["category_id"]) == ("a.jpg", 3)
        assert (result["frame"], result["file_name"]) == (5, "b.jpg")
        assert len(result["keypoints"]) == 51
        triples = np.column_stack([poses.keypoints[person], poses.keypoint_scores[person]])
        np.testing.assert_allclose(result["keypoints"], triples.ravel(), atol=5.1e-4)
        np.testing.assert_allclose(result["bbox"], poses.boxes[person], atol=5.1e-3)
        assert result["score"] == pytest.approx(float(poses.scores[person]))


def test_a_faint_keypoint_is_still_found_after_writing() -> None:
    """Refined keypoints may be as faint as that."""
    poses = random_poses(1)
    poses.keypoint_scores[0, :2] = 2e-4
    np.testing.assert_array_equal(Poses.from_coco(poses.to_coco(1)).found, poses.found)


def test_annotations_have_visibilities_and_count_as_certain() -> None:
    triples = np.random.default_rng(0).integers(0, 3, (2, 17, 3))
    poses = Poses.from_coco([{"keypoints": person.ravel().tolist()} for person in triples])
    np.testing.assert_array_equal(poses.keypoints, triples[..., :2])
    np.testing.assert_array_equal(poses.keypoint_scores, triples[..., 2])
    assert poses.scores.tolist() == [1, 1]


@pytest.mark.parametrize("lengths", [[42], [50], [51, 42], [34, 68], [0]], ids=str)
def test_results_of_another_skeleton_are_refused(lengths: list[int]) -> None:
    with pytest.raises(InputError, match="keypoints must hold 17 triples"):
        Poses.from_coco([{"keypoints": [1.0] * length} for length in lengths])


def test_results_without_keypoints_are_refused() -> None:
    with pytest.raises(InputError, match="keypoints"):
        Poses.from_coco([{"bbox": [0, 0, 1, 1]}])


@pytest.mark.parametrize("field", ["keypoints", "keypoint_scores", "scores"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(field: str, value: float) -> None:
    poses = random_poses(2)
    broken = getattr(poses, field).copy()
    broken.flat[1] = value
    with pytest.raises(InputError, match=f"{field} must be numbers"):
        replace(poses, **{field: broken})


def test_tracks_go_where_their_people_go() -> None:
    poses = replace(random_poses(4), track_ids=np.array([7, 3, 9, 1]))
    kept = poses[np.array([False, True, True, False])].track_ids
    assert kept is not None and kept.tolist() == [3, 9]
    results = poses.to_coco(1)
    assert [result["track_id"] for result in results] == [7, 3, 9, 1]
    again = Poses.from_coco(results).track_ids
    assert again is not None and again.tolist() == [7, 3, 9, 1]
    assert Poses.from_coco(random_poses(2).to_coco(1)).track_ids is None
    with pytest.raises(InputError, match="tracks must have the shape"):
        replace(poses, track_ids=np.arange(3))


def test_tracks_are_whole_numbers_for_all_or_none() -> None:
    poses = random_poses(2)
    listed = Poses(poses.keypoints, poses.keypoint_scores, poses.scores, track_ids=[5, 2])  # type: ignore[arg-type]
    assert listed.track_ids is not None and listed.track_ids.dtype == np.int64
    first, second = listed.to_coco(1)
    assert Poses.from_coco([first, second | {"track_id": None}]).track_ids is None
    with pytest.raises(InputError, match="tracks must be whole numbers"):
        Poses.from_coco([first, second | {"track_id": "person-3"}])
