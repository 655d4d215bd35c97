"""Results and annotations → poses with their Object Keypoint Similarity, for rescoring."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from higherhrnet.arrays import BoolArray, DoubleArray, IndexArray
from higherhrnet.evaluation.error_analysis import MAX_RESULTS
from higherhrnet.evaluation.keypoint_similarity import (
    box_similarity,
    is_evaluated,
    keypoint_similarity,
)
from higherhrnet.evaluation.pairing import PairedResults
from higherhrnet.evaluation.precision_recall import AREAS
from higherhrnet.io.datasets.coco import Entry
from higherhrnet.poses.skeleton import Skeleton

_ALL = ("all",)
_REFERENCE_AREAS = ("all", "medium", "large")


class PosePairs(NamedTuple):
    """N poses, and what the rescoring network is to predict for them."""

    poses: DoubleArray
    """(N, K, 3) x and y in pixels of the image, and the score of each keypoint."""
    scores: DoubleArray
    """(N,) the score of each pose."""
    similarity: DoubleArray
    """(N,) the Object Keypoint Similarity with the most similar annotated person, 0 to 1."""
    images: IndexArray
    """(N,) the image of each pose, as an index into `PairedResults.images`."""

    def select(self, chosen: BoolArray) -> PosePairs:
        """Returns the poses for which `chosen`, (N,), is true."""
        return PosePairs(
            self.poses[chosen], self.scores[chosen], self.similarity[chosen], self.images[chosen]
        )


def collect_pairs(paired: PairedResults, *, reference: bool = False) -> PosePairs:
    """Compares each result with the most similar annotated person of its image.

    People without labeled keypoints, and crowds, count only in images where nobody else is
    annotated; the similarity to them is that to their box, as in COCO's evaluation. Images without
    annotated people, and all but the 20 results of an image with the highest scores, are left out.

    Args:
        paired: the results and the annotations.
        reference: as in the code of DEKR's authors: every result is repeated for each range of
            areas (all, medium and large) with the people of that range, and a similarity of
            exactly 1 becomes 0.
    """
    skeleton = paired.annotations.skeleton
    images = list(zip(paired.people_by_image, paired.results_by_image, strict=True))
    poses, scores, similarities, indices = [], [], [], []
    for area in _REFERENCE_AREAS if reference else _ALL:
        for index, (people, results) in enumerate(images):
            if not people or not results:
                continue
            best = sorted(results, key=lambda result: -float(result["score"]))[:MAX_RESULTS]
            poses += [np.reshape(result["keypoints"], (-1, 3)) for result in best]
            scores += [float(result["score"]) for result in best]
            similarities += _highest_similarity(best, people, skeleton, AREAS[area]).tolist()
            indices += [index] * len(best)
    similarity = np.array(similarities, float)
    if reference:
        similarity[similarity == 1] = 0
    return PosePairs(
        np.array(poses, float).reshape(-1, len(skeleton), 3),
        np.array(scores, float),
        similarity,
        np.array(indices, np.intp),
    )


def _highest_similarity(
    results: list[Entry], people: list[Entry], skeleton: Skeleton, area: tuple[float, float]
) -> DoubleArray:
    """Computes the similarity of each result to the most similar person: (R,).

    People outside of the range of areas, and those who are not evaluated, count only if all are.
    """
    counted = [p for p in people if is_evaluated(p) and area[0] <= p["area"] <= area[1]]
    candidates = counted or people
    labeled = [p for p in candidates if any(p["keypoints"][2::3])]
    unlabeled = [p for p in candidates if not any(p["keypoints"][2::3])]
    parts = []
    if labeled:
        parts.append(keypoint_similarity(results, labeled, skeleton).oks)
    if unlabeled:
        parts.append(box_similarity(results, unlabeled, skeleton))
    return np.asarray(np.concatenate(parts, 1).max(1), float)
