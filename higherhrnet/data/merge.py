"""Merges the skeletons of several datasets by the names of their keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from higherhrnet.poses.keypoint_names import respell
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import SKELETONS


def merge_skeletons(skeletons: Sequence[Skeleton]) -> Skeleton:
    """Merges skeletons into one that has the keypoints of all, by name.

    Names that differ only in case and in the characters between words are one keypoint. The
    keypoints are in the order in which their names first occur. If they are exactly those of a
    known or the first skeleton, the result is that skeleton.

    Raises:
        InputError: the flip pairs of the skeletons contradict each other.
    """
    skeletons = unify_names(skeletons)
    names = _unique([skeleton.names for skeleton in skeletons])
    for known in (*SKELETONS.values(), skeletons[0]):
        if set(known.names) == set(names):
            return known
    sigmas = dict(p for s in reversed(skeletons) for p in zip(s.names, s.sigmas, strict=True))
    order = _unique([tuple(s.names[i] for i in s.grouping_order) for s in skeletons])
    return Skeleton(
        "+".join(_unique([(skeleton.name,) for skeleton in skeletons])),
        names,
        _unique_pairs([skeleton.limbs for skeleton in skeletons]),
        tuple(sigmas[name] for name in names),
        tuple(names.index(name) for name in order),
        _flip_pairs(skeletons),
    )


def unify_names(skeletons: Sequence[Skeleton], target: Skeleton | None = None) -> list[Skeleton]:
    """Gives keypoints the same name whose names differ only in spelling, as in `Left_Eye`.

    Args:
        skeletons: the skeletons to rename.
        target: the skeleton whose names are used; default: the names of COCO and CrowdPose where
            one of the skeletons has them, else those of the first skeleton that has the keypoint.
    """
    names = _unique([skeleton.names for skeleton in skeletons])
    if target:
        known = target.names
    else:
        predefined = _unique([skeleton.names for skeleton in SKELETONS.values()])
        known = (*(name for name in predefined if name in names), *names)
    return [skeleton.renamed(respell(skeleton.names, known)) for skeleton in skeletons]


def _flip_pairs(skeletons: Sequence[Skeleton]) -> tuple[tuple[str, str], ...]:
    """Returns the flip pairs of all skeletons; none if all of them derive theirs from the names."""
    if not any(skeleton.flip_pairs for skeleton in skeletons):
        return ()
    pairs = [
        tuple((s.names[i], s.names[j]) for i, j in enumerate(s.flip_index) if i != j)
        for s in skeletons
    ]
    return _unique_pairs(pairs)


def _unique(groups: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(groups)))


def _unique_pairs(groups: Sequence[tuple[tuple[str, str], ...]]) -> tuple[tuple[str, str], ...]:
    """Returns all pairs, each once regardless of the order of its elements."""
    pairs: dict[frozenset[str], tuple[str, str]] = {}
    for pair in chain.from_iterable(groups):
        pairs.setdefault(frozenset(pair), pair)
    return tuple(pairs.values())
