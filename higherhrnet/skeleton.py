"""Skeletons: keypoints with their names, limbs, sigmas, grouping order and flip pairs."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from higherhrnet import whole_body
from higherhrnet.errors import InputError, reading, require, require_file
from higherhrnet.json_values import describe, number, sequence, text, whole_number
from higherhrnet.keypoint_names import find_side_pairs, has_side


@dataclass(frozen=True)
class Skeleton:
    """A definition of keypoints and their connections.

    Args:
        name: the name of the skeleton.
        names: the names of the K keypoints, in the order of the network's heatmaps.
        limbs: pairs of names of keypoints that are connected by a line when a pose is drawn.
        sigmas: K values above 0: the standard deviation of human annotators relative to the size of
            the person, as in Object Keypoint Similarity. `default_sigmas` returns COCO's.
        grouping_order: the order in which grouping visits the keypoints, as K indices (default: the
            order of `names`).
        flip_pairs: pairs of names of keypoints that are exchanged by a flip (default: names that
            differ only in the side; see `find_side_pairs`).

    Raises:
        InputError: there are no keypoints, a name repeats, a limb or flip pair has an unknown
            keypoint, or the lengths differ.
    """

    name: str
    """The name of the skeleton."""
    names: tuple[str, ...]
    """The names of the keypoints, in the order of the network's heatmaps."""
    limbs: tuple[tuple[str, str], ...]
    """Pairs of keypoints that are connected by a line when a pose is drawn."""
    sigmas: tuple[float, ...]
    """For each keypoint, the standard deviation of human annotators relative to the size of the
    person, as in Object Keypoint Similarity."""
    grouping_order: tuple[int, ...] = ()
    """The order in which grouping visits the keypoints (default: that of `names`)."""
    flip_pairs: tuple[tuple[str, str], ...] = ()
    """Keypoints that are exchanged by a flip (default: those with a side in `names`)."""

    def __post_init__(self) -> None:
        title, known = f"skeleton {self.name}", set(self.names)
        require(
            0 < len(known) == len(self.names),
            f"{title}: there must be keypoint names, each only once",
        )
        for pair in (*self.limbs, *self.flip_pairs):
            for name in set(pair) - known:
                raise InputError(f"{title}: {'–'.join(pair)} has the unknown keypoint {name}")
        every = list(range(len(self)))
        require(sorted(self.flip_index) == every, f"{title}: flip_pairs has a keypoint twice")
        require(
            len(self.sigmas) == len(self.names) and min(self.sigmas) > 0,
            f"{title}: there must be one sigma above 0 for each keypoint",
        )
        if not self.grouping_order:
            object.__setattr__(self, "grouping_order", tuple(every))
        require(
            sorted(self.grouping_order) == every,
            f"{title}: grouping_order must contain each keypoint once",
        )

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def flip_index(self) -> tuple[int, ...]:
        """For each keypoint, the index of the keypoint that replaces it in a flipped image."""
        pairs = self.flip_pairs or [pair[:2] for pair in find_side_pairs(self.names)]
        partners = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
        index = {name: i for i, name in enumerate(self.names)}
        return tuple(index[partners.get(name, name)] for name in self.names)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The pairs of keypoints that are exchanged by a flip."""
        return [(self.names[i], self.names[j]) for i, j in enumerate(self.flip_index) if i < j]

    @property
    def unpaired_sides(self) -> list[str]:
        """The keypoints with a side in their name that a flip exchanges with no other keypoint."""
        indices = enumerate(self.flip_index)
        return [self.names[i] for i, j in indices if i == j and has_side(self.names[i])]

    def renamed(self, names: Mapping[str, str]) -> Skeleton:
        """Returns the skeleton with other names of its keypoints."""
        if all(names[name] == name for name in self.names):
            return self
        return replace(
            self,
            names=tuple(names[name] for name in self.names),
            limbs=tuple((names[a], names[b]) for a, b in self.limbs),
            flip_pairs=tuple((names[a], names[b]) for a, b in self.flip_pairs),
        )

    @cached_property
    def limb_index(self) -> tuple[tuple[int, int], ...]:
        """The limbs as pairs of keypoint indices."""
        return tuple((self.names.index(a), self.names.index(b)) for a, b in self.limbs)

    @classmethod
    def from_category(cls, category: Mapping[str, Any], name: str | None = None) -> Skeleton:
        """Creates the skeleton of an entry of COCO's `categories`.

        A category with the keypoint names of one of `SKELETONS` gives that skeleton. Missing
        sigmas and limbs are those of COCO keypoints with the same names; names unknown to COCO get
        the mean of COCO's sigmas.

        Args:
            category: has `keypoints` (names) and may have `skeleton`, `sigmas`, `grouping_order`
                (numbers from 0) and `flip_pairs` (pairs of names). `skeleton` is a list of pairs,
                or a flat list, of numbers or names; the numbers count from 1 unless one of them is
                0.
            name: the name of the skeleton (default: that of the category).

        Raises:
            InputError: the category has no keypoints, or they do not form a skeleton.
        """
        title = name or str(category.get("name") or "custom")
        prefix = f"category {title}"
        names = tuple(
            text(value, f"{prefix}: each of keypoints")
            for value in sequence(category.get("keypoints"), f"{prefix}: keypoints", "names")
        )
        require(
            len(names) > 0, f"{prefix} has no keypoints; list their names under keypoints, as COCO"
        )
        for known in SKELETONS.values():
            if names == known.names:
                return known
        sigmas = sequence(category.get("sigmas"), f"{prefix}: sigmas", "numbers")
        order = sequence(category.get("grouping_order"), f"{prefix}: grouping_order", "numbers")
        pairs = sequence(category.get("flip_pairs"), f"{prefix}: flip_pairs", "pairs of names")
        for pair in pairs:
            is_pair = isinstance(pair, list | tuple) and len(pair) == 2
            require(
                is_pair and set(map(type, pair)) == {str},
                f"{prefix}: each of flip_pairs must be a pair of names, not {json.dumps(pair)}",
            )
        return cls(
            title,
            names,
            _category_limbs(category.get("skeleton"), names, f"{prefix}: skeleton")
            or _known_limbs(names),
            tuple(number(value, f"{prefix}: each of sigmas") for value in sigmas)
            or default_sigmas(names),
            tuple(whole_number(value, f"{prefix}: each of grouping_order") for value in order),
            tuple((a, b) for a, b in pairs),
        )

    def to_category(self) -> dict[str, Any]:
        """Converts the skeleton to an entry of COCO's `categories`; see `from_category`."""
        return {
            "id": 1,
            "name": self.name,
            "keypoints": list(self.names),
            "skeleton": [[a + 1, b + 1] for a, b in self.limb_index],
            "sigmas": list(self.sigmas),
            "grouping_order": list(self.grouping_order),
            "flip_pairs": [list(pair) for pair in self.flip_pairs],
        }


