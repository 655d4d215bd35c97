"""Converted weights: files with the names of each project give the network that they contain."""

import json
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from higherhrnet.config.header import Header
from higherhrnet.config.model import ModelConfig
from higherhrnet.errors import InputError
from higherhrnet.io.weights import read_weights, write_weights
from higherhrnet.network import checkpoint
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.network.hrnet import HRNet
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import AIC, COCO, COCO_WHOLEBODY, CROWDPOSE, SKELETONS
from higherhrnet.training.pretrained import load_backbone
from higherhrnet.zoo.convert import convert_weights
from higherhrnet.zoo.published import PUBLISHED
from higherhrnet.zoo.published_model import PublishedModel
from tests.conftest import RunMain

State = dict[str, Tensor]

# Names in mmpose/models/backbones/hrnet.py and heads/ae_higher_resolution_head.py, branch 0.x.
MMPOSE_NAMES = (
    "backbone.conv1.weight",
    "backbone.bn2.running_mean",
    "backbone.layer1.0.conv3.weight",
    "backbone.layer1.0.downsample.0.weight",
    "backbone.layer1.0.downsample.1.bias",
    "backbone.transition1.0.0.weight",
    "backbone.transition1.0.1.running_var",
    "backbone.transition1.1.0.0.weight",
    "backbone.transition1.1.0.1.weight",
    "backbone.stage2.0.branches.1.3.conv2.weight",
    "backbone.stage2.0.fuse_layers.0.1.0.weight",
    "backbone.stage2.0.fuse_layers.1.0.0.0.weight",
    "backbone.transition2.2.0.0.weight",
    "backbone.stage3.3.fuse_layers.2.0.0.0.weight",
    "backbone.stage3.3.fuse_layers.2.0.1.1.bias",
    "backbone.transition3.3.0.1.num_batches_tracked",
    "backbone.stage4.1.fuse_layers.3.0.2.0.weight",
    "backbone.stage4.2.branches.3.0.bn1.weight",
    "backbone.stage4.2.fuse_layers.0.3.1.weight",
    "keypoint_head.final_layers.0.weight",
    "keypoint_head.final_layers.0.bias",
    "keypoint_head.final_layers.1.weight",
    "keypoint_head.final_layers.1.bias",
    "keypoint_head.deconv_layers.0.0.0.weight",
    "keypoint_head.deconv_layers.0.0.1.running_mean",
    "keypoint_head.deconv_layers.0.1.0.conv1.weight",
    "keypoint_head.deconv_layers.0.4.0.bn2.weight",
)

# Names in lib/models/cls_hrnet.py of HRNet-Image-Classification: unlike HigherHRNet's backbone, its
# last module has outputs at all four resolutions, followed by heads for classification.
CLASSIFICATION_FUSES = {
    "stage4.2.fuse_layers.1.0.0": (0, 1, 3),
    "stage4.2.fuse_layers.1.2": (2, 1, 1),
    "stage4.2.fuse_layers.1.3": (3, 1, 1),
    "stage4.2.fuse_layers.2.0.0": (0, 0, 3),
    "stage4.2.fuse_layers.2.0.1": (0, 2, 3),
    "stage4.2.fuse_layers.2.1.0": (1, 2, 3),
    "stage4.2.fuse_layers.2.3": (3, 2, 1),
    "stage4.2.fuse_layers.3.0.0": (0, 0, 3),
    "stage4.2.fuse_layers.3.0.1": (0, 0, 3),
    "stage4.2.fuse_layers.3.0.2": (0, 3, 3),
    "stage4.2.fuse_layers.3.1.0": (1, 1, 3),
    "stage4.2.fuse_layers.3.1.1": (1, 3, 3),
    "stage4.2.fuse_layers.3.2.0": (2, 3, 3),
}
"""Name of a convolution and its batch norm → source branch, target branch, kernel size."""
CLASSIFICATION_HEADS = (
    "incre_modules.0.0.conv1.weight",
    "incre_modules.3.0.downsample.1.running_var",
    "downsamp_modules.0.0.weight",
    "downsamp_modules.2.1.bias",
    "final_layer.0.weight",
    "final_layer.1.running_mean",
    "classifier.weight",
    "classifier.bias",
)


