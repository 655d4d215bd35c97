"""Writes long JSON files entry by entry."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TextIO


def write_json_list(file: TextIO, entries: Iterable[Any]) -> None:
    """Writes a JSON list with one entry per line.

    Args:
        file: an open text file.
        entries: JSON values.
    """
    separator = "["
    for entry in entries:
        file.write(f"{separator}\n{json.dumps(entry, ensure_ascii=False)}")
        separator = ","
    file.write("[]" if separator == "[" else "\n]")
