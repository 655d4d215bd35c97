"""Dataclasses out of plain values, as JSON has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from higherhrnet.errors import InputError

T = TypeVar("T")
_FITS: dict[Any, Any] = {int: int, float: (int, float), bool: bool, str: str, dict: dict}
"""What JSON may give for a type."""


def from_dict(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass from plain JSON values: nested ones built, lists made tuples.

    Raises:
        InputError: a field is unknown, or a nested value is not what its type says.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{kind.__name__} must be a table of values, not {values!r}")
    hints = get_type_hints(kind)
    unknown = set(values) - {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if unknown:
        raise InputError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")

    def build(hint: Any, value: Any) -> Any:  # noqa: ANN401
        if isinstance(hint, type) and is_dataclass(hint):
            return from_dict(hint, value)
        if get_origin(hint) is tuple:
            if not isinstance(value, list | tuple):
                raise InputError(f"{kind.__name__} needs a list where it has {value!r}")
            kinds = get_args(hint)
            if kinds[-1] is Ellipsis:
                kinds = kinds[:1] * len(value)
            if len(kinds) != len(value):
                raise InputError(f"{kind.__name__} needs {len(kinds)} values, not {value!r}")
            return tuple(build(*pair) for pair in zip(kinds, value, strict=True))
        if hint is Path and isinstance(value, str):
            return Path(value)
        fits = _FITS.get(get_origin(hint) or hint, object)
        if not isinstance(value, fits) or (isinstance(value, bool) and hint is not bool):
            raise InputError(f"{kind.__name__} cannot have {value!r} there")
        return value

    try:
        return kind(**{name: build(hints[name], value) for name, value in values.items()})
    except TypeError as error:
        raise InputError(f"{kind.__name__}: {error}") from error
