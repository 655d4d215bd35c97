"""Error types of results, after Ronchi & Perona (ICCV 2017).

Each annotated person, each result, and each labeled keypoint of a matched person belongs to one
category. As in pycocotools, only the 20 results of an image with the highest scores are considered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from higherhrnet.arrays import BoolArray, DoubleArray, IndexArray
from higherhrnet.evaluation.keypoint_similarity import (
    KeypointSimilarity,
    box_similarity,
    is_evaluated,
    keypoint_similarity,
)
from higherhrnet.evaluation.pairing import PairedResults
from higherhrnet.io.datasets.coco import Entry
from higherhrnet.poses.skeleton import Skeleton

PEOPLE = {
    "matched": "matched to a result with an OKS of at least 0.5",
    "poorly matched": "matched to a result with an OKS below 0.5",
    "merged": "not matched, but covered by a result that covers another person as well",
    "missed": "not covered by any result",
}
"""The categories of annotated people, and their meaning."""
RESULTS = {
    "matched": "matched to a person; of several results on a person, one is matched",
    "duplicate": "an additional result on a person who is already matched",
    "merged": "one result on two people, with at least a quarter of its keypoints on each",
    "background false positive": "a result that matches no person: its OKS is below 0.1 with all",
    "ignored": "a result on a crowd region or a person without labeled keypoints, as in COCO",
}
"""The categories of results, and their meaning."""
KEYPOINTS = {
    "good": "as exact as human annotators: keypoint similarity of at least 0.85",
    "jitter": "close to the keypoint: keypoint similarity from 0.5 to 0.85",
    "inversion": "on the same keypoint of the other side of the body, left instead of right",
    "swap": "on a keypoint of another person",
    "miss": "on none of these, or not detected",
}
"""The categories of labeled keypoints, and their meaning."""

MAX_RESULTS = 20
MATCH_OKS, MIN_OKS = 0.5, 0.1
GOOD_SIMILARITY, MIN_SIMILARITY = 0.85, 0.5
MERGED_FRACTION = 0.25
"""The fraction of a result's keypoints that must be on a person for the result to cover them."""


@dataclass(frozen=True, eq=False)
class ErrorCounts:
    """The number of people, results and keypoints of each category, in one image or several."""

    people: Counter[str]
    """By the categories of `PEOPLE`."""
    results: Counter[str]
    """By the categories of `RESULTS`."""
    keypoints: Counter[str]
    """By the categories of `KEYPOINTS`; of matched and poorly matched people only."""
    total_error: float
    """The sum of 1 − OKS of each person and the scores of duplicates and background false
    positives."""


def analyze_errors(paired: PairedResults) -> list[ErrorCounts]:
    """Counts the errors of each image, in the order of `paired.images`."""
    skeleton = paired.annotations.skeleton
    pairs = zip(paired.people_by_image, paired.results_by_image, strict=True)
    return [_analyze_image(people, results, skeleton) for people, results in pairs]


def sum_errors(counts: Sequence[ErrorCounts]) -> ErrorCounts:
    """Adds the errors of several images."""
    return ErrorCounts(
        sum((image.people for image in counts), Counter()),
        sum((image.results for image in counts), Counter()),
        sum((image.keypoints for image in counts), Counter()),
        sum(image.total_error for image in counts),
    )


def top_results(results: Sequence[Entry]) -> list[Entry]:
    """Returns the results of one image that are evaluated, in descending order of score."""
    return sorted(results, key=lambda result: -result["score"])[:MAX_RESULTS]


def _analyze_image(people: list[Entry], results: list[Entry], skeleton: Skeleton) -> ErrorCounts:
    results = top_results(results)
    evaluated = [person for person in people if is_evaluated(person)]
    ignored = [person for person in people if not is_evaluated(person)]
    similarity = keypoint_similarity(results, evaluated, skeleton)
    covered = _covered_people(similarity.either)
    merged = covered.sum(1) > 1
    matches = _match(similarity, merged)
    on_ignored = (box_similarity(results, ignored, skeleton) >= MATCH_OKS).any(1)
    on_person = similarity.side_invariant_oks.max(1, initial=0) >= MIN_OKS
    categories = np.select(
        [matches >= 0, merged, on_ignored, on_person],
        ["matched", "merged", "ignored", "duplicate"],
        "background false positive",
    )
    oks = np.zeros(len(evaluated))
    oks[matches[matches >= 0]] = similarity.oks[matches >= 0, matches[matches >= 0]]
    scores = np.array([result["score"] for result in results], float).clip(0, 1)
    false_positives = np.isin(categories, ("duplicate", "background false positive"))
    return ErrorCounts(
        _count_people(oks, matches, covered[merged].any(0)),
        Counter(categories.tolist()),
        _count_keypoints(similarity, matches),
        float((1 - oks).sum() + scores[false_positives].sum()),
    )


def _covered_people(similarity: DoubleArray) -> BoolArray:
    """Returns (D, P) whether enough keypoints of a result are on a person."""
    nearest = similarity == similarity.max(1, keepdims=True, initial=0)
    counts = (nearest & (similarity >= MIN_SIMILARITY)).sum(-1)
    return np.asarray(counts >= np.maximum(2, MERGED_FRACTION * counts.sum(1, keepdims=True)))


def _match(similarity: KeypointSimilarity, merged: BoolArray) -> IndexArray:
    """Returns (D,) the index of the person to whom a result is matched, or −1.

    Results are matched in descending order of score, as in pycocotools, with an OKS of at least
    `MATCH_OKS`. The remaining people are then matched to poor results that match no other person
    better; this pass ignores left/right swaps.
    """
    matches = np.full(len(merged), -1)
    free = np.ones(len(similarity.labeled), bool)
    if not len(free):
        return matches
    for min_oks, oks, consider_matched in (
        (MATCH_OKS, similarity.oks, False),
        (MIN_OKS, similarity.side_invariant_oks, True),
    ):
        for result in np.flatnonzero((matches < 0) & ~merged):
            person = (oks[result] * (free | consider_matched)).argmax()
            if free[person] and oks[result, person] >= min_oks:
                matches[result], free[person] = person, False
    return matches


def _count_people(oks: DoubleArray, matches: IndexArray, merged: BoolArray) -> Counter[str]:
    is_matched = np.isin(np.arange(len(oks)), matches)
    conditions = [is_matched & (oks >= MATCH_OKS), is_matched, merged]
    categories = np.select(conditions, ["matched", "poorly matched", "merged"], "missed")
    return Counter(categories.tolist())


def _count_keypoints(similarity: KeypointSimilarity, matches: IndexArray) -> Counter[str]:
    """Counts the labeled keypoints of the people who are matched."""
    results = np.flatnonzero(matches >= 0)
    people, rows = matches[results], np.arange(len(results))
    same, opposite = similarity.same[results, people], similarity.opposite[results, people]
    others = similarity.either[results]  # (M, P, K)
    others[rows, people] = 0
    choices = (same, opposite, others.max(1, initial=0))
    best = np.argmax(choices, 0)  # the first of equal values, so that a nose is never inverted
    categories = np.select(
        [same >= GOOD_SIMILARITY, np.max(choices, 0) < MIN_SIMILARITY, best == 0, best == 1],
        ["good", "miss", "jitter", "inversion"],
        "swap",
    )
    return Counter(categories[similarity.labeled[people]].tolist())
