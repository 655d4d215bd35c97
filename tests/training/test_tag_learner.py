"""The losses of a batch against the papers' formulas, in loops over the predicted maps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from higherhrnet.arrays import DoubleArray
from higherhrnet.config.header import Header
from higherhrnet.config.model import InputConfig, ModelConfig
from higherhrnet.config.training import LossConfig, OptimConfig, RunConfig, TrainConfig
from higherhrnet.data.loader import Batch
from higherhrnet.errors import InputError
from higherhrnet.geometry import Convention
from higherhrnet.network import checkpoint
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.training.tag_learner import TagLearner

SIZE, KEYPOINTS, SIGMA = 64, 5, 2.0
MODEL = ModelConfig(4, KEYPOINTS, modules=(1, 1, 1), blocks=1, deconv_blocks=1)
CONFIG = TrainConfig(MODEL, InputConfig(SIZE), run=RunConfig(precision="f32"))


class Recorder:
    """A `TagLearner` with random weights, and the outputs of its heads."""

    def __init__(self, config: TrainConfig) -> None:
        torch.manual_seed(1)
        model = replace(config.model, scale_maps=config.losses.swahr)
        network = HigherHRNet.from_config(model)
        for name, module in network.named_modules():
            if name.startswith("conv_scale_layers."):
                continue
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight)
                if name.startswith("final_layers."):
                    nn.init.normal_(module.weight, std=0.1)
        self.module = TagLearner(network, config)
        for parameter in network.conv_scale_layers.parameters():
            nn.init.normal_(parameter, std=0.1)
        self.maps = self.record(network.final_layers)
        self.scales = self.record(network.conv_scale_layers)

    @staticmethod
    def record(layers: nn.ModuleList) -> list[Tensor]:
        outputs: list[Tensor] = []

        for layer in layers:
            layer.register_forward_hook(lambda _, __, output: outputs.append(output))
        return outputs


def batch_of(people: int, config: TrainConfig = CONFIG, seed: int = 0) -> Batch:
    """Four images: nobody in the first, one person in the second, all people in the others.

    The third is flipped, and its last keypoint is not labeled.
    """
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(-6, SIZE + 6, (4, people, KEYPOINTS, 3)).astype(np.float32)
    keypoints[..., 2] = rng.integers(0, 3, (4, people, KEYPOINTS))
    keypoints[0, ..., 2] = keypoints[1, 1:, :, 2] = 0
    keypoints[2, ..., 4, 2] = 0
    labeled = torch.ones(4, KEYPOINTS, dtype=torch.bool)
    labeled[2, 4] = False
    sides = [SIZE // 4 << level for level in range(1 + len(config.model.deconv_kernels))]
    return Batch(
        [f"{i}.jpg" for i in range(4)],
        torch.from_numpy(rng.integers(0, 256, (4, 3, SIZE, SIZE), np.uint8)),
        torch.from_numpy(keypoints),
        torch.from_numpy(rng.uniform(10, 60, (4, people)).astype(np.float32)),
        torch.tensor([False, False, True, False]),
        labeled,
        [torch.from_numpy(rng.random((4, side, side)) < 0.8) for side in sides],
    )


def cells_on(
    batch: Batch, image: int, side: int, convention: Convention
) -> list[list[DoubleArray]]:
    """Of each person, index, x and y of the keypoints that are visible on the map."""
    people = []
    for person in batch.keypoints[image].double().numpy():
        visible = []
        for k, (x, y, visibility) in enumerate(person):
            x, y = x * side / SIZE, y * side / SIZE
            if batch.flipped[image]:
                x = side - x if convention == "unbiased" else side - 1 - x
            inside = (0 <= x < side and 0 <= y < side) if convention == "unbiased" else (
                -1 < x < side and -1 < y < side
            )  # fmt: skip
            if visibility > 0 and inside:
                visible.append(np.array([k, x, y]))
        people.append(visible)
    return people


def naive_target(people: list[list[DoubleArray]], side: int, convention: Convention) -> DoubleArray:
    target = np.zeros((KEYPOINTS, side, side))
    grid = np.arange(side)
    for person in people:
        for k, x, y in person:
            values = []
            for exact in (x, y):
                center = exact - 0.5 if convention == "unbiased" else float(int(exact))
                first, end = round(center - 3 * SIGMA - 1), round(center + 3 * SIGMA + 2)
                value = np.exp(-((grid - center) ** 2) / (2 * SIGMA**2))
                values.append(value * (first <= grid) * (grid < end))
            target[int(k)] = np.maximum(target[int(k)], np.outer(values[1], values[0]))
    return target


def naive_tags(
    people: list[list[DoubleArray]], tags: DoubleArray, push_type: str
) -> tuple[float, float]:
    means, pull = [], 0.0
    for person in people:
        values = [tags[int(k) if len(tags) > 1 else 0, int(y), int(x)] for k, x, y in person]
        if values:
            means.append(sum(values) / len(values))
            pull += sum((tag - means[-1]) ** 2 for tag in values) / len(values)
    push = 0.0
    for i, one in enumerate(means):
        for j, other in enumerate(means):
            if i != j:
                d = abs(one - other)
                similarity = np.exp(-(d**2)) if push_type == "exp" else max(1 - d, 0.0)
                push += 0.5 * similarity / (len(means) * (len(means) - 1))
    return pull / max(len(means), 1), push


def naive_adaptive(
    p: DoubleArray, s: DoubleArray, g: DoubleArray
) -> tuple[DoubleArray, DoubleArray]:
    """SWAHR's errors of heatmaps and scale maps in each cell."""
    log = np.log(np.where(g > 0, g, 1))
    s = np.where(g > 0, s, 0)
    adapted = g + g * log * s + 0.5 * g * log**2 * s**2
    weight = np.abs(1 - p) * g**0.01 + np.abs(p) * (1 - g**0.01)
    return (p - adapted) ** 2 * weight, s**2


