"""An exported ONNX file computes the same maps as torch at any size, and contains the header."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from higherhrnet.config.header import Header
from higherhrnet.errors import InputError
from higherhrnet.graph.export import convert_weights_to_float16, export_onnx
from higherhrnet.io.weights import read_weights
from higherhrnet.network import checkpoint
from tests.conftest import ModelFiles


@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 32, 160), (3, 128, 96)])
def test_onnx_equals_torch_at_any_batch_and_image_size(
    small_model: ModelFiles, shape: tuple[int, int, int]
) -> None:
    model, _ = checkpoint.load(small_model.safetensors)
    batch, height, width = shape
    images = torch.randn(batch, 3, height, width)
    with torch.inference_mode():
        expected = model(images)
    session = onnxruntime.InferenceSession(small_model.onnx)
    outputs = session.run(None, {"images": images.numpy()})
    assert len(outputs) == len(expected) == 2
    for output, maps in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(output, maps.numpy(), atol=1e-4 * maps.abs().max().item())


def test_the_onnx_file_contains_the_header(small_model: ModelFiles) -> None:
    _, header = checkpoint.load(small_model.safetensors)
    metadata = onnxruntime.InferenceSession(small_model.onnx).get_modelmeta().custom_metadata_map
    assert Header.from_metadata(metadata, "x") == header


def test_float16_weights_take_less_space_and_change_the_maps_little(
    small_model: ModelFiles, tmp_path: Path
) -> None:
    proto = onnx.load(small_model.onnx)
    convert_weights_to_float16(proto.graph)
    onnx.save(proto, tmp_path / "half.onnx")
    assert (tmp_path / "half.onnx").stat().st_size < 0.75 * small_model.onnx.stat().st_size
    images = {"images": np.random.default_rng(0).standard_normal((1, 3, 64, 64), np.float32)}
    full, half = (
        onnxruntime.InferenceSession(path).run(None, images)
        for path in (small_model.onnx, tmp_path / "half.onnx")
    )
    for output, expected in zip(half, full, strict=True):
        np.testing.assert_allclose(output, expected, atol=1e-2 * np.abs(expected).max())


def test_a_file_that_cannot_be_written_is_reported(small_model: ModelFiles, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        export_onnx(tmp_path / "file" / "a.onnx", *read_weights(small_model.safetensors))


def test_only_float_weights_that_half_precision_represents_are_converted() -> None:
    arrays: dict[str, NDArray[Any]] = {
        "ordinary": np.array([1.5, -0.25], np.float32),
        "too large": np.array([1e5, 1], np.float32),
        "too small": np.array([1e-8, 2e-8], np.float32),
        "integers": np.array([1, 2], np.int64),
    }
    graph = onnx.GraphProto()
    graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in arrays.items())
    convert_weights_to_float16(graph)
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    assert set(stored) == {"ordinary.half", "too large", "too small", "integers"}
    assert stored.pop("ordinary.half").tolist() == [1.5, -0.25]
    for name, values in stored.items():
        np.testing.assert_array_equal(values, arrays[name])
        assert values.dtype == arrays[name].dtype
    assert [(list(node.input), list(node.output)) for node in graph.node] == [
        (["ordinary.half"], ["ordinary"])
    ]
