"""Poses: validation, selection, conversion from and to COCO, and display."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from higherhrnet.errors import InputError
from higherhrnet.io.images import read_image
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO, CROWDPOSE


def random_poses(people: int, skeleton: Skeleton = COCO) -> Poses:
    """Random people, about a third of whose keypoints were not found."""
    rng = np.random.default_rng(people)
    scores = rng.uniform(0.01, 1, (people, len(skeleton)))
    scores *= rng.random(scores.shape) < 0.7
    keypoints = rng.uniform(0, 600, (*scores.shape, 2)) * (scores > 0)[..., None]
    points, point_scores, person_scores = (
        array.astype(np.float32) for array in (keypoints, scores, scores.mean(1))
    )
    return Poses(points, point_scores, person_scores, skeleton)


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
def test_arrays_of_other_shapes_are_rejected(
    shapes: tuple[tuple[int, ...], ...], message: str
) -> None:
    keypoints, keypoint_scores, scores = (np.zeros(shape, np.float32) for shape in shapes)
    with pytest.raises(InputError) as error:
        Poses(keypoints, keypoint_scores, scores)
    assert message in str(error.value)


def test_arrays_are_converted_to_float32() -> None:
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
def test_people_are_selected_as_from_an_array(
    index: int | slice | NDArray[Any] | list[int], people: list[int]
) -> None:
    poses = random_poses(5, CROWDPOSE)
    selected = poses[index]
    assert len(selected) == len(people)
    for field in ("keypoints", "keypoint_scores", "scores"):
        rows = [getattr(poses, field)[person] for person in people]
        assert getattr(selected, field).tolist() == [row.tolist() for row in rows]
    assert selected.skeleton is CROWDPOSE


@pytest.mark.parametrize("index", [5, -6, [0, 5], np.ones(4, bool)], ids=str)
def test_indices_out_of_range_are_rejected(
    index: int | list[int] | NDArray[Any],
) -> None:
    with pytest.raises(IndexError):
        random_poses(5)[index]


def test_poses_without_people_can_be_selected_from_and_converted() -> None:
    empty = random_poses(0)
    assert len(empty[:]) == len(empty[[]]) == len(empty.above(0.5)) == 0
    assert empty.boxes.shape == (0, 4)
    assert empty.found.shape == (0, 17)
    assert empty.to_coco(1) == []


def test_iterating_yields_each_person() -> None:
    poses = random_poses(3)
    scores = [person.scores.tolist() for person in poses]
    assert scores == [[score] for score in poses.scores.tolist()]


def test_above_keeps_people_with_at_least_the_minimum_score() -> None:
    poses = random_poses(9)
    median = float(np.median(poses.scores))
    above = poses.above(median)
    assert above.scores.tolist() == [s for s in poses.scores.tolist() if s >= median]
    assert len(above) == 5


def test_boxes_enclose_the_found_keypoints() -> None:
    poses = random_poses(4)
    for person, box in enumerate(poses.boxes.tolist()):
        found = [poses.keypoints[person, k].tolist() for k in range(17) if poses.found[person, k]]
        left, top = (min(point[axis] for point in found) for axis in (0, 1))
        right, bottom = (max(point[axis] for point in found) for axis in (0, 1))
        assert box == pytest.approx([left, top, right - left, bottom - top], abs=1e-3)


def test_a_box_is_zero_without_keypoints_and_a_point_around_one() -> None:
    keypoints, scores = np.full((2, 17, 2), 7, np.float32), np.zeros((2, 17), np.float32)
    scores[1, 3] = 0.5
    keypoints[1, 3] = -4, 9
    boxes = Poses(keypoints, scores, np.ones(2, np.float32)).boxes
    assert boxes.tolist() == [[0, 0, 0, 0], [-4, 9, 0, 0]]


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize("people", [0, 1, 6])
def test_people_are_restored_from_coco_results(people: int, skeleton: Skeleton) -> None:
    poses = random_poses(people, skeleton)
    written = json.loads(json.dumps(poses.to_coco(7)))
    restored = Poses.from_coco(written, skeleton)
    np.testing.assert_allclose(restored.keypoints, poses.keypoints, rtol=0, atol=5.1e-4)
    np.testing.assert_allclose(restored.keypoint_scores, poses.keypoint_scores, rtol=0, atol=1e-6)
    np.testing.assert_allclose(restored.scores, poses.scores, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(restored.found, poses.found)
    assert restored.skeleton == skeleton


def test_coco_results_have_the_required_and_the_extra_entries() -> None:
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


def test_keypoints_with_very_low_scores_are_still_found_after_conversion() -> None:
    """Refined keypoints can have such scores."""
    poses = random_poses(1)
    poses.keypoint_scores[0, :2] = 2e-4
    np.testing.assert_array_equal(Poses.from_coco(poses.to_coco(1)).found, poses.found)


def test_annotations_have_visibilities_as_scores_and_a_person_score_of_one() -> None:
    triples = np.random.default_rng(0).integers(0, 3, (2, 17, 3))
    poses = Poses.from_coco([{"keypoints": person.ravel().tolist()} for person in triples])
    np.testing.assert_array_equal(poses.keypoints, triples[..., :2])
    np.testing.assert_array_equal(poses.keypoint_scores, triples[..., 2])
    assert poses.scores.tolist() == [1, 1]


@pytest.mark.parametrize("lengths", [[42], [50], [51, 42], [34, 68], [0]], ids=str)
def test_results_of_another_skeleton_are_rejected(lengths: list[int]) -> None:
    with pytest.raises(InputError, match="x, y and score for each of the 17 keypoints"):
        Poses.from_coco([{"keypoints": [1.0] * length} for length in lengths])


def test_results_without_keypoints_are_rejected() -> None:
    with pytest.raises(InputError, match="keypoints"):
        Poses.from_coco([{"bbox": [0, 0, 1, 1]}])


@pytest.mark.parametrize("field", ["keypoints", "keypoint_scores", "scores"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_rejected(field: str, value: float) -> None:
    poses = random_poses(2)
    broken = getattr(poses, field).copy()
    broken.flat[1] = value
    with pytest.raises(InputError, match=f"{field} must not contain NaN or infinity"):
        replace(poses, **{field: broken})


def test_track_ids_are_selected_and_converted_with_their_people() -> None:
    poses = replace(random_poses(4), track_ids=np.array([7, 3, 9, 1]))
    selected = poses[np.array([False, True, True, False])].track_ids
    assert selected is not None and selected.tolist() == [3, 9]
    results = poses.to_coco(1)
    assert [result["track_id"] for result in results] == [7, 3, 9, 1]
    restored = Poses.from_coco(results).track_ids
    assert restored is not None and restored.tolist() == [7, 3, 9, 1]
    assert Poses.from_coco(random_poses(2).to_coco(1)).track_ids is None
    with pytest.raises(InputError, match="track_ids must have the shape"):
        replace(poses, track_ids=np.arange(3))


def test_track_ids_are_integers_for_all_people_or_none() -> None:
    poses = random_poses(2)
    listed = Poses(poses.keypoints, poses.keypoint_scores, poses.scores, track_ids=[5, 2])  # type: ignore[arg-type]
    assert listed.track_ids is not None and listed.track_ids.dtype == np.int64
    first, second = listed.to_coco(1)
    assert Poses.from_coco([first, second | {"track_id": None}]).track_ids is None
    with pytest.raises(InputError, match="track_ids must be integers"):
        Poses.from_coco([first, second | {"track_id": "person-3"}])


def test_people_are_converted_to_another_skeleton_by_keypoint_names() -> None:
    poses = random_poses(2)
    upper = Skeleton("upper", ("right_wrist", "nose"), (), (0.1, 0.1))
    converted = poses.with_skeleton(upper)
    assert converted.skeleton is upper
    np.testing.assert_array_equal(converted.keypoints, poses.keypoints[:, [10, 0]])
    np.testing.assert_array_equal(converted.keypoint_scores, poses.keypoint_scores[:, [10, 0]])
    with pytest.raises(InputError, match="the skeleton coco has no keypoint head, neck"):
        poses.with_skeleton(CROWDPOSE)


def test_repr_is_one_line_with_the_number_of_people_and_their_scores() -> None:
    poses = random_poses(2)
    poses.scores[:] = 0.904, 0.5
    assert repr(poses) == "Poses(people=2, keypoints=17, skeleton='coco', scores=[0.9 0.5])"
    for people in (0, 1, 400):
        assert "\n" not in repr(random_poses(people)) and len(repr(random_poses(people))) < 120


def test_notebooks_display_a_drawing_of_the_people() -> None:
    """Its size does not depend on the coordinates, and it is the same wherever the people are."""
    poses = random_poses(3)
    png = poses._repr_png_()
    assert png is not None
    image = read_image(png)
    assert max(image.shape) == 480 + 2 * 24 and len(np.unique(image.reshape(-1, 3), axis=0)) > 20
    moved = np.where(poses.found[..., None], 1000 * poses.keypoints - 1e5, 0)
    far = replace(poses, keypoints=moved.astype(np.float32))._repr_png_()
    assert far is not None
    assert abs(read_image(far).astype(int) - image).mean() < 2
    assert random_poses(0)._repr_png_() is None