def naive_losses(recorder: Recorder, batch: Batch, config: TrainConfig) -> dict[str, float]:
    convention, weights = config.input.convention, config.losses
    losses: dict[str, float] = {}

    def add(name: str, value: float) -> None:
        losses[name] = losses.get(name, 0.0) + value / len(batch.names)  # the mean over the images

    for level, maps in enumerate(recorder.maps):
        side, stride = maps.shape[3], 4 >> level
        for image in range(len(batch.names)):
            people = cells_on(batch, image, side, convention)
            values = maps[image].detach().double().numpy()
            heatmaps, tags = values[:KEYPOINTS], values[KEYPOINTS:]
            target = naive_target(people, side, convention)
            mask = batch.masks[level][image].numpy() * batch.labeled[image].numpy()[:, None, None]
            error = (heatmaps - target) ** 2
            if recorder.scales:
                scale = recorder.scales[level][image].detach().double().numpy()
                error, regularizer = naive_adaptive(heatmaps, scale, target)
                add(f"scale_{stride}", weights.scale * (regularizer * mask).mean())
            add(f"heatmap_{stride}", weights.heatmap[level] * (error * mask).mean())
            if level == 0:
                pull, push = naive_tags(people, tags, weights.push_type)
                add("pull", weights.pull * pull)
                add("push", weights.push * push)
    return losses


@pytest.mark.parametrize("convention", ["reference", "unbiased"])
@pytest.mark.parametrize(
    ("model", "losses"),
    [
        (MODEL, LossConfig()),
        (MODEL, LossConfig((0.5, 2.0), pull=0.3, push=0.7, push_type="max")),
        (MODEL, LossConfig(swahr=True)),
        (MODEL, LossConfig((0.5, 2.0), swahr=True, scale=0.3)),
        (replace(MODEL, tag_per_keypoint=False), LossConfig(push=1.0)),
        (replace(MODEL, deconv_kernels=(4, 4)), LossConfig((1.0, 1.0, 1.0))),
    ],
    ids=["paper", "max", "swahr", "swahr, weighted", "shared tags", "three resolutions"],
)
def test_losses_equal_the_papers_formulas(
    model: ModelConfig, losses: LossConfig, convention: Convention
) -> None:
    config = replace(
        CONFIG, model=model, losses=losses, input=InputConfig(SIZE, convention=convention)
    )
    recorder, batch = Recorder(config), batch_of(4, config)
    computed = {name: loss.item() for name, loss in recorder.module(batch).items()}
    expected = naive_losses(recorder, batch, config)
    assert computed == pytest.approx(expected, rel=1e-4)
    assert min(expected.values()) > 0


def test_masked_cells_and_unlabeled_keypoints_have_no_gradient() -> None:
    recorder, batch = Recorder(CONFIG), batch_of(4)
    losses = recorder.module(batch)
    coarse = losses["heatmap_4"] + losses["pull"] + losses["push"]
    for level, loss in enumerate((coarse, losses["heatmap_2"])):
        maps = recorder.maps[level]
        (gradient,) = torch.autograd.grad(loss, maps, retain_graph=True)
        heatmaps, tags = gradient[:, :KEYPOINTS], gradient[:, KEYPOINTS:]
        masked = ~batch.masks[level][:, None].expand_as(heatmaps)
        assert masked.any() and not heatmaps[masked].any()
        assert not heatmaps[2, 4].any() and heatmaps[2, 3].any()
        assert heatmaps[0].any()  # background is a target too
        for image, gradients in enumerate(tags if level == 0 else ()):
            visible = torch.zeros_like(gradients, dtype=torch.bool)
            for person in cells_on(batch, image, maps.shape[3], "reference"):
                for k, x, y in person:
                    visible[int(k), int(y), int(x)] = True
            assert not gradients[~visible].any()
            assert image < 2 or gradients[visible].any()
        assert level or not tags[2, 4].any()


