"""Object Keypoint Similarity (OKS), as COCO's keypoint evaluation defines it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import BoolArray

Floats = NDArray[np.floating[Any]]


def keypoint_similarity(offsets: Floats, areas: Floats, sigmas: Floats) -> Floats:
    """Computes exp(−d² / (2 · (2σ)² · area)), the similarity of two positions of a keypoint.

    Args:
        offsets: (..., K, 2) x and y from one position of each keypoint to the other, in pixels;
            d is their length.
        areas: (...) areas of the people in square pixels, above 0.
        sigmas: (K,) or (..., K) standard deviation of each keypoint, as a fraction of the square
            root of the area.

    Returns:
        (..., K) similarities from 0 to 1, where 1 means equal positions.
    """
    variances = np.square(2 * sigmas)
    return np.asarray(np.exp(-np.square(offsets).sum(-1) / (2 * variances * areas[..., None])))


def object_keypoint_similarity(
    offsets: Floats, areas: Floats, sigmas: Floats, compared: BoolArray
) -> Floats:
    """Computes the mean of `keypoint_similarity` over the keypoints that are compared.

    Args:
        offsets: as in `keypoint_similarity`.
        areas: as in `keypoint_similarity`.
        sigmas: as in `keypoint_similarity`.
        compared: (..., K) which keypoints are compared.

    Returns:
        (...) similarities from 0 to 1; 0 where no keypoint is compared.
    """
    similarity = keypoint_similarity(offsets, areas, sigmas)
    return np.asarray((similarity * compared).sum(-1) / np.maximum(compared.sum(-1), 1))
