"""Comparison → which kinds of mistakes were made, after Ronchi & Perona (ICCV 2017).

Each person, each result, and each labelled keypoint of a person found counts once. Results beyond
the 20 that COCO's code looks at in an image are not seen here either.
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
    is_judged,
    keypoint_similarity,
)
from higherhrnet.evaluation.pairing import PairedResults
from higherhrnet.io.coco import Entry
from higherhrnet.skeleton import Skeleton

PEOPLE = {
    "found": "has a result of their own, with an OKS of at least 0.5",
    "found badly": "has a result of their own, but with an OKS below 0.5",
    "merged": "has none, but a part in one that is another person as well",
    "missed": "has no result at all",
}
RESULTS = {
    "a person's own": "the one result, or of several the best, on a person",
    "duplicate": "a further result on a person who has one",
    "merged": "one result for two people, with at least a quarter of its keypoints on each",
    "background": "a result on nobody: its OKS with everybody is below 0.1",
    "not judged": "on a crowd, or on somebody without labelled keypoints: COCO lets it pass",
}
KEYPOINTS = {
    "good": "off by no more than human annotators are (keypoint similarity of at least 0.85)",
    "jitter": "near, but not on (0.5 to 0.85)",
    "left for right": "on the keypoint of the person's other side (inversion)",
    "another's": "on the keypoint of another person (swap)",
    "astray": "on none of these, or not found at all (miss)",
}

MAX_RESULTS = 20
FOUND, NEAR = 0.5, 0.1  # OKS
GOOD, ON = 0.85, 0.5  # similarity of one keypoint
PART = 0.25  # of a result's keypoints; so many on a second person merge the two


@dataclass(frozen=True, eq=False)
class ErrorCounts:
    """What became of the people, results and keypoints of one image, or of several."""

    people: Counter[str]
    """By the kinds of `PEOPLE`."""
    results: Counter[str]
    """By the kinds of `RESULTS`."""
    keypoints: Counter[str]
    """By the kinds of `KEYPOINTS`; of people who have a result of their own."""
    lost: float
    """1 − OKS for each person, and the score of each duplicate and each result on nobody."""


def analyze_errors(comparison: PairedResults) -> list[ErrorCounts]:
    """What went wrong in each image, in their order."""
    skeleton = comparison.annotations.skeleton
    pairs = zip(comparison.people_by_image, comparison.found_by_image, strict=True)
    return [_in_image(people, found, skeleton) for people, found in pairs]


def total_errors(mistakes: Sequence[ErrorCounts]) -> ErrorCounts:
    """The mistakes of several images together."""
    return ErrorCounts(
        sum((one.people for one in mistakes), Counter()),
        sum((one.results for one in mistakes), Counter()),
        sum((one.keypoints for one in mistakes), Counter()),
        sum(one.lost for one in mistakes),
    )


def top_results(found: Sequence[Entry]) -> list[Entry]:
    """The results of one image that COCO's code looks at, best first."""
    return sorted(found, key=lambda result: -result["score"])[:MAX_RESULTS]


def _in_image(people: list[Entry], found: list[Entry], skeleton: Skeleton) -> ErrorCounts:
    found = top_results(found)
    judged = [person for person in people if is_judged(person)]
    ignored = [person for person in people if not is_judged(person)]
    alike = keypoint_similarity(found, judged, skeleton)
    parts = _parts(alike.either)
    merged = parts.sum(1) > 1
    owners = _owners(alike, merged)
    passes = (box_similarity(found, ignored, skeleton) >= FOUND).any(1)
    results = np.select(
        [owners >= 0, merged, passes, alike.fit.max(1, initial=0) >= NEAR],
        ["a person's own", "merged", "not judged", "duplicate"],
        "background",
    )
    oks = np.zeros(len(judged))
    oks[owners[owners >= 0]] = alike.oks[owners >= 0, owners[owners >= 0]]
    scores = np.array([result["score"] for result in found], float).clip(0, 1)
    wasted = np.isin(results, ("duplicate", "background"))
    return ErrorCounts(
        _people_kinds(oks, owners, parts[merged].any(0)),
        Counter(results.tolist()),
        _keypoint_kinds(alike, owners),
        float((1 - oks).sum() + scores[wasted].sum()),
    )


def _parts(alike: DoubleArray) -> BoolArray:
    """(D, P, K) likeness → (D, P) whether a result has a good part of its keypoints on a person."""
    nearest = alike == alike.max(1, keepdims=True, initial=0)
    held = (nearest & (alike >= ON)).sum(-1)
    return np.asarray(held >= np.maximum(2, PART * held.sum(1, keepdims=True)))


def _owners(alike: KeypointSimilarity, merged: BoolArray) -> IndexArray:
    """(D,) whose own a result is, -1 for nobody's; best score first, as COCO's code goes about it.

    Where COCO's code stops, at an OKS of 0.5, who is left may have a poor result if that fits
    nobody else better, left and right forgiven.
    """
    owners = np.full(len(merged), -1)
    free = np.ones(len(alike.labeled), bool)
    if not len(free):
        return owners
    for least, fits, rivals in ((FOUND, alike.oks, False), (NEAR, alike.fit, True)):
        for result in np.flatnonzero((owners < 0) & ~merged):
            person = (fits[result] * (free | rivals)).argmax()
            if free[person] and fits[result, person] >= least:
                owners[result], free[person] = person, False
    return owners


def _people_kinds(oks: DoubleArray, owners: IndexArray, merged: BoolArray) -> Counter[str]:
    has_own = np.isin(np.arange(len(oks)), owners)
    conditions = [has_own & (oks >= FOUND), has_own, merged]
    kinds = np.select(conditions, ["found", "found badly", "merged"], "missed")
    return Counter(kinds.tolist())


def _keypoint_kinds(alike: KeypointSimilarity, owners: IndexArray) -> Counter[str]:
    """The labelled keypoints of the people who have a result of their own."""
    results = np.flatnonzero(owners >= 0)
    people, rows = owners[results], np.arange(len(results))
    others = alike.either[results]  # (M, P, K)
    others[rows, people] = 0
    choices = (alike.own[results, people], alike.mirror[results, people], others.max(1, initial=0))
    best = np.argmax(choices, 0)  # the first of equals: a nose is not left for right
    kinds = np.select(
        [choices[0] >= GOOD, np.max(choices, 0) < ON, best == 0, best == 1],
        ["good", "astray", "jitter", "left for right"],
        "another's",
    )
    return Counter(kinds[alike.labeled[people]].tolist())
