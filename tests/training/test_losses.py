"""Losses against the reference implementation, and against loops over people and keypoints."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from higherhrnet.config.training import PushType
from higherhrnet.training.losses import (
    adapted_target,
    adaptive_heatmap_loss,
    adaptive_weight,
    heatmap_loss,
    tag_loss,
)

PUSH_TYPES: list[PushType] = ["exp", "max"]


def unpack(indices: Tensor, map_size: int) -> tuple[Tensor, Tensor]:
    """Cells and visibility, (B, P, K), from the reference implementation's (B, P, K, 2) indices.

    Visible keypoints are at the front; the index of each includes the map that it is in.
    """
    batch, people, keypoints, _ = indices.shape
    cells = torch.zeros(batch, people, keypoints, dtype=torch.long)
    visible = torch.zeros(batch, people, keypoints, dtype=torch.bool)
    for b, p, slot in torch.nonzero(indices[..., 1] > 0).tolist():
        k, cell = divmod(int(indices[b, p, slot, 0]), map_size)
        cells[b, p, k], visible[b, p, k] = cell, True
    return cells, visible


@pytest.mark.golden
def test_heatmap_loss_equals_the_reference(golden: Path) -> None:
    with np.load(golden / "losses.npz") as arrays:
        predicted, target, mask, expected = (
            torch.from_numpy(arrays[f"heatmap/{name}"])
            for name in ("pred", "target", "mask", "loss")
        )
    torch.testing.assert_close(heatmap_loss(predicted, target, mask[:, None]), expected)


@pytest.mark.golden
@pytest.mark.parametrize("push_type", PUSH_TYPES)
def test_tag_loss_and_its_gradient_equal_the_reference(golden: Path, push_type: PushType) -> None:
    with np.load(golden / "losses.npz") as arrays:
        tags = torch.from_numpy(arrays["ae/tags"]).requires_grad_()
        indices = torch.from_numpy(arrays["ae/indices"])
        expected_push, expected_pull, expected_gradient = (
            torch.from_numpy(arrays[f"ae/{push_type}/{name}"])
            for name in ("push", "pull", "grad_at_joints")
        )
    pull, push = tag_loss(tags, *unpack(indices, tags[0, 0].numel()), push_type)
    torch.testing.assert_close(push, expected_push)
    torch.testing.assert_close(pull, expected_pull)
    torch.autograd.backward(push.mean() + pull.mean())
    assert tags.grad is not None
    positions = indices[..., 0].flatten(1).long()
    gradient = tags.grad.flatten(1).gather(1, positions)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.golden
def test_total_loss_equals_the_reference(golden: Path) -> None:
    with np.load(golden / "losses.npz") as arrays:
        total = {k.split("/")[1]: torch.from_numpy(arrays[k]) for k in arrays if "total/" in k}
    keypoints = total["target0"].shape[1]
    heatmaps, tags = total["output0"].split(keypoints, 1)
    pull, push = tag_loss(tags, *unpack(total["indices0"], tags[0, 0].numel()), "exp")
    torch.testing.assert_close(
        heatmap_loss(heatmaps, total["target0"], total["mask0"][:, None]), total["heatmap0"]
    )
    torch.testing.assert_close(
        heatmap_loss(total["output1"], total["target1"], total["mask1"][:, None]), total["heatmap1"]
    )
    torch.testing.assert_close(0.001 * pull, total["pull0"])
    torch.testing.assert_close(0.001 * push, total["push0"])


def swahr_arrays(folder: Path, case: str) -> dict[str, Tensor]:
    with np.load(folder / "swahr_losses.npz") as arrays:
        names = [name for name in arrays if name.startswith(f"{case}/")]
        return {name.split("/")[1]: torch.from_numpy(arrays[name]) for name in names}


@pytest.mark.golden
def test_adaptive_targets_and_weights_equal_the_reference(golden_dekr: Path) -> None:
    arrays = swahr_arrays(golden_dekr, "adaptive")
    predicted, target = arrays["pred"], arrays["target"]
    scale = arrays["scale"] * (target > 0)
    torch.testing.assert_close(adapted_target(target, scale), arrays["adapted_target"])
    torch.testing.assert_close(adaptive_weight(predicted, target), arrays["weight"])


@pytest.mark.golden
def test_adaptive_losses_and_their_gradients_equal_the_reference(golden_dekr: Path) -> None:
    arrays, size = (swahr_arrays(golden_dekr, case) for case in ("adaptive", "size"))
    predicted, scale = (arrays[name].requires_grad_() for name in ("pred", "scale"))
    mask = arrays["mask"][:, None]
    loss, regularizer = adaptive_heatmap_loss(predicted, scale, arrays["target"], mask)
    torch.testing.assert_close(loss, arrays["loss"])
    torch.testing.assert_close(regularizer, size["loss"])
    gradients = torch.autograd.grad(loss.sum(), (predicted, scale), retain_graph=True)
    for gradient, name in zip(gradients, ("grad_pred", "grad_scale"), strict=True):
        assert_near(gradient, arrays[name])
    (gradient,) = torch.autograd.grad(regularizer.sum(), scale)
    assert_near(gradient, size["grad_scale"])


def assert_near(values: Tensor, expected: Tensor) -> None:
    """Compares relative to the largest value, which is not 0."""
    assert expected.any()
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.golden
def test_the_total_loss_of_swahr_and_its_gradient_equal_the_reference(golden_dekr: Path) -> None:
    total = swahr_arrays(golden_dekr, "total")
    keypoints = total["target0"].shape[1]
    loss = torch.zeros(())
    outputs = [total[f"output{i}"].requires_grad_() for i in range(2)]
    for i, output in enumerate(outputs):
        scale, heatmaps = output[:, :keypoints], output[:, keypoints : 2 * keypoints]
        target, mask = total[f"target{i}"], total[f"mask{i}"][:, None]
        error, regularizer = adaptive_heatmap_loss(heatmaps, scale, target, mask)
        torch.testing.assert_close(error, total[f"heatmap{i}"])
        torch.testing.assert_close(regularizer, total[f"scale{i}"])
        loss = loss + (error + regularizer).mean()
        if i == 0:
            tags = output[:, 2 * keypoints :]
            pull, push = tag_loss(tags, *unpack(total["indices0"], tags[0, 0].numel()), "exp")
            torch.testing.assert_close(0.001 * pull, total["pull0"])
            torch.testing.assert_close(0.001 * push, total["push0"])
            loss = loss + 0.001 * (pull + push).mean()
    torch.testing.assert_close(loss, total["loss"])
    for i, gradient in enumerate(torch.autograd.grad(loss, outputs)):
        assert_near(gradient, total[f"grad{i}"])


def naive_tag_loss(
    tags: Tensor, cells: Tensor, visible: Tensor, push_type: PushType
) -> tuple[list[float], list[float]]:
    pulls, pushes = [], []
    for image in range(len(tags)):
        means, pull = [], 0.0
        for person in range(cells.shape[1]):
            values = [
                float(tags[image, k if tags.shape[1] > 1 else 0].flatten()[cells[image, person, k]])
                for k in range(cells.shape[2])
                if visible[image, person, k]
            ]
            if values:
                means.append(sum(values) / len(values))
                pull += sum((tag - means[-1]) ** 2 for tag in values) / len(values)
        similarities = [
            np.exp(-((a - b) ** 2)) if push_type == "exp" else max(0.0, 1 - abs(a - b))
            for i, a in enumerate(means)
            for j, b in enumerate(means)
            if i != j
        ]
        pulls.append(pull / max(len(means), 1))
        pushes.append(0.5 * sum(similarities) / max(len(similarities), 1))
    return pulls, pushes


def random_case(people: int, maps: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tags = torch.randn(4, maps, 6, 7, generator=generator)
    cells = torch.randint(0, 42, (4, people, 5), generator=generator)
    visible = torch.rand(4, people, 5, generator=generator) < 0.4
    visible[0] = False  # an image without people
    if people:
        visible[1, 1:] = False  # an image with one person at most
    return tags, cells, visible


@pytest.mark.parametrize("push_type", PUSH_TYPES)
@pytest.mark.parametrize("people", [0, 1, 2, 40])
@pytest.mark.parametrize("maps", [5, 1])
def test_tag_loss_equals_a_loop_over_people(people: int, maps: int, push_type: PushType) -> None:
    case = random_case(people, maps, seed=people)
    pull, push = tag_loss(*case, push_type)
    naive_pull, naive_push = naive_tag_loss(*case, push_type)
    np.testing.assert_allclose(pull, naive_pull, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(push, naive_push, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("push_type", PUSH_TYPES)
def test_gradients_are_finite_without_people_and_with_equal_tags(push_type: PushType) -> None:
    tags = torch.zeros(2, 3, 4, 4, requires_grad=True)
    visible = torch.tensor([[[True] * 3] * 2, [[False] * 3] * 2])
    pull, push = tag_loss(tags, torch.zeros(2, 2, 3, dtype=torch.long), visible, push_type)
    torch.autograd.backward((pull + push).sum())
    assert tags.grad is not None and tags.grad.isfinite().all()
    assert push.tolist() == [0.5, 0.0]


def test_tag_loss_ignores_a_common_offset_and_the_order_of_people() -> None:
    tags, cells, visible = random_case(6, 5, seed=3)
    plain = tag_loss(tags, cells, visible, "exp")
    shifted = tag_loss(tags + 3, cells, visible, "exp")
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    shuffled = tag_loss(tags, cells[:, order], visible[:, order], "exp")
    for other in (shifted, shuffled):
        torch.testing.assert_close(other, plain, rtol=1e-4, atol=1e-6)


def test_losses_of_bf16_maps_are_computed_in_float32() -> None:
    tags, cells, visible = random_case(3, 5, seed=4)
    half = tags.bfloat16()
    assert all(loss.dtype == torch.float32 for loss in tag_loss(half, cells, visible, "exp"))
    assert heatmap_loss(half, tags, visible.new_ones(4, 1, 6, 7)).dtype == torch.float32
    expected = tag_loss(half.float(), cells, visible, "exp")
    torch.testing.assert_close(tag_loss(half, cells, visible, "exp"), expected)


def test_adaptive_targets_follow_the_scale_maps() -> None:
    """A prediction of g^(1 + s) has no loss except for the error of the Taylor series."""
    g = torch.linspace(0.05, 1, 60).view(1, 1, 6, 10)
    s = torch.full_like(g, 0.1)
    ones = torch.ones(1)
    loss, regularizer = adaptive_heatmap_loss(g ** (1 + s), s, g, ones)
    plain, _ = adaptive_heatmap_loss(g ** (1 + s), torch.zeros_like(s), g, ones)
    assert loss < 1e-3 * plain
    torch.testing.assert_close(regularizer, torch.tensor([0.01]))


def test_adaptive_loss_gives_background_little_weight_and_ignores_its_scale() -> None:
    background = torch.zeros(1, 1, 4, 4)
    predicted = torch.full_like(background, 0.1)
    loss, regularizer = adaptive_heatmap_loss(
        predicted, torch.full_like(background, 9.0), background, torch.ones(1)
    )
    torch.testing.assert_close(loss, torch.tensor([0.1**2 * 0.1]))
    assert regularizer == 0


def test_adaptive_loss_equals_its_formula_in_each_cell() -> None:
    rng = np.random.default_rng(5)
    predicted, s, g = rng.normal(0, 1, (3, 2, 3, 4, 5))
    g = np.clip(g, 0, 1)
    mask = rng.integers(0, 2, (2, 1, 4, 5))
    expected = np.zeros(2)
    for (b, k, y, x), p in np.ndenumerate(predicted):
        target, weight = 0.0, abs(p)
        if g[b, k, y, x] > 0:
            v, log = g[b, k, y, x], np.log(g[b, k, y, x])
            target = v + v * log * s[b, k, y, x] + 0.5 * v * log**2 * s[b, k, y, x] ** 2
            weight = abs(1 - p) * v**0.01 + abs(p) * (1 - v**0.01)
        expected[b] += (p - target) ** 2 * weight * mask[b, 0, y, x] / (3 * 4 * 5)
    tensors = (torch.from_numpy(a).float() for a in (predicted, s, g, mask))
    np.testing.assert_allclose(adaptive_heatmap_loss(*tensors)[0], expected, rtol=1e-4)


def test_gradients_of_the_adaptive_losses_equal_their_derivatives() -> None:
    """The weight and the adapted target are differentiated, too."""
    rng = np.random.default_rng(6)
    p, s = rng.normal(0, 1, (2, 2, 3, 4, 5))
    g = np.clip(rng.normal(0, 1, p.shape), 0, 1)
    mask = rng.integers(0, 2, (2, 1, 4, 5))
    log = np.log(np.where(g > 0, g, 1))
    target = g + g * log * s + 0.5 * g * log**2 * s**2
    near = g**0.01
    weight = np.abs(1 - p) * near + np.abs(p) * (1 - near)
    slope = -np.sign(1 - p) * near + np.sign(p) * (1 - near)
    count = 3 * 4 * 5
    by_prediction = (2 * (p - target) * weight + (p - target) ** 2 * slope) * mask / count
    by_scale = -2 * (p - target) * weight * (g * log + g * log**2 * s) * mask / count
    predicted, scale = (torch.from_numpy(a).float().requires_grad_() for a in (p, s))
    tensors = (torch.from_numpy(a).float() for a in (g, mask))
    loss, regularizer = adaptive_heatmap_loss(predicted, scale, *tensors)
    gradients = torch.autograd.grad(loss.sum(), (predicted, scale), retain_graph=True)
    for gradient, expected in zip(gradients, (by_prediction, by_scale), strict=True):
        np.testing.assert_allclose(gradient, expected, atol=1e-5)
    (gradient,) = torch.autograd.grad(regularizer.sum(), scale)
    np.testing.assert_allclose(gradient, 2 * s * (g > 0) * mask / count, atol=1e-6)