def test_losses_in_bf16_are_float32_and_near_those_of_a_float32_network() -> None:
    config = replace(CONFIG, run=RunConfig(precision="bf16"))
    batch = batch_of(4)
    expected, losses = Recorder(CONFIG).module(batch), Recorder(config).module(batch)
    assert losses.keys() == expected.keys()
    for name, loss in losses.items():
        assert loss.dtype == torch.float32 and loss.isfinite()
        assert loss.item() == pytest.approx(expected[name].item(), rel=0.05), name


def test_with_bf16_maps_are_bf16_and_gradients_float32() -> None:
    recorder = Recorder(replace(CONFIG, run=RunConfig(precision="bf16")))
    sum(recorder.module(batch_of(4)).values()).backward()
    assert all(maps.dtype == torch.bfloat16 for maps in recorder.maps)
    gradients = [parameter.grad for parameter in recorder.module.parameters()]
    assert all(g is not None and g.dtype == torch.float32 for g in gradients)
    assert all(bool(g.isfinite().all()) for g in gradients if g is not None)


@pytest.mark.parametrize("people", [0, 1, 45])
@pytest.mark.parametrize("swahr", [False, True])
def test_losses_are_finite_for_any_number_of_people(people: int, swahr: bool) -> None:
    recorder = Recorder(replace(CONFIG, losses=LossConfig(swahr=swahr)))
    batch = batch_of(people)
    losses = recorder.module(batch)
    sum(losses.values()).backward()
    assert all(bool(loss.isfinite()) for loss in losses.values())
    parameters = dict(recorder.module.named_parameters())
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in parameters.values())
    assert bool(losses["push"] > 0) == (people > 1)
    assert bool(losses["pull"] > 0) == (people > 0)


def test_frozen_modules_do_not_change() -> None:
    frozen = ("conv1", "bn1", "stage2")
    module = Recorder(replace(CONFIG, optim=OptimConfig(freeze=frozen, lr=0.1))).module.train()
    before = {name: value.clone() for name, value in module.network.state_dict().items()}
    sum(module(batch_of(4)).values()).backward()
    torch.optim.Adam(module.parameters(), lr=0.1).step()
    for name, value in module.network.state_dict().items():
        is_frozen = name.split(".")[0] in frozen
        assert torch.equal(value, before[name]) == is_frozen, name


def test_slow_modules_have_a_tenth_of_the_learning_rate() -> None:
    optim = OptimConfig(slow=("stage3",), freeze=("conv1",))
    module = Recorder(replace(CONFIG, optim=optim)).module
    groups = module.parameter_groups()
    factors = {p: group["lr_factor"] for group in groups for p in group["params"]}
    for name, parameter in module.network.named_parameters():
        expected = {"stage3": 0.1, "conv1": None}.get(name.split(".")[0], 1.0)
        assert factors.get(parameter) == expected, name


def test_an_unknown_module_to_freeze_is_rejected() -> None:
    with pytest.raises(InputError, match=r"--freeze: .*unknown.*available modules: .*stage2"):
        Recorder(replace(CONFIG, optim=OptimConfig(freeze=("unknown",))))


def test_scale_maps_have_a_loss_only_where_the_heatmaps_have_one() -> None:
    losses = LossConfig((0.0, 1.0), swahr=True)
    values = Recorder(replace(CONFIG, losses=losses)).module(batch_of(4))
    assert values["scale_4"] == values["heatmap_4"] == 0
    assert values["scale_2"] > 0 and values["heatmap_2"] > 0


def test_the_scale_heads_of_swahr_are_trained_and_saved(tmp_path: Path) -> None:
    recorder = Recorder(replace(CONFIG, losses=LossConfig(swahr=True)))
    sum(recorder.module(batch_of(4)).values()).backward()
    network = recorder.module.network
    assert len(network.conv_scale_layers) == 2
    for head in network.conv_scale_layers:
        assert any(p.grad is not None and bool(p.grad.any()) for p in head.parameters())
    body = Skeleton("body", tuple("abcde"), (), (0.1,) * KEYPOINTS)
    checkpoint.save(tmp_path / "a.safetensors", network, Header(network.config, body))
    loaded, header = checkpoint.load(tmp_path / "a.safetensors")
    assert header.model.scale_maps
    state = loaded.state_dict()
    assert len([name for name in state if name.startswith("conv_scale_layers.")]) == 18
    for name, tensor in network.state_dict().items():
        assert torch.equal(state[name], tensor), name
