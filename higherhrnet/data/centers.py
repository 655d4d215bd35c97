"""Adds the center of each person to an annotated image, for networks that predict offsets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from higherhrnet.config.offsets import OffsetTargetConfig
from higherhrnet.data.dataset import AnnotatedImage


def add_centers(source: AnnotatedImage, config: OffsetTargetConfig) -> AnnotatedImage:
    """Adds the center of each person as one more keypoint, and replaces the sizes of the people.

    The center is the mean of the labeled keypoints. Its visibility is 1; it is 0 for people whose
    area is below `min_area`.

    Args:
        source: the image, which is not changed.
        config: which people have a center, and the definition of their size.

    Returns:
        The image with (P, K + 1, 3) keypoints, and the sizes that `config.size` defines, in pixels;
        they are float64, since their rounding matters in `offset_targets.render_offsets`.
    """
    labeled = source.keypoints[..., 2] > 0
    xy = np.where(labeled[..., None], source.keypoints[..., :2], 0).astype(np.float64)
    counts = labeled.sum(1)
    small = source.areas < config.min_area
    centers = np.zeros((len(xy), 1, 3), np.float32)
    centers[:, 0, :2] = xy.sum(1) / np.maximum(counts, 1)[:, None]
    centers[:, 0, 2] = (counts > 0) | config.unlabeled_centers
    centers[small] = 0
    if config.size == "reference":
        corner = np.zeros((len(xy), 1, 2))  # the authors measure a box that contains the origin
        low, high = (np.hstack([corner, xy]) for _ in range(2))
    else:
        low, high = (np.where(labeled[..., None], xy, limit) for limit in (np.inf, -np.inf))
    sides = np.where(counts[:, None] > 0, high.max(1) - low.min(1), 0)
    return replace(
        source,
        keypoints=np.concatenate([source.keypoints, centers], 1),
        sizes=np.hypot(*sides.T),
        labeled=np.append(source.labeled, True),
    )
