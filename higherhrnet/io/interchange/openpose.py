"""Writes predictions as OpenPose does with --write_json: one JSON file per image or frame."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from higherhrnet.arrays import DoubleArray
from higherhrnet.errors import InputError
from higherhrnet.io.atomic import atomic_path
from higherhrnet.io.interchange.predicted_images import PredictedImage, PredictedImages
from higherhrnet.poses.poses import Poses

_ARMS = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist",
    "left_shoulder", "left_elbow", "left_wrist",
)  # fmt: skip
_LEGS = "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"
_HEAD = "right_eye", "left_eye", "right_ear", "left_ear"
_FEET = (
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip

BODY_25 = (*_ARMS, "mid_hip", *_LEGS, *_HEAD, *_FEET)
"""The keypoints of OpenPose's model BODY_25, its default, in its order."""
COCO_18 = (*_ARMS, *_LEGS, *_HEAD)
"""The keypoints of OpenPose's model COCO, in its order."""

_MIDDLES = {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")}
"""Keypoints that are the middle of two others where a skeleton lacks them."""
_FINGERS = "thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger"
_FACE = (*(f"face-{index}" for index in range(68)), "right_pupil", "left_pupil")


def write_openpose(folder: Path, images: PredictedImages) -> list[str]:
    """Writes the keypoints of BODY_25; see `_write`."""
    return _write(folder, images, BODY_25)


def write_openpose_coco(folder: Path, images: PredictedImages) -> list[str]:
    """Writes the 18 keypoints of OpenPose's model COCO; see `_write`."""
    return _write(folder, images, COCO_18)


def _write(folder: Path, images: PredictedImages, body: Sequence[str]) -> list[str]:
    """Writes `NAME_keypoints.json` for each image, and a folder of such files for each video.

    Args:
        folder: the output folder. Files of an earlier conversion in it are deleted.
        images: the predictions.
        body: the names of the keypoints of the body.

    Raises:
        InputError: the skeleton has none of these keypoints, or a file cannot be written.
    """
    if not set(body) & set(images.skeleton.names):
        raise InputError(
            f"OpenPose's format needs the keypoints of a human body; the skeleton "
            f"{images.skeleton.name} has none of them, such as {body[0]} or {body[2]}"
        )
    for path in folder.rglob("*_keypoints.json"):
        path.unlink()
    for image in images:
        content = {
            "version": 1.3,
            "people": [_person(person, body) for person in image.poses],
        }
        with atomic_path(folder / f"{_file_name(image)}_keypoints.json") as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")
    return []


def _file_name(image: PredictedImage) -> str:
    if image.frame is None:
        return image.output_name
    return f"{image.output_name}/{Path(image.output_name).name}_{image.frame:012d}"


def _person(person: Poses, body: Sequence[str]) -> dict[str, list[float]]:
    """Converts one person; keypoints that were not found are zeros."""
    (result,) = person.to_coco(0)
    triples = np.reshape(result["keypoints"], (-1, 3))
    found = dict(zip(person.skeleton.names, triples, strict=True))
    for name, pair in _MIDDLES.items():
        if name not in found and found.keys() >= set(pair):
            found[name] = _middle(*(found[end] for end in pair))
    parts = {
        "pose": body,
        "face": _FACE,
        "hand_left": _hand("left"),
        "hand_right": _hand("right"),
    }
    track_ids = [-1] if person.track_ids is None else person.track_ids.tolist()
    content: dict[str, list[float]] = {"person_id": track_ids}
    for part, names in parts.items():
        known = any(name in found for name in names)
        values = [found.get(name, np.zeros(3)) for name in names]
        content[f"{part}_keypoints_2d"] = np.ravel(values).tolist() if known else []
    return content | {f"{part}_keypoints_3d": [] for part in parts}


def _middle(a: DoubleArray, b: DoubleArray) -> DoubleArray:
    """Returns the middle of two keypoints with the lower score; zeros unless both were found."""
    score = min(a[2], b[2])
    return np.array([*(a[:2] + b[:2]) / 2, score]) if score > 0 else np.zeros(3)


def _hand(side: str) -> list[str]:
    fingers = (f"{side}_{finger}{joint}" for finger in _FINGERS for joint in range(1, 5))
    return [f"{side}_hand_root", *fingers]
