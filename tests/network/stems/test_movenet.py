"""MoveNet as a stem against its published shape and file format, its pyramid against OpenCV."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from higherhrnet.config.model import ModelConfig
from higherhrnet.errors import InputError
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.network.stems.movenet import MoveNet, read_movenet
from higherhrnet.training.pretrained import load_backbone
from tests.network.counting import count_parameters

PREFIX = "StatefulPartitionedCall/center_net_mobile_net_v2fpn_feature_extractor/model_1/"
HEAD = "StatefulPartitionedCall/kpt_heatmap_0/"


def published_name(name: str) -> str:
    """The name of a weight in the published file."""
    layer, kind = name.rpartition(".")[::2]
    offset = "_bn_offset" if kind == "bias" else "_weights"
    if layer in ("conv_stem", "conv_head"):
        prefix = {"conv_stem": "model/Conv1/", "conv_head": "model/Conv_1/"}[layer]
        return f"{prefix}Conv2D{offset}"
    if match := re.fullmatch(r"blocks\.(\d+)\.(\w+)_conv", layer):
        number, step = match.groups()
        block = "expanded_conv" if number == "0" else f"block_{number}"
        return f"model/{block}_{step}/{'depthwise' if step == 'depthwise' else 'Conv2D'}{offset}"
    group, number, *part = layer.split(".")
    if group == "head":
        published = "conv2d_7" if number == "3" else "separable_conv2d_6"
        if number != "3" and kind == "weight":
            last = "" if number == "0" else "_1"
            return f"{HEAD}{published}/separable_conv2d/ReadVariableOp{last}"
        return f"{HEAD}{published}/{'BiasAdd' if kind == 'bias' else 'Conv2D'}/ReadVariableOp"
    ending = "" if number == "0" else f"_{number}"
    if group == "laterals":
        return f"conv2d{ending}/{'BiasAdd' if kind == 'bias' else 'Conv2D'}/ReadVariableOp"
    step = "/ReadVariableOp" if part == ["0"] else offset
    return f"separable_conv2d{ending}/separable_conv2d{step}"


def published_heads() -> dict[str, np.ndarray]:
    """Random weights of MoveNet's heads for centers and offsets, named and shaped as published."""
    rng, arrays = np.random.default_rng(0), {}
    for head, layers, outputs in (("center_0", (3, 4), 1), ("kpt_regress_0", (7, 8), 34)):
        separable = f"{head}/separable_conv2d_{layers[0]}"
        for name, shape in (
            (f"{separable}/separable_conv2d/ReadVariableOp", (3, 3, 24, 1)),
            (f"{separable}/separable_conv2d/ReadVariableOp_1", (1, 1, 24, 96)),
            (f"{separable}/BiasAdd/ReadVariableOp", (96,)),
            (f"{head}/conv2d_{layers[1]}/Conv2D/ReadVariableOp", (1, 1, 96, outputs)),
            (f"{head}/conv2d_{layers[1]}/BiasAdd/ReadVariableOp", (outputs,)),
        ):
            arrays[name] = (0.3 * rng.standard_normal(shape)).astype(np.float16)
    return arrays


def published_head(features: np.ndarray, head: str, layers: tuple[int, int]) -> np.ndarray:
    """Computes one of MoveNet's heads as its published graph does: (h, w, 24) → (h, w, outputs)."""
    w = {name: array.astype(np.float64) for name, array in published_heads().items()}
    separable = f"{head}/separable_conv2d_{layers[0]}"
    padded = np.pad(features.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))
    depthwise = w[f"{separable}/separable_conv2d/ReadVariableOp"][..., 0]
    x = np.einsum("yxcij,ijc->yxc", windows, depthwise)
    x = x @ w[f"{separable}/separable_conv2d/ReadVariableOp_1"][0, 0]
    x = np.maximum(x + w[f"{separable}/BiasAdd/ReadVariableOp"], 0)
    last = f"{head}/conv2d_{layers[1]}"
    return np.asarray(
        x @ w[f"{last}/Conv2D/ReadVariableOp"][0, 0] + w[f"{last}/BiasAdd/ReadVariableOp"]
    )


