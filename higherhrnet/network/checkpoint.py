"""Saves networks in weight files, and loads networks from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten

import torch
from torch import Tensor, nn

from higherhrnet.config.header import Header
from higherhrnet.errors import InputError
from higherhrnet.io.weights import Weights, read_weights, write_weights
from higherhrnet.network.build import PoseNetwork, build_network


def save(path: str | Path, model: PoseNetwork, header: Header) -> None:
    """Writes a network and its header to a safetensors file.

    Raises:
        InputError: the header describes another network, or the file cannot be written.
    """
    if header.model != model.config:
        raise InputError(
            f"{path}: the header describes {header.model}, but the network is {model.config}"
        )
    write_weights(path, to_arrays(model), header)


def load(path: str | Path) -> tuple[PoseNetwork, Header]:
    """Loads a network and its header from a file that `save` wrote.

    Returns:
        The network in evaluation mode on the CPU, in float32, and its header.

    Raises:
        InputError: the file is missing, is not a model of this package, or its weights do not
            match the network that its header describes.
    """
    weights, header = read_weights(path)
    model = build_network(header.model)
    load_weights(model, {name: torch.from_numpy(w) for name, w in weights.items()}, path)
    return model.eval(), header


def to_arrays(model: nn.Module) -> Weights:
    """Returns the state dict of a network as arrays."""
    return {name: tensor.numpy(force=True) for name, tensor in model.state_dict().items()}


def load_weights(model: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Loads a state dict that must match the network exactly.

    Only the batch counters of batch norm (`num_batches_tracked`) may be missing.

    Args:
        model: the network to load the weights into.
        state: weights by name.
        source: where the weights come from, for the error message.

    Raises:
        InputError: weights are missing, unexpected or of another shape; the message lists them.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        _, *problems = str(error).splitlines()
        listed = shorten(" ".join(shorten(problem, 600) for problem in problems), 2000)
        raise InputError(f"{source}: the weights do not match the network: {listed}") from error
