"""The network that a training starts from: fresh, on a trunk, or from other weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from higherhrnet.errors import InputError
from higherhrnet.network import checkpoint
from higherhrnet.network.convert import load_trunk
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.recipes import TrainConfig
from higherhrnet.skeleton import Skeleton
from higherhrnet.zoo.download import local_model


def build_network(config: TrainConfig, skeleton: Skeleton) -> tuple[HigherHRNet, str]:
    """The network to train, and in words where its weights come from.

    Raises:
        InputError: the weights to start from cannot be read or do not fit.
    """
    network = HigherHRNet.from_config(replace(config.model, num_keypoints=len(skeleton)))
    if config.run.initialisation == "kaiming":
        _initialise(network)
    if config.run.init is None:
        return network, "from nothing"
    if Path(config.run.init).suffix in {".pth", ".tar", ".pt"}:
        load_trunk(network, config.run.init)
        return network, f"on the trunk of {config.run.init}, under fresh heads"
    source = local_model(config.run.init)
    given, header = checkpoint.load(source)
    state = given.state_dict()
    if header.skeleton.names == skeleton.names and header.training.get("heads") != "untrained":
        checkpoint.load_strictly(network, state, str(source))
        return network, f"from {source}"
    if header.model.width != network.config.width:
        raise InputError(
            f"{source}: its width is {header.model.width}, not {network.config.width}; "
            f"say --model.width {header.model.width}"
        )
    fresh = {name: w for name, w in network.state_dict().items() if _knows_skeleton(name)}
    kept = {name: w for name, w in state.items() if not _knows_skeleton(name)}
    checkpoint.load_strictly(network, kept | fresh, str(source))
    return network, f"from {source}, whose skeleton is {header.skeleton.name}: heads made anew"


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
