"""EfficientNet-Lite against its published shape and plain loops, alone and as a stem."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from higherhrnet.config.model import ModelConfig, StemName
from higherhrnet.errors import InputError
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.network.stems.efficientnet import EfficientNetLite
from tests.network.counting import count_parameters

SIZES: list[StemName] = ["efficientnet-lite0", "efficientnet-lite2"]


@pytest.mark.parametrize(
    ("size", "published", "channels"),
    [("efficientnet-lite0", 4_652_008, 320), ("efficientnet-lite2", 6_092_072, 352)],
)
def test_has_the_published_number_of_parameters_without_the_classifier(
    size: StemName, published: int, channels: int
) -> None:
    classifier = channels * 1280 + 2 * 1280 + 1280 * 1000 + 1000  # 1×1, batch norm, 1000 classes
    assert count_parameters(EfficientNetLite(size)) == published - classifier


@pytest.mark.parametrize(
    ("size", "channels"),
    [("efficientnet-lite0", [24, 40, 112, 320]), ("efficientnet-lite2", [24, 48, 120, 352])],
)
def test_returns_features_at_four_strides(size: StemName, channels: list[int]) -> None:
    stem = EfficientNetLite(size).eval()
    with torch.inference_mode():
        features = stem(torch.randn(2, 3, 64, 96))
    assert stem.channels == channels
    assert [tuple(f.shape) for f in features] == [
        (2, c, 64 // stride, 96 // stride)
        for c, stride in zip(channels, (4, 8, 16, 32), strict=True)
    ]


def naive_same(x: NDArray[Any], weight: NDArray[Any], stride: int) -> NDArray[Any]:
    """(C, H, W) convolved with (O, I, k, k), with TensorFlow's SAME padding: an odd one is last."""
    kernel, groups = weight.shape[2], len(x) // weight.shape[1]
    sides = []
    for length in x.shape[1:]:
        padding = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        sides.append((padding // 2, padding - padding // 2))
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
    outputs: dict[str, Tensor] = {}
    for name, module in stem.named_modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            module.register_forward_hook(lambda _, __, y, name=name: outputs.update({name: y[0]}))
    images = torch.randn(1, 3, 32, 64)
    with torch.inference_mode():
        stem(images)

    def compare(conv: str, input: Tensor, stride: int) -> None:
        weight = stem.get_parameter(f"{conv}.weight").detach().double().numpy()
        expected = naive_same(input.double().numpy(), weight, stride)
        np.testing.assert_allclose(outputs[conv], expected, atol=1e-5)

    compare("conv_stem", images[0], 2)
    for block, stride in ((1, 2), (2, 1), (3, 2), (4, 1)):  # kernels of 3, 3, 5 and 5
        compare(
            f"blocks.{block}.depthwise_conv", outputs[f"blocks.{block}.bn0"].clamp(0, 6), stride
        )


@pytest.mark.parametrize("size", SIZES)
def test_a_network_with_this_stem_predicts_maps_of_the_usual_shapes(size: StemName) -> None:
    network = HigherHRNet(4, 5, stem=size, modules=(1, 1, 1), blocks=1, deconv_blocks=1).eval()
    with torch.inference_mode():
        low, high = network(torch.randn(1, 3, 64, 96))
    assert low.shape == (1, 10, 16, 24)
    assert high.shape == (1, 5, 32, 48)
    assert not hasattr(network, "layer1")
    with pytest.raises(InputError, match="multiples of 32"):
        network(torch.zeros(1, 3, 64, 80))


def test_the_maps_depend_on_the_stems_features_at_every_stride() -> None:
    torch.manual_seed(0)
    network = HigherHRNet(4, 5, stem=SIZES[0], modules=(1, 1, 1), blocks=1, deconv_blocks=1)
    features: list[Tensor] = []
    assert network.stem is not None
    network.stem.register_forward_hook(lambda _, __, y: features.extend(y))
    low, _ = network(torch.randn(2, 3, 64, 64))
    gradients = torch.autograd.grad(low.square().sum(), features)
    assert all(bool(gradient.any()) for gradient in gradients)


def test_depthwise_convolutions_are_trained_in_float32_on_a_cpu() -> None:
    torch.manual_seed(0)
    stem = EfficientNetLite(SIZES[0])
    x, conv = torch.randn(1, 16, 8, 8), stem.blocks[1].get_submodule("expand_conv")
    depthwise = stem.blocks[1].get_submodule("depthwise_conv")
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16
        output = depthwise(conv(x))
        assert output.dtype == torch.float32
        torch.testing.assert_close(output, depthwise(conv(x).float()))
        assert depthwise.eval()(conv(x)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stem": "resnet"}, "stem must be one of hrnet, efficientnet-lite0"),
        ({"modules": (1, 0, 1)}, "modules must be at least 1"),
        ({"blocks": 0}, "blocks must be at least 1"),
    ],
)
def test_invalid_architectures_are_rejected(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ModelConfig(**values)
    with pytest.raises(InputError, match=message):
        HigherHRNet(**values)
