"""Left and right in the names of keypoints."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

_OPPOSITE = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
_SIDES = {"left": "left", "right": "right", "l": "left", "r": "right", "lt": "left", "rt": "right"}
"""Words that are a side."""
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+|\d+")
"""The words of `lShoulder`, `LEFT_EYE`, `EyeL`, `LKnee` and `eye.l2`."""

Side = str
"""`left` or `right`."""


def opposite_name(name: str) -> str:
    """Returns a name with left and right exchanged, or the name itself if it has neither."""
    return re.sub("left|right|Left|Right", lambda side: _OPPOSITE[side.group()], name)
