"""Converts poses to and from the class `KeyPoints` of the package Supervision."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from higherhrnet.arrays import FloatArray
from higherhrnet.errors import require
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeleton import Skeleton

if TYPE_CHECKING:
    import supervision as sv


def to_key_points(poses: Poses) -> sv.KeyPoints:
    """Converts poses to `supervision.KeyPoints`; see `Poses.to_supervision`."""
    require(
        find_spec("supervision") is not None,
        "to_supervision needs the package Supervision: pip install supervision",
    )
    import supervision as sv

    people = len(poses)
    data: dict[str, Any] = {"class_name": np.full(people, "person")}
    if poses.track_ids is not None:
        data["tracker_id"] = poses.track_ids
    return sv.KeyPoints(
        xy=poses.keypoints,
        class_id=np.zeros(people, np.int64),
        keypoint_confidence=poses.keypoint_scores,
        detection_confidence=poses.scores,
        visible=poses.found,
        data=data,
    )


def from_key_points(key_points: sv.KeyPoints, skeleton: Skeleton) -> Poses:
    """Converts `supervision.KeyPoints` to poses; see `Poses.from_supervision`."""
    shape = people, count = len(key_points), len(skeleton)
    require(
        people == 0 or key_points.xy.shape[1] == count,
        f"the skeleton {skeleton.name} has {count} keypoints, but the shape of key_points.xy is "
        f"{key_points.xy.shape}",
    )
    points: FloatArray = np.reshape(key_points.xy, (*shape, 2)).astype(np.float32)
    found = np.isfinite(points).all(-1) & (points != 0).any(-1)
    if key_points.visible is not None:
        found &= np.reshape(key_points.visible, shape)
    confidence: Any = key_points.keypoint_confidence
    values: Any = np.ones(shape) if confidence is None else np.reshape(confidence, shape)
    values = np.where(found, values, 0)
    scores: Any = key_points.detection_confidence
    track_ids: Any = key_points.data.get("tracker_id")
    points[~found] = 0
    return Poses(
        points,
        values,
        values.mean(1) if scores is None else scores,
        skeleton,
        track_ids,
    )