@cache
def network(width: int = 4, num_keypoints: int = 17, **shape: Any) -> HigherHRNet:  # noqa: ANN401
    """A network whose weights are all different, so that exchanged weights are noticed."""
    model = HigherHRNet(width, num_keypoints, **shape).eval()
    generator = torch.Generator().manual_seed(width + num_keypoints)
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(7)
        else:
            low = 0.1 if name.endswith("running_var") else -0.3
            tensor.uniform_(low, 0.3, generator=generator)
    return model


def mmpose_names(state: Mapping[str, Any]) -> dict[str, Any]:
    heads = ("final_layers.", "deconv_layers.")
    return {
        ("keypoint_head." if name.startswith(heads) else "backbone.") + name: tensor
        for name, tensor in state.items()
    }


def classification(weights: Mapping[str, Tensor], width: int) -> State:
    """The state dict of an ImageNet network with the backbone of these weights."""
    state = {
        k: v for k, v in weights.items() if not k.startswith(("final_layers", "deconv_layers"))
    }
    for name, (source, target, kernel) in CLASSIFICATION_FUSES.items():
        out = width * 2**target
        state[f"{name}.0.weight"] = torch.rand(out, width * 2**source, kernel, kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.1.{part}"] = torch.rand(out)
        state[f"{name}.1.num_batches_tracked"] = torch.tensor(7)
    return state | {name: torch.rand(5) for name in CLASSIFICATION_HEADS}


def convert(
    path: Path, input_size: int | None = None, skeleton: Skeleton | None = None
) -> tuple[HigherHRNet, Header]:
    """The converted weights in a network."""
    weights, header = convert_weights(path, input_size=input_size, skeleton=skeleton)
    model = HigherHRNet.from_config(header.model)
    checkpoint.load_weights(model, {k: torch.from_numpy(w) for k, w in weights.items()}, path)
    assert [name for name in model.state_dict() if name not in weights] == []
    return model.eval(), header


def assert_same(a: torch.nn.Module, b: torch.nn.Module) -> None:
    first, second = a.state_dict(), b.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("prefix", "training", "zipped"),
    [
        ("", False, False),  # published; before torch 1.6 no file was a zip archive
        ("1.", False, True),  # model_best.pth.tar of a half-precision run
        ("module.", True, True),  # checkpoint.pth.tar
        ("module.1.", True, False),  # the same in half precision
    ],
)
def test_files_of_the_authors_are_converted(
    tmp_path: Path, prefix: str, training: bool, zipped: bool
) -> None:
    model = network()
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))]).state_dict()
    training_state = {
        "epoch": 300, "model": "pose_higher_hrnet", "state_dict": state,
        "best_state_dict": state, "perf": 299, "optimizer": optimizer,
    }  # fmt: skip
    path = tmp_path / "pose_higher_hrnet_w32_640.pth.tar"
    torch.save(training_state if training else state, path, _use_new_zipfile_serialization=zipped)

    converted, header = convert(path)
    assert_same(converted, model)
    assert header.model == model.config
    assert header.training == {
        "converted_from": path.name,
        "format": "reference",
        "assumed": {"convention": "reference", "skeleton": "coco", "input_size": 640},
    }


@pytest.mark.slow
def test_a_converted_network_predicts_the_same_maps_after_saving_and_loading(
    tmp_path: Path,
) -> None:
    model = network(6, 14)
    torch.save({"meta": {}, "state_dict": mmpose_names(model.state_dict())}, tmp_path / "a.pth")
    checkpoint.save(tmp_path / "a.safetensors", *convert(tmp_path / "a.pth"))
    loaded, header = checkpoint.load(tmp_path / "a.safetensors")
    assert header.skeleton == CROWDPOSE
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        for a, b in zip(model(images), loaded(images), strict=True):
            assert 0.01 < a.std() < 100
            assert torch.equal(a, b)


