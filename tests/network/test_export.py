"""An ONNX file computes what torch computes, at any size, and knows what it is."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from higherhrnet.config import Header
from higherhrnet.errors import InputError
from higherhrnet.network import checkpoint
from higherhrnet.network.export import export_onnx, halve_weights
from tests.conftest import Model


@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 32, 160), (3, 128, 96)])
def test_onnx_equals_torch_at_any_size(lively: Model, shape: tuple[int, int, int]) -> None:
    model, _ = checkpoint.load(lively.safetensors)
    batch, height, width = shape
    images = torch.randn(batch, 3, height, width)
    with torch.inference_mode():
        expected = model(images)
    session = onnxruntime.InferenceSession(lively.onnx)
    given = session.run(None, {"images": images.numpy()})
    assert len(given) == len(expected) == 2
    for ours, theirs in zip(given, expected, strict=True):
        scale = theirs.abs().max().item()
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4 * scale)


def test_onnx_carries_the_header(lively: Model) -> None:
    _, header = checkpoint.load(lively.safetensors)
    metadata = onnxruntime.InferenceSession(lively.onnx).get_modelmeta().custom_metadata_map
    assert Header.from_metadata(metadata, "x") == header


def test_half_the_space_gives_nearly_the_same(lively: Model, tmp_path: Path) -> None:
    proto = onnx.load(lively.onnx)
    halve_weights(proto.graph)
    onnx.save(proto, tmp_path / "half.onnx")
    assert (tmp_path / "half.onnx").stat().st_size < 0.75 * lively.onnx.stat().st_size
    images = {"images": np.random.default_rng(0).standard_normal((1, 3, 64, 64), np.float32)}
    whole, half = (
        onnxruntime.InferenceSession(path).run(None, images)
        for path in (lively.onnx, tmp_path / "half.onnx")
    )
    for ours, theirs in zip(half, whole, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-2 * np.abs(theirs).max())


def test_a_place_that_cannot_be_written_is_named(lively: Model, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        export_onnx(*checkpoint.load(lively.safetensors), tmp_path / "file" / "a.onnx")
