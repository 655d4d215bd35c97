"""The network that a training starts from: fresh, on a trunk, or from other weights."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from torch import nn

from higherhrnet.config import ModelConfig
from higherhrnet.errors import InputError
from higherhrnet.network import checkpoint
from higherhrnet.network.convert import load_backbone
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.recipes import TrainConfig
from higherhrnet.skeleton import Skeleton
from higherhrnet.zoo.models import resolve_model, torch_weights


def build_network(config: TrainConfig, skeleton: Skeleton) -> tuple[HigherHRNet, str]:
    """The network to train, and in words where its weights come from.

    Raises:
        InputError: the weights to start from cannot be read or do not fit.
    """
    network = HigherHRNet.from_config(replace(config.model, num_keypoints=len(skeleton)))
    if config.run.initialization == "kaiming":
        _initialise(network)
    if config.run.init is None:
        return network, "from nothing"
    if Path(config.run.init).suffix in {".pth", ".tar", ".pt", ".json"}:
        load_backbone(network, config.run.init)
        return network, f"on the trunk of {config.run.init}, under fresh heads"
    source = torch_weights(resolve_model(config.run.init))
    given, header = checkpoint.load(source)
    state = given.state_dict()
    if flags := _flags(network.config, header.model):
        raise InputError(f"{source}: of another shape than the network to train; say {flags}")
    if header.skeleton.names == skeleton.names and header.training.get("heads") != "untrained":
        checkpoint.load_strictly(network, state, str(source))
        return network, f"from {source}"
    fresh = {name: w for name, w in network.state_dict().items() if _knows_skeleton(name)}
    kept = {name: w for name, w in state.items() if not _knows_skeleton(name)}
    checkpoint.load_strictly(network, kept | fresh, str(source))
    return network, f"from {source}, whose skeleton is {header.skeleton.name}: heads made anew"


def _flags(mine: ModelConfig, theirs: ModelConfig) -> str:
    """The flags that give my network their shape, whatever its keypoints."""
    said = []
    for field in fields(ModelConfig):
        value = getattr(theirs, field.name)
        if field.name == "num_keypoints" or value == getattr(mine, field.name):
            continue
        name = field.name.replace("_", "-")
        if isinstance(value, bool):
            said.append(f"--model.{name}" if value else f"--model.no-{name}")
        else:
            values = value if isinstance(value, tuple) else (value,)
            said.append(" ".join([f"--model.{name}", *map(str, values)]))
    return " ".join(said)


def _knows_skeleton(name: str) -> bool:
    return name.startswith("final_layers.") or (
        name.startswith("deconv_layers.") and name.split(".")[2:4] == ["0", "0"]
    )


def _initialise(network: nn.Module) -> None:
    """Kaiming's, that keeps signals' size through the layers; the heads begin near 0."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            if name.startswith("final_layers"):
                nn.init.normal_(module.weight, std=0.01)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
