"""Skeletons as data: which keypoints there are, how they mirror, how exactly people place them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from higherhrnet.errors import InputError

_MIRRORED = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}


def mirrored(name: str) -> str:
    """The name of the same keypoint on the other side of the body; itself where there is none."""
    return re.sub("left|right|Left|Right", lambda side: _MIRRORED[side.group()], name)


@dataclass(frozen=True)
class Skeleton:
    """A set of keypoints; checked when made, so a Skeleton that exists is whole.

    Raises:
        InputError: a name repeats, a limb names an unknown keypoint, or the lengths differ.
    """

    name: str
    names: tuple[str, ...]
    """Keypoint names, in the order of the network's channels."""
    limbs: tuple[tuple[str, str], ...]
    """Pairs of keypoints that a line joins when a person is drawn."""
    sigmas: tuple[float, ...]
    """Per keypoint, the spread of human annotators that Object Keypoint Similarity divides by."""
    grouping_order: tuple[int, ...] = ()
    """The order in which grouping visits the keypoints; the order of `names` when empty."""
    flip_pairs: tuple[tuple[str, str], ...] = ()
    """Keypoints that change places in a mirror; derived from left and right in `names` if empty."""

    def __post_init__(self) -> None:
        known = set(self.names)
        if not self.names or len(known) != len(self.names):
            raise InputError(f"skeleton {self.name}: keypoint names must be there and differ")
        for a, b in (*self.limbs, *self.flip_pairs):
            if not {a, b} <= known:
                raise InputError(f"skeleton {self.name}: {a}–{b} names a keypoint it does not have")
        if sorted(self.flip_index) != list(range(len(self))):
            raise InputError(f"skeleton {self.name}: flip_pairs name a keypoint twice")
        if len(self.sigmas) != len(self.names) or min(self.sigmas) <= 0:
            raise InputError(f"skeleton {self.name}: needs one sigma > 0 for each keypoint")
        if not self.grouping_order:
            object.__setattr__(self, "grouping_order", tuple(range(len(self))))
        if sorted(self.grouping_order) != list(range(len(self))):
            raise InputError(f"skeleton {self.name}: grouping_order must hold each keypoint once")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def flip_index(self) -> tuple[int, ...]:
        """For each keypoint, the index of its mirror image."""
        given = {a: b for pair in self.flip_pairs for a, b in (pair, pair[::-1])}
        partner = given.get if given else mirrored
        other = {name: partner(name) for name in self.names}
        index = {name: i for i, name in enumerate(self.names)}
        return tuple(index.get(other[name] or name, index[name]) for name in self.names)

    @cached_property
    def limb_index(self) -> tuple[tuple[int, int], ...]:
        """The limbs as pairs of keypoint indices."""
        return tuple((self.names.index(a), self.names.index(b)) for a, b in self.limbs)

    @classmethod
    def from_category(cls, category: Mapping[str, Any], name: str | None = None) -> Skeleton:
        """The skeleton of a COCO `categories` entry; sigmas and limbs by name where COCO has them.

        Args:
            category: has `keypoints` (names) and may have `skeleton` (pairs counted from 1),
                `sigmas`, `grouping_order` (counted from 0) and `flip_pairs` (pairs of names).
            name: what to call it; else the category's own name.
        """
        title = name or str(category.get("name", "custom"))
        names = tuple(map(str, category.get("keypoints", ())))
        if not names:
            raise InputError(f"category {title} lists no keypoints")
        for known in (COCO, CROWDPOSE):
            if names == known.names:
                return known
        try:
            pairs = [(int(a) - 1, int(b) - 1) for a, b in category.get("skeleton", ())]
            if any(not 0 <= end < len(names) for pair in pairs for end in pair):
                raise ValueError("its skeleton counts keypoints past the last one")
            return cls(
                title,
                names,
                tuple((names[a], names[b]) for a, b in pairs) or _known_limbs(names),
                tuple(map(float, category.get("sigmas", ()))) or default_sigmas(names),
                tuple(map(int, category.get("grouping_order", ()))),
                tuple((str(a), str(b)) for a, b in category.get("flip_pairs", ())),
            )
        except (TypeError, ValueError) as error:
            raise InputError(f"category {title}: {error}") from error

    def to_category(self) -> dict[str, Any]:
        """This skeleton as a COCO `categories` entry, from which it can be made again."""
        return {
            "id": 1,
            "name": self.name,
            "keypoints": list(self.names),
            "skeleton": [[a + 1, b + 1] for a, b in self.limb_index],
            "sigmas": list(self.sigmas),
            "grouping_order": list(self.grouping_order),
            "flip_pairs": [list(pair) for pair in self.flip_pairs],
        }


def _known_limbs(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """COCO's limbs whose both ends there are."""
    return tuple(limb for limb in COCO.limbs if set(limb) <= set(names))


def default_sigmas(names: Sequence[str]) -> tuple[float, ...]:
    """COCO's sigma for each name that COCO has, and COCO's mean for any other."""
    known = dict(zip(COCO.names, COCO.sigmas, strict=True))
    mean = sum(COCO.sigmas) / len(COCO)
    return tuple(known.get(name, mean) for name in names)


_TABLE = {"name", "names", "limbs", "flip_pairs", "sigmas", "grouping_order"}


def load_skeleton(name_or_file: str) -> Skeleton:
    """A skeleton by name (`coco`, `crowdpose`) or from a TOML file.

    The file has `names`, and if wanted `name`, `limbs` and `flip_pairs` (pairs of names), `sigmas`
    and `grouping_order` (names).
    """
    if name_or_file in SKELETONS:
        return SKELETONS[name_or_file]
    path = Path(name_or_file)
    if not path.is_file():
        raise InputError(f"{path}: no such skeleton; known are {', '.join(SKELETONS)}, or a file")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        if unknown := set(table) - _TABLE:
            raise ValueError(f"it has an unknown {', '.join(sorted(unknown))}")
        names = tuple(map(str, table["names"]))
        return Skeleton(
            str(table.get("name", path.stem)),
            names,
            tuple((a, b) for a, b in table.get("limbs", ())),
            tuple(map(float, table.get("sigmas", ()))) or default_sigmas(names),
            tuple(names.index(n) for n in table.get("grouping_order", ())),
            tuple((a, b) for a, b in table.get("flip_pairs", ())),
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a skeleton: {error}") from error


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
    # The original took the first 14 entries of COCO's order, whatever they mean here; its own
    # CrowdPose figures were measured so.
    grouping_order=(0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13),
)  # fmt: skip

SKELETONS = {skeleton.name: skeleton for skeleton in (COCO, CROWDPOSE)}
