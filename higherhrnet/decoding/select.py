"""Selection: removes weak and duplicate people, and limits their number."""

from __future__ import annotations

import numpy as np

from higherhrnet.arrays import FloatArray
from higherhrnet.config.inference import DecodeConfig
from higherhrnet.poses.oks import object_keypoint_similarity
from higherhrnet.poses.poses import Poses


def select(poses: Poses, config: DecodeConfig) -> Poses:
    """Applies `min_score`, then `oks_nms`, then `max_results`; people keep their order."""
    if config.min_score > 0:  # scores of rescored people may be negative
        poses = poses.above(config.min_score)
    if config.oks_nms is not None and len(poses) > 1:
        poses = poses[non_maximum_suppression(poses, config.oks_nms)]
    if config.max_results is not None and len(poses) > config.max_results:
        best = np.argsort(-poses.scores, kind="stable")[: config.max_results]
        poses = poses[np.sort(best)]
    return poses


def pairwise_similarity(poses: Poses) -> FloatArray:
    """Computes the Object Keypoint Similarity of every two people.

    The area is the mean of the areas of the two boxes, and the keypoints are those that both people
    have.

    Returns:
        (P, P) similarities from 0 to 1; 0 where two people have no keypoint in common.
    """
    areas = np.maximum(poses.boxes[:, 2:].prod(1), 1.0)
    similarity = object_keypoint_similarity(
        offsets=poses.keypoints[:, None] - poses.keypoints,
        areas=(areas[:, None] + areas) / 2,
        sigmas=np.asarray(poses.skeleton.sigmas, np.float32),
        compared=poses.found[:, None] & poses.found,
    )
    return np.asarray(similarity, np.float32)


def non_maximum_suppression(poses: Poses, threshold: float) -> list[int]:
    """Returns the indices of people whose OKS with each better kept person is low enough.

    Args:
        poses: the people; those with higher scores are kept.
        threshold: the similarity above which a person is omitted.
    """
    similar = pairwise_similarity(poses) > threshold
    kept: list[int] = []
    for person in np.argsort(-poses.scores, kind="stable").tolist():
        if not similar[person, kept].any():
            kept.append(person)
    return sorted(kept)
