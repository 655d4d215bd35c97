"""The people and results of one image → how alike they are, keypoint by keypoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from higherhrnet.arrays import BoolArray, DoubleArray
from higherhrnet.io.coco import Entry
from higherhrnet.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class KeypointSimilarity:
    """Of D results to P people with K keypoints: 1 where it is the same place, down to 0."""

    own: DoubleArray
    """(D, P, K) to the same keypoint; 0 where that is not labelled."""
    mirror: DoubleArray
    """(D, P, K) to the keypoint of the other side; a nose is its own mirror image."""
    labeled: BoolArray
    """(P, K) of the people."""

    @property
    def oks(self) -> DoubleArray:
        """(D, P) Object Keypoint Similarity, as COCO's code has it."""
        return np.asarray(self.own.sum(-1) / self.labeled.sum(-1))

    @property
    def fit(self) -> DoubleArray:
        """(D, P) the same with left and right forgiven."""
        return np.asarray((self.either * self.labeled).sum(-1) / self.labeled.sum(-1))

    @property
    def either(self) -> DoubleArray:
        """(D, P, K) to the keypoint of either side."""
        return np.maximum(self.own, self.mirror)


def is_judged(person: Entry) -> bool:
    """Whether COCO's code judges by this person: labelled keypoints, and no crowd region."""
    labeled = person["num_keypoints"] and any(person["keypoints"][2::3])
    return bool(labeled and not person["iscrowd"])


def keypoint_similarity(
    found: Sequence[Entry], people: Sequence[Entry], skeleton: Skeleton
) -> KeypointSimilarity:
    """Compare results with people who have labelled keypoints."""
    points, triples = _triples(found, skeleton)[:, None, :, :2], _triples(people, skeleton)
    labeled, flip = triples[..., 2] > 0, list(skeleton.flip_index)
    own = _similarity(points - triples[..., :2], people, skeleton)
    mirror = _similarity(points - triples[:, flip, :2], people, skeleton)
    return KeypointSimilarity(own * labeled, mirror * labeled[:, flip], labeled)


def box_similarity(
    found: Sequence[Entry], people: Sequence[Entry], skeleton: Skeleton
) -> DoubleArray:
    """(D, P) how far results lie in boxes of twice the size: COCO's rule without keypoints."""
    points = _triples(found, skeleton)[:, None, :, :2]
    boxes = np.array([person["bbox"] for person in people], float).reshape(-1, 1, 4)
    inside = points.clip(boxes[..., :2] - boxes[..., 2:], boxes[..., :2] + 2 * boxes[..., 2:])
    return np.asarray(_similarity(points - inside, people, skeleton).mean(-1))


def _triples(entries: Sequence[Entry], skeleton: Skeleton) -> DoubleArray:
    triples = np.array([entry["keypoints"] for entry in entries], float)
    return triples.reshape(len(entries), len(skeleton), 3)


def _similarity(offsets: DoubleArray, people: Sequence[Entry], skeleton: Skeleton) -> DoubleArray:
    """(D, P, K, 2) offsets in pixels → (D, P, K)."""
    areas = np.array([person["area"] for person in people], float) + np.spacing(1)
    falloff = 8 * np.square(skeleton.sigmas) * areas[:, None]
    return np.asarray(np.exp(-np.square(offsets).sum(-1) / falloff))
