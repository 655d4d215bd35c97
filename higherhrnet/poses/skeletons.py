"""The skeletons of public datasets, by name."""

from __future__ import annotations

from collections.abc import Sequence

from higherhrnet.poses import whole_body
from higherhrnet.poses.skeleton import Skeleton

COCO = Skeleton(
    "coco",
    names=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear",
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    ),
    limbs=(
        ("left_ankle", "left_knee"), ("left_knee", "left_hip"),
        ("right_ankle", "right_knee"), ("right_knee", "right_hip"),
        ("left_hip", "right_hip"), ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"),
        ("left_shoulder", "right_shoulder"),
        ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
        ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"),
        ("left_eye", "right_eye"), ("nose", "left_eye"), ("nose", "right_eye"),
        ("left_eye", "left_ear"), ("right_eye", "right_ear"),
        ("left_ear", "left_shoulder"), ("right_ear", "right_shoulder"),
    ),
    sigmas=(
        0.026, 0.025, 0.025, 0.035, 0.035,
        0.079, 0.079, 0.072, 0.072, 0.062, 0.062,
        0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
    ),
    grouping_order=(0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16),
)  # fmt: skip

CROWDPOSE = Skeleton(
    "crowdpose",
    names=(
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
        "head", "neck",
    ),
    limbs=(
        ("left_ankle", "left_knee"), ("left_knee", "left_hip"),
        ("right_ankle", "right_knee"), ("right_knee", "right_hip"),
        ("left_hip", "right_hip"), ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"),
        ("left_shoulder", "right_shoulder"),
        ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
        ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"),
        ("head", "neck"), ("neck", "left_shoulder"), ("neck", "right_shoulder"),
    ),
    sigmas=(
        0.079, 0.079, 0.072, 0.072, 0.062, 0.062,
        0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.079, 0.079,
    ),
    # The reference implementation uses the first 14 entries of COCO's order although the keypoints
    # differ; its published CrowdPose metrics were measured with it.
    grouping_order=(0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13),
)  # fmt: skip

AIC = Skeleton(
    "aic",
    names=(
        "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
        "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
        "head_top", "neck",
    ),
    limbs=(
        ("right_wrist", "right_elbow"), ("right_elbow", "right_shoulder"),
        ("right_shoulder", "neck"), ("neck", "left_shoulder"),
        ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
        ("right_ankle", "right_knee"), ("right_knee", "right_hip"), ("right_hip", "left_hip"),
        ("left_hip", "left_knee"), ("left_knee", "left_ankle"), ("head_top", "neck"),
        ("right_shoulder", "right_hip"), ("left_shoulder", "left_hip"),
    ),
    sigmas=(
        0.01388152, 0.01515228, 0.01057665, 0.01417709, 0.01497891, 0.01402144,
        0.03909642, 0.03686941, 0.01981803, 0.03843971, 0.03412318, 0.02415081,
        0.01291456, 0.01236173,
    ),
)  # fmt: skip
"""AI Challenger's skeleton (Wu et al., 2017), as MMPose lists it."""

COCO_WHOLEBODY = Skeleton(
    "coco_wholebody",
    names=(*COCO.names, *whole_body.NAMES),
    limbs=(*COCO.limbs, *whole_body.LIMBS),
    sigmas=(*COCO.sigmas, *whole_body.SIGMAS),
    flip_pairs=(
        *((name, name.replace("left", "right")) for name in COCO.names if "left" in name),
        *whole_body.FLIP_PAIRS,
    ),
)
"""COCO-WholeBody's skeleton: COCO's keypoints, feet, face and hands."""

SKELETONS = {skeleton.name: skeleton for skeleton in (COCO, CROWDPOSE, AIC, COCO_WHOLEBODY)}


def known_limbs(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Returns COCO's limbs between keypoints of these names."""
    return tuple(limb for limb in COCO.limbs if set(limb) <= set(names))


def default_sigmas(names: Sequence[str]) -> tuple[float, ...]:
    """Returns COCO's sigma of each name, or the mean of all its sigmas for an unknown name."""
    known = dict(zip(COCO.names, COCO.sigmas, strict=True))
    mean = sum(COCO.sigmas) / len(COCO)
    return tuple(known.get(name, mean) for name in names)
