"""Conversion to and from Supervision's KeyPoints, with the package itself."""

from __future__ import annotations

import numpy as np
import pytest

from higherhrnet import COCO, InputError, Poses
from tests.io.interchange.conftest import random_poses

sv = pytest.importorskip("supervision")


def test_people_are_the_same_after_a_round_trip() -> None:
    plain = random_poses(1, 3)
    poses = Poses(plain.keypoints, plain.keypoint_scores, plain.scores, COCO, np.array([4, 2, 9]))
    key_points = poses.to_supervision()
    assert len(key_points) == 3 and list(key_points.data["class_name"]) == ["person"] * 3
    back = Poses.from_supervision(key_points.select(np.array([True, False, True])))
    assert np.array_equal(back.keypoints, poses.keypoints[[0, 2]])
    assert np.array_equal(back.keypoint_scores, poses.keypoint_scores[[0, 2]])
    assert np.array_equal(back.scores, poses.scores[[0, 2]])
    assert back.track_ids is not None and back.track_ids.tolist() == [4, 9]
    assert Poses.from_supervision(plain.to_supervision()).track_ids is None


def test_supervision_computes_the_same_boxes_and_draws_the_found_keypoints() -> None:
    poses = random_poses(2, 2)
    x, y, width, height = poses.boxes.T
    corners = np.stack([x, y, x + width, y + height], 1)
    assert poses.to_supervision().as_detections().xyxy == pytest.approx(corners, abs=1e-3)
    scene = np.zeros((480, 640, 3), np.uint8)
    drawn = sv.VertexAnnotator(sv.Color.WHITE, radius=0).annotate(scene, poses.to_supervision())
    pixels = {tuple(point) for point in poses.keypoints[poses.found].astype(int).tolist()}
    assert {(x, y) for y, x in np.argwhere(drawn.any(-1)).tolist()} == pixels


def test_empty_poses_are_converted() -> None:
    empty = random_poses(1, 2)[:0]
    assert len(Poses.from_supervision(empty.to_supervision())) == 0
    assert len(Poses.from_supervision(sv.KeyPoints.empty())) == 0


def test_missing_and_invisible_keypoints_have_no_score() -> None:
    points = np.full((1, 17, 2), 5, np.float32)
    points[0, 3] = 0
    visible = np.ones((1, 17), bool)
    visible[0, 4] = False
    poses = Poses.from_supervision(sv.KeyPoints(points, visible=visible))
    assert np.flatnonzero(~poses.found[0]).tolist() == [3, 4]
    assert poses.scores[0] == pytest.approx(15 / 17)


def test_another_number_of_keypoints_is_rejected() -> None:
    key_points = sv.KeyPoints(np.ones((1, 5, 2), np.float32))
    with pytest.raises(InputError, match=r"coco has 17 keypoints, .* \(1, 5, 2\)"):
        Poses.from_supervision(key_points)
