"""The losses and training runs of networks that predict offsets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file
from torch import Tensor, nn

from higherhrnet.arrays import DoubleArray
from higherhrnet.config.model import InputConfig, ModelConfig
from higherhrnet.config.offsets import OffsetTargetConfig
from higherhrnet.config.training import LossConfig, RunConfig, TargetConfig, TrainConfig
from higherhrnet.data.dataset import load_dataset
from higherhrnet.data.loader import Batch
from higherhrnet.geometry import Convention
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.images import read_image
from higherhrnet.network.dekr import DEKR
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO
from higherhrnet.synthetic.scenes import write_scenes
from higherhrnet.training.initialize import build_network
from higherhrnet.training.learners import build_learner
from higherhrnet.training.loop import run_training
from higherhrnet.training.offset_learner import OffsetLearner
from higherhrnet.training.parallel import ProcessGroup
from higherhrnet.training.state import TrainState
from tests.conftest import RunMain
from tests.training.conftest import SIZE, small_offset_config
from tests.training.processes import run_in_two_processes

KEYPOINTS, SIDE = 3, SIZE // 4
MODEL = ModelConfig(4, KEYPOINTS, modules=(1, 1, 1), blocks=1, head="offsets")
EXACT = OffsetTargetConfig(
    center_sigma=3.0, radius=3, background=0.2, size="box", overlap="keypoint"
)
CONFIG = TrainConfig(
    MODEL,
    InputConfig(SIZE),
    targets=TargetConfig(sigma=1.5, offsets=EXACT),
    losses=LossConfig((0.7,), offset=0.5),
    run=RunConfig(precision="f32"),
)


def make_learner(config: TrainConfig = CONFIG) -> OffsetLearner:
    """A learner whose network has random weights."""
    torch.manual_seed(1)
    network = DEKR(config.model)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            is_affine = "transform_matrix" in name or "translation" in name
            nn.init.normal_(module.weight, std=0.02 if is_affine else 0.2)
    learner = build_learner(network, config)
    assert isinstance(learner, OffsetLearner)
    return learner


def batch_of(people: int) -> Batch:
    """Three images: nobody in the first, the second is flipped and has an unlabeled keypoint."""
    rng = np.random.default_rng(people)
    points = rng.uniform(-4, SIZE + 4, (3, people, KEYPOINTS + 1, 3)).astype(np.float32)
    points[..., 2] = rng.integers(0, 3, points.shape[:-1])
    points[:, ::3, -1, :2] = SIZE / 2 + rng.uniform(-5, 5, points[:, ::3, -1, :2].shape)
    points[:, :, -1, 2] = rng.random(points.shape[:2]) < 0.9
    points[0, ..., 2] = points[1, :, 1, 2] = 0
    labeled = torch.ones(3, KEYPOINTS + 1, dtype=torch.bool)
    labeled[1, 1] = False
    return Batch(
        ["a.jpg", "b.jpg", "c.jpg"],
        torch.from_numpy(rng.integers(0, 256, (3, 3, SIZE, SIZE), np.uint8)),
        torch.from_numpy(points),
        torch.from_numpy(rng.uniform(4, 200, (3, people))),
        torch.tensor([False, True, False]),
        labeled,
        [torch.from_numpy(rng.random((3, SIDE, SIDE)) < 0.8)],
    )


def naive_losses(
    heatmaps: DoubleArray, offsets: DoubleArray, batch: Batch, convention: Convention
) -> tuple[float, float]:
    """The losses of the paper's formulas, in loops over people, keypoints and cells."""
    first = 0.5 if convention == "unbiased" else 0.0
    heatmap_error, offset_error, count = 0.0, 0.0, 0
    for image in range(3):
        points = batch.keypoints[image].double().numpy().copy()
        points[..., :2] /= 4
        if batch.flipped[image]:
            points[..., 0] = (SIDE if convention == "unbiased" else SIDE - 1) - points[..., 0]
        on_map = (points[..., 2] > 0) & (points[..., :2] >= 0).all(2)
        on_map &= (points[..., :2] < SIDE).all(2)
        grid = np.arange(SIDE) + first
        target = np.zeros((KEYPOINTS + 1, SIDE, SIDE))
        for person, k in np.argwhere(on_map):
            sigma = 3.0 if k == KEYPOINTS else 1.5
            profiles = []
            for exact in points[person, k, :2]:
                low, high = exact - 3 * sigma - 1 - first, exact + 3 * sigma + 2 - first
                window = (grid - first >= np.floor(low)) & (grid - first < np.ceil(high))
                profiles.append(np.exp(-((grid - exact) ** 2) / (2 * sigma**2)) * window)
            target[k] = np.maximum(target[k], np.outer(profiles[1], profiles[0]))
        weight = np.where(target > 0, 1, 0.2) * batch.masks[0][image].numpy()
        weight *= batch.labeled[image].numpy()[:, None, None]
        heatmap_error += ((heatmaps[image] - target) ** 2 * weight).mean() / 3
        owner: dict[tuple[int, int, int], tuple[float, int]] = {}
        for person in range(len(points)):
            x, y, visibility = points[person, -1]
            cell = (np.floor if convention == "unbiased" else np.trunc)([x, y]).astype(int)
            if visibility == 0 or (cell < 0).any() or (cell >= SIDE).any():
                continue
            size = max(float(batch.sizes[image, person]) / 4, 32**0.5)
            for row in range(max(cell[1] - 3, 0), min(cell[1] + 3, SIDE)):
                for column in range(max(cell[0] - 3, 0), min(cell[0] + 3, SIDE)):
                    for k in np.flatnonzero(on_map[person, :-1]):
                        place = int(k), row, column
                        if size <= owner.get(place, (np.inf, 0))[0]:
                            owner[place] = size, person
        for (k, row, column), (size, person) in owner.items():
            for axis, position in enumerate((column, row)):
                goal = position + first - points[person, k, axis]
                d = abs(offsets[image, 2 * k + axis, row, column] - goal)
                offset_error += (4.5 * d**2 if d < 1 / 9 else d - 1 / 18) / size
                count += 1
    return heatmap_error, offset_error / max(count, 1)


