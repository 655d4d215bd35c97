"""Similarity of the results and the annotated people of one image, keypoint by keypoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from higherhrnet.arrays import BoolArray, DoubleArray, IndexArray
from higherhrnet.io.datasets.coco import Entry
from higherhrnet.poses import oks
from higherhrnet.poses.skeleton import Skeleton

_PAIRS = 2**13
"""Number of pairs that `pair_similarity` compares at once, so that they fit into the caches."""


@dataclass(frozen=True, eq=False)
class KeypointSimilarity:
    """The similarity, 0 to 1, of D results to P people with K keypoints; 1 at the same place."""

    same: DoubleArray
    """(D, P, K) to the same keypoint; 0 where that is not labeled."""
    opposite: DoubleArray
    """(D, P, K) to the keypoint of the other side of the body, which is the same keypoint for one
    on the midline such as the nose; 0 where that is not labeled."""
    labeled: BoolArray
    """(P, K) whether a keypoint is labeled."""

    @property
    def oks(self) -> DoubleArray:
        """Computes (D, P) Object Keypoint Similarity, as pycocotools does."""
        return np.asarray(self.same.sum(-1) / self.labeled.sum(-1))

    @property
    def side_invariant_oks(self) -> DoubleArray:
        """Computes (D, P) Object Keypoint Similarity that ignores exchanges of left and right."""
        return np.asarray((self.either * self.labeled).sum(-1) / self.labeled.sum(-1))

    @property
    def either(self) -> DoubleArray:
        """Returns (D, P, K) the higher similarity: to the same or to the opposite keypoint."""
        return np.maximum(self.same, self.opposite)


def is_evaluated(person: Entry) -> bool:
    """Returns whether a person is evaluated: with labeled keypoints and not a crowd region."""
    labeled = person["num_keypoints"] and any(person["keypoints"][2::3])
    return bool(labeled and not person["iscrowd"])


def keypoint_similarity(
    results: Sequence[Entry], people: Sequence[Entry], skeleton: Skeleton
) -> KeypointSimilarity:
    """Compares results with people who have labeled keypoints."""
    points, triples = _triples(results, skeleton)[:, None, :, :2], _triples(people, skeleton)
    labeled, flip = triples[..., 2] > 0, list(skeleton.flip_index)
    areas = _areas(people)
    same = _similarity(points - triples[..., :2], areas, skeleton)
    opposite = _similarity(points - triples[:, flip, :2], areas, skeleton)
    return KeypointSimilarity(same * labeled, opposite * labeled[:, flip], labeled)


def pair_similarity(
    results: Sequence[Entry],
    people: Sequence[Entry],
    result_indices: IndexArray,
    person_indices: IndexArray,
    skeleton: Skeleton,
) -> DoubleArray:
    """Compares pairs of a result and a person, as pycocotools does.

    A person without labeled keypoints is represented by its box, as in `box_similarity`.

    Args:
        results: all results.
        people: all people.
        result_indices: (N,) index of each pair's result.
        person_indices: (N,) index of each pair's person.
        skeleton: the skeleton of both.

    Returns:
        (N,) Object Keypoint Similarity, 0 to 1.
    """
    points, triples = _triples(results, skeleton)[..., :2], _triples(people, skeleton)
    has_labels = np.asarray(triples[..., 2].any(-1))
    compared = (triples[..., 2] > 0) | ~has_labels[:, None]
    # The position of each keypoint, or the bounds of the extended box.
    low, high = (
        np.where(has_labels[:, None, None], triples[..., :2], bound)
        for bound in _extended_boxes(people)
    )
    areas, similarity = _areas(people), np.empty(len(result_indices))
    for start in range(0, len(similarity), _PAIRS):
        chosen = slice(start, start + _PAIRS)
        found, pair = points[result_indices[chosen]], person_indices[chosen]
        offsets = found - found.clip(low[pair], high[pair])
        values = _similarity(offsets, areas[pair], skeleton) * compared[pair]
        similarity[chosen] = values.sum(-1) / compared[pair].sum(-1)
    return similarity


def box_similarity(
    results: Sequence[Entry], people: Sequence[Entry], skeleton: Skeleton
) -> DoubleArray:
    """Compares results with people without labeled keypoints, as pycocotools does.

    Distances are measured to a box that extends the person's box by its size on each side; a
    keypoint inside has distance 0.

    Returns:
        (D, P) similarity, 0 to 1.
    """
    points = _triples(results, skeleton)[:, None, :, :2]
    nearest = points.clip(*_extended_boxes(people))
    return np.asarray(_similarity(points - nearest, _areas(people), skeleton).mean(-1))


def _extended_boxes(people: Sequence[Entry]) -> tuple[DoubleArray, DoubleArray]:
    """Returns the (P, 1, 2) top left and bottom right corners of boxes of three times the size."""
    boxes = np.array([person["bbox"] for person in people], float).reshape(-1, 1, 4)
    return boxes[..., :2] - boxes[..., 2:], boxes[..., :2] + 2 * boxes[..., 2:]


def _areas(people: Sequence[Entry]) -> DoubleArray:
    return np.asarray(np.array([person["area"] for person in people], float) + np.spacing(1))


def _triples(entries: Sequence[Entry], skeleton: Skeleton) -> DoubleArray:
    triples = np.array([entry["keypoints"] for entry in entries], float)
    return triples.reshape(len(entries), len(skeleton), 3)


def _similarity(offsets: DoubleArray, areas: DoubleArray, skeleton: Skeleton) -> DoubleArray:
    """Converts (..., K, 2) offsets in pixels to (..., K) similarity."""
    return np.asarray(oks.keypoint_similarity(offsets, areas, np.array(skeleton.sigmas)), float)
