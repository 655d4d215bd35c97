"""The folder for downloaded models, exported models and models compiled by an engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from higherhrnet.errors import InputError

CACHE_HINT = "free some space or set HIGHERHRNET_CACHE to another folder"
"""What a user can do if the cache folder cannot be written to."""


def cache_folder() -> Path:
    """Returns $HIGHERHRNET_CACHE, or `higherhrnet` in the user's cache folder."""
    if folder := os.environ.get("HIGHERHRNET_CACHE"):
        return Path(folder).expanduser()
    return user_cache_path("higherhrnet", appauthor=False)


@contextmanager
def writing_to_cache() -> Iterator[None]:
    """Adds what the user can do to the error of a file in the cache that cannot be written."""
    try:
        yield
    except InputError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise InputError(f"{error}; {CACHE_HINT}") from error
