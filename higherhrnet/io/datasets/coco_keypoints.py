"""Reads the keypoints of people and results, in the forms that other programs write.

COCO's form is a flat list of x, y and a third value for each keypoint: the visibility of an
annotated keypoint, or the score of a predicted one. A keypoint whose third value is 0 or less is
not labeled, or not found, and its position is not used.
"""

from __future__ import annotations

from itertools import chain
from math import isfinite
from typing import Any

from higherhrnet.errors import InputError
from higherhrnet.io.json_values import MAX_NUMBER, describe, is_real, number

_PLAIN_TYPES = {int, float}
VISIBLE = 2


def read_person_keypoints(value: Any, name: str, count: int) -> list[float]:  # noqa: ANN401
    """Reads the keypoints of an annotated person.

    Args:
        value: the JSON value: a flat list, or a list of one list per keypoint, in which `null`
            stands for a keypoint that is not labeled. Without visibilities, keypoints are visible,
            except for those at (0, 0) or without a position.
        name: the name of the value in error messages.
        count: the number of keypoints.

    Returns:
        x, y and visibility of each keypoint, in a flat list; x and y are 0 where it is not labeled.

    Raises:
        InputError: the value has another form, or a labeled keypoint has no finite position.
    """
    if is_plain(value) and len(value) == 3 * count:
        triples: list[float] = value
    else:
        rows = _rows(value, count)
        if rows is None or len(rows) != count:
            raise InputError(
                f"{name} must be {3 * count} finite numbers (x, y and visibility of {count} "
                f"keypoints), not {_describe(value)}"
            )
        triples = _read_keypoints(rows, name, VISIBLE)
    unlabeled = [i for i, third in enumerate(triples[2::3]) if third <= 0]
    if any(triples[3 * i] or triples[3 * i + 1] for i in unlabeled):
        triples = list(triples)
        for i in unlabeled:
            triples[3 * i : 3 * i + 2] = 0, 0
    return triples


def read_result_keypoints(value: Any, name: str) -> list[float]:  # noqa: ANN401
    """Reads the keypoints of a result.

    Args:
        value: the JSON value: a flat list with three values for each keypoint, or a list of one
            list per keypoint. Without scores, the score of each keypoint is 1.
        name: the name of the value in error messages.

    Returns:
        x, y and score of each keypoint, in a flat list.

    Raises:
        InputError: the value has another form, or a keypoint that was found has no finite position.
    """
    if is_plain(value) and len(value) % 3 == 0 and value:
        return list(value)
    rows = _rows(value, None)
    if not rows:
        raise InputError(
            f"{name} must be three per keypoint (x, y and score), finite numbers, not "
            f"{_describe(value)}"
        )
    return _read_keypoints(rows, name, 1)


def lacks_visibilities(value: Any, count: int) -> bool:  # noqa: ANN401
    """Returns whether the valid keypoints of a person consist only of positions."""
    if len(value) == count:
        return any(isinstance(row, list | tuple) and len(row) == 2 for row in value)
    return bool(len(value) == 2 * count)


def is_plain(values: Any) -> bool:  # noqa: ANN401
    """Returns whether a value is a flat list of finite numbers, which need no conversion."""
    return (
        type(values) is list
        and len(values) > 0
        and set(map(type, values)) <= _PLAIN_TYPES
        and min(values) >= -MAX_NUMBER
        and max(values) <= MAX_NUMBER
        and isfinite(sum(values))  # min and max may overlook NaN
    )


def _rows(value: Any, count: int | None) -> list[list[Any]] | None:  # noqa: ANN401
    """Splits a list of keypoints into two or three values for each; None for another form."""
    if not isinstance(value, list | tuple):
        return None
    if not any(isinstance(row, list | tuple) for row in value):
        if len(value) == count and all(item is None for item in value):
            return [[None, None, None]] * count
        width = 2 if count and len(value) == 2 * count else 3
        if len(value) % width:
            return None
        return [list(value[i : i + width]) for i in range(0, len(value), width)]
    widths = {len(row) if isinstance(row, list | tuple) else 0 for row in value if row is not None}
    if len(widths) != 1 or not widths <= {2, 3}:
        return None
    width = widths.pop()
    return [[None] * width if row is None else list(row) for row in value]


def _read_keypoints(rows: list[list[Any]], name: str, default: float) -> list[float]:
    prefix = f"{name} must be {3 * len(rows)} finite numbers: keypoint"
    triples = (_read_keypoint(row, f"{prefix} {i}", default) for i, row in enumerate(rows, 1))
    return list(chain.from_iterable(triples))


def _read_keypoint(row: list[Any], name: str, default: float) -> list[float]:
    """Reads one keypoint; `default` is the third value of one that has only a position."""
    position, third = row[:2], row[2] if len(row) == 3 else True
    if third is None or isinstance(third, bool):
        if all(map(_is_absent, position)) or not any(number(v, f"{name}: x, y") for v in position):
            return [0, 0, 0]
        if not third:
            raise InputError(
                f"{name} has a position, but {describe(third)} as its third value; write 0 (not "
                "labeled), 1 (occluded) or 2 (visible)"
            )
        third = default
    third = number(third, f"{name}: the third value")
    if third <= 0:
        return [*map(_number_or_zero, position), third]
    return [*(number(value, f"{name}: each of x and y") for value in position), third]


def _is_absent(value: Any) -> bool:  # noqa: ANN401
    return value is None or value != value  # NaN


def _is_finite(value: Any) -> bool:  # noqa: ANN401
    return is_real(value) and -MAX_NUMBER <= value <= MAX_NUMBER


def _number_or_zero(value: Any) -> float:  # noqa: ANN401
    try:
        return number(value, "")
    except InputError:
        return 0


def _describe(value: Any) -> str:  # noqa: ANN401
    """Describes a list of keypoints by its length and that of the lists in it."""
    if not isinstance(value, list | tuple):
        return describe(value)
    inner = sorted({len(row) for row in value if isinstance(row, list | tuple)})
    if inner:
        return f"{len(value)} lists of length {', '.join(map(str, inner))}"
    kinds = {describe(item) for item in value if not _is_finite(item)}
    found = f", among them {min(kinds)}" if kinds else ""
    return f"{len(value)} values{found}"
