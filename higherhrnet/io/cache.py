"""The folder for downloaded models, exported models and models compiled by an engine."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """Returns $HIGHERHRNET_CACHE, or `higherhrnet` in the user's cache folder."""
    if folder := os.environ.get("HIGHERHRNET_CACHE"):
        return Path(folder).expanduser()
    return user_cache_path("higherhrnet", appauthor=False)