def write_tfjs(folder: Path, stem: MoveNet) -> Path:
    """Writes a stem as the published file: in half precision, channels last, with other weights."""
    weights, raw = [{"name": "size", "shape": [2], "dtype": "int32"}], [np.zeros(2, np.int32)]
    for name, tensor in stem.state_dict().items():
        array = tensor.numpy()
        if array.ndim == 4:
            depthwise = array.shape[1] == 1
            array = array.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
        published = published_name(name)
        published = published if published.startswith(HEAD) else PREFIX + published
        entry = {"name": published, "shape": list(array.shape)}
        weights.append({**entry, "dtype": "float32", "quantization": {"dtype": "float16"}})  # type: ignore[dict-item]
        raw.append(array.astype(np.float16))
    for name, array in published_heads().items():
        entry = {"name": f"StatefulPartitionedCall/{name}", "shape": list(array.shape)}
        weights.append({**entry, "dtype": "float32", "quantization": {"dtype": "float16"}})  # type: ignore[dict-item]
        raw.append(array)
    (folder / "model.bin").write_bytes(b"".join(array.tobytes() for array in raw))
    manifest = [{"paths": ["model.bin"], "weights": weights}]
    (folder / "model.json").write_text(json.dumps({"weightsManifest": manifest}))
    return folder / "model.json"


PUBLISHED = {
    "model/Conv1/Conv2D_bn_offset": "conv_stem.bias",
    "model/expanded_conv_depthwise/depthwise_weights": "blocks.0.depthwise_conv.weight",
    "model/block_16_project/Conv2D_weights": "blocks.16.project_conv.weight",
    "model/Conv_1/Conv2D_weights": "conv_head.weight",
    "conv2d/BiasAdd/ReadVariableOp": "laterals.0.bias",
    "conv2d_3/Conv2D/ReadVariableOp": "laterals.3.weight",
    "separable_conv2d/separable_conv2d/ReadVariableOp": "merges.0.0.weight",
    "separable_conv2d_2/separable_conv2d_weights": "merges.2.1.weight",
    "separable_conv2d_1/separable_conv2d_bn_offset": "merges.1.1.bias",
    HEAD + "separable_conv2d_6/separable_conv2d/ReadVariableOp": "head.0.weight",
    HEAD + "separable_conv2d_6/separable_conv2d/ReadVariableOp_1": "head.1.weight",
    HEAD + "separable_conv2d_6/BiasAdd/ReadVariableOp": "head.1.bias",
    HEAD + "conv2d_7/Conv2D/ReadVariableOp": "head.3.weight",
}
"""Some names in the published file, and the weights of `MoveNet` that they belong to."""


@pytest.mark.parametrize(("published", "name"), PUBLISHED.items())
def test_the_written_names_are_those_of_the_published_file(published: str, name: str) -> None:
    assert published_name(name) == published


def test_has_the_published_number_of_parameters() -> None:
    assert count_parameters(MoveNet()) == 4_703_185


def test_published_weights_are_loaded_into_the_stem_only(tmp_path: Path) -> None:
    torch.manual_seed(0)
    stem = MoveNet()
    source = write_tfjs(tmp_path, stem)
    network = HigherHRNet.from_config(ModelConfig(8, stem="movenet", modules=(1, 1, 1), blocks=1))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    load_backbone(network, source)
    expected = {f"stem.{name}": tensor for name, tensor in stem.state_dict().items()}
    for name, tensor in network.state_dict().items():
        if name in expected:
            assert torch.equal(tensor, expected[name].half().float()), name
        else:
            assert torch.equal(tensor, before[name]), name


