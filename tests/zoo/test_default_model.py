"""The bundled model is small, works without naming it, and is the same network in every engine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import higherhrnet
from higherhrnet import Poses, Predictor
from higherhrnet.cli.main import main

ROOT = Path(__file__).parent.parent.parent
IMAGE = ROOT / "examples" / "basketball1.png"
PLAYERS = (
    {"nose": (95, 112), "right_shoulder": (50, 160), "right_elbow": (88, 209)},
    {"nose": (516, 103), "left_wrist": (466, 253), "left_elbow": (516, 319)},
)
"""Keypoints of the two players in pixels, annotated by hand; the left player first."""
MAX_DISTANCE = 25
"""The maximum error in pixels; the players' heads are 60 pixels high."""


@pytest.fixture(scope="module")
def poses() -> Poses:
    return Predictor.load(engine="onnxruntime")(IMAGE)


def assert_finds_the_players(poses: Poses) -> None:
    assert len(poses) == len(PLAYERS)
    order = np.argsort(poses.keypoints[:, 0, 0])
    for keypoints, player in zip(poses.keypoints[order], PLAYERS, strict=True):
        for name, point in player.items():
            predicted = keypoints[poses.skeleton.names.index(name)]
            assert np.linalg.norm(predicted - point) < MAX_DISTANCE, (name, predicted)


def test_the_files_are_small() -> None:
    zoo = Path(higherhrnet.__file__).with_name("zoo")
    sizes = {path.name: path.stat().st_size for path in zoo.glob("default.*")}
    assert {"default.onnx", "default.safetensors", "default.md"} <= sizes.keys()
    assert sum(sizes.values()) <= 40e6


def test_both_players_are_found(poses: Poses) -> None:
    assert_finds_the_players(poses)


@pytest.mark.slow
def test_both_files_contain_the_same_network(poses: Poses) -> None:
    pytest.importorskip("torch")
    other = Predictor.load(engine="torch")(IMAGE)
    np.testing.assert_allclose(other.keypoints, poses.keypoints, atol=1)
    np.testing.assert_allclose(other.scores, poses.scores, atol=0.01)


def test_the_header_describes_the_training_without_local_paths() -> None:
    training = Predictor.load(engine="onnxruntime").header.training
    assert training["images"] == 7918
    assert "COCO" in str(training["data"])
    assert "Apache-2.0" in str(training["license"])
    assert not any(re.search(r"(^|\s)/\w", str(value)) for value in training.values())


def test_predict_uses_the_bundled_model_by_default(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["predict", str(IMAGE), "--out", str(tmp_path)])
    assert not exit_info.value.code
    results = json.loads((tmp_path / "predictions.json").read_text())
    assert_finds_the_players(Poses.from_coco(results))
