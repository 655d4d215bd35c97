"""Suppression of poses of the same person (DEKR, section 3, "Inference")."""

from __future__ import annotations

import numpy as np

from higherhrnet.arrays import BoolArray, FloatArray, IndexArray
from higherhrnet.config.offsets import NmsOrder


def suppress_poses(
    keypoints: FloatArray,
    scores: FloatArray,
    max_distance: float,
    min_keypoints: int,
    order: NmsOrder,
    max_people: int,
) -> IndexArray:
    """Selects one pose for each person.

    Args:
        keypoints: (P, K, 2) x and y, in the order in which poses suppress others (`order` scale).
        scores: (P,) mean heatmap value of each pose.
        max_distance: distance, relative to the diagonal of a pose's box, below which a keypoint of
            another pose is near.
        min_keypoints: number of near keypoints above which two poses are of the same person.
        order: see `OffsetDecodeConfig.nms_order`.
        max_people: maximum number of selected poses.

    Returns:
        The indices of the selected poses. If there are more than `max_people`, those with the
        highest scores are selected and sorted by score.
    """
    if not len(keypoints):
        return np.zeros(0, np.intp)
    near = _near(keypoints, max_distance, min_keypoints)
    kept = _suppress(near, scores) if order == "scale" else _suppress_by_score(near, scores)
    if len(kept) > max_people:
        kept = kept[np.argsort(-scores[kept], kind="stable")[:max_people]]
    return kept


def _near(keypoints: FloatArray, max_distance: float, min_keypoints: int) -> BoolArray:
    """Returns (P, P) whether the pose of the column is of the same person as that of the row."""
    sides = keypoints.max(1) - keypoints.min(1)
    limit = (max_distance**2 * (sides**2).sum(1))[:, None, None]
    squared = ((keypoints[:, None] - keypoints) ** 2).sum(3)
    near: BoolArray = (squared < limit).sum(2) > min_keypoints
    np.fill_diagonal(near, True)  # also where the box is empty
    return near


def _suppress(near: BoolArray, scores: FloatArray) -> IndexArray:
    """Suppresses in the order of the poses, as the reference implementation does.

    Each pose selects the pose with the highest score among its neighbors and itself, and removes
    all of them. If the selected pose is removed already, only the pose itself is removed.
    """
    best = np.where(near, scores, -np.inf).argmax(1).tolist()
    removed = np.zeros(len(near), bool)
    kept = []
    for pose, selected in enumerate(best):
        if removed[pose]:
            continue
        if removed[selected]:
            removed[pose] = True
            continue
        kept.append(selected)
        removed |= near[pose]
    return np.array(kept, np.intp)


def _suppress_by_score(near: BoolArray, scores: FloatArray) -> IndexArray:
    """Keeps poses from high to low score, and removes the neighbors of each kept pose."""
    removed = np.zeros(len(near), bool)
    kept = []
    for pose in np.argsort(-scores, kind="stable").tolist():
        if not removed[pose]:
            kept.append(pose)
            removed |= near[pose] | near[:, pose]
    return np.array(kept, np.intp)