@pytest.mark.parametrize("people", [0, 1, 12])
@pytest.mark.parametrize("convention", ["reference", "unbiased"])
def test_losses_equal_the_papers_formulas(convention: Convention, people: int) -> None:
    learner = make_learner(replace(CONFIG, input=InputConfig(SIZE, convention=convention)))
    batch, maps = batch_of(people), list[Tensor]()
    learner.network.register_forward_hook(lambda _, __, output: maps.extend(output))
    learner._maps = learner.network  # calls hooks, which `forward` does not
    losses = learner(batch)
    heatmaps, offsets = (m.detach().double().numpy() for m in maps)
    of_heatmaps, of_offsets = naive_losses(heatmaps, offsets, batch, convention)
    assert losses["heatmap_4"].item() == pytest.approx(0.7 * of_heatmaps, rel=1e-4)
    assert losses["offset_4"].item() == pytest.approx(0.5 * of_offsets, rel=1e-4)
    assert (of_offsets > 0) == (people > 0)


@pytest.mark.parametrize("offsets", [EXACT, OffsetTargetConfig()])
@pytest.mark.parametrize("people", [0, 1, 45])
def test_gradients_are_finite_for_any_number_of_people(
    people: int, offsets: OffsetTargetConfig
) -> None:
    learner = make_learner(replace(CONFIG, targets=TargetConfig(offsets=offsets)))
    batch = batch_of(people)
    if people:
        batch.sizes[:, 0] = 0  # a person without labeled keypoints
        batch.keypoints[:, 0, :-1, 2] = 0
    losses = learner(batch)
    sum(losses.values()).backward()
    assert all(bool(loss.isfinite()) for loss in losses.values())
    for name, parameter in learner.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), name


def entries(config: TrainConfig) -> list[dict[str, Any]]:
    lines = map(json.loads, (config.run.out / "metrics.jsonl").read_text().splitlines())
    return [{k: e[k] for k in e if k != "images_per_second"} for e in lines]


def with_run(config: TrainConfig, epochs: float, **run: Any) -> TrainConfig:  # noqa: ANN401
    """A configuration with another length and other settings of the run, but equal steps."""
    optim = replace(config.optim, epochs=epochs, milestones=())
    return replace(config, optim=optim, run=replace(config.run, **run))


@pytest.mark.slow
def test_a_run_writes_a_model_that_predicts_and_can_be_resumed(
    scenes: Path, tmp_path: Path
) -> None:
    """With paste and averaged weights; the resumed run equals an uninterrupted one."""
    config = small_offset_config(
        scenes, tmp_path / "run", val=str(scenes), ema=0.9, paste=0.5, eval_every=1,
        preview_images=2,
    )  # fmt: skip
    whole = with_run(config, 2, out=tmp_path / "whole")
    assert run_training(whole)
    assert run_training(with_run(config, 1))
    assert run_training(with_run(config, 2, resume=True))
    resumed, expected = entries(config), entries(whole)
    assert resumed == expected
    losses = [e for e in resumed if "loss" in e]
    assert len(losses) == 6 and set(losses[0]) >= {"heatmap_4", "offset_4"}
    last = load_file(config.run.out / "last.safetensors")
    for name, tensor in load_file(whole.run.out / "last.safetensors").items():
        assert torch.equal(last[name], tensor), name
    for name in ("best.safetensors", "curves.png", "previews/epoch-00002.0.jpg"):
        assert (config.run.out / name).is_file(), name
    predictor = Predictor.load(config.run.out / "best.safetensors", engine="torch")
    assert predictor.header.model.head == "offsets"
    image = sorted((scenes.parent / "images").iterdir())[0]
    assert predictor(read_image(image)).keypoints.shape[1:] == (17, 2)