def _category_limbs(
    values: object, names: Sequence[str], title: str
) -> tuple[tuple[str, str], ...]:
    """Reads limbs from pairs, or a flat list, of the names or numbers of keypoints."""
    items = sequence(values, title, "pairs of keypoints")
    if len(items) % 2 == 0 and not any(isinstance(item, list | tuple) for item in items):
        items = list(zip(items[::2], items[1::2], strict=True))
    for item in items:
        if not isinstance(item, list | tuple) or len(item) != 2:
            raise InputError(f"{title} must be pairs of keypoints, but has {describe(item)}")
    ends: list[Any] = [end for pair in items for end in pair]
    unnamed = [
        whole_number(end, f"{title}: an end that is not the name of a keypoint")
        for end in ends
        if end not in names
    ]
    first = 0 if 0 in unnamed else 1
    if outside := [end for end in unnamed if not first <= end < first + len(names)]:
        raise InputError(
            f"{title} has numbers outside {first} to {first + len(names) - 1}: {outside[0]}"
        )
    resolved = [str(end) if end in names else names[int(float(end)) - first] for end in ends]
    return tuple(zip(resolved[::2], resolved[1::2], strict=True))


def _known_limbs(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Returns COCO's limbs between keypoints of these names."""
    return tuple(limb for limb in COCO.limbs if set(limb) <= set(names))


def default_sigmas(names: Sequence[str]) -> tuple[float, ...]:
    """Returns COCO's sigma of each name, or the mean of all its sigmas for an unknown name."""
    known = dict(zip(COCO.names, COCO.sigmas, strict=True))
    mean = sum(COCO.sigmas) / len(COCO)
    return tuple(known.get(name, mean) for name in names)


_FILE_KEYS = {"name", "names", "limbs", "flip_pairs", "sigmas", "grouping_order"}


def load_skeleton(name_or_file: str | Path) -> Skeleton:
    """Loads a skeleton by its name or from a file.

    Args:
        name_or_file: a key of `SKELETONS`, or a TOML file with `names` and optionally `name`,
            `limbs` and `flip_pairs` (pairs of names), `sigmas` and `grouping_order` (names).

    Raises:
        InputError: there is no such skeleton or file, or the file does not describe a skeleton.
    """
    if str(name_or_file) in SKELETONS:
        return SKELETONS[str(name_or_file)]
    path = Path(name_or_file)
    require_file(path, f"a skeleton is {', '.join(SKELETONS)} or a .toml file")
    with reading(path):
        content = path.read_bytes()
    try:
        table = tomllib.loads(content.decode())
        if unknown := set(table) - _FILE_KEYS:
            raise ValueError(f"unknown key {', '.join(sorted(unknown))}")
        if "names" not in table:
            raise ValueError("the key names is missing")
        names = tuple(map(str, table["names"]))
        return Skeleton(
            str(table.get("name", path.stem)),
            names,
            tuple((a, b) for a, b in table.get("limbs", ())),
            tuple(map(float, table.get("sigmas", ()))) or default_sigmas(names),
            tuple(names.index(name) for name in table.get("grouping_order", ())),
            tuple((a, b) for a, b in table.get("flip_pairs", ())),
        )
    except RecursionError as error:
        raise InputError(f"{path}: not a skeleton: its brackets are nested too deeply") from error
    except (TypeError, ValueError) as error:
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
