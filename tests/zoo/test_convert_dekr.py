"""Weights of DEKR by its authors and by MMPose convert to the same network."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from higherhrnet.config.header import Header
from higherhrnet.config.model import ModelConfig
from higherhrnet.decoding.rescore import pose_features, predict_accuracy
from higherhrnet.errors import InputError
from higherhrnet.io.weights import read_weights, write_weights
from higherhrnet.network.dekr import DEKR
from higherhrnet.zoo.convert import convert_weights, read_rescoring
from higherhrnet.zoo.convert_dekr import authors_names
from tests.conftest import RunMain

CONFIG = ModelConfig(4, 14, head="offsets")


@pytest.fixture(scope="module")
def network() -> DEKR:
    torch.manual_seed(0)
    model = DEKR(CONFIG).eval()
    for name, values in model.state_dict().items():
        if name.endswith("running_var"):
            values.uniform_(0.5, 1.5)
        elif values.is_floating_point() and "regular_matrix" not in name:
            nn.init.normal_(values, std=0.3)
    return model


def mmpose_names(state: dict[str, Tensor], version: int) -> dict[str, Tensor]:
    """The same network as MMPose 0.x or 1.x saves it, by the definition of its head."""
    head = {0: "keypoint_head.", 1: "head."}[version]
    branch = {0: "offset_conv_layers.", 1: "displacement_conv_layers."}[version]
    result: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith(("transition_heatmap.", "transition_offset.")):
            first, layer, part = name.split(".")
            kind = "heatmap_conv_layers." if first == "transition_heatmap" else branch
            result[f"{head}{kind}0.{'conv' if layer == '0' else 'bn'}.{part}"] = tensor
        elif name.startswith("head_heatmap.0.0."):
            result[f"{head}heatmap_conv_layers.1.{name.removeprefix('head_heatmap.0.0.')}"] = tensor
        elif name.startswith("head_heatmap.1."):
            values = tensor if version else torch.cat([tensor[-1:], tensor[:-1]])
            result[f"{head}heatmap_conv_layers.2.{name.rpartition('.')[2]}"] = values
        elif not name.startswith("offset_"):
            result[f"backbone.{name}"] = tensor

    def all_keypoints(part: str) -> Tensor:
        return torch.cat([state[part.format(k=k)] for k in range(CONFIG.num_keypoints)])

    for part in ("weight", "bias"):
        final = all_keypoints(f"offset_final_layer.{{k}}.{part}")
        result[f"{head}{branch}3.{part}"] = -final if version else final
    for depth in range(2):
        block, prefix = f"offset_feature_layers.{{k}}.{depth}.", f"{head}{branch}{depth + 1}."
        for part in ("weight", "bias"):
            rows = []
            for k in range(CONFIG.num_keypoints):
                matrix = state[block.format(k=k) + f"transform_matrix_conv.{part}"].clone()
                translation = state[block.format(k=k) + f"translation_conv.{part}"]
                if part == "bias":
                    matrix -= torch.tensor([1.0, 0, 0, 1])
                rows += [matrix[:2], translation[:1], matrix[2:], translation[1:]]
            result[f"{prefix}transform_matrix_conv.{part}"] = torch.cat(rows)
        result[f"{prefix}adapt_conv.weight"] = all_keypoints(block + "adapt_conv.weight")
        for part in ("weight", "bias", "running_mean", "running_var"):
            result[f"{prefix}norm.{part}"] = all_keypoints(f"{block}bn.{part}")
        result[f"{prefix}norm.num_batches_tracked"] = torch.tensor(0)
        matrix = state[block.format(k=0) + "regular_matrix"]
        result[f"{prefix}regular_matrix"] = torch.cat([matrix, torch.ones(1, 9)])
    return result


def rescoring_state(prefix: str = "", inputs: int = 59) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {"l1": (256, inputs), "l2": (256, 256), "l3": (1, 256)}
    state = {}
    for name, shape in shapes.items():
        state[f"{prefix}{name}.weight"] = torch.randn(shape, generator=generator) / 8
        state[f"{prefix}{name}.bias"] = torch.randn(shape[:1], generator=generator)
    return state


@pytest.mark.parametrize("file", ["authors", "mmpose 0.x", "mmpose 1.x"])
def test_every_format_gives_the_same_weights(file: str, network: DEKR, tmp_path: Path) -> None:
    state = dict(network.state_dict())
    contents: Any = state
    if file != "authors":
        contents = {"state_dict": mmpose_names(state, int(file[-3]))}
    path = tmp_path / "dekr_crowdpose_512x512.pth"
    torch.save(contents, path)
    weights, header = convert_weights(path)
    assert header.model == CONFIG and header.skeleton.name == "crowdpose"
    assert header.inference.align_flip and header.inference.decode.offsets.other_scales == 0.8
    assert header.rescoring is None
    assert weights.keys() == state.keys()
    for name, array in weights.items():
        np.testing.assert_allclose(array, state[name].numpy(), atol=1e-6, err_msg=name)
    write_weights(tmp_path / "out.safetensors", weights, header)
    assert read_weights(tmp_path / "out.safetensors")[1] == header


def test_numpy_arrays_convert_as_tensors_do(network: DEKR) -> None:
    state = dict(network.state_dict())
    arrays = {
        name.removeprefix("head.").removeprefix("backbone."): tensor.numpy()
        for name, tensor in mmpose_names(state, 1).items()
    }
    converted = authors_names(arrays)
    assert converted.keys() == state.keys()
    for name, array in converted.items():
        np.testing.assert_allclose(array, state[name].numpy(), atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_the_rescoring_network_is_read_from_its_own_file_or_from_mmposes(
    network: DEKR, tmp_path: Path
) -> None:
    own, with_it = tmp_path / "final_rescore_crowd_pose_kpt.pth", tmp_path / "mmpose.pth"
    torch.save(rescoring_state(), own)
    state = dict(network.state_dict())
    torch.save(
        {"state_dict": mmpose_names(state, 1) | rescoring_state("head.rescore_net.")}, with_it
    )
    torch.save(state, tmp_path / "authors.pth")
    separate = convert_weights(tmp_path / "authors.pth", rescoring=own)[1]
    included = convert_weights(with_it)[1]
    assert separate.rescoring and included.rescoring
    assert separate.rescoring.unit_links == (9, 11)
    assert included.rescoring.unit_links == (0, 1)
    assert Header.from_metadata(separate.to_metadata(), "x") == separate

    poses = np.random.default_rng(0).uniform(0, 200, (5, 14, 3)).astype(np.float32)
    features = pose_features(poses[..., :2], poses[..., 2], separate.rescoring)
    x = torch.from_numpy(features)
    weights = rescoring_state()
    for layer in ("l1", "l2", "l3"):
        x = nn.functional.linear(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"])
        x = x.relu() if layer != "l3" else x
    similarity = predict_accuracy(features, separate.rescoring)
    np.testing.assert_allclose(similarity, x[:, 0], rtol=1e-4)


def test_instructions_for_files_that_only_browsers_can_download_lead_to_a_model(
    network: DEKR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_main: RunMain
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "dekr-crowdpose-w48-640"
    for arguments in (["download", name], ["predict", "a.jpg", "--model", name]):
        result = run_main(*arguments)
        assert result.returncode == 1 and result.stderr.count("\n") == 1
        assert "model/pose_crowdpose/pose_dekr_hrnetw48_crowdpose.pth" in result.stderr
        assert "https://mailustceducn-my.sharepoint.com/" in result.stderr
    command = re.findall("`(.*?)`", result.stderr)[-1].split()
    torch.save(network.state_dict(), "pose_dekr_hrnetw48_crowdpose.pth")
    torch.save(rescoring_state(), "final_rescore_crowd_pose_kpt.pth")
    assert command[0] == "higherhrnet" and run_main(*command[1:]).returncode == 0
    header = read_weights(f"{name}.safetensors")[1]
    assert header.skeleton.name == "crowdpose" and header.input.size == 640 and header.rescoring
    assert name in run_main("models").stdout


def test_a_file_without_a_rescoring_network_is_rejected(network: DEKR, tmp_path: Path) -> None:
    torch.save(rescoring_state(inputs=58), tmp_path / "a.pth")
    with pytest.raises(InputError, match="contains no rescoring network"):
        read_rescoring(tmp_path / "a.pth")


def test_incomplete_weights_are_rejected(network: DEKR, tmp_path: Path) -> None:
    state = dict(network.state_dict())
    for name, message in (("head_heatmap.1.bias", "DEKR: head_heatmap"), ("conv1.weight", "conv1")):
        torch.save({key: value for key, value in state.items() if key != name}, tmp_path / "a.pth")
        with pytest.raises(InputError, match=message):
            convert_weights(tmp_path / "a.pth")
