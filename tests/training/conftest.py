"""Fixtures for the tests of training: synthetic scenes, and trainings that take seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from higherhrnet.config.data import AugmentConfig, DataConfig
from higherhrnet.config.header import Header
from higherhrnet.config.inference import InferenceConfig
from higherhrnet.config.model import InputConfig, ModelConfig
from higherhrnet.config.offsets import OffsetTargetConfig
from higherhrnet.config.training import (
    LossConfig,
    OptimConfig,
    RunConfig,
    TargetConfig,
    TrainConfig,
)
from higherhrnet.synthetic.scenes import write_scenes

torch = pytest.importorskip("torch")

from torch import nn

from higherhrnet.io.images import read_image
from higherhrnet.network import checkpoint
from higherhrnet.network.higherhrnet import HigherHRNet

SIZE = 64
"""Side of the scenes and of the network's input in pixels."""
NUM_SCENES = 10
"""With the batch size 4, an epoch has 3 batches, of which the last one is filled up."""
MODEL = ModelConfig(4, modules=(1, 1, 1), blocks=1, deconv_blocks=1)
"""The smallest architecture that has all parts."""
INFERENCE = InferenceConfig(flip=False, project=False)
MakeConfig = Callable[..., TrainConfig]
"""Makes a training configuration from settings by name, of any part of the configuration."""


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An annotation file of synthetic scenes, some with a crowd without keypoints."""
    folder = tmp_path_factory.mktemp("scenes")
    return write_scenes(folder, NUM_SCENES, height=SIZE, width=SIZE, people=(1, 3), crowd=0.3)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread, so that sums are added in the same order and results are equal to the bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="module")
def single_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="session")
def untrained_model(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights that predict people in the scenes, with suitable batch-norm statistics."""
    torch.manual_seed(0)
    network = HigherHRNet.from_config(MODEL).train()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches
    input_config = InputConfig(SIZE)
    pixels = np.stack([read_image(p) for p in sorted((scenes.parent / "images").iterdir())])
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in (input_config.mean, input_config.std)
    )
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad(), one_thread():
        network(images)
        for final, maps in zip(network.final_layers, network.eval()(images), strict=True):
            final.weight /= 4 * maps[:, :17].std()
    path = tmp_path_factory.mktemp("untrained") / "untrained.safetensors"
    checkpoint.save(path, network, Header(network.config, input=input_config, inference=INFERENCE))
    return path


def with_settings(config: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """The configuration with some settings changed, each in the part that has it."""
    remaining = dict(settings)
    for part, before in vars(config).items():
        names = remaining.keys() & vars(before).keys()
        after = replace(before, **{name: remaining.pop(name) for name in names})
        config = replace(config, **{part: after})
    assert not remaining, remaining
    return config


def small_config(scenes: Path, out: Path, **settings: Any) -> TrainConfig:  # noqa: ANN401
    """A training of seconds: 64 pixels, a small network, float32; with some settings changed."""
    config = TrainConfig(
        MODEL,
        InputConfig(SIZE),
        DataConfig((str(scenes),), workers=0),
        AugmentConfig(),
        optim=OptimConfig(batch_size=4, epochs=1),
        run=RunConfig(out, device="cpu", precision="f32", preview_images=0),
        inference=INFERENCE,
    )
    return with_settings(config, settings)


@pytest.fixture
def make_config(scenes: Path, tmp_path: Path) -> MakeConfig:
    """Makes configurations for a training of seconds in the test's own folder."""
    return lambda **settings: small_config(scenes, tmp_path / "run", **settings)


def small_offset_config(scenes: Path, out: Path, **settings: Any) -> TrainConfig:  # noqa: ANN401
    """As `small_config`, for a network that predicts offsets."""
    config = TrainConfig(
        ModelConfig(4, modules=(1, 1, 1), blocks=1, head="offsets"),
        InputConfig(SIZE),
        DataConfig((str(scenes),), workers=0),
        targets=TargetConfig(offsets=OffsetTargetConfig(min_area=0)),
        losses=LossConfig(heatmap=(1.0,)),
        optim=OptimConfig(batch_size=4, epochs=1),
        run=RunConfig(out, device="cpu", precision="f32", preview_images=0),
        inference=InferenceConfig(flip=False),
    )
    return with_settings(config, settings)


def command_line(config: TrainConfig) -> list[str]:
    """The command-line arguments for a configuration that `make_config` made."""
    model, data, optim, run = config.model, config.data, config.optim, config.run
    return [
        "train", "coco-w32-512", "--train", *data.train, "--workers", str(data.workers),
        *(["--val", data.val] if data.val else []),
        "--model.width", str(model.width), "--model.modules", *map(str, model.modules),
        "--model.blocks", str(model.blocks), "--model.deconv-blocks", str(model.deconv_blocks),
        "--input.size", str(config.input.size), "--batch-size", str(optim.batch_size),
        "--epochs", str(optim.epochs), "--lr", str(optim.lr), "--out", str(run.out),
        "--device", "cpu", "--precision", run.precision,
        "--preview-images", str(run.preview_images), "--inference.no-flip",
        "--inference.no-project", "--save-minutes", str(run.save_minutes),
        *(["--resume"] if run.resume else []), *(["--init", run.init] if run.init else []),
    ]  # fmt: skip


def curve_pixels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) row and column of the colored pixels in each half of a plot; all else is gray."""
    with Pillow.open(path) as image:
        colors = np.asarray(image.convert("RGB")).astype(int)
    left, right = np.split(np.ptp(colors, axis=2) > 60, [colors.shape[1] // 2], axis=1)
    return np.argwhere(left), np.argwhere(right)
