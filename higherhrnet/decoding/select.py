"""Which of the people found to give: not the weak, not the same one twice, not too many."""

from __future__ import annotations

import numpy as np

from higherhrnet.arrays import FloatArray
from higherhrnet.config import DecodeConfig
from higherhrnet.poses import Poses


def select(poses: Poses, config: DecodeConfig) -> Poses:
    """The people that `min_score`, `oks_nms` and `limit` leave, in their order."""
    poses = poses.above(config.min_score)
    if config.oks_nms is not None and len(poses) > 1:
        poses = poses[_best_of_its_like(poses, config.oks_nms)]
    if config.limit is not None and len(poses) > config.limit:
        best = np.argsort(-poses.scores, kind="stable")[: config.limit]
        poses = poses[np.sort(best)]
    return poses


def similarity(poses: Poses) -> FloatArray:
    """(P, P) Object Keypoint Similarity of every two people, 0 to 1.

    COCO's formula over the keypoints that both have, with the mean of the two boxes' areas as the
    area; 0 where they share none.
    """
    area = np.maximum(poses.boxes[:, 2:].prod(1), 1.0)
    area = (area[:, None] + area) / 2
    offset = poses.keypoints[:, None] - poses.keypoints
    falloff = 8 * np.square(np.asarray(poses.skeleton.sigmas, np.float32)) * area[..., None]
    alike = np.exp(-np.square(offset).sum(-1) / falloff)
    both = poses.found[:, None] & poses.found
    total = (alike * both).sum(-1) / np.maximum(both.sum(-1), 1)
    return np.asarray(total, np.float32)


def _best_of_its_like(poses: Poses, threshold: float) -> list[int]:
    """The people of whom no better one is more alike than `threshold`, in their order."""
    alike = similarity(poses) > threshold
    kept: list[int] = []
    for person in np.argsort(-poses.scores, kind="stable").tolist():
        if not alike[person, kept].any():
            kept.append(person)
    return sorted(kept)
