"""Several data sets → one skeleton: keypoints are the same where their names are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from higherhrnet.skeleton import COCO, CROWDPOSE, Skeleton


def merge_skeletons(skeletons: Sequence[Skeleton]) -> Skeleton:
    """One skeleton with the keypoints of all, in the order in which their names first come.

    Where that has just COCO's or CrowdPose's keypoints it is theirs, order and all.
    """
    names = _first([skeleton.names for skeleton in skeletons])
    for known in (COCO, CROWDPOSE, skeletons[0]):
        if set(known.names) == set(names):
            return known
    sigmas = dict(p for s in reversed(skeletons) for p in zip(s.names, s.sigmas, strict=True))
    order = _first([tuple(s.names[i] for i in s.grouping_order) for s in skeletons])
    return Skeleton(
        "+".join(_first([(skeleton.name,) for skeleton in skeletons])),
        names,
        _pairs([skeleton.limbs for skeleton in skeletons]),
        tuple(sigmas[name] for name in names),
        tuple(names.index(name) for name in order),
        _flip_pairs(skeletons),
    )


def _flip_pairs(skeletons: Sequence[Skeleton]) -> tuple[tuple[str, str], ...]:
    """All that any set mirrors; none, to be told from the names, where no set says its own."""
    if not any(skeleton.flip_pairs for skeleton in skeletons):
        return ()
    mirrored = [
        tuple((s.names[i], s.names[j]) for i, j in enumerate(s.flip_index) if i != j)
        for s in skeletons
    ]
    return _pairs(mirrored)


def _first(groups: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(groups)))


def _pairs(groups: Sequence[tuple[tuple[str, str], ...]]) -> tuple[tuple[str, str], ...]:
    """Each pair once, whichever way round."""
    found: dict[frozenset[str], tuple[str, str]] = {}
    for pair in chain.from_iterable(groups):
        found.setdefault(frozenset(pair), pair)
    return tuple(found.values())
