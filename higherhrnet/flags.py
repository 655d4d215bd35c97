"""How a field appears as a flag of the command line where its type does not say enough."""

from __future__ import annotations

from typing import Any

from tyro.conf import arg


def flag(default: str, metavar: str | None = None, aliases: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 (an annotation for tyro)
    """An annotation for a flag whose default depends on something else.

    Args:
        default: the default in words, which the help shows.
        metavar: what the help shows for the value (default: derived from the type).
        aliases: other spellings, for example `-m`.
    """
    hint = f"(default: {default})"
    return arg(metavar=metavar, aliases=aliases or None, help_behavior_hint=hint)
