"""Notices about images whose pixels were changed when they were read.

The command line counts them and prints one line for each kind at the end of a run. In other
programs and in worker processes, the first image of each kind causes a Python warning.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from higherhrnet.messages import counted

_counts: Counter[str] = Counter()
_lock = Lock()
_counting_process = 0


def add_notice(notice: str) -> None:
    """Counts an image to which a notice applies, or warns where notices are not counted.

    Args:
        notice: what was done to the image, the same text for all images of a kind.
    """
    if os.getpid() != _counting_process:  # a forked worker inherits the number
        warnings.warn(f"one or more images: {notice}", stacklevel=2)
        return
    with _lock:
        _counts[notice] += 1


@contextmanager
def notices_counted() -> Iterator[None]:
    """Counts the notices within the context, and then prints them to standard error."""
    global _counting_process
    _counting_process = os.getpid()
    try:
        yield
    finally:
        _counting_process = 0
        for notice, count in _counts.items():
            print(f"higherhrnet: {counted(count, 'image')}: {notice}", file=sys.stderr)
        _counts.clear()
