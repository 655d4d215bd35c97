"""The notebook in examples runs."""

import base64
import os
import re
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

for package in ("nbclient", "ipykernel"):
    pytest.importorskip(package)

import nbformat

from tools.notebook import execute

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_notebook_runs_and_ends_with_a_picture_of_tracked_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    path = tmp_path / "examples" / "quickstart.ipynb"
    execute(path)
    *_, last = nbformat.read(path, as_version=4).cells
    text, picture = last.outputs
    assert len(re.findall(r"\d+", text.text)) >= 2  # track IDs
    data = np.frombuffer(base64.b64decode(picture.data["image/jpeg"]), np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None and decoded.shape == (576, 768, 3)
