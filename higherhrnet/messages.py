"""How messages to the user write numbers and names."""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Returns a number with its noun: "1 image", "2,500 images".

    Args:
        number: the number.
        singular: the noun in the singular.
        plural: the noun in the plural (default: the singular with an s).
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def one_line(text: str) -> str:
    r"""Returns text with its control characters and line breaks escaped, for example as `\n`.

    The name of a file may contain them; a terminal would interpret them.
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
