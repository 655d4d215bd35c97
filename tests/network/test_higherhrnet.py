"""The network against the reference implementation, and its shapes against arithmetic."""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from higherhrnet.config.model import ModelConfig
from higherhrnet.errors import InputError
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.network.hrnet import HRNet
from tests.network.counting import (
    computed,
    count_multiply_adds,
    count_parameters,
    meta_network,
)

CASES = {
    "w32-512": ModelConfig(),
    "w32-640": ModelConfig(),
    "w48-640": ModelConfig(width=48),
    "w32-512-crowdpose": ModelConfig(num_keypoints=14),
    "w32-512-shared-tag": ModelConfig(tag_per_keypoint=False),
}


def golden_tensor(key: str, like: torch.Tensor, seed: int) -> torch.Tensor:
    """The values of a tensor of this name and shape, by the rule in golden/README.md."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()) + seed))
    shape = tuple(like.shape)
    if key.endswith("num_batches_tracked"):
        return like
    values: NDArray[np.float64]
    if key.endswith(("running_mean", "bias")):
        values = rng.uniform(-0.1, 0.1, shape)
    elif key.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif len(shape) == 1:
        values = rng.uniform(0.3, 0.7, shape)
    else:
        transposed = "deconv_layers" in key and shape[2] != 3
        fan_in = shape[0] * math.prod(shape[2:]) if transposed else math.prod(shape[1:])
        values = rng.standard_normal(shape) * np.sqrt(2 / fan_in)
    return torch.from_numpy(np.asarray(values, np.float32))


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
def test_names_shapes_and_parameters_equal_the_reference(case: str, golden: Path) -> None:
    reference = json.loads((golden / "network.json").read_text())[case]
    model = meta_network(CASES[case])
    assert count_parameters(model) == reference["parameters"]
    assert {k: list(v.shape) for k, v in model.state_dict().items()} == reference["state_dict"]


@pytest.mark.golden
@pytest.mark.parametrize("case", computed(CASES))
def test_outputs_equal_the_reference(case: str, golden: Path) -> None:
    seed = int((golden / "seed.txt").read_text())
    arrays = np.load(golden / "network.npz")
    model = HigherHRNet.from_config(CASES[case]).eval()
    state = model.state_dict()
    model.load_state_dict({key: golden_tensor(key, like, seed) for key, like in state.items()})
    with torch.inference_mode():
        outputs = model(torch.from_numpy(arrays[f"{case}/input"]))
    for name, output in zip(("low", "high"), outputs, strict=True):
        expected = arrays[f"{case}/{name}"]
        assert output.shape == expected.shape
        assert np.abs(output.numpy() - expected).max() < 1e-5 * np.abs(expected).max()


SWAHR_CASES = {
    "w32-512": ModelConfig(scale_maps=True),
    "w48-640-crowdpose": ModelConfig(48, 14, scale_maps=True),
}


@pytest.mark.golden
@pytest.mark.parametrize("case", SWAHR_CASES)
def test_names_shapes_order_and_parameters_of_swahr_equal_the_reference(
    case: str, golden_dekr: Path
) -> None:
    reference = json.loads((golden_dekr / "swahr_network.json").read_text())[case]
    model = meta_network(SWAHR_CASES[case])
    assert count_parameters(model) == reference["parameters"]
    shapes = [(k, list(v.shape)) for k, v in model.state_dict().items()]
    assert shapes == list(reference["state_dict"].items())


@pytest.mark.golden
@pytest.mark.parametrize("case", computed(SWAHR_CASES))
def test_maps_and_scale_maps_of_swahr_equal_the_reference(case: str, golden_dekr: Path) -> None:
    seed = int((golden_dekr / "seed.txt").read_text())
    arrays = np.load(golden_dekr / "swahr_network.npz")
    model = HigherHRNet.from_config(SWAHR_CASES[case]).eval()
    state = model.state_dict()
    model.load_state_dict({key: golden_tensor(key, like, seed) for key, like in state.items()})
    with torch.inference_mode():
        outputs = model.features_and_maps(torch.from_numpy(arrays[f"{case}/input"]))
        scale_maps = model.scale_maps(outputs)
    for name, scales, (_, maps) in zip(("low", "high"), scale_maps, outputs, strict=True):
        expected = arrays[f"{case}/{name}"]
        assert scales.shape[1] == model.config.num_keypoints
        output = torch.cat([scales, maps], 1).numpy()
        assert output.shape == expected.shape
        assert np.abs(output - expected).max() < 1e-5 * np.abs(expected).max()


def test_scale_maps_are_those_of_plain_loops_and_zero_at_the_start() -> None:
    torch.manual_seed(0)
    model = HigherHRNet(4, 3, modules=(1, 1, 1), blocks=1, scale_maps=True).eval()
    images = torch.randn(1, 3, 32, 64)
    with torch.inference_mode():
        outputs = model.features_and_maps(images)
        assert all(not scales.any() for scales in model.scale_maps(outputs))
        for parameter in model.conv_scale_layers.parameters():
            parameter.normal_()
        scale_maps = model.scale_maps(outputs)
    for head, (features, _), scales in zip(
        model.conv_scale_layers, outputs, scale_maps, strict=True
    ):
        state = {name: value.double().numpy() for name, value in head.state_dict().items()}
        x = np.einsum("kc,chw->khw", state["0.weight"][:, :, 0, 0], features[0].double().numpy())
        x += state["0.bias"][:, None, None]
        x *= (state["1.weight"] / np.sqrt(1 + 1e-5))[:, None, None]
        x = np.maximum(x + state["1.bias"][:, None, None], 0)
        padded = np.pad(x, ((0, 0), (4, 4), (4, 4)))
        height, width = x.shape[1:]
        expected = np.zeros_like(x) + state["3.bias"][:, None, None]
        for row in range(9):
            for column in range(9):
                taps = state["3.weight"][:, 0, row, column][:, None, None]
                expected += taps * padded[:, row : row + height, column : column + width]
        np.testing.assert_allclose(scales[0], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("width", "size", "giga"),
    [
        (32, 512, 46.20),
        pytest.param(32, 640, 72.19, marks=pytest.mark.slow),
        pytest.param(48, 640, 149.47, marks=pytest.mark.slow),
    ],
)
def test_counts_multiply_adds(width: int, size: int, giga: float) -> None:
    multiply_adds = count_multiply_adds(ModelConfig(width), size, size)
    assert multiply_adds / 1e9 == pytest.approx(giga, abs=0.01)


@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize("deconvs", [0, 1, 2])
def test_each_deconvolution_module_doubles_the_resolution(kernel: int, deconvs: int) -> None:
    model = HigherHRNet(
        4, num_keypoints=3, deconv_kernels=(kernel,) * deconvs, modules=(1, 1, 1), blocks=1
    ).eval()
    with torch.inference_mode():
        shapes = [tuple(output.shape) for output in model(torch.zeros(1, 3, 64, 96))]
    finer = [(1, 3, 16 * 2**i, 24 * 2**i) for i in range(1, deconvs + 1)]
    assert shapes == [(1, 6, 16, 24), *finer]


@pytest.mark.parametrize("width", [16, 18, 5, 256])
def test_the_backbone_returns_features_at_four_resolutions(width: int) -> None:
    with torch.device("meta"):
        features = HRNet(width, modules=(1, 1, 1), blocks=1)(torch.empty(2, 3, 96, 64))
    expected = [(2, width * 2**i, 24 // 2**i, 16 // 2**i) for i in range(4)]
    assert [tuple(f.shape) for f in features] == expected


def test_the_heads_take_the_finest_features_of_the_backbone() -> None:
    model = HigherHRNet(4).eval()
    backbone = HRNet(4).eval()
    backbone.load_state_dict(model.state_dict(), strict=False)
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = model.features(images)[0]
        atol = 1e-5 * float(expected.abs().max())
        torch.testing.assert_close(backbone(images)[0], expected, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("size", [(100, 64), (64, 48)])
def test_sides_that_are_not_multiples_of_32_are_rejected(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"multiples of 32, not {size[0]}×{size[1]}"):
        HigherHRNet(4)(torch.zeros(1, 3, *size))


@pytest.mark.parametrize(
    "values", [{"width": 0}, {"num_keypoints": 0}, {"deconv_kernels": (5,)}, {"deconv_blocks": -1}]
)
def test_invalid_architectures_are_rejected(values: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(values))):
        HigherHRNet(**values)  # type: ignore[arg-type]


def test_weights_are_initialized_as_in_the_reference() -> None:
    model = HigherHRNet(8)
    assert torch.all(model.bn1.weight == 1)
    assert model.conv1.weight.std().item() == pytest.approx(0.001, rel=0.1)
    final = model.final_layers[0]
    assert isinstance(final, torch.nn.Conv2d) and final.bias is not None
    assert torch.all(final.bias == 0)
