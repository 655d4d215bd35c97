"""Builds the network that a training starts from, with random or pretrained weights."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from torch import nn

from higherhrnet.config import ModelConfig
from higherhrnet.errors import InputError, reading
from higherhrnet.io.cache import cache_folder
from higherhrnet.network import checkpoint
from higherhrnet.network.convert import load_backbone
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.skeleton import Skeleton
from higherhrnet.train_config import TrainConfig
from higherhrnet.zoo.published import PUBLISHED
from higherhrnet.zoo.resolve import resolve_model, torch_weights

_BACKBONE_SUFFIXES = {".pth", ".tar", ".pt", ".json"}


def build_network(config: TrainConfig, skeleton: Skeleton) -> tuple[HigherHRNet, str]:
    """Builds the network to train.

    Heads for another skeleton, and untrained ones, are not loaded but initialized randomly.

    Returns:
        The network, and a description of its initial weights.

    Raises:
        InputError: the initial weights cannot be read or do not match the network.
    """
    network = HigherHRNet.from_config(replace(config.model, num_keypoints=len(skeleton)))
    if config.run.initialization == "kaiming":
        _initialize_kaiming(network)
    if config.run.init is None:
        return network, "random weights"
    if Path(config.run.init).suffix in _BACKBONE_SUFFIXES:
        load_backbone(network, config.run.init)
        return network, f"{config.run.init} (random heads)"
    _require_pose_model(config.run.init)
    source = torch_weights(resolve_model(config.run.init))
    pretrained, header = checkpoint.load(source)
    state = pretrained.state_dict()
    if flags := _differing_flags(network.config, header.model):
        raise InputError(
            f"{source}: its architecture differs from that of the network to train; set {flags}"
        )
    if header.skeleton.names == skeleton.names and header.training.get("heads") != "untrained":
        checkpoint.load_weights(network, state, source)
        return network, str(source)
    random = {name: w for name, w in network.state_dict().items() if _depends_on_keypoints(name)}
    loaded = {name: w for name, w in state.items() if not _depends_on_keypoints(name)}
    checkpoint.load_weights(network, loaded | random, source)
    return network, f"{source} (random heads; its skeleton is {header.skeleton.name})"


def _require_pose_model(name: str) -> None:
    """Rejects the name of a published backbone, whose file must be passed instead."""
    if name not in {model.name for model in PUBLISHED if model.weight_format == "imagenet"}:
        return
    path = cache_folder() / f"{name}.pth"
    with reading(path):
        is_downloaded = path.is_file()
    download = "" if is_downloaded else f"download it (higherhrnet download {name}), and "
    raise InputError(
        f"{name} is a pretrained backbone, not a pose model; {download}pass its file: --init {path}"
    )


def _differing_flags(current: ModelConfig, pretrained: ModelConfig) -> str:
    """Returns the flags that give the network the architecture of the pretrained one."""
    flags = []
    for field in fields(ModelConfig):
        value = getattr(pretrained, field.name)
        if field.name == "num_keypoints" or value == getattr(current, field.name):
            continue
        name = field.name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--model.{name}" if value else f"--model.no-{name}")
        else:
            values = value if isinstance(value, tuple) else (value,)
            flags.append(" ".join([f"--model.{name}", *map(str, values)]))
    return " ".join(flags)


def _depends_on_keypoints(name: str) -> bool:
    """Returns whether a weight has input or output channels for heatmaps or tags."""
    return name.startswith("final_layers.") or (
        name.startswith("deconv_layers.") and name.split(".")[2:4] == ["0", "0"]
    )


def _initialize_kaiming(network: nn.Module) -> None:
    """Initializes convolutions by He et al. (ICCV 2015), and the heads from N(0, 0.01²)."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            if name.startswith("final_layers"):
                nn.init.normal_(module.weight, std=0.01)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
