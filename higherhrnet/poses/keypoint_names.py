"""Left and right in the names of keypoints, and names that differ only in spelling."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

_OPPOSITE = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
_SIDES = {"left": "left", "right": "right", "l": "left", "r": "right", "lt": "left", "rt": "right"}
"""The words for a side."""
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
"""The words of a name; those of `lShoulder2` are `l`, `Shoulder` and `2`."""
_PREFIX = re.compile(r"(left|right|lt|rt|l|r)(.+)")
_SUFFIX = re.compile(r"(.+?)(left|right|l|r)")
_NUMBERS = re.compile(r"^\W*\d+[\W_]*"), re.compile(r"[\W_]*\d+\W*$")


class SidePair(NamedTuple):
    """Two keypoints that are exchanged by a flip."""

    left: str
    """The name of the left keypoint."""
    right: str
    """The name of the right keypoint."""
    part: str
    """The part of the body, in lower-case letters, such as `eye`."""


class _Reading(NamedTuple):
    """A name, understood as a side and the rest."""

    side: str
    rest: tuple[str, ...]
    """The other words in lower case, and `-` where a side was within a word."""


def opposite_name(name: str) -> str:
    """Returns a name with left and right exchanged, or the name itself if it has neither."""
    return re.sub("left|right|Left|Right", lambda side: _OPPOSITE[side.group()], name)


def find_side_pairs(names: Sequence[str]) -> list[SidePair]:
    """Finds the pairs of left and right keypoints.

    Names form a pair if they differ only in `left` and `right`; else if they differ only in a word
    for the side in any case and position, as `L_Eye`, `EyeR`, `eye.l` and `Right Eye` have it; else
    if a word begins or ends with the side, as `Leye` and `Reye` or `FL_paw` and `FR_paw`. A name
    that matches several others in one of these ways is in no pair. Numbers of the keypoints, as in
    `1_left_eye` and `2_right_eye`, are ignored where every name has one.

    Args:
        names: the names of all keypoints.
    """
    numbered = dict(zip(_without_numbers(names), names, strict=True))
    pairs: list[SidePair] = []
    for read in (_read_exactly, _read_words, _read_within_words):
        paired = {name for pair in pairs for name in pair[:2]}
        pairs += _match([name for name in numbered if name not in paired], read)
    return [SidePair(numbered[left], numbered[right], part) for left, right, part in pairs]


def has_side(name: str) -> bool:
    """Returns whether one of the words of a name is a side."""
    words = _lower(_WORDS.findall(name))
    return any(word in _SIDES or word.startswith(("left", "right")) for word in words)


def describe_pairs(pairs: Iterable[tuple[str, str]], unpaired: Iterable[str] = ()) -> str:
    """Lists pairs of keypoints, and keypoints that have a side in their name but no partner."""
    text = ", ".join(map("–".join, pairs)) or "none"
    rest = ", ".join(unpaired)
    return f"{text}; warning: a side in the name, but no partner: {rest}" if rest else text


def respell(names: Sequence[str], known: Iterable[str]) -> dict[str, str]:
    """Maps names to known ones that differ only in case and in the characters between words.

    Names that have no such counterpart, or share it with another name, are mapped to themselves.
    """
    spellings: dict[str, str] = {}
    for name in known:
        spellings.setdefault(_spelling(name), name)
    counts = Counter(map(_spelling, names))
    return {
        name: spellings.get(key, name) if counts[key := _spelling(name)] == 1 else name
        for name in names
    }


def _spelling(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.strip().casefold())


def _without_numbers(names: Sequence[str]) -> Sequence[str]:
    """Removes numbers at the beginning or end of all names, if the names remain different."""
    for pattern in _NUMBERS:
        shorter = [pattern.sub("", name) for name in names]
        if all(shorter) and len(set(shorter)) == len(names) and not set(shorter) & set(names):
            return shorter
    return names


def _match(names: Sequence[str], read: Callable[[str], Iterable[_Reading]]) -> list[SidePair]:
    """Pairs the names of equal rest and opposite sides, where this is possible in one way only."""
    groups: dict[tuple[str, ...], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        for reading in read(name):
            groups[reading.rest][reading.side].append(name)
    candidates = [
        SidePair(left, right, re.sub(r"left|right|[\W\d_]", "", "".join(rest).lower()))
        for rest, sides in groups.items()
        for left in sides["left"]
        for right in sides["right"]
    ]
    uses = Counter(name for pair in candidates for name in pair[:2])
    return [pair for pair in candidates if uses[pair.left] == uses[pair.right] == 1]


def _read_exactly(name: str) -> Iterator[_Reading]:
    if side := re.search("left|right|Left|Right", name):
        yield _Reading(side.group().lower(), (min(name, opposite_name(name)),))


def _read_words(name: str) -> Iterator[_Reading]:
    words = tuple(_WORDS.findall(name))
    for i, word in enumerate(words):
        if side := _SIDES.get(word.lower()):
            yield _Reading(side, _lower((*words[:i], *words[i + 1 :])))


def _read_within_words(name: str) -> Iterator[_Reading]:
    words = _lower(_WORDS.findall(name))
    for i, word in enumerate(words):
        if match := _PREFIX.fullmatch(word):
            yield _Reading(_SIDES[match[1]], (*words[:i], f"-{match[2]}", *words[i + 1 :]))
        if match := _SUFFIX.fullmatch(word):
            yield _Reading(_SIDES[match[2]], (*words[:i], f"{match[1]}-", *words[i + 1 :]))


def _lower(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(word.lower() for word in words)
