"""What the tests share: where the golden arrays are."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of arrays that the original computed."""
    return Path(os.environ.get("HIGHERHRNET_GOLDEN", Path(__file__).parent / "golden"))
