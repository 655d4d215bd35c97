"""OpenPose JSON has the files, fields and order of keypoints that OpenPose documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from higherhrnet import CROWDPOSE, InputError, Poses
from higherhrnet.io.interchange.openpose import write_openpose, write_openpose_coco
from higherhrnet.io.interchange.predicted_images import PredictedImages
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO_WHOLEBODY
from tests.io.interchange.conftest import random_poses, write_predictions

# Of OpenPose's documentation (doc/02_output.md), with the spelling of its tables.
BODY_25 = {
    0: "Nose", 1: "Neck", 2: "RShoulder", 3: "RElbow", 4: "RWrist", 5: "LShoulder", 6: "LElbow",
    7: "LWrist", 8: "MidHip", 9: "RHip", 10: "RKnee", 11: "RAnkle", 12: "LHip", 13: "LKnee",
    14: "LAnkle", 15: "REye", 16: "LEye", 17: "REar", 18: "LEar", 19: "LBigToe", 20: "LSmallToe",
    21: "LHeel", 22: "RBigToe", 23: "RSmallToe", 24: "RHeel",
}  # fmt: skip
COCO_18 = {
    0: "Nose", 1: "Neck", 2: "RShoulder", 3: "RElbow", 4: "RWrist", 5: "LShoulder", 6: "LElbow",
    7: "LWrist", 8: "RHip", 9: "RKnee", 10: "RAnkle", 11: "LHip", 12: "LKnee", 13: "LAnkle",
    14: "REye", 15: "LEye", 16: "REar", 17: "LEar",
}  # fmt: skip


def own_name(name: str) -> str:
    """Nose → nose, RBigToe → right_big_toe."""
    sides = {"R": "right_", "L": "left_"}
    if name[0] in sides and name[1].isupper():
        words = "".join(f"_{letter}" if letter.isupper() else letter for letter in name[1:])
        return sides[name[0]] + words.lower().strip("_")
    return name.lower()


def read(path: Path) -> list[dict[str, Any]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["version"] == 1.3
    return list(content["people"])


@pytest.mark.parametrize(
    ("write", "layout"), [(write_openpose, BODY_25), (write_openpose_coco, COCO_18)]
)
def test_each_keypoint_is_at_the_index_of_openpose(
    write: Any,  # noqa: ANN401
    layout: dict[int, str],
    frames: list[tuple[str, int | None, Poses]],
    predicted: PredictedImages,
    tmp_path: Path,
) -> None:
    assert write(tmp_path / "out", predicted) == []
    people = read(tmp_path / "out" / "day 1" / "a_keypoints.json")
    poses = frames[0][2]
    assert len(people) == len(poses) == 2
    for person, keypoints, scores in zip(
        people, poses.keypoints, poses.keypoint_scores, strict=True
    ):
        triples = np.reshape(person["pose_keypoints_2d"], (-1, 3))
        assert len(triples) == len(layout)
        for index, name in layout.items():
            if name in ("Neck", "MidHip"):
                sides = (
                    ("left_shoulder", "right_shoulder")
                    if name == "Neck"
                    else ("left_hip", "right_hip")
                )
                a, b = (poses.skeleton.names.index(side) for side in sides)
                expected = [*(keypoints[a] + keypoints[b]) / 2, min(scores[a], scores[b])]
                if min(scores[a], scores[b]) == 0:
                    expected = [0, 0, 0]
            elif own_name(name) in poses.skeleton.names:
                own = poses.skeleton.names.index(own_name(name))
                expected = [*keypoints[own], scores[own]]
            else:
                assert name.endswith(("Toe", "Heel"))
                expected = [0, 0, 0]
            assert triples[index] == pytest.approx(expected, abs=1e-4)
        assert person["face_keypoints_2d"] == person["hand_left_keypoints_2d"] == []
        assert person["pose_keypoints_3d"] == person["hand_right_keypoints_3d"] == []
        assert person["person_id"] == [-1]


def test_images_without_people_and_frames_have_files_with_track_ids(
    predicted: PredictedImages, tmp_path: Path
) -> None:
    write_openpose(tmp_path, predicted)
    assert read(tmp_path / "000000000139_keypoints.json") == []
    frames = sorted((tmp_path / "clip").iterdir())
    assert [path.name for path in frames] == [
        f"clip_00000000000{index}_keypoints.json" for index in range(3)
    ]
    ids = [[person["person_id"] for person in read(path)] for path in frames]
    assert ids == [[[7], [2]], [], [[7]]]


def test_feet_face_and_hands_of_whole_bodies_are_written(tmp_path: Path) -> None:
    poses = random_poses(3, 1, COCO_WHOLEBODY)
    images = write_predictions(tmp_path / "poses", [("a.png", None, poses)])
    write_openpose(tmp_path / "out", images)
    (person,) = read(tmp_path / "out" / "a_keypoints.json")
    own = np.concatenate([poses.keypoints[0], poses.keypoint_scores[0, :, None]], 1)

    def triples(part: str) -> Any:  # noqa: ANN401
        return np.reshape(person[f"{part}_keypoints_2d"], (-1, 3))

    # COCO-WholeBody: 17 of the body, 6 of the feet (left, then right), 68 of the face, 21 of each
    # hand, both in the order of OpenPose.
    assert triples("pose")[19:] == pytest.approx(own[17:23], abs=1e-3)
    assert triples("face")[:68] == pytest.approx(own[23:91], abs=1e-3)
    assert triples("face")[68:] == pytest.approx(np.zeros((2, 3)))  # pupils
    assert triples("hand_left") == pytest.approx(own[91:112], abs=1e-3)
    assert triples("hand_right") == pytest.approx(own[112:], abs=1e-3)


def test_a_neck_of_the_skeleton_is_used(tmp_path: Path) -> None:
    poses = random_poses(4, 1, CROWDPOSE)
    images = write_predictions(tmp_path / "poses", [("a.png", None, poses)])
    write_openpose(tmp_path / "out", images)
    (person,) = read(tmp_path / "out" / "a_keypoints.json")
    neck = CROWDPOSE.names.index("neck")
    expected = [*poses.keypoints[0, neck], poses.keypoint_scores[0, neck]]
    assert person["pose_keypoints_2d"][3:6] == pytest.approx(expected, abs=1e-3)
    assert person["pose_keypoints_2d"][:3] == [0, 0, 0]  # CrowdPose has no nose


def test_files_of_an_earlier_conversion_are_deleted_and_others_are_kept(
    predicted: PredictedImages, tmp_path: Path
) -> None:
    old, other = tmp_path / "old_keypoints.json", tmp_path / "notes.json"
    old.touch()
    other.touch()
    write_openpose(tmp_path, predicted)
    assert not old.exists() and other.exists()


def test_skeletons_without_a_human_body_are_rejected(tmp_path: Path) -> None:
    skeleton = Skeleton("pencil", ("tip", "end"), (("tip", "end"),), (0.1, 0.1))
    images = write_predictions(tmp_path / "poses", [("a.png", None, random_poses(1, 1, skeleton))])
    with pytest.raises(InputError, match="pencil has none of them, such as nose"):
        write_openpose(tmp_path / "out", images)
