"""Detects people whose left and right keypoints may be swapped, from their keypoints alone.

There are two criteria. The first is the orientation of the triangle of eyes and nose, which shows
which eye of a visible face is the left one, however the head is turned. The second is the direction
of the vectors from each right keypoint to its left counterpart: a person is suspected if more than
two thirds of these vectors point against that of the eyes, or that of the ears, shoulders or hips
if the eyes are not labeled.

False positives are people who look back over a shoulder, and a few people in side view. A person
without a face is not detected if all keypoints are swapped. Of the people in COCO, about 1 in 150
is suspected. If left and right are swapped in all of them, except in the faces, 77 % of those with
both eyes or both ears labeled are suspected.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from higherhrnet.arrays import BoolArray, DoubleArray, FloatArray
from higherhrnet.poses.keypoint_names import SidePair, find_side_pairs
from higherhrnet.poses.skeleton import Skeleton

_OPPOSITE_COSINE = -0.5  # vectors are opposite if the angle between them is above 120 degrees
_HEAD_PARTS = ("eye", "ear")
_REFERENCE_PARTS = (*_HEAD_PARTS, "shoulder", "hip")  # the first that is labeled is compared with
_MIN_HEAD_LENGTH, _MIN_LENGTH = 0.02, 0.08  # of vectors, relative to the extent of the person


def find_swapped_sides(keypoints: FloatArray, skeleton: Skeleton) -> BoolArray:
    """Finds the people whose left and right keypoints may be swapped.

    Args:
        keypoints: (P, K, 3) x, y and visibility.
        skeleton: the skeleton of the people.

    Returns:
        (P,) whether each person is suspected.
    """
    return _has_reversed_face(keypoints, skeleton) | _has_reversed_body(keypoints, skeleton)


def _has_reversed_face(keypoints: FloatArray, skeleton: Skeleton) -> BoolArray:
    """Returns (P,) whether eyes and nose are visible, with the eyes on the wrong sides."""
    noses = [name for name in skeleton.names if name.lower() == "nose"]
    eyes = [pair[:2] for pair in _pairs(skeleton) if pair.part == "eye"]
    if not noses or not eyes:
        return np.zeros(len(keypoints), np.bool_)
    face = keypoints[:, [skeleton.names.index(name) for name in (noses[0], *eyes[0])]]
    nose, left, right = np.moveaxis(face[..., :2].astype(np.float64), 1, 0)
    across, down = left - right, nose - (left + right) / 2
    cross = across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]
    lengths = np.linalg.norm(across, axis=1) * np.linalg.norm(down, axis=1)
    return np.asarray((face[..., 2] == 2).all(1) & (cross < _OPPOSITE_COSINE * lengths))


def _has_reversed_body(keypoints: FloatArray, skeleton: Skeleton) -> BoolArray:
    """Returns (P,) whether most vectors point against that of the first labeled reference part."""
    side_pairs = _pairs(skeleton)
    pairs = [(skeleton.names.index(p.left), skeleton.names.index(p.right)) for p in side_pairs]
    parts = [pair.part for pair in side_pairs]
    references = [parts.index(part) for part in _REFERENCE_PARTS if part in parts]
    if not references:
        return np.zeros(len(keypoints), np.bool_)
    min_lengths = [_MIN_HEAD_LENGTH if part in _HEAD_PARTS else _MIN_LENGTH for part in parts]
    vectors, clear = _side_vectors(keypoints, pairs, min_lengths)
    available = clear[:, references]
    reference = np.array(references)[available.argmax(1)]
    rows = np.arange(len(keypoints))
    cosines = np.einsum("pmd,pd->pm", vectors, vectors[rows, reference])
    compared = clear & ~np.isin(parts, _HEAD_PARTS)
    compared[rows, reference] = False
    opposite = (compared & (cosines < _OPPOSITE_COSINE)).sum(1)
    majority = (opposite >= 2) & (3 * opposite > 2 * compared.sum(1))
    return np.asarray(available.any(1) & majority)


def _side_vectors(
    keypoints: FloatArray, pairs: Sequence[tuple[int, int]], min_lengths: Sequence[float]
) -> tuple[DoubleArray, BoolArray]:
    """Computes the directions from right keypoints to their left counterparts.

    Args:
        keypoints: (P, K, 3) x, y and visibility.
        pairs: the indices of the left and the right keypoint of M pairs.
        min_lengths: M minimum distances, relative to the extent of the person. Keypoints that are
            closer are seen from the side, so that their direction is unreliable.

    Returns:
        (P, M, 2) unit vectors, and (P, M) whether both keypoints are labeled and far enough apart.
    """
    left, right = np.array(pairs).T
    positions, labeled = keypoints[..., :2].astype(np.float64), keypoints[..., 2] > 0
    low = np.where(labeled[..., None], positions, np.inf).min(1)
    high = np.where(labeled[..., None], positions, -np.inf).max(1)
    extents = np.where(labeled.any(1), (high - low).max(1), np.inf)
    vectors = positions[:, left] - positions[:, right]
    lengths = np.linalg.norm(vectors, axis=2)
    clear = labeled[:, left] & labeled[:, right] & (lengths > extents[:, None] * min_lengths)
    return vectors / np.maximum(lengths, 1e-9)[..., None], clear


def _pairs(skeleton: Skeleton) -> list[SidePair]:
    """Returns the pairs of keypoints that a flip exchanges and whose sides their names show."""
    exchanged = set(skeleton.pairs)
    pairs = find_side_pairs(skeleton.names)
    return [p for p in pairs if exchanged & {(p.left, p.right), (p.right, p.left)}]
