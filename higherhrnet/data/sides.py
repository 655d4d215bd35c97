"""People whose left and right look swapped, told from their keypoints alone.

A face is seen from the front only: with the nose below the eyes, the left eye is to the viewer's
right, and no turn of the head changes that. Below the face, the arrows from each right keypoint to
its left one point roughly one way; a person is suspect if over two thirds of them point against the
eyes' (the ears', shoulders' or hips' where those are not seen). Suspected wrongly are people who
look back over a shoulder and a few in side view; who shows no face and is swapped as a whole is not
found. Of COCO's people one in 150 is suspect; with every body swapped, nine in ten whose eyes or
ears are both seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from higherhrnet.skeleton import Skeleton

_AGAINST = -0.5  # cosine: 120 degrees apart or more
_HEAD = ("eye", "ear")
_GUIDES = (*_HEAD, "shoulder", "hip")


def find_swapped_sides(keypoints: NDArray[np.float32], skeleton: Skeleton) -> NDArray[np.bool_]:
    """(P,) the people, of (P, K, 3) x, y and visibility, whose left and right look swapped."""
    return _face_reversed(keypoints, skeleton) | _body_reversed(keypoints, skeleton)


def _face_reversed(keypoints: NDArray[np.float32], skeleton: Skeleton) -> NDArray[np.bool_]:
    """(P,) whose face has its eyes on the wrong sides; needs all of it in plain view."""
    names = ("nose", "left_eye", "right_eye")
    if not set(names) <= set(skeleton.names):
        return np.zeros(len(keypoints), np.bool_)
    face = keypoints[:, [skeleton.names.index(name) for name in names]]
    nose, left, right = np.moveaxis(face[..., :2].astype(np.float64), 1, 0)
    across, down = left - right, nose - (left + right) / 2
    turn = across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]
    lengths = np.linalg.norm(across, axis=1) * np.linalg.norm(down, axis=1)
    return np.asarray((face[..., 2] == 2).all(1) & (turn < _AGAINST * lengths))


def _body_reversed(keypoints: NDArray[np.float32], skeleton: Skeleton) -> NDArray[np.bool_]:
    """(P,) whose pairs point against the first of `_GUIDES` that is seen."""
    pairs = [(i, j) for i, j in enumerate(skeleton.flip_index) if "left" in _lower(skeleton, i)]
    parts = [re.sub("left|[^a-z]", "", _lower(skeleton, i)) for i, _ in pairs]
    guides = [parts.index(part) for part in _GUIDES if part in parts]
    if not guides:
        return np.zeros(len(keypoints), np.bool_)
    arrows, apart = _arrows(keypoints, pairs, [0.02 if p in _HEAD else 0.08 for p in parts])
    known = apart[:, guides]
    guide = np.array(guides)[known.argmax(1)]
    everyone = np.arange(len(keypoints))
    cosines = np.einsum("pmd,pd->pm", arrows, arrows[everyone, guide])
    judged = apart & ~np.isin(parts, _HEAD)
    judged[everyone, guide] = False
    against = (judged & (cosines < _AGAINST)).sum(1)
    return np.asarray(known.any(1) & (against >= 2) & (3 * against > 2 * judged.sum(1)))


def _arrows(
    keypoints: NDArray[np.float32], pairs: Sequence[tuple[int, int]], apart: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(P, M, 2) directions from right to left, and (P, M) for which pairs they are clear.

    That is where both are labelled and further apart than `apart`, a share of the person's extent:
    else they are seen from the side.
    """
    left, right = np.array(pairs).T
    places, seen = keypoints[..., :2].astype(np.float64), keypoints[..., 2] > 0
    low, high = (
        method(np.where(seen[..., None], places, filler), axis=1)
        for method, filler in ((np.min, np.inf), (np.max, -np.inf))
    )
    extents = np.where(seen.any(1), (high - low).max(1), np.inf)
    arrows = places[:, left] - places[:, right]
    lengths = np.linalg.norm(arrows, axis=2)
    clear = seen[:, left] & seen[:, right] & (lengths > extents[:, None] * apart)
    return arrows / np.maximum(lengths, 1e-9)[..., None], clear


def _lower(skeleton: Skeleton, keypoint: int) -> str:
    return skeleton.names[keypoint].lower()
