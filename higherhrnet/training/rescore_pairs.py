"""Results and annotations → poses with their Object Keypoint Similarity, for rescoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from higherhrnet.arrays import BoolArray, DoubleArray, FloatArray, IndexArray
from higherhrnet.config.rescoring import NUM_CONTEXT_INPUTS
from higherhrnet.decoding.rescore import context_features
from higherhrnet.errors import InputError
from higherhrnet.evaluation.error_analysis import MAX_RESULTS
from higherhrnet.evaluation.keypoint_similarity import (
    box_similarity,
    is_evaluated,
    keypoint_similarity,
)
from higherhrnet.evaluation.pairing import PairedResults
from higherhrnet.evaluation.precision_recall import AREAS
from higherhrnet.io.datasets.coco import Annotations, Entry
from higherhrnet.io.datasets.image_store import Shape, annotated_shape
from higherhrnet.poses.skeleton import Skeleton

_ALL = ("all",)
_REFERENCE_AREAS = ("all", "medium", "large")
_MIN_SIMILARITY = 0.5
"""The similarity to an evaluated person from which a pose is of that person."""


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
    context: FloatArray
    """(N, 5) context features of each pose; (N, 0) for a network without context."""

    def select(self, chosen: BoolArray) -> PosePairs:
        """Returns the poses for which `chosen`, (N,), is true."""
        poses, scores, similarity, images, context = self
        return PosePairs(
            poses[chosen], scores[chosen], similarity[chosen], images[chosen], context[chosen]
        )


def collect_pairs(
    paired: PairedResults, *, reference: bool = False, context: bool = False
) -> PosePairs:
    """Compares each result with the most similar annotated person of its image.

    People without labeled keypoints, and crowds, count only in images where nobody else is
    annotated; the similarity to them is that to their box, as in COCO's evaluation. Images without
    annotated people, and all but the 20 results of an image with the highest scores, are left out.

    For a network with context, only evaluated people count. A pose is left out if it is similar to
    none of them (below 0.5), and its mean keypoint is inside the box of somebody else, extended by
    half of its size on each side: it may be correct.

    Args:
        paired: the results and the annotations.
        reference: as in the code of DEKR's authors: every result is repeated for each range of
            areas (all, medium and large) with the people of that range, and a similarity of
            exactly 1 becomes 0.
        context: whether the network has context.

    Raises:
        InputError: the network has context, but an image has no annotated size.
    """
    skeleton = paired.annotations.skeleton
    images = list(zip(paired.people_by_image, paired.results_by_image, strict=True))
    features = collect_context(paired, context)
    nobody = PosePairs(
        poses=result_poses([], skeleton),
        scores=np.zeros(0),
        similarity=np.zeros(0),
        images=np.zeros(0, np.intp),
        context=np.zeros((0, NUM_CONTEXT_INPUTS * context), np.float32),
    )
    collected = [nobody]
    for area in _REFERENCE_AREAS if reference else _ALL:
        for index, (people, results) in enumerate(images):
            if not people or not results:
                continue
            all_scores = np.array([float(result["score"]) for result in results])
            best = np.argsort(-all_scores, kind="stable")[:MAX_RESULTS]
            chosen = [results[result] for result in best]
            counted = list(filter(is_evaluated, people)) if context else people
            similarity = _highest_similarity(chosen, counted, skeleton, AREAS[area])
            poses, indices = result_poses(chosen, skeleton), np.full(len(best), index)
            pairs = PosePairs(poses, all_scores[best], similarity, indices, features[index][best])
            if context:
                pairs = pairs.select(~_may_be_of_others(pairs, people))
            collected.append(pairs)
    united = PosePairs(*map(np.concatenate, zip(*collected, strict=True)))
    if reference:
        united.similarity[united.similarity == 1] = 0
    return united


def collect_context(paired: PairedResults, context: bool) -> list[FloatArray]:
    """Computes for each image the context features of all of its R results.

    Args:
        paired: the results and the annotations.
        context: whether the network has context.

    Returns:
        (R, 5) for each image, in the order of `paired.results_by_image`; (R, 0) without context.

    Raises:
        InputError: the network has context, but an image has no annotated size.
    """
    if not context:
        return [np.zeros((len(results), 0), np.float32) for results in paired.results_by_image]
    features = []
    for image, results in zip(paired.images, paired.results_by_image, strict=True):
        side = min(require_size(image, paired.annotations))
        keypoints = result_poses(results, paired.annotations.skeleton)[..., :2]
        scores = np.array([float(result["score"]) for result in results], np.float32)
        features.append(context_features(keypoints, scores, side))
    return features


def require_size(image: Entry, annotations: Annotations) -> Shape:
    """Returns the annotated height and width of an image; raises InputError if there are none."""
    if shape := annotated_shape(image):
        return shape
    raise InputError(
        f"{annotations.path}: the image {image.get('file_name')} has no width and height, which a "
        "rescoring network with context needs; add them, or use --inputs pose"
    )


def result_poses(results: Sequence[Entry], skeleton: Skeleton) -> DoubleArray:
    """Returns the (R, K, 3) x, y and scores of the keypoints of results."""
    triples = np.array([result["keypoints"] for result in results], float)
    return triples.reshape(len(results), len(skeleton), 3)


def _may_be_of_others(pairs: PosePairs, people: list[Entry]) -> BoolArray:
    """Returns (N,) which poses may be of people without labeled keypoints or in crowds."""
    boxes = np.array([p["bbox"] for p in people if not is_evaluated(p)], float).reshape(-1, 4)
    corners, sides = boxes[:, :2], boxes[:, 2:]
    middles = pairs.poses[:, None, :, :2].mean(2)
    inside = (middles >= corners - sides / 2) & (middles <= corners + 1.5 * sides)
    return np.asarray(inside.all(2).any(1) & (pairs.similarity < _MIN_SIMILARITY))


def _highest_similarity(
    results: list[Entry], people: list[Entry], skeleton: Skeleton, area: tuple[float, float]
) -> DoubleArray:
    """Computes the similarity of each result to the most similar person: (R,); 0 without people.

    People outside of the range of areas, and those who are not evaluated, count only if all are.
    """
    counted = [p for p in people if is_evaluated(p) and area[0] <= p["area"] <= area[1]]
    candidates = counted or people
    labeled = [p for p in candidates if any(p["keypoints"][2::3])]
    unlabeled = [p for p in candidates if not any(p["keypoints"][2::3])]
    parts = [np.zeros((len(results), 1))]
    if labeled:
        parts.append(keypoint_similarity(results, labeled, skeleton).oks)
    if unlabeled:
        parts.append(box_similarity(results, unlabeled, skeleton))
    return np.asarray(np.concatenate(parts, 1).max(1), float)
