"""EfficientNet-Lite against its published shape and plain loops, alone and as a trunk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from higherhrnet.config import ModelConfig, StemName
from higherhrnet.errors import InputError
from higherhrnet.network.higherhrnet import HigherHRNet, count_parameters
from higherhrnet.network.stems.efficientnet import EfficientNetLite

SIZES: list[StemName] = ["efficientnet-lite0", "efficientnet-lite2"]


@pytest.mark.parametrize(
    ("size", "whole", "last"),
    [("efficientnet-lite0", 4_652_008, 320), ("efficientnet-lite2", 6_092_072, 352)],
)
def test_the_published_classifiers_parameters_but_for_its_head(
    size: StemName, whole: int, last: int
) -> None:
    head = last * 1280 + 2 * 1280 + 1280 * 1000 + 1000  # 1×1, batch norm, 1000 classes
    assert count_parameters(EfficientNetLite(size)) == whole - head


@pytest.mark.parametrize(
    ("size", "channels"),
    [("efficientnet-lite0", [24, 40, 112, 320]), ("efficientnet-lite2", [24, 48, 120, 352])],
)
def test_features_at_four_strides(size: StemName, channels: list[int]) -> None:
    stem = EfficientNetLite(size).eval()
    with torch.inference_mode():
        features = stem(torch.randn(2, 3, 64, 96))
    assert stem.channels == channels
    assert [tuple(f.shape) for f in features] == [
        (2, c, 64 // stride, 96 // stride)
        for c, stride in zip(channels, (4, 8, 16, 32), strict=True)
    ]


def naive_same(x: NDArray[Any], weight: NDArray[Any], stride: int) -> NDArray[Any]:
    """(C, H, W) by (O, I, k, k) filters, TensorFlow's SAME: what a side lacks is added after it."""
    kernel, groups = weight.shape[2], len(x) // weight.shape[1]
    sides = []
    for length in x.shape[1:]:
        lacking = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        sides.append((lacking // 2, lacking - lacking // 2))
    padded = np.pad(x, ((0, 0), *sides))
    out = np.zeros((len(weight), -(-x.shape[1] // stride), -(-x.shape[2] // stride)))
    for o, row, column in np.ndindex(*out.shape):
        first = (o // (len(weight) // groups)) * weight.shape[1]
        window = padded[
            first : first + weight.shape[1],
            row * stride : row * stride + kernel,
            column * stride : column * stride + kernel,
        ]
        out[o, row, column] = (window * weight[o]).sum()
    return out


def test_convolutions_pad_as_tensorflow_does() -> None:
    torch.manual_seed(0)
    stem = EfficientNetLite("efficientnet-lite0").eval()
    seen: dict[str, Tensor] = {}
    for name, module in stem.named_modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            module.register_forward_hook(lambda _, __, y, name=name: seen.update({name: y[0]}))
    images = torch.randn(1, 3, 32, 64)
    with torch.inference_mode():
        stem(images)

    def compare(conv: str, source: Tensor, stride: int) -> None:
        weight = stem.get_parameter(f"{conv}.weight").detach().double().numpy()
        wanted = naive_same(source.double().numpy(), weight, stride)
        np.testing.assert_allclose(seen[conv], wanted, atol=1e-5)

    compare("conv_stem", images[0], 2)
    for block, stride in ((1, 2), (2, 1), (3, 2), (4, 1)):  # kernels of 3, 3, 5 and 5
        compare(f"blocks.{block}.depthwise_conv", seen[f"blocks.{block}.bn0"].clamp(0, 6), stride)


@pytest.mark.parametrize("size", SIZES)
def test_as_a_trunk_it_gives_maps_of_the_usual_sizes(size: StemName) -> None:
    network = HigherHRNet(4, 5, stem=size, modules=(1, 1, 1), blocks=1, deconv_blocks=1).eval()
    with torch.inference_mode():
        low, high = network(torch.randn(1, 3, 64, 96))
    assert low.shape == (1, 10, 16, 24)
    assert high.shape == (1, 5, 32, 48)
    assert not hasattr(network, "layer1")
    with pytest.raises(InputError, match="multiples of 32"):
        network(torch.zeros(1, 3, 64, 80))


def test_every_resolution_of_the_trunk_is_used() -> None:
    """Each opens a branch, so each has a part in the answer."""
    torch.manual_seed(0)
    network = HigherHRNet(4, 5, stem=SIZES[0], modules=(1, 1, 1), blocks=1, deconv_blocks=1)
    features: list[Tensor] = []
    assert network.stem is not None
    network.stem.register_forward_hook(lambda _, __, y: features.extend(y))
    low, _ = network(torch.randn(2, 3, 64, 64))
    gradients = torch.autograd.grad(low.square().sum(), features)
    assert all(bool(gradient.any()) for gradient in gradients)


def test_training_in_bf16_keeps_depthwise_convolutions_exact() -> None:
    torch.manual_seed(0)
    stem = EfficientNetLite(SIZES[0])
    x, conv = torch.randn(1, 16, 8, 8), stem.blocks[1].get_submodule("expand_conv")
    depthwise = stem.blocks[1].get_submodule("depthwise_conv")
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16
        found = depthwise(conv(x))
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, depthwise(conv(x).float()))
        assert depthwise.eval()(conv(x)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"trunk": "resnet"}, "trunk must be one of hrnet, efficientnet-lite0"),
        ({"modules": (1, 0, 1)}, "modules and blocks must be at least 1"),
        ({"blocks": 0}, "modules and blocks must be at least 1"),
    ],
)
def test_shapes_that_make_no_sense_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ModelConfig(**values)
    with pytest.raises(InputError, match=said):
        HigherHRNet(**values)
