"""Losses against the original's arrays, and against loops over people and keypoints."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from higherhrnet.recipes import PushType  # noqa: E402
from higherhrnet.training.losses import (  # noqa: E402
    adaptive_heatmap_loss,
    heatmap_loss,
    tag_loss,
)

KINDS: list[PushType] = ["exp", "max"]


def places_of(indices: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """The original's packed (B, P, K, 2) flat indices into K maps → places and which are used.

    Its slots are packed to the front, so a slot's map is in the index.
    """
    batch, people, keypoints, _ = indices.shape
    places = torch.zeros(batch, people, keypoints, dtype=torch.long)
    seen = torch.zeros(batch, people, keypoints, dtype=torch.bool)
    for b, p, slot in torch.nonzero(indices[..., 1] > 0).tolist():
        k, place = divmod(int(indices[b, p, slot, 0]), cells)
        places[b, p, k], seen[b, p, k] = place, True
    return places, seen


@pytest.mark.golden
def test_heatmap_loss_is_the_originals(golden: Path) -> None:
    with np.load(golden / "losses.npz") as arrays:
        pred, target, mask, wanted = (
            torch.from_numpy(arrays[f"heatmap/{name}"])
            for name in ("pred", "target", "mask", "loss")
        )
    torch.testing.assert_close(heatmap_loss(pred, target, mask[:, None]), wanted)


@pytest.mark.golden
@pytest.mark.parametrize("kind", KINDS)
def test_tag_loss_and_its_gradient_are_the_originals(golden: Path, kind: PushType) -> None:
    with np.load(golden / "losses.npz") as arrays:
        tags = torch.from_numpy(arrays["ae/tags"]).requires_grad_()
        indices = torch.from_numpy(arrays["ae/indices"])
        push_wanted, pull_wanted, gradient_wanted = (
            torch.from_numpy(arrays[f"ae/{kind}/{name}"])
            for name in ("push", "pull", "grad_at_joints")
        )
    pull, push = tag_loss(tags, *places_of(indices, tags[0, 0].numel()), kind)
    torch.testing.assert_close(push, push_wanted)
    torch.testing.assert_close(pull, pull_wanted)
    torch.autograd.backward(push.mean() + pull.mean())
    assert tags.grad is not None
    at = indices[..., 0].flatten(1).long()
    torch.testing.assert_close(tags.grad.flatten(1).gather(1, at), gradient_wanted)


@pytest.mark.golden
def test_total_loss_is_the_originals(golden: Path) -> None:
    with np.load(golden / "losses.npz") as arrays:
        total = {k.split("/")[1]: torch.from_numpy(arrays[k]) for k in arrays if "total/" in k}
    keypoints = total["target0"].shape[1]
    heatmaps, tags = total["output0"].split(keypoints, 1)
    pull, push = tag_loss(tags, *places_of(total["indices0"], tags[0, 0].numel()), "exp")
    torch.testing.assert_close(
        heatmap_loss(heatmaps, total["target0"], total["mask0"][:, None]), total["heatmap0"]
    )
    torch.testing.assert_close(
        heatmap_loss(total["output1"], total["target1"], total["mask1"][:, None]), total["heatmap1"]
    )
    torch.testing.assert_close(0.001 * pull, total["pull0"])
    torch.testing.assert_close(0.001 * push, total["push0"])


def naive_tag_loss(
    tags: Tensor, places: Tensor, seen: Tensor, kind: PushType
) -> tuple[list[float], list[float]]:
    pulls, pushes = [], []
    for image in range(len(tags)):
        means, pull = [], 0.0
        for person in range(places.shape[1]):
            read = [
                float(
                    tags[image, k if tags.shape[1] > 1 else 0].flatten()[places[image, person, k]]
                )
                for k in range(places.shape[2])
                if seen[image, person, k]
            ]
            if read:
                means.append(sum(read) / len(read))
                pull += sum((tag - means[-1]) ** 2 for tag in read) / len(read)
        near = [
            np.exp(-((a - b) ** 2)) if kind == "exp" else max(0.0, 1 - abs(a - b))
            for i, a in enumerate(means)
            for j, b in enumerate(means)
            if i != j
        ]
        pulls.append(pull / max(len(means), 1))
        pushes.append(0.5 * sum(near) / max(len(near), 1))
    return pulls, pushes


def random_case(people: int, maps: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tags = torch.randn(4, maps, 6, 7, generator=generator)
    places = torch.randint(0, 42, (4, people, 5), generator=generator)
    seen = torch.rand(4, people, 5, generator=generator) < 0.4
    seen[0] = False  # an image without people
    if people:
        seen[1, 1:] = False  # with one at most
    return tags, places, seen


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("people", [0, 1, 2, 40])
@pytest.mark.parametrize("maps", [5, 1])
def test_tag_loss_is_a_loop_over_people(people: int, maps: int, kind: PushType) -> None:
    case = random_case(people, maps, seed=people)
    pull, push = tag_loss(*case, kind)
    naive_pull, naive_push = naive_tag_loss(*case, kind)
    np.testing.assert_allclose(pull, naive_pull, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(push, naive_push, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_without_people_and_with_equal_tags(kind: PushType) -> None:
    tags = torch.zeros(2, 3, 4, 4, requires_grad=True)
    seen = torch.tensor([[[True] * 3] * 2, [[False] * 3] * 2])
    pull, push = tag_loss(tags, torch.zeros(2, 2, 3, dtype=torch.long), seen, kind)
    torch.autograd.backward((pull + push).sum())
    assert tags.grad is not None and tags.grad.isfinite().all()
    assert push.tolist() == [0.5, 0.0]


def test_tags_may_all_move_together_and_people_change_places() -> None:
    tags, places, seen = random_case(6, 5, seed=3)
    plain = tag_loss(tags, places, seen, "exp")
    moved = tag_loss(tags + 3, places, seen, "exp")
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    shuffled = tag_loss(tags, places[:, order], seen[:, order], "exp")
    for other in (moved, shuffled):
        torch.testing.assert_close(other, plain, rtol=1e-4, atol=1e-6)


def test_losses_of_bf16_outputs_are_float32() -> None:
    tags, places, seen = random_case(3, 5, seed=4)
    half = tags.bfloat16()
    assert all(loss.dtype == torch.float32 for loss in tag_loss(half, places, seen, "exp"))
    assert heatmap_loss(half, tags, seen.new_ones(4, 1, 6, 7)).dtype == torch.float32
    exact = tag_loss(half.float(), places, seen, "exp")
    torch.testing.assert_close(tag_loss(half, places, seen, "exp"), exact)


def test_adaptive_targets_follow_the_scale_maps() -> None:
    """With the power of g that s asks for, the loss vanishes but for the Taylor series' rest."""
    g = torch.linspace(0.05, 1, 60).view(1, 1, 6, 10)
    s = torch.full_like(g, 0.1)
    ones = torch.ones(1)
    loss, size = adaptive_heatmap_loss(g ** (1 + s), s, g, ones)
    plain, _ = adaptive_heatmap_loss(g ** (1 + s), torch.zeros_like(s), g, ones)
    assert loss < 1e-3 * plain
    torch.testing.assert_close(size, torch.tensor([0.01]))


