"""Skeletons: keypoints with their names, limbs, sigmas, grouping order and flip pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from higherhrnet.errors import InputError, require
from higherhrnet.poses.keypoint_names import find_side_pairs, has_side


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

    def to_category(self) -> dict[str, Any]:
        """Converts the skeleton to an entry of COCO's `categories`; see
        `higherhrnet.io.skeleton_files.category_skeleton`."""
        return {
            "id": 1,
            "name": self.name,
            "keypoints": list(self.names),
            "skeleton": [[a + 1, b + 1] for a, b in self.limb_index],
            "sigmas": list(self.sigmas),
            "grouping_order": list(self.grouping_order),
            "flip_pairs": [list(pair) for pair in self.flip_pairs],
        }