def test_half_precision_weights_are_converted_to_float32(tmp_path: Path) -> None:
    model = network()
    state = {f"1.{k}": v.half() if v.dim() == 4 else v for k, v in model.state_dict().items()}
    torch.save(state, tmp_path / "a.pth")
    assert {w.dtype.name for w in convert_weights(tmp_path / "a.pth")[0].values()} == {
        "float32",
        "int64",
    }
    converted, _ = convert(tmp_path / "a.pth")
    for name, tensor in converted.state_dict().items():
        assert torch.equal(tensor, state[f"1.{name}"].to(tensor.dtype))


def test_the_half_precision_optimizer_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state contains an object of a class of the authors' code."""
    scaler = type("DynamicLossScaler", (), {"__module__": "fp16_utils.loss_scaler"})
    module = ModuleType("fp16_utils.loss_scaler")
    setattr(module, scaler.__name__, scaler)
    model, loss_scaler = network(), scaler()
    loss_scaler.cur_scale = 2.0**16
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "fp16_utils", ModuleType("fp16_utils"))
        patch.setitem(sys.modules, module.__name__, module)
        state = {f"module.1.{name}": tensor for name, tensor in model.state_dict().items()}
        optimizer = {"loss_scaler": loss_scaler, "overflow": False}
        torch.save({"state_dict": state, "optimizer": optimizer}, tmp_path / "a.pth")
    assert_same(convert(tmp_path / "a.pth")[0], model)


def test_files_without_batch_norm_counters_are_converted(tmp_path: Path) -> None:
    model = network()
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("batches_tracked")}
    torch.save(state, tmp_path / "a.pth")
    converted = convert(tmp_path / "a.pth")[0].state_dict()
    assert all(torch.equal(converted[name], state[name]) for name in state)
    assert {int(converted[name]) for name in converted.keys() - state.keys()} == {0}


@pytest.mark.parametrize(
    ("mmpose", "shape"),
    [
        (False, {"width": 16, "tag_per_keypoint": False}),
        (True, {"num_keypoints": 14, "deconv_kernels": (2,), "deconv_blocks": 0}),
        (False, {"deconv_kernels": (3, 4), "deconv_blocks": 12}),
        (True, {"width": 5, "tag_per_keypoint": False, "deconv_kernels": (4, 3, 2)}),
    ],
)
def test_the_architecture_is_read_from_the_weights(
    tmp_path: Path, mmpose: bool, shape: dict[str, Any]
) -> None:
    model = network(**shape)
    state = model.state_dict()
    torch.save(mmpose_names(state) if mmpose else state, tmp_path / "a.pth")
    converted, header = convert(tmp_path / "a.pth")
    assert header.model == model.config
    assert header.training["format"] == ("mmpose" if mmpose else "reference")
    assert_same(converted, model)


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize(
    ("mmpose", "case", "config"),
    [
        (True, "w32-512", ModelConfig()),
        (False, "w48-640", ModelConfig(48)),
        (False, "w32-512-crowdpose", ModelConfig(num_keypoints=14)),
        (False, "w32-512-shared-tag", ModelConfig(tag_per_keypoint=False)),
    ],
)
def test_the_reference_implementations_names_and_shapes_are_converted(
    tmp_path: Path, golden: Path, mmpose: bool, case: str, config: ModelConfig
) -> None:
    shapes = json.loads((golden / "network.json").read_text())[case]["state_dict"]
    names = mmpose_names if mmpose else dict
    # An expanded number is stored once, so the file stays small.
    state = names({name: torch.tensor(0.5).expand(shape) for name, shape in shapes.items()})
    assert set(MMPOSE_NAMES) <= mmpose_names(shapes).keys()
    torch.save(state, tmp_path / "a.pth")
    model, header = convert(tmp_path / "a.pth")
    assert header.model == config
    assert all(bool((parameter == 0.5).all()) for parameter in model.parameters())


