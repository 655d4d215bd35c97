"""The crowd index of images, as CrowdPose defines it, for any dataset with boxes and keypoints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from higherhrnet.evaluation.pairing import PairedResults
from higherhrnet.io.datasets.coco import Entry
from higherhrnet.messages import counted


def crowd_indices(paired: PairedResults) -> list[float]:
    """Returns the crowd index of each image, 0 to 1: `crowdIndex`, or computed if missing."""
    pairs = zip(paired.images, paired.people_by_image, strict=True)
    return [
        float(image["crowdIndex"]) if _has_crowd_index(image) else crowd_index(people)
        for image, people in pairs
    ]


def crowd_index_note(images: Sequence[Entry]) -> str:
    """Returns a note on the number of images without `crowdIndex`; empty if all have one."""
    count = sum(not _has_crowd_index(image) for image in images)
    if not count:
        return ""
    return (
        f"The crowd index of {counted(count, 'image')} is missing in the file and was computed "
        "from boxes and keypoints."
    )


def crowd_index(people: Sequence[Entry]) -> float:
    """Computes the crowd index of an image (Li et al., CVPR 2019, section 4).

    For each person, the number of other people's keypoints inside the person's box is divided by
    the number of the person's own keypoints inside it. The index is the mean of these ratios,
    limited to 1. The authors of CrowdPose have not published their code for it, and the values in
    their files differ slightly.

    Args:
        people: the annotations of one image; crowd regions and people without labeled keypoints
            are ignored.
    """
    counted = [p for p in people if p["num_keypoints"] and not p["iscrowd"]]
    if len(counted) < 2:
        return 0.0
    keypoints = np.array([p["keypoints"] for p in counted], float).reshape(len(counted), -1, 3)
    boxes = np.array([p["bbox"] for p in counted], float)[:, None, None]  # (P, 1, 1, 4)
    from_corner = keypoints[..., :2] - boxes[..., :2]  # (P, P, K, 2): box, person, keypoint
    inside = (from_corner >= 0) & (from_corner <= boxes[..., 2:])
    counts = (inside.all(-1) & (keypoints[..., 2] > 0)).sum(-1)  # (P, P): box, person
    own = np.diag(counts)
    return float(min(1.0, np.mean((counts.sum(1) - own) / np.maximum(own, 1))))


def _has_crowd_index(image: Entry) -> bool:
    return isinstance(image.get("crowdIndex"), int | float)
