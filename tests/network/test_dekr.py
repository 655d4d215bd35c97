"""DEKR's network against the code of its authors, and its adaptive convolution against loops."""

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from higherhrnet.config.model import ModelConfig
from higherhrnet.network.dekr import (
    DEKR,
    AdaptiveBlock,
    adaptive_convolution,
    run_adaptive_blocks,
)
from tests.network.counting import (
    computed,
    count_multiply_adds,
    count_parameters,
    meta_network,
)

CASES = {
    "w32-512": ModelConfig(head="offsets"),
    "w48-640": ModelConfig(48, head="offsets"),
    "w32-512-crowdpose": ModelConfig(num_keypoints=14, head="offsets"),
    "w48-640-crowdpose": ModelConfig(48, 14, head="offsets"),
}
SMALL = ModelConfig(4, 3, modules=(1, 1, 1), blocks=1, head="offsets")


def golden_tensor(key: str, like: Tensor, seed: int) -> Tensor:
    """The values of a tensor of this name and shape, by the rule in golden_dekr/README.md."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()) + seed))
    shape = tuple(like.shape)
    if key.endswith(("num_batches_tracked", "regular_matrix")):
        return like
    values: NDArray[np.float64]
    if key.endswith(("running_mean", "bias")):
        values = rng.uniform(-0.1, 0.1, shape)
    elif key.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif len(shape) == 1:
        values = rng.uniform(0.3, 0.7, shape)
    else:
        values = rng.standard_normal(shape) * np.sqrt(2 / math.prod(shape[1:]))
        if "transform_matrix_conv" in key or "translation_conv" in key:
            values *= 0.2
    return torch.from_numpy(np.asarray(values, np.float32))


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
def test_names_shapes_order_and_parameters_equal_the_reference(
    case: str, golden_dekr: Path
) -> None:
    reference = json.loads((golden_dekr / "network.json").read_text())[case]
    model = meta_network(CASES[case])
    assert count_parameters(model) == reference["parameters"]
    shapes = [(k, list(v.shape)) for k, v in model.state_dict().items()]
    assert shapes == list(reference["state_dict"].items())


@pytest.mark.golden
@pytest.mark.parametrize("case", computed(CASES))
def test_outputs_equal_the_reference(case: str, golden_dekr: Path) -> None:
    seed = int((golden_dekr / "seed.txt").read_text())
    arrays = np.load(golden_dekr / "network.npz")
    model = DEKR(CASES[case]).eval()
    state = model.state_dict()
    model.load_state_dict({key: golden_tensor(key, like, seed) for key, like in state.items()})
    images = torch.from_numpy(arrays[f"{case}/input"])
    with torch.inference_mode():
        outputs = dict(zip(("heatmap", "offset"), model(images), strict=True))
        if f"{case}/features" in arrays:
            outputs["features"] = model.joined_features(images)[0, ::8]
    for name, output in outputs.items():
        expected = arrays[f"{case}/{name}"]
        assert output.shape == expected.shape
        assert np.abs(output.numpy() - expected).max() < 1e-5 * np.abs(expected).max()


def positions(offset: Tensor, dilation: int) -> tuple[Tensor, Tensor]:
    """(B, 18, H, W) offsets of a deformable convolution → (B, 9, H, W) rows and columns."""
    _, _, height, width = offset.shape
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    tap_rows = torch.tensor([-1, -1, -1, 0, 0, 0, 1, 1, 1])[:, None, None] * dilation
    tap_columns = torch.tensor([-1, 0, 1] * 3)[:, None, None] * dilation
    return rows + tap_rows + offset[:, ::2], columns + tap_columns + offset[:, 1::2]


@pytest.mark.golden
@pytest.mark.parametrize("case", [f"deform{i}" for i in range(5)])
def test_the_convolution_and_its_gradients_equal_the_reference(
    case: str, golden_dekr: Path
) -> None:
    arrays = np.load(golden_dekr / "adapt.npz")
    values, offset, weight = (
        torch.from_numpy(arrays[f"{case}/{name}"]).requires_grad_()
        for name in ("input", "offset", "weight")
    )
    rows, columns = positions(offset, int(arrays[f"{case}/dilation"]))
    output = adaptive_convolution(values, rows, columns, weight)
    np.testing.assert_allclose(output.detach(), arrays[f"{case}/output"], atol=1e-12)
    (output * torch.from_numpy(arrays[f"{case}/against"])).sum().backward()  # type: ignore[no-untyped-call]
    for name, tensor in (("input", values), ("offset", offset), ("weight", weight)):
        expected = arrays[f"{case}/grad_{name}"]
        np.testing.assert_allclose(tensor.grad, expected, atol=1e-12)  # type: ignore[arg-type]


@pytest.mark.golden
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_block_and_its_gradients_equal_the_reference(mode: str, golden_dekr: Path) -> None:
    arrays = np.load(golden_dekr / "adapt.npz")
    block = AdaptiveBlock(15).train(mode == "train")
    state = {name: torch.from_numpy(arrays[f"{mode}/state/{name}"]) for name in block.state_dict()}
    after = dict(state)
    if mode == "train":  # the recorded statistics are those after the call
        for name in ("bn.running_mean", "bn.running_var", "bn.num_batches_tracked"):
            state[name] = block.state_dict()[name].clone()
    block.load_state_dict(state)
    x = torch.from_numpy(arrays[f"{mode}/input"]).requires_grad_()
    output = block(x)
    np.testing.assert_allclose(output.detach(), arrays[f"{mode}/output"], atol=2e-5)
    (output * torch.from_numpy(arrays[f"{mode}/against"])).sum().backward()
    gradients = {f"grad/{name}": p.grad for name, p in block.named_parameters()}
    for name, gradient in (gradients | {"grad_input": x.grad}).items():
        expected = arrays[f"{mode}/{name}"]
        assert gradient is not None
        assert np.abs(gradient.numpy() - expected).max() < 1e-4 * max(1, np.abs(expected).max())
    if mode == "train":
        moved = block.state_dict()["bn.running_mean"] - 0.9 * state["bn.running_mean"]
        assert moved.abs().max() > 0 and after


def naive_convolution(x: Any, rows: Any, columns: Any, weight: Any) -> NDArray[np.float64]:  # noqa: ANN401
    """The adaptive convolution with one group, one value at a time."""
    batch, channels, height, width = x.shape
    output = np.zeros((batch, len(weight), height, width))

    def read(b: int, c: int, y: int, x_: int) -> float:
        inside = 0 <= y < height and 0 <= x_ < width
        return float(x[b, c, y, x_]) if inside else 0.0

    for b, o, y, x_, c, tap in np.ndindex(*output.shape, channels, 9):
        py, px = float(rows[b, tap, y, x_]), float(columns[b, tap, y, x_])
        top, left = math.floor(py), math.floor(px)
        value = sum(
            read(b, c, top + dy, left + dx)
            * (py - top if dy else 1 - py + top)
            * (px - left if dx else 1 - px + left)
            for dy in (0, 1)
            for dx in (0, 1)
        )
        output[b, o, y, x_] += value * float(weight[o, c, tap // 3, tap % 3])
    return output


def random_case(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    rows, columns = positions(2 * normal(1, 18, 4, 5), 1)
    return normal(1, 2, 4, 5), rows, columns, normal(3, 2, 3, 3)


@pytest.mark.parametrize("seed", range(3))
def test_the_convolution_equals_loops_over_all_values(seed: int) -> None:
    case = random_case(torch.Generator().manual_seed(seed))
    np.testing.assert_allclose(adaptive_convolution(*case), naive_convolution(*case), atol=1e-12)


def test_the_gradients_equal_differences() -> None:
    x, rows, columns, weight = random_case(torch.Generator().manual_seed(0))
    inputs = [tensor.requires_grad_() for tensor in (x, rows.contiguous(), columns, weight)]
    assert torch.autograd.gradcheck(adaptive_convolution, inputs)


def test_the_gradients_of_a_block_equal_differences() -> None:
    torch.manual_seed(0)
    block = AdaptiveBlock(2).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, x)


@pytest.mark.parametrize("training", [False, True])
def test_blocks_in_one_pass_equal_blocks_one_by_one(training: bool) -> None:
    torch.manual_seed(0)
    blocks = [AdaptiveBlock(3).double().train(training) for _ in range(4)]
    for parameter in nn.ModuleList(blocks).parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 12, 5, 6, dtype=torch.float64)
    together = run_adaptive_blocks(blocks, x)
    single = [block(part) for block, part in zip(blocks, x.chunk(4, 1), strict=True)]
    torch.testing.assert_close(together, torch.cat(single, 1))
    assert blocks[0].bn.num_batches_tracked == 2 * training


@pytest.mark.parametrize(
    ("case", "size", "giga"),
    [
        ("w32-512", 512, 45.385),
        pytest.param("w32-512-crowdpose", 512, 44.749, marks=pytest.mark.slow),
        pytest.param("w48-640", 640, 141.527, marks=pytest.mark.slow),
        pytest.param("w48-640-crowdpose", 640, 140.256, marks=pytest.mark.slow),
    ],
)
def test_counts_multiply_adds(case: str, size: int, giga: float) -> None:
    multiply_adds = count_multiply_adds(CASES[case], size, size)
    assert multiply_adds / 1e9 == pytest.approx(giga, abs=0.0006)


def test_the_initial_weights_read_only_the_middle_of_the_kernel() -> None:
    model = DEKR(SMALL)
    state = model.state_dict()
    for name, tensor in state.items():
        if "transform_matrix_conv" in name or "translation_conv" in name:
            assert (tensor == 0).all(), name
        elif "adapt_conv" in name:
            assert 0.07 < tensor.abs().max() <= 135**-0.5, name
        elif name.endswith(".bias") or "running_mean" in name:
            assert (tensor == 0).all(), name
        elif tensor.ndim == 4:
            assert tensor.std().item() == pytest.approx(0.001, rel=0.5), name
    assert model.transition_offset[0].weight.std().item() == pytest.approx(0.001, rel=0.1)  # type: ignore[operator]


def test_a_training_step_moves_every_weight() -> None:
    torch.manual_seed(0)
    model = DEKR(SMALL).train()
    for name, parameter in model.named_parameters():
        if parameter.ndim == 4 and "adapt" not in name:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    heatmaps, offsets = model(torch.randn(2, 3, 64, 96))
    assert heatmaps.shape == (2, 4, 16, 24) and offsets.shape == (2, 6, 16, 24)
    (heatmaps.square().sum() + offsets.square().sum()).backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still