@pytest.mark.parametrize("numpy_1", [False, True])
def test_files_of_mmpose_with_a_configuration_and_a_numpy_number_are_converted(
    tmp_path: Path, numpy_1: bool
) -> None:
    model = network()
    config = "data_cfg = dict(\n    image_size=640,\n    base_size=320)\ndict(use_udp=True)"
    meta = {"mmpose_version": "0.29.0", "config": config, "hook_msgs": {"best": np.float64(0.68)}}
    contents = {"meta": meta, "state_dict": mmpose_names(model.state_dict()), "optimizer": {}}
    path = tmp_path / "epoch_300.pth"
    torch.save(contents, path, _use_new_zipfile_serialization=False)
    if numpy_1:  # the module's earlier name; files that are not zipped contain it as plain text
        data = path.read_bytes()
        assert b"cnumpy._core.multiarray\n" in data
        path.write_bytes(data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    converted, header = convert(path)
    assert_same(converted, model)
    assert (header.input.size, header.input.convention) == (640, "udp")
    assert not header.inference.project


@pytest.mark.parametrize(
    ("name", "size", "convention"),
    [
        ("higher_hrnet32_coco_640x640-a22fe938_20200712.pth", 640, "reference"),
        ("higher_hrnet32_coco_512x512_udp-8cc64794_20210222.pth", 512, "udp"),
        ("epoch_160.pth", 512, "reference"),
    ],
)
def test_input_size_and_convention_are_derived_from_the_file_name(
    tmp_path: Path, name: str, size: int, convention: str
) -> None:
    torch.save(network().state_dict(), tmp_path / name)
    header = convert_weights(tmp_path / name)[1]
    assert (header.input.size, header.input.convention) == (size, convention)
    assert header.training["assumed"]["input_size"] == size
    assert header.input.mean == (0.485, 0.456, 0.406)


def test_given_values_are_not_listed_as_assumed(tmp_path: Path) -> None:
    torch.save(network(num_keypoints=3).state_dict(), tmp_path / "a_640.pth")
    arm = Skeleton("arm", ("shoulder", "elbow", "wrist"), (), (0.1, 0.1, 0.1))
    header = convert_weights(tmp_path / "a_640.pth", input_size=256, skeleton=arm)[1]
    assert (header.skeleton, header.input.size) == (arm, 256)
    assert header.training["assumed"] == {"convention": "reference"}


@pytest.mark.parametrize(
    ("name", "config", "keypoints", "skeleton"),
    [
        ("higher_hrnet32_aic_512x512-9a674c33_20210130.pth", "", 14, AIC),
        ("epoch_300.pth", "data_root = 'data/aic'", 14, AIC),
        ("epoch_300.pth", "type='BottomUpAicDataset'", 14, AIC),
        ("higher_hrnet32_crowdpose_512x512-1aa4a132_20201017.pth", "", 14, CROWDPOSE),
        ("mosaic_17.pth", "", 14, CROWDPOSE),
        ("higher_hrnet32_coco_wholebody_512x512_plus-2fa137ab.pth", "", 133, COCO_WHOLEBODY),
        ("higher_hrnet32_aic_512x512.pth", "", 17, COCO),
    ],
)
def test_the_skeleton_is_derived_from_the_number_of_keypoints_the_name_and_the_configuration(
    tmp_path: Path, name: str, config: str, keypoints: int, skeleton: Skeleton
) -> None:
    state = mmpose_names(network(num_keypoints=keypoints).state_dict())
    torch.save({"meta": {"config": config}, "state_dict": state}, tmp_path / name)
    header = convert_weights(tmp_path / name)[1]
    assert header.skeleton is skeleton
    assert header.training["assumed"]["skeleton"] == skeleton.name


@pytest.mark.parametrize(
    "model",
    [m for m in PUBLISHED if m.skeleton not in (None, "coco") or "udp" in m.name],
    ids=lambda m: m.name,
)
@pytest.mark.parametrize("renamed", [False, True])
def test_published_files_get_their_skeleton_and_convention_by_either_name(
    tmp_path: Path, model: PublishedModel, renamed: bool
) -> None:
    """The name on the server and that in the cache."""
    skeleton = SKELETONS[model.skeleton or ""]
    path = tmp_path / (f"{model.name}.pth" if renamed else model.url.split("/")[-1])
    torch.save(network(num_keypoints=len(skeleton)).state_dict(), path)
    header = convert_weights(path)[1]
    assert header.skeleton is skeleton
    assert header.input.convention == ("udp" if "udp" in model.name else "reference")
    assert header.inference.project == ("udp" not in model.name)


def test_unknown_keypoints_need_a_skeleton(tmp_path: Path) -> None:
    torch.save(network(num_keypoints=3).state_dict(), tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a.pth: .* 3 keypoints is unknown; set --skeleton FILE"):
        convert(tmp_path / "a.pth")
    with pytest.raises(InputError, match="has 3 keypoints"):
        convert(tmp_path / "a.pth", skeleton=COCO)


def test_missing_unexpected_and_misshapen_weights_are_listed(tmp_path: Path) -> None:
    state = network().state_dict()
    del state["stage3.1.branches.0.2.bn1.weight"]
    state["unknown.weight"] = torch.zeros(1)
    state["bn1.bias"] = torch.zeros(3)
    torch.save(mmpose_names(state), tmp_path / "a.pth")
    with pytest.raises(InputError) as error:
        convert(tmp_path / "a.pth")
    for problem in (
        "a.pth: the weights do not match the network: ",
        'Missing key(s) in state_dict: "stage3.1.branches.0.2.bn1.weight"',
        'Unexpected key(s) in state_dict: "unknown.weight"',
        "size mismatch for bn1.bias",
    ):
        assert problem in str(error.value)


class Harmful:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_with_code_is_rejected_and_the_code_is_not_run(tmp_path: Path, zipped: bool) -> None:
    contents = {"state_dict": {"w": torch.zeros(1)}, "meta": Harmful(tmp_path / "harm")}
    torch.save(contents, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"a\.pth: not loaded, because it would run \w+\.mkdir"):
        convert(tmp_path / "a.pth")
    assert not (tmp_path / "harm").exists()
    torch.load(tmp_path / "a.pth", weights_only=False)  # this does run the code
    assert (tmp_path / "harm").exists()


def test_a_pickled_network_is_rejected(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1), tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"run torch\..*Linear, .* save .*state_dict\(\)"):
        convert(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "contents", [b"", b"<!DOCTYPE html><title>Quota exceeded</title>", b"\x80\x02.", bytes(999)]
)
def test_files_that_do_not_contain_weights_are_rejected(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(contents)
    with pytest.raises(
        InputError, match=r"a\.pth: not a file of weights .* download it again"
    ) as error:
        convert(tmp_path / "a.pth")
    assert "\n" not in error.value.args[0]


@pytest.mark.parametrize(
    ("zipped", "fraction"), [(True, 0.01), (True, 0.99), (False, 0.01), (False, 0.99)]
)
def test_a_truncated_file_is_rejected(tmp_path: Path, zipped: bool, fraction: float) -> None:
    path = tmp_path / "a.pth"
    torch.save({"w": torch.rand(9999)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    with pytest.raises(InputError, match="damaged"):
        convert(path)


def test_missing_files_and_folders_are_rejected(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.pth"):
        with pytest.raises(InputError, match="no such file"):
            convert(path)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (torch.zeros(3), "contains no state dict"),
        ({}, "contains no state dict"),
        ({"state_dict": 3}, "contains no state dict"),
        ({"epoch": 3, "model": {"w": torch.zeros(1)}}, "invalid entries: epoch, model"),
        ({0: torch.zeros(1)}, "invalid entries: 0"),
        ({"fc.weight": torch.zeros(2, 2)}, "not the weights of a HigherHRNet"),
        ({"final_layers.0.weight": torch.zeros(3)}, "final_layers.1.weight is missing"),
        ({"final_layers.0.weight": torch.zeros(())}, "not the weights of a HigherHRNet"),
    ],
)
def test_other_contents_are_rejected(tmp_path: Path, contents: object, message: str) -> None:
    torch.save(contents, tmp_path / "a.pth")
    with pytest.raises(InputError, match=f"a.pth: .*{message}"):
        convert(tmp_path / "a.pth")


def test_an_invalid_kernel_or_input_size_is_rejected(tmp_path: Path) -> None:
    state = network().state_dict()
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError, match="multiple of 32, not 500"):
        convert(tmp_path / "a.pth", input_size=500)
    state["deconv_layers.0.0.0.weight"] = torch.zeros(38, 4, 5, 5)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a\.pth: .*must each be 2, 3 or 4"):
        convert(tmp_path / "a.pth")


def test_an_imagenet_backbone_is_loaded_into_both_networks(tmp_path: Path) -> None:
    state = classification(network().state_dict(), 4)
    torch.save(state, tmp_path / "a.pth")

    backbone = HRNet(4)
    load_backbone(backbone, tmp_path / "a.pth")
    loaded = backbone.state_dict()
    assert state.keys() - loaded.keys() == set(CLASSIFICATION_HEADS)
    assert all(torch.equal(loaded[name], state[name]) for name in loaded)

    model = HigherHRNet(4, 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    load_backbone(model, tmp_path / "a.pth")
    for name, tensor in model.state_dict().items():
        head = name.startswith(("final_layers.", "deconv_layers."))
        assert torch.equal(tensor, before[name] if head else state[name])


def test_the_conversion_of_an_imagenet_backbone_reports_its_untrained_heads(
    tmp_path: Path, run_main: RunMain
) -> None:
    torch.save(classification(network().state_dict(), 4), tmp_path / "a.pth")
    process = run_main("convert", tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert process.returncode == 0, process.stderr
    assert "This is a backbone; its heads are not trained." in process.stdout
    weights, header = read_weights(tmp_path / "a.safetensors")
    assert header.model.width == 4 and "heads" in header.training
    np.testing.assert_array_equal(weights["conv1.weight"], network().conv1.weight.detach())


def test_the_backbone_of_a_pose_network_with_another_skeleton_is_loaded(tmp_path: Path) -> None:
    coco = network()
    torch.save({"state_dict": mmpose_names(coco.state_dict())}, tmp_path / "a.pth")
    model = HigherHRNet(4, 14)
    load_backbone(model, tmp_path / "a.pth")
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = coco.features(images)[0]
        atol = 1e-5 * float(expected.abs().max())
        torch.testing.assert_close(model.eval().features(images)[0], expected, rtol=1e-5, atol=atol)


def test_a_backbone_that_does_not_fit_is_rejected(tmp_path: Path) -> None:
    state = classification(network().state_dict(), 4)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a\.pth: .* size mismatch .* torch.Size\(\[8\]\)"):
        load_backbone(HRNet(8), tmp_path / "a.pth")
    del state["stage4.2.fuse_layers.2.1.0.0.weight"]
    state["stage4.2.fuse_layers.4.0.0.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError) as error:
        load_backbone(HRNet(4), tmp_path / "a.pth")
    assert 'Missing key(s) in state_dict: "stage4.2.fuse_layers.2.1.0.0.weight"' in str(error.value)
    assert 'Unexpected key(s) in state_dict: "stage4.2.fuse_layers.4.0.0' in str(error.value)


@pytest.mark.parametrize("skeleton", [None, CROWDPOSE])
def test_a_converted_backbone_gets_untrained_heads(
    skeleton: Skeleton | None, tmp_path: Path
) -> None:
    state = classification(network().state_dict(), 4)
    torch.save(state, tmp_path / "hrnet_w4.pth")
    model, header = convert(tmp_path / "hrnet_w4.pth", skeleton=skeleton)
    assert header.model == ModelConfig(4, 14 if skeleton else 17)
    assert header.skeleton == (skeleton or COCO)
    assert header.training["heads"] == "untrained"
    for name, tensor in model.state_dict().items():
        if not name.startswith(("final_layers.", "deconv_layers.")):
            assert torch.equal(tensor, state[name])


@pytest.mark.golden
@pytest.mark.parametrize(
    ("case", "file", "config", "skeleton", "min_peak"),
    [
        (
            "w32-512",
            "pose_higher_hrnet_w32_512.pth",
            ModelConfig(scale_maps=True),
            COCO,
            0.12,
        ),
        (
            "w48-640-crowdpose",
            "pose_higher_hrnet_w48_640.pth",
            ModelConfig(48, 14, scale_maps=True),
            CROWDPOSE,
            0.1,
        ),
    ],
)
def test_names_and_shapes_of_swahr_are_converted_with_its_inference_settings(
    tmp_path: Path,
    golden_dekr: Path,
    case: str,
    file: str,
    config: ModelConfig,
    skeleton: Skeleton,
    min_peak: float,
) -> None:
    reference = json.loads((golden_dekr / "swahr_network.json").read_text())[case]
    shapes = reference["state_dict"].items()
    state = {name: torch.tensor(0.5).expand(shape) for name, shape in shapes}
    torch.save(state, tmp_path / file)
    model, header = convert(tmp_path / file)
    assert (header.model, header.skeleton) == (config, skeleton)
    assert header.input.size == int(file[-7:-4])
    assert header.inference.decode.min_peak == min_peak
    assert all(bool((parameter == 0.5).all()) for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == reference["parameters"]


@pytest.mark.slow
def test_a_converted_swahr_file_keeps_its_scale_maps_after_saving_and_loading(
    tmp_path: Path,
) -> None:
    model = network(6, 14, scale_maps=True)
    torch.save({f"module.{k}": v for k, v in model.state_dict().items()}, tmp_path / "a.pth")
    assert_same(convert(tmp_path / "a.pth")[0], model)
    weights, header = convert_weights(tmp_path / "a.pth")
    write_weights(tmp_path / "a.safetensors", weights, header)
    loaded, loaded_header = checkpoint.load(tmp_path / "a.safetensors")
    assert loaded_header == header and header.model.scale_maps
    assert isinstance(loaded, HigherHRNet)
    assert_same(loaded, model)
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        outputs = [net.scale_maps(net.features_and_maps(images)) for net in (model, loaded)]
    for a, b in zip(*outputs, strict=True):
        assert a.std() > 0.01 and torch.equal(a, b)


def test_an_incomplete_scale_head_is_rejected_in_one_line(tmp_path: Path) -> None:
    state = network(scale_maps=True).state_dict()
    del state["conv_scale_layers.1.3.weight"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError, match="Missing") as error:
        convert_weights(tmp_path / "a.pth")
    assert "conv_scale_layers.1.3.weight" in str(error.value) and "\n" not in error.value.args[0]


def test_the_backbone_of_a_swahr_file_is_loaded(tmp_path: Path) -> None:
    source = network(scale_maps=True)
    torch.save(source.state_dict(), tmp_path / "a.pth")
    model = HigherHRNet(4, scale_maps=True)
    heads = [w.clone() for w in model.conv_scale_layers.state_dict().values()]
    load_backbone(model, tmp_path / "a.pth")
    assert torch.equal(model.conv1.weight, source.conv1.weight)
    for before, after in zip(heads, model.conv_scale_layers.state_dict().values(), strict=True):
        assert torch.equal(before, after)