def test_the_published_heads_give_the_same_centers_and_keypoints(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = write_tfjs(tmp_path, MoveNet())
    config = ModelConfig(
        8, stem="movenet", modules=(1, 1, 1), blocks=1, head="tags-and-offsets", deconv_kernels=()
    )
    network = HigherHRNet.from_config(config).eval()
    load_backbone(network, source)
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        features = network.stem(images)[0][0, :24].permute(1, 2, 0).numpy()  # type: ignore[misc]
        _, maps = network(images)
    logits = published_head(features, "center_0", (3, 4))[..., 0]
    centers = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(maps[0, 0].numpy(), centers, rtol=1e-5, atol=1e-6)
    # y before x, in cells from the top left corner of the cell
    regressed = published_head(features, "kpt_regress_0", (7, 8)).reshape(16, 24, 17, 2)
    y, x = regressed[..., 0] + np.indices((16, 24))[0][..., None], regressed[..., 1]
    x = x + np.indices((16, 24))[1][..., None]
    offsets = maps[0, 1:].numpy().reshape(17, 2, 16, 24)
    rows, columns = np.indices((16, 24)) + 0.5
    scale = np.abs(regressed).max()
    for ours, expected in ((columns - offsets[:, 0], x), (rows - offsets[:, 1], y)):
        np.testing.assert_allclose(ours.transpose(1, 2, 0), expected, atol=1e-5 * scale)


def test_heads_for_other_keypoints_are_not_loaded(tmp_path: Path) -> None:
    source = write_tfjs(tmp_path, MoveNet())
    config = ModelConfig(
        8, 14, stem="movenet", modules=(1, 1, 1), blocks=1, head="tags-and-offsets"
    )
    network = HigherHRNet.from_config(config)
    before = {name: w.clone() for name, w in network.state_dict().items() if "center_" in name}
    load_backbone(network, source)
    state = network.state_dict()
    assert before and all(torch.equal(state[name], w) for name, w in before.items())


def test_the_pyramid_adds_upsampled_features_to_finer_ones() -> None:
    torch.manual_seed(1)
    stem = MoveNet().eval()
    outputs: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    layers = [*stem.laterals, *(merge[0] for merge in stem.merges)]  # type: ignore[index]
    names = [*(f"lateral{i}" for i in range(4)), *(f"merge{i}" for i in range(3))]
    for name, module in zip(names, layers, strict=True):
        module.register_forward_hook(lambda _, x, y, name=name: outputs.update({name: (x[0], y)}))
    for i, merge in enumerate(stem.merges):
        merge.register_forward_hook(lambda _, x, y, i=i: outputs.update({f"merged{i}": (x[0], y)}))
    with torch.inference_mode():
        features = stem(torch.randn(1, 3, 64, 96))
    assert [tuple(f.shape[1:]) for f in features] == [
        (24 + 17, 16, 24), (48, 8, 12), (144, 4, 6), (480, 2, 3)
    ]  # fmt: skip
    assert [len(f[0]) for f in features] == list(stem.channels)
    below = outputs["lateral0"][1]
    for i in range(3):
        side = outputs[f"lateral{i + 1}"][1][0].permute(1, 2, 0).numpy()
        coarse = below[0].permute(1, 2, 0).numpy()
        expected = cv2.resize(coarse, side.shape[1::-1], interpolation=cv2.INTER_LINEAR) + side
        merged = outputs[f"merge{i}"][0][0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(merged, expected, atol=1e-5)
        below = outputs[f"merged{i}"][1]
    assert torch.equal(features[0][:, :24], below)


def test_the_heads_take_the_stems_heatmaps_unchanged() -> None:
    torch.manual_seed(2)
    network = HigherHRNet(8, stem="movenet", modules=(1, 1, 1), blocks=1, deconv_blocks=1).eval()
    network.stem.load_state_dict(MoveNet().state_dict())  # type: ignore[union-attr]
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        heatmaps = network.stem(images)[0][:, 24:]  # type: ignore[misc]
        (features, _), (fine, _) = network.features_and_maps(images)
    assert features.shape[1:] == (8 + 17, 16, 24) and fine.shape[1:] == (8, 32, 48)
    assert torch.equal(features[:, 8:], heatmaps)
    assert 0 < heatmaps.min() < heatmaps.max() < 1


def test_the_heatmap_head_equals_its_formula() -> None:
    torch.manual_seed(3)
    head = MoveNet().head.eval()
    x = torch.randn(1, 24, 5, 5)
    with torch.inference_mode():
        value = head(x)[0, 4, 2, 3]
    weights = {name: w.double().numpy() for name, w in head.state_dict().items()}
    neighborhood = (x[0, :, 1:4, 2:5].double().numpy() * weights["0.weight"][:, 0]).sum((1, 2))
    hidden = np.maximum(weights["1.weight"][:, :, 0, 0] @ neighborhood + weights["1.bias"], 0)
    logit = weights["3.weight"][4, :, 0, 0] @ hidden + weights["3.bias"][4]
    assert float(value) == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)


def test_other_files_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(
        InputError, match=r"a\.json: not a TensorFlow\.js model with its \.bin file"
    ):
        read_movenet(tmp_path / "a.json")
    source = write_tfjs(tmp_path, MoveNet())
    (tmp_path / "model.bin").write_bytes(b"short")
    with pytest.raises(InputError, match=r"model\.json: not a TensorFlow\.js model"):
        read_movenet(source)


def test_quantized_weights_are_rejected(tmp_path: Path) -> None:
    source = write_tfjs(tmp_path, MoveNet())
    content = json.loads(source.read_text())
    weight = content["weightsManifest"][0]["weights"][0]
    weight["quantization"] = {"dtype": "uint8", "scale": 0.1, "min": 0}
    source.write_text(json.dumps(content))
    with pytest.raises(InputError, match="8- or 16-bit integers, but the published ones are float"):
        read_movenet(source)
