"""How crowded an image is: CrowdPose's crowd index, for any data set with boxes and keypoints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from higherhrnet.evaluation.pairing import PairedResults
from higherhrnet.io.coco import Entry


def crowd_indices(comparison: PairedResults) -> list[float]:
    """The crowd index of each image, 0 to 1: the file's `crowdIndex` where it has one."""
    pairs = zip(comparison.images, comparison.people_by_image, strict=True)
    return [
        float(image["crowdIndex"]) if _is_indexed(image) else crowd_index(people)
        for image, people in pairs
    ]


def crowd_index_note(images: Sequence[Entry]) -> str:
    """A sentence on the images whose crowd index the file does not have; empty if it has all."""
    count = sum(not _is_indexed(image) for image in images)
    computed = (
        f"The file has no crowdIndex for {count:,} images: computed from boxes and keypoints."
    )
    return computed if count else ""


def crowd_index(people: Sequence[Entry]) -> float:
    """The mean over people of others' keypoints in their box to their own there, 1 at the most.

    As the paper defines it (Li et al., CVPR 2019, section 4). How the data set's authors
    counted is not published, and their figures differ a little.

    Args:
        people: of one image; crowd regions and people without labelled keypoints do not count.
    """
    counted = [p for p in people if p["num_keypoints"] and not p["iscrowd"]]
    if len(counted) < 2:
        return 0.0
    keypoints = np.array([p["keypoints"] for p in counted], float).reshape(len(counted), -1, 3)
    boxes = np.array([p["bbox"] for p in counted], float)[:, None, None]  # (P, 1, 1, 4)
    from_corner = keypoints[..., :2] - boxes[..., :2]  # (P, P, K, 2): of whose box, whose keypoints
    inside = ((from_corner >= 0) & (from_corner <= boxes[..., 2:])).all(-1) & (
        keypoints[..., 2] > 0
    )
    held = inside.sum(-1)
    own = np.diag(held)
    return float(min(1.0, np.mean((held.sum(1) - own) / np.maximum(own, 1))))


def _is_indexed(image: Entry) -> bool:
    return isinstance(image.get("crowdIndex"), int | float)
