"""Reads numbers, IDs and flags of JSON files that other programs have written.

Many programs write numbers as strings or as floating-point numbers, and flags as words. Each
function reads every form whose meaning is clear, and rejects the others with a message that
contains the value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isfinite
from numbers import Real
from typing import Any

from higherhrnet.errors import InputError

MAX_NUMBER = 1e15
"""The highest magnitude of a number; higher ones overflow in single precision."""
_MAX_SHOWN = 40
"""The highest number of characters of a value in a message."""

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_INTEGER_ID = re.compile(r"-?\d{1,100}(\.0+)?", re.ASCII)
_FLAGS = {
    "0": 0, "false": 0, "no": 0, "n": 0, "off": 0, "1": 1, "true": 1, "yes": 1, "y": 1, "on": 1,
}  # fmt: skip


def describe(value: object) -> str:
    """Describes a JSON value for an error message, in at most about 40 characters."""
    if isinstance(value, list | tuple):
        return f"a list of length {len(value)}"
    if isinstance(value, Mapping):
        return "an object" if value else "an empty object"
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"


def is_real(value: Any) -> bool:  # noqa: ANN401
    """Returns whether a value is a number, also one of NumPy, and not a boolean."""
    return isinstance(value, Real) and not isinstance(value, bool)


def number(value: Any, name: str) -> float:  # noqa: ANN401
    """Reads a finite number, which may be written as a string.

    Args:
        value: the JSON value.
        name: the name of the value in error messages.

    Raises:
        InputError: the value is not a number, or is not finite.
    """
    is_text = isinstance(value, str) and _NUMBER.fullmatch(value)
    parsed = float(value) if is_text else value
    is_plain = type(parsed) is float or type(parsed) is int  # faster than the general test
    if (is_plain or is_real(parsed)) and -MAX_NUMBER <= parsed <= MAX_NUMBER:  # excludes NaN
        return parsed if is_plain else float(parsed)
    raise InputError(f"{name} must be 1 finite number, not {describe(value)}")


def whole_number(value: Any, name: str) -> int:  # noqa: ANN401
    """Reads a whole number of 0 or more, in any form that `number` reads.

    Raises:
        InputError: the value is not such a number.
    """
    parsed = number(value, name)
    if parsed < 0 or parsed != int(parsed):
        raise InputError(f"{name} must be 1 whole number of 0 or more, not {describe(value)}")
    return int(parsed)


def identifier(value: Any, name: str) -> int | str:  # noqa: ANN401
    """Reads an ID; 1, "1", "001" and 1.0 are the same ID.

    Raises:
        InputError: the value is neither a string nor a finite number.
    """
    if type(value) is int:
        return value
    if isinstance(value, str) and value.strip():
        text = value.strip()
        return int(text.partition(".")[0]) if _INTEGER_ID.fullmatch(text) else text
    if is_real(value) and isfinite(value):
        return int(value) if value == int(value) else str(value)
    raise InputError(f"{name} must be a number or a string, not {describe(value)}")


def flag(value: Any, name: str) -> int:  # noqa: ANN401
    """Reads a flag as 0 or 1: a number, `true` or `false`, or a word such as "no".

    Raises:
        InputError: the value has another form.
    """
    if type(value) is int and 0 <= value <= 1:
        return value
    if isinstance(value, str):
        parsed = _FLAGS.get(value.strip().lower().removesuffix(".0"))
    else:
        is_flag = value in (0, 1) and (is_real(value) or isinstance(value, bool))
        parsed = int(value) if is_flag else None
    if parsed is None:
        raise InputError(f"{name} must be 0 or 1, not {describe(value)}")
    return parsed


def text(value: object, name: str) -> str:
    """Reads a text; a number is converted.

    Raises:
        InputError: the value is neither a string nor a number.
    """
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"{name} must be a string, not {describe(value)}")


def sequence(value: object, name: str, items: str) -> list[Any]:
    """Returns a list unchanged; an empty one for `null` or a missing value.

    Args:
        value: the JSON value.
        name: the name of the value in error messages.
        items: what the list contains, for example "names of keypoints".

    Raises:
        InputError: the value is not a list.
    """
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return list(value)
    raise InputError(f"{name} must be a list of {items}, not {describe(value)}")
