"""Skeletons from files: TOML files, and the categories of COCO's annotation files."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from higherhrnet.errors import InputError, reading, require, require_file
from higherhrnet.io.json_values import describe, number, sequence, text, whole_number
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import SKELETONS, default_sigmas, known_limbs

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


def category_skeleton(category: Mapping[str, Any]) -> Skeleton:
    """Creates the skeleton of an entry of COCO's `categories`.

    A category with the keypoint names of one of `SKELETONS` gives that skeleton. Missing
    sigmas and limbs are those of COCO keypoints with the same names; names unknown to COCO get
    the mean of COCO's sigmas.

    Args:
        category: has `keypoints` (names) and may have `skeleton`, `sigmas`, `grouping_order`
            (numbers from 0) and `flip_pairs` (pairs of names). `skeleton` is a list of pairs,
            or a flat list, of numbers or names; the numbers count from 1 unless one of them is
            0.

    Raises:
        InputError: the category has no keypoints, or they do not form a skeleton.
    """
    title = str(category.get("name") or "custom")
    prefix = f"category {title}"
    names = tuple(
        text(value, f"{prefix}: each of keypoints")
        for value in sequence(category.get("keypoints"), f"{prefix}: keypoints", "names")
    )
    require(len(names) > 0, f"{prefix} has no keypoints; list their names under keypoints, as COCO")
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
    return Skeleton(
        title,
        names,
        _category_limbs(category.get("skeleton"), names, f"{prefix}: skeleton")
        or known_limbs(names),
        tuple(number(value, f"{prefix}: each of sigmas") for value in sigmas)
        or default_sigmas(names),
        tuple(whole_number(value, f"{prefix}: each of grouping_order") for value in order),
        tuple((a, b) for a, b in pairs),
    )


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
