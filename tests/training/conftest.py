"""What the tests of training share: drawn scenes, and a training small enough for seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from higherhrnet.config import Header, InferenceConfig, InputConfig, ModelConfig
from higherhrnet.recipes import AugmentConfig, DataConfig, OptimConfig, RunConfig, TrainConfig
from higherhrnet.synthetic.scenes import write_scenes

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from higherhrnet.io.images import read_image  # noqa: E402
from higherhrnet.network import checkpoint  # noqa: E402
from higherhrnet.network.higherhrnet import HigherHRNet  # noqa: E402

SIZE = 64
COUNT = 10
"""Drawn scenes; at 4 a batch an epoch has 3 batches, the last one filled up."""
PLAIN = InferenceConfig(flip=False, project=False)
Small = Callable[..., TrainConfig]
"""A training of drawn scenes; values by name, whatever part of the configuration they are in."""


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An annotation file of drawn scenes, some with a crowd whose keypoints are not given."""
    folder = tmp_path_factory.mktemp("scenes")
    return write_scenes(folder, COUNT, height=SIZE, width=SIZE, people=(1, 3), crowd=0.3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The same sums in every process, so that they are equal to the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def settled(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of no knowledge that finds people all the same, and the same after some steps."""
    torch.manual_seed(0)
    network = HigherHRNet(4).train()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean over all that it sees
    reads = InputConfig(SIZE)
    pictures = np.stack([read_image(p) for p in sorted((scenes.parent / "images").iterdir())])
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (reads.mean, reads.std))
    images = (torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad():
        network(images)
        for final, maps in zip(network.final_layers, network.eval()(images), strict=True):
            final.weight /= 4 * maps[:, :17].std()
    path = tmp_path_factory.mktemp("settled") / "settled.safetensors"
    checkpoint.save(path, network, Header(network.config, input=reads, inference=PLAIN))
    return path


def changed(config: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
    """A training with some values changed, each in whatever part it is."""
    left = dict(values)
    for part in (
        "model",
        "input",
        "data",
        "augment",
        "targets",
        "losses",
        "optim",
        "run",
        "inference",
    ):
        old = getattr(config, part)
        names = left.keys() & vars(old).keys()
        config = replace(config, **{part: replace(old, **{name: left.pop(name) for name in names})})
    assert not left, left
    return config


@pytest.fixture
def small(scenes: Path, tmp_path: Path) -> Small:
    """Makes a `TrainConfig` of seconds: 64 pixels, a narrow and shallow network, float32."""
    base = TrainConfig(
        ModelConfig(4, modules=(1, 1, 1), blocks=1, deconv_blocks=1),
        InputConfig(SIZE),
        DataConfig((str(scenes),), workers=0),
        AugmentConfig(),
        optim=OptimConfig(batch_size=4, epochs=1),
        run=RunConfig(tmp_path / "run", device="cpu", precision="f32", preview_images=0),
        inference=PLAIN,
    )
    return lambda **values: changed(base, values)


def flags(config: TrainConfig) -> list[str]:
    """The command line's words for a training that `small` made."""
    model, data, optim, run = config.model, config.data, config.optim, config.run
    return [
        "train", "coco-w32-512", "--train", *data.train, "--workers", str(data.workers),
        *(["--val", data.val] if data.val else []),
        "--model.width", str(model.width), "--model.modules", *map(str, model.modules),
        "--model.blocks", str(model.blocks), "--model.deconv-blocks", str(model.deconv_blocks),
        "--input.size", str(config.input.size), "--batch-size", str(optim.batch_size),
        "--epochs", str(optim.epochs), "--lr", str(optim.lr), "--out", str(run.out),
        "--device", "cpu", "--precision", run.precision, "--preview-images", str(run.preview_images),
        "--inference.no-flip", "--inference.no-project", "--save-minutes", str(run.save_minutes),
        *(["--resume"] if run.resume else []), *(["--init", run.init] if run.init else []),
    ]  # fmt: skip
