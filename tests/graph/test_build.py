"""The ONNX graph computes the same maps as the network in torch, for every architecture."""

from __future__ import annotations

from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from higherhrnet.config.model import HeadName, ModelConfig, StemName
from higherhrnet.errors import InputError
from higherhrnet.graph.build import build_model, check_weights, trace
from higherhrnet.network.build import PoseNetwork, build_network
from higherhrnet.network.checkpoint import to_arrays
from tests.network.counting import (
    computed,
    count_multiply_adds,
    count_parameters,
    meta_network,
)

SHALLOW = {"modules": (1, 1, 1), "blocks": 1}
SMALL = {**SHALLOW, "deconv_blocks": 1}
CONFIGS = {
    "paper": ModelConfig(),
    "crowdpose": ModelConfig(num_keypoints=14),
    "w48": ModelConfig(48),
    "shared tag, two kernels": ModelConfig(
        5,
        tag_per_keypoint=False,
        deconv_kernels=(4, 3),
        **SHALLOW,  # type: ignore[arg-type]
    ),
    "three outputs": ModelConfig(
        4,
        3,
        deconv_kernels=(2, 3, 4),
        deconv_blocks=0,
        **SHALLOW,  # type: ignore[arg-type]
    ),
    "stride 4 only": ModelConfig(4, deconv_kernels=(), **SHALLOW),  # type: ignore[arg-type]
    "scale maps": ModelConfig(
        5,
        3,
        deconv_kernels=(4, 3),
        scale_maps=True,
        **SHALLOW,  # type: ignore[arg-type]
    ),
    "movenet with offsets": ModelConfig(
        8,
        stem="movenet",
        head="tags-and-offsets",
        deconv_kernels=(),
        **SMALL,  # type: ignore[arg-type]
    ),
    "several modules": ModelConfig(4, modules=(2, 1, 2), blocks=2),
    **{
        f"stem {stem}": ModelConfig(8, stem=stem, **SMALL)  # type: ignore[arg-type]
        for stem in get_args(StemName)
    },
    **{
        f"head {head}": ModelConfig(4, 5, head=head, **SMALL)  # type: ignore[arg-type]
        for head in get_args(HeadName)
    },
}


def network(config: ModelConfig) -> PoseNetwork:
    """A network whose activations keep their magnitude, with different statistics everywhere."""
    torch.manual_seed(0)
    model = build_network(config).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                torch.nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.3, 0.8)
            torch.nn.init.normal_(module.bias, std=0.2)
            torch.nn.init.normal_(module.running_mean, std=0.2)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", computed(CONFIGS))
def test_the_maps_equal_those_of_torch_at_several_sizes(name: str) -> None:
    config = CONFIGS[name]
    model = network(config)
    proto = build_model(config, to_arrays(model))
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    for shape in ((2, 3, 64, 96), (1, 3, 128, 32)):
        images = torch.randn(shape)
        with torch.inference_mode():
            expected = model(images)
        outputs = session.run(None, {"images": images.numpy()})
        assert [output.name for output in session.get_outputs()] == [
            f"maps{i}" for i in range(len(expected))
        ]
        for output, maps in zip(outputs, expected, strict=True):
            assert maps.std() > 0.01
            np.testing.assert_allclose(output, maps.numpy(), atol=1e-5 * maps.abs().max().item())


@pytest.mark.slow
@pytest.mark.parametrize("name", computed(CONFIGS))
def test_shapes_parameters_and_multiply_adds_equal_those_of_torch(name: str) -> None:
    config = CONFIGS[name]
    model = meta_network(config)
    graph = trace(config)
    assert graph.shapes == {name: tuple(w.shape) for name, w in model.state_dict().items()}
    assert graph.num_parameters == count_parameters(model)
    assert graph.multiply_adds(64, 96) == count_multiply_adds(config, 64, 96)


@pytest.mark.parametrize("name", computed(CONFIGS))
def test_every_output_of_a_node_has_a_name_of_its_own(name: str) -> None:
    config = CONFIGS[name]
    weights = {key: np.zeros(shape, np.float32) for key, shape in trace(config).shapes.items()}
    names = [node.name for node in build_model(config, weights).graph.node]
    assert len(set(names)) == len(names)


def test_weights_of_another_network_are_rejected() -> None:
    config = ModelConfig(4, **SMALL)  # type: ignore[arg-type]
    weights = dict(to_arrays(network(config)))
    weights["unknown"] = weights.pop("bn1.bias")
    weights["bn2.bias"] = np.zeros(3, np.float32)
    del weights["bn2.num_batches_tracked"]
    with pytest.raises(InputError) as error:
        check_weights(config, weights, "a.pth")
    assert str(error.value) == (
        'a.pth: the weights do not match the network: Missing key(s) in state_dict: "bn1.bias". '
        'Unexpected key(s) in state_dict: "unknown". '
        "size mismatch for bn2.bias: (3,) instead of (64,)."
    )
