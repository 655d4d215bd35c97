"""The losses of DEKR and their gradients against its authors, and against their formulas."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from higherhrnet.config.recipes import RECIPES
from higherhrnet.training.offset_losses import offset_loss, weighted_heatmap_loss


@pytest.mark.golden
@pytest.mark.parametrize("name", ["heatmap", "offset"])
def test_losses_and_gradients_equal_those_of_the_authors(name: str, golden_dekr: Path) -> None:
    function, third = {
        "heatmap": (weighted_heatmap_loss, "mask"), "offset": (offset_loss, "weight")
    }[name]  # fmt: skip
    weights = RECIPES["dekr-coco-w32-512"].losses
    factor = {"heatmap": weights.heatmap[0], "offset": weights.offset}[name]
    with np.load(golden_dekr / "losses.npz") as arrays:
        predicted, target, weight, expected, gradient, total = (
            torch.from_numpy(arrays[key])
            for key in (
                *(f"{name}/{part}" for part in ("pred", "target", third, "loss", "grad")),
                f"total/{name}",
            )
        )
    predicted.requires_grad_()
    loss = function(predicted, target, weight)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(factor * loss, total)
    torch.autograd.backward(loss)
    torch.testing.assert_close(predicted.grad, gradient)


@pytest.mark.golden
def test_without_people_the_offset_loss_equals_that_of_the_authors(golden_dekr: Path) -> None:
    with np.load(golden_dekr / "losses.npz") as arrays:
        predicted, target = (torch.from_numpy(arrays[f"offset/{n}"]) for n in ("pred", "target"))
        expected = torch.from_numpy(arrays["offset/loss_without_people"])
    predicted.requires_grad_()
    loss = offset_loss(predicted, target, torch.zeros_like(target))
    torch.testing.assert_close(loss, expected)
    torch.autograd.backward(loss)
    assert predicted.grad is not None and not predicted.grad.any()


def test_the_offset_loss_is_quadratic_below_a_ninth_of_a_cell() -> None:
    predicted = torch.tensor([0.05, -0.05, 1.0, -3.0, 7.0])
    weight = torch.tensor([1.0, 2.0, 0.5, 0.1, 0.0])
    expected = (4.5 * 0.05**2 * 3 + 0.5 * (1 - 1 / 18) + 0.1 * (3 - 1 / 18)) / 4
    loss = offset_loss(predicted, torch.zeros(5), weight)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_losses_of_bf16_maps_are_computed_in_float32() -> None:
    predicted = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    half, zeros, ones = predicted.bfloat16(), torch.zeros(1, 2, 3, 3), torch.ones(1, 2, 3, 3)
    for function in (weighted_heatmap_loss, offset_loss):
        assert function(half, zeros, ones).dtype == torch.float32
        torch.testing.assert_close(function(half, zeros, ones), function(half.float(), zeros, ones))
