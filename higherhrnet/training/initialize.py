"""Builds the network that a training starts from, with random or pretrained weights."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

from torch import nn

from higherhrnet.config.model import ModelConfig
from higherhrnet.config.training import TrainConfig
from higherhrnet.errors import InputError
from higherhrnet.network import build, checkpoint
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.training.pretrained import load_backbone
from higherhrnet.zoo.download import download_model
from higherhrnet.zoo.published import PUBLISHED
from higherhrnet.zoo.resolve import resolve_model, torch_weights

_BACKBONE_SUFFIXES = {".pth", ".tar", ".pt", ".json"}
_SCALE_HEADS = "conv_scale_layers."
_BACKBONE_SETTINGS = {"width", "stem", "modules", "blocks"}
"""The fields of `ModelConfig` that describe the backbone."""


def build_network(config: TrainConfig, skeleton: Skeleton) -> tuple[build.PoseNetwork, str]:
    """Builds the network to train.

    Heads for another skeleton, and untrained ones, are not loaded but initialized randomly; so are
    those of another kind (`ModelConfig.head`), and fuse layers that the initial weights lack. Scale
    heads are new if the initial weights have none, and omitted if the losses are not SWAHR's.

    Returns:
        The network, and a description of its initial weights.

    Raises:
        InputError: the initial weights cannot be read or do not match the network.
    """
    model = replace(config.model, num_keypoints=len(skeleton), scale_maps=config.losses.swahr)
    network = build.build_network(model)
    if config.run.initialization == "kaiming":
        _initialize_kaiming(network)
    if config.run.init is None:
        return network, "random weights"
    if backbone := _backbone_file(config.run.init):
        load_backbone(network, backbone)
        return network, f"{backbone} (random heads)"
    source = torch_weights(resolve_model(config.run.init))
    pretrained, header = checkpoint.load(source)
    state = pretrained.state_dict()
    if flags := _differing_flags(network.config, header.model):
        raise InputError(
            f"{source}: its architecture differs from that of the network to train; set {flags}"
        )
    notes, current = [], network.state_dict()
    if network.config.head != header.model.head:
        notes.append(f"its backbone, with random heads; it predicts {header.model.head}")
        state = current | {name: weight for name, weight in state.items() if name in current}
    elif network.config.scale_maps != header.model.scale_maps:
        notes.append("without its scale maps" if header.model.scale_maps else "new scale maps")
        state = {name: w for name, w in state.items() if not name.startswith(_SCALE_HEADS)}
        state |= {name: w for name, w in current.items() if name.startswith(_SCALE_HEADS)}
    if header.skeleton.names != skeleton.names or header.training.get("heads") == "untrained":
        heads = "" if network.config.head != header.model.head else "random heads; "
        notes.append(f"{heads}its skeleton is {header.skeleton.name}")
        of_keypoints = re.compile(network.KEYPOINT_WEIGHTS)
        state = {name: w for name, w in state.items() if not of_keypoints.match(name)}
        state |= {name: w for name, w in current.items() if of_keypoints.match(name)}
    checkpoint.load_weights(network, state, source)
    return network, f"{source} ({'; '.join(notes)})" if notes else str(source)


def _backbone_file(init: str) -> Path | None:
    """Returns the file of a pretrained backbone; None: the weights are those of a pose model.

    A published backbone is downloaded if it is not in the cache.
    """
    for model in PUBLISHED:
        if model.name == init and model.weight_format == "imagenet":
            return download_model(model)
    return Path(init) if Path(init).suffix in _BACKBONE_SUFFIXES else None


def _differing_flags(current: ModelConfig, pretrained: ModelConfig) -> str:
    """Returns the flags that give the network the architecture of the pretrained one.

    If the heads are of different kinds, only the backbones must be equal.
    """
    names = {field.name for field in fields(ModelConfig)} - {"num_keypoints", "scale_maps"}
    if current.head != pretrained.head:
        names &= _BACKBONE_SETTINGS
    flags = []
    for field in fields(ModelConfig):
        value = getattr(pretrained, field.name)
        if field.name not in names or value == getattr(current, field.name):
            continue
        name = field.name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--model.{name}" if value else f"--model.no-{name}")
        else:
            values = value if isinstance(value, tuple) else (value,)
            flags.append(" ".join([f"--model.{name}", *map(str, values)]))
    return " ".join(flags)


def _initialize_kaiming(network: build.PoseNetwork) -> None:
    """Initializes convolutions by He et al. (ICCV 2015), and the last ones from N(0, 0.01²).

    Convolutions that begin with zeros keep them.
    """
    for name, module in network.named_modules():
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d) or name.startswith(_SCALE_HEADS):
            continue
        if name.startswith(network.LAST_LAYERS):
            nn.init.normal_(module.weight, std=0.01)
        elif module.weight.any():
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
