"""The losses of networks that predict tags and offsets are those of both parts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from higherhrnet.config.model import InputConfig, ModelConfig
from higherhrnet.config.offsets import OffsetTargetConfig
from higherhrnet.config.training import LossConfig, RunConfig, TargetConfig, TrainConfig
from higherhrnet.data.loader import Batch
from higherhrnet.inference.predictor import Predictor
from higherhrnet.network.build import build_network
from higherhrnet.poses.poses import Poses
from higherhrnet.synthetic.scenes import draw_scene
from higherhrnet.training.learners import build_learner
from higherhrnet.training.loop import run_training
from higherhrnet.training.offset_losses import offset_loss, weighted_heatmap_loss
from higherhrnet.training.offset_targets import make_offset_targets
from higherhrnet.training.tag_and_offset_learner import TagAndOffsetLearner
from higherhrnet.training.tag_learner import TagLearner
from tests.training.conftest import small_config

SIZE, KEYPOINTS = 64, 3
EXACT = OffsetTargetConfig(center_sigma=2.0, size="box", overlap="keypoint")
CONFIG = TrainConfig(
    ModelConfig(
        4, KEYPOINTS, modules=(1, 1, 1), blocks=1, deconv_blocks=1, head="tags-and-offsets"
    ),
    InputConfig(SIZE),
    targets=TargetConfig(offsets=EXACT),
    losses=LossConfig((0.7, 0.3), pull=0.1, push=0.2, offset=0.5),
    run=RunConfig(precision="f32"),
)


def make_learner() -> TagAndOffsetLearner:
    torch.manual_seed(0)
    learner = build_learner(build_network(CONFIG.model), CONFIG)
    assert isinstance(learner, TagAndOffsetLearner)
    return learner


def make_batch() -> Batch:
    """Two images with two people each; the last keypoint is the center."""
    rng = np.random.default_rng(0)
    points = rng.uniform(4, SIZE - 4, (2, 2, KEYPOINTS + 1, 3)).astype(np.float32)
    points[..., 2] = 2
    return Batch(
        ["a.jpg", "b.jpg"],
        torch.from_numpy(rng.integers(0, 256, (2, 3, SIZE, SIZE), np.uint8)),
        torch.from_numpy(points),
        torch.full((2, 2), 30.0, dtype=torch.float64),
        torch.tensor([False, True]),
        torch.ones(2, KEYPOINTS + 1, dtype=torch.bool),
        [torch.ones(2, SIZE // stride, SIZE // stride, dtype=torch.bool) for stride in (4, 2)],
        30.0,
    )


def test_the_losses_are_those_of_tags_and_of_offsets() -> None:
    learner, batch = make_learner().eval(), make_batch()
    losses = learner(batch)
    assert set(losses) == {"heatmap_4", "heatmap_2", "pull", "push", "center_4", "offset_4"}
    with torch.no_grad():
        *tag_maps, maps = learner.network(learner.normalize(batch.images))
    targets = make_offset_targets(
        replace(batch, masks=batch.masks[:1]), CONFIG.targets, CONFIG.input.convention
    )
    heatmaps = torch.cat([targets.heatmaps[:, :-1], maps[:, :1]], 1)  # exact but for the centers
    centers = weighted_heatmap_loss(heatmaps, targets.heatmaps, targets.heatmap_weights)
    expected = 0.7 * centers * (KEYPOINTS + 1)  # the mean over one map instead of all
    torch.testing.assert_close(losses["center_4"], expected)
    offsets = offset_loss(maps[:, 1:], targets.offsets, targets.offset_weights)
    torch.testing.assert_close(losses["offset_4"], 0.5 * offsets)
    tags = replace(
        CONFIG,
        model=replace(CONFIG.model, head="tags"),
        targets=TargetConfig(),
        losses=replace(CONFIG.losses, offset=LossConfig.offset),
    )
    tag_network = build_network(tags.model)
    state = learner.network.state_dict()
    tag_network.load_state_dict({name: state[name] for name in tag_network.state_dict()})
    without = replace(batch, keypoints=batch.keypoints[:, :, :-1], labeled=batch.labeled[:, :-1])
    for name, value in TagLearner(tag_network, tags).eval()(without).items():  # type: ignore[arg-type]
        torch.testing.assert_close(losses[name], value)
    assert len(tag_maps) == 2


@pytest.mark.slow
def test_centers_and_offsets_are_learned() -> None:
    learner, batch = make_learner().train(), make_batch()
    optimizer = torch.optim.Adam(learner.parameters(), 3e-3)
    history = []
    for _ in range(60):
        losses = learner(batch)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        history.append({name: loss.item() for name, loss in losses.items()})
    for name in ("center_4", "offset_4", "heatmap_2"):
        assert history[-1][name] < 0.8 * history[0][name], name


def test_a_run_trains_and_saves_a_network_that_predicts_centers(
    scenes: Path, tmp_path: Path
) -> None:
    config = small_config(scenes, tmp_path / "run", head="tags-and-offsets")
    targets = TargetConfig(offsets=OffsetTargetConfig(min_area=0))
    config = replace(config, targets=targets)
    assert run_training(config)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["offset_4"] for line in lines if '"loss"' in line]
    assert len(losses) == 3 and all(loss > 0 for loss in losses)
    predictor = Predictor.load(tmp_path / "run" / "last.safetensors", engine="torch")
    assert predictor.header.model.head == "tags-and-offsets"
    assert isinstance(predictor(draw_scene(0, height=64, width=64).image), Poses)
