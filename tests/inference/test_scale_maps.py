"""Models with the scale maps of SWAHR predict the same people as without them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn

from higherhrnet.engines.base import EngineOptions
from higherhrnet.engines.load import load_engine
from higherhrnet.graph.export import export_onnx
from higherhrnet.inference.model_info import describe_model
from higherhrnet.io.images import write_image
from higherhrnet.io.weights import read_weights
from higherhrnet.network import checkpoint
from higherhrnet.network.higherhrnet import HigherHRNet
from tests.conftest import ModelFiles, RunMain


@pytest.fixture(scope="module")
def with_scale_maps(small_model: ModelFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`small_model` with random scale heads."""
    model, header = checkpoint.load(small_model.safetensors)
    header = replace(header, model=replace(header.model, scale_maps=True))
    network = HigherHRNet.from_config(header.model)
    for parameter in network.conv_scale_layers.parameters():
        nn.init.normal_(parameter)
    network.load_state_dict(network.state_dict() | model.state_dict())
    path = tmp_path_factory.mktemp("scale_maps") / "small.safetensors"
    checkpoint.save(path, network, header)
    return path


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_predictions_are_identical_with_and_without_scale_maps(
    engine: str,
    small_model: ModelFiles,
    with_scale_maps: Path,
    tmp_path: Path,
    run_main: RunMain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path / "cache"))
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    write_image(tmp_path / "a.png", image)
    results = []
    for name, path in (("with", with_scale_maps), ("without", small_model.safetensors)):
        out = tmp_path / name
        arguments = ("predict", tmp_path / "a.png", "--model", path, "--engine", engine)
        result = run_main(*arguments, "--out", out)
        assert result.returncode == 0, result.stderr
        results.append((out / "predictions.json").read_bytes())
    assert results[0] == results[1]
    assert b'"keypoints"' in results[0]


def test_the_exported_graph_is_that_without_scale_maps(
    small_model: ModelFiles, with_scale_maps: Path, tmp_path: Path
) -> None:
    export_onnx(tmp_path / "a.onnx", *read_weights(with_scale_maps))
    assert (tmp_path / "a.onnx").read_bytes() == small_model.onnx.read_bytes()


def test_the_torch_engine_does_not_compute_scale_maps(with_scale_maps: Path) -> None:
    engine, header = load_engine(EngineOptions(str(with_scale_maps), "torch"))
    called = []
    for head in engine.model.conv_scale_layers:  # type: ignore[attr-defined]
        head.register_forward_hook(lambda *_: called.append(True))
    outputs = engine(np.zeros((1, 3, 64, 64), np.float32))
    keypoints = header.model.num_keypoints
    assert [maps.shape[1] for maps in outputs] == [2 * keypoints, keypoints]
    assert header.model.scale_maps and not called


def test_the_description_mentions_scale_maps_and_counts_their_parameters(
    small_model: ModelFiles, with_scale_maps: Path
) -> None:
    plain, described = map(describe_model, (small_model.safetensors, with_scale_maps))
    assert "with scale maps for training" in described and "scale maps" not in plain
    rows = [
        dict(line.split(maxsplit=1) for line in text.splitlines()) for text in (plain, described)
    ]
    counts = [int(row["parameters"].replace(",", "")) for row in rows]
    width, keypoints = 4, 17  # for each output: 1×1 and 9×9 convolution, batch norm
    per_output = keypoints * (width + 1) + 2 * keypoints + keypoints * (81 + 1)
    assert counts[1] - counts[0] == 2 * per_output
    assert rows[0]["multiply-adds"] == rows[1]["multiply-adds"]