def test_processes_that_train_together_have_equal_weights(scenes: Path, tmp_path: Path) -> None:
    config = small_offset_config(scenes, tmp_path / "run", batch_size=2, sync_bn=False)

    def work(group: ProcessGroup) -> tuple[list[float], dict[str, np.ndarray]]:
        state = TrainState(config, load_dataset(config.data), group)
        batches = state.batches()
        losses = [float(sum(state.train_step(batches)[0].values())) for _ in range(2)]
        return losses, {k: p.detach().numpy() for k, p in state.network.named_parameters()}

    (first_losses, first), (second_losses, second) = run_in_two_processes(work)
    assert first_losses != second_losses and np.isfinite([*first_losses, *second_losses]).all()
    initial = dict(build_network(config, COCO)[0].named_parameters())
    assert any(not np.array_equal(w, initial[k].detach().numpy()) for k, w in first.items())
    for name, weight in first.items():
        np.testing.assert_array_equal(weight, second[name], err_msg=name)


@pytest.mark.slow
def test_networks_learn_custom_skeletons(tmp_path: Path) -> None:
    names = ("nose", "left_wrist", "right_wrist")
    arms = Skeleton("arms", names, (), (0.05,) * 3)
    path = write_scenes(tmp_path / "arms", 4, height=SIZE, width=SIZE, skeleton=arms)
    config = small_offset_config(path, tmp_path / "run", val=str(path))
    assert run_training(config)
    predictor = Predictor.load(tmp_path / "run" / "last.safetensors", engine="torch")
    assert predictor.header.skeleton.names == names
    assert predictor.header.model.num_keypoints == 3


def test_kaiming_initialization_keeps_the_taps_in_the_middle(scenes: Path, tmp_path: Path) -> None:
    config = small_offset_config(scenes, tmp_path, initialization="kaiming")
    network, _ = build_network(config, COCO)
    for name, weight in network.named_parameters():
        if "transform_matrix_conv" in name or "translation_conv" in name:
            assert not weight.any(), name
        elif name.startswith(("offset_final_layer", "head_heatmap.1")) and weight.ndim == 4:
            assert weight.std().item() == pytest.approx(0.01, rel=0.5), name


@pytest.mark.slow
def test_weights_of_another_skeleton_are_loaded_except_for_those_of_keypoints(
    scenes: Path, tmp_path: Path
) -> None:
    config = small_offset_config(scenes, tmp_path / "run")
    assert run_training(config)
    trained = load_file(tmp_path / "run" / "last.safetensors")
    other = replace(config, run=replace(config.run, init=str(tmp_path / "run/last.safetensors")))
    body = Skeleton("body", ("nose", "neck"), (), (0.1, 0.1))
    network, description = build_network(other, body)
    assert "random heads; its skeleton is coco" in description
    for name, weight in network.state_dict().items():
        of_keypoints = name.startswith(("transition_offset", "offset_", "head_heatmap.1"))
        assert of_keypoints or torch.equal(weight, trained[name]), name


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--losses.swahr"], "losses.swahr applies only to networks with --model.head tags"),
        (["--losses.pull", "0.1"], "losses.pull applies only to networks with --model.head tags"),
    ],
)
def test_settings_of_tags_are_rejected(
    flags: list[str], message: str, run_main: RunMain, scenes: Path, tmp_path: Path
) -> None:
    result = run_main(
        "train", "dekr-coco-w32-512", "--train", scenes, "--out", tmp_path / "run", *flags
    )
    assert result.returncode == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.slow
def test_a_small_network_overfits_eight_images(tmp_path: Path) -> None:
    names = ("nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle")
    body = Skeleton("body", names, (), (COCO.sigmas[0], *COCO.sigmas[9:11], *COCO.sigmas[15:]))
    path = write_scenes(
        tmp_path / "scenes", 8, seed=1, height=SIZE, width=SIZE, people=(1, 2), skeleton=body
    )
    config = small_offset_config(
        path, tmp_path / "run", overfit=8, width=8, convention="unbiased",
        translation=0, flip=0, batch_size=8, epochs=200, lr=1e-2, schedule="cosine",
        eval_every=200, initialization="kaiming", offset=0.01,
    )  # fmt: skip
    offsets = replace(config.targets.offsets, size="box")
    assert run_training(replace(config, targets=replace(config.targets, offsets=offsets)))
    (validation,) = [e for e in entries(config) if "AP" in e]
    assert validation["AP"] >= 0.9
