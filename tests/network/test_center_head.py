"""The head for centers and offsets against its formula, and the features that it reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from higherhrnet.arrays import DoubleArray
from higherhrnet.config.model import ModelConfig, StemName
from higherhrnet.network.center_head import CenterHead
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.network.hrnet import HRNet

CHANNELS = (3, 5, 2, 4)
HEIGHT, WIDTH = 16, 24


def enlarged(x: DoubleArray, factor: int) -> DoubleArray:
    """Enlarges (C, h, w) features by linear interpolation along each side, borders repeated."""
    for axis in (1, 2):
        size = x.shape[axis]
        position = (np.arange(size * factor) + 0.5) / factor - 0.5
        below = np.floor(position).astype(int)
        fraction = (position - below).reshape([-1 if i == axis else 1 for i in range(3)])
        first, second = (x.take(np.clip(below + i, 0, size - 1), axis) for i in (0, 1))
        x = (1 - fraction) * first + fraction * second
    return x


def branch(weights: dict[str, DoubleArray], features: list[DoubleArray]) -> DoubleArray:
    """Computes the maps of a branch from the features of one image, finest first."""
    padded = np.pad(features[0], ((0, 0), (1, 1), (1, 1)))
    depthwise = np.zeros_like(features[0])
    for row, column in np.ndindex(3, 3):
        taps = weights["depthwise.weight"][:, 0, row, column, None, None]
        depthwise += taps * padded[:, row : row + HEIGHT, column : column + WIDTH]
    total = weights["project.0.bias"][:, None, None]
    for index, x in enumerate([depthwise, *features[1:]]):
        total = total + np.tensordot(
            weights[f"project.{index}.weight"][:, :, 0, 0], enlarged(x, 2**index), 1
        )
    maps = np.tensordot(weights["predict.weight"][:, :, 0, 0], np.maximum(total, 0), 1)
    return np.asarray(maps + weights["predict.bias"][:, None, None])


def test_centers_read_the_finest_features_and_offsets_those_of_all_strides() -> None:
    torch.manual_seed(0)
    head = CenterHead(CHANNELS, 2)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
        features = [
            torch.randn(2, channels, HEIGHT // 2**index, WIDTH // 2**index)
            for index, channels in enumerate(CHANNELS)
        ]
        maps = head(features).numpy()
    assert maps.shape == (2, 5, HEIGHT, WIDTH)
    state = {name: tensor.double().numpy() for name, tensor in head.state_dict().items()}
    centers, offsets = (
        {n.removeprefix(f"{part}."): w for n, w in state.items() if n.startswith(part)}
        for part in ("centers", "offsets")
    )
    for image in range(2):
        arrays = [x[image].double().numpy() for x in features]
        expected = 1 / (1 + np.exp(-branch(centers, arrays[:1])))
        np.testing.assert_allclose(maps[image, :1], expected, atol=1e-4)
        expected = branch(offsets, arrays)
        np.testing.assert_allclose(maps[image, 1:], expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("stem", ["hrnet", "efficientnet-lite0", "movenet"])
def test_the_features_are_those_of_a_movenet_stem_or_else_of_the_backbone(stem: StemName) -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        4, 3, stem=stem, modules=(1, 1, 1), blocks=1, deconv_blocks=1, head="tags-and-offsets"
    )
    network = HigherHRNet.from_config(config).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    backbone = HRNet(4, stem=stem, modules=(1, 1, 1), blocks=1).eval()
    backbone.load_state_dict(network.state_dict(), strict=False)
    images = torch.randn(1, 3, 64, 96)
    assert network.center_head
    with torch.inference_mode():
        maps = network(images)[-1]
        if stem == "movenet":
            assert backbone.stem
            pyramid, *coarser = backbone.stem(images)
            features = [pyramid[:, :24], *coarser]
        else:
            features = backbone.features(images)
        expected = network.center_head(features)
    assert len(features) == 4 and maps.shape == (1, 7, 16, 24)
    torch.testing.assert_close(maps, expected)


def test_a_network_with_a_movenet_stem_has_no_unused_fuse_layers() -> None:
    config = ModelConfig(4, stem="movenet", modules=(1, 1, 1), blocks=1, head="tags-and-offsets")
    names = HigherHRNet.from_config(config).state_dict()
    assert not any(name.startswith("stage4.0.fuse_layers.1") for name in names)
