"""Annotations of fields and arguments that become command-line flags."""

from __future__ import annotations

from typing import Any

from tyro.conf import arg


def flag(default: str, metavar: str | None = None, aliases: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 (an annotation for tyro)
    """Annotates a flag whose default is not a plain value, such as None or ().

    Args:
        default: the default in words, for the help text.
        metavar: the placeholder of the value in the help text (default: derived from the type).
        aliases: other names of the flag, for example `-m`.
    """
    hint = f"(default: {default})"
    return arg(metavar=metavar, aliases=aliases or None, help_behavior_hint=hint)


def required(metavar: str) -> Any:  # noqa: ANN401 (an annotation for tyro)
    """Annotates a list of values that must not be empty, although its default is empty.

    Args:
        metavar: the placeholder of the values in the help text.
    """
    return arg(metavar=metavar, help_behavior_hint="(required)")