def test_adaptive_loss_weighs_easy_background_little_and_ignores_its_scale() -> None:
    background = torch.zeros(1, 1, 4, 4)
    predicted = torch.full_like(background, 0.1)
    loss, size = adaptive_heatmap_loss(
        predicted, torch.full_like(background, 9.0), background, torch.ones(1)
    )
    torch.testing.assert_close(loss, torch.tensor([0.1**2 * 0.1]))
    assert size == 0


def test_adaptive_loss_is_the_formula_cell_by_cell() -> None:
    rng = np.random.default_rng(5)
    predicted, s, g = rng.normal(0, 1, (3, 2, 3, 4, 5))
    g = np.clip(g, 0, 1)
    counts = rng.integers(0, 2, (2, 1, 4, 5))
    wanted = np.zeros(2)
    for (b, k, y, x), p in np.ndenumerate(predicted):
        target, weight = 0.0, abs(p)
        if g[b, k, y, x] > 0:
            v, log = g[b, k, y, x], np.log(g[b, k, y, x])
            target = v + v * log * s[b, k, y, x] + 0.5 * v * log**2 * s[b, k, y, x] ** 2
            weight = abs(1 - p) * v**0.01 + abs(p) * (1 - v**0.01)
        wanted[b] += (p - target) ** 2 * weight * counts[b, 0, y, x] / (3 * 4 * 5)
    tensors = (torch.from_numpy(a).float() for a in (predicted, s, g, counts))
    np.testing.assert_allclose(adaptive_heatmap_loss(*tensors)[0], wanted, rtol=1e-4)
