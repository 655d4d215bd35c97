"""The model in the box: small, found by itself, alike in every engine, right on a photograph."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import higherhrnet
from higherhrnet import Poses, Predictor
from higherhrnet.cli.main import main

ROOT = Path(__file__).parent.parent
PHOTOGRAPH = ROOT / "examples" / "basketball1.png"
MEN = (
    {"nose": (95, 112), "right_shoulder": (50, 160), "right_elbow": (88, 209)},
    {"nose": (516, 103), "left_wrist": (466, 253), "left_elbow": (516, 319)},
)
"""Where some keypoints of the two men are, by eye, left man first; pixels."""
NEAR = 25
"""Pixels; the men's heads are 60 high."""


@pytest.fixture(scope="module")
def found() -> Poses:
    return Predictor.load(engine="onnxruntime")(PHOTOGRAPH)


def test_all_of_it_is_small() -> None:
    box = Path(higherhrnet.__file__).with_name("zoo")
    files = {path.name: path.stat().st_size for path in box.glob("default.*")}
    assert {"default.onnx", "default.safetensors", "default.md"} <= files.keys()
    assert sum(files.values()) <= 40e6


def test_it_finds_the_two_men(found: Poses) -> None:
    assert len(found) == 2
    order = np.argsort(found.keypoints[:, 0, 0])
    for person, man in zip(found.keypoints[order], MEN, strict=True):
        for name, place in man.items():
            where = person[found.skeleton.names.index(name)]
            assert np.linalg.norm(where - place) < NEAR, (name, where)


def test_both_its_files_are_one_network(found: Poses) -> None:
    pytest.importorskip("torch")
    other = Predictor.load(engine="torch")(PHOTOGRAPH)
    np.testing.assert_allclose(other.keypoints, found.keypoints, atol=1)
    np.testing.assert_allclose(other.scores, found.scores, atol=0.01)


def test_it_says_where_it_comes_from_and_no_place_on_the_machine_that_made_it() -> None:
    training = Predictor.load(engine="onnxruntime").header.training
    assert {"data", "licence", "figures"} <= training.keys()
    assert not any(re.search(r"(^|\s)/\w", str(fact)) for fact in training.values())


def test_predict_needs_no_model_to_be_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(PHOTOGRAPH), "--out", str(tmp_path)])
    assert not ended.value.code
    assert (tmp_path / "basketball1_poses.jpg").stat().st_size > 10_000
