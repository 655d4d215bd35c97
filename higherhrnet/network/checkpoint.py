"""Weight files: safetensors files whose header describes the network and how to use it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor, nn

from higherhrnet.errors import InputError, require_file
from higherhrnet.header import Header
from higherhrnet.io.atomic import atomic_path
from higherhrnet.network.higherhrnet import HigherHRNet


def save(path: str | Path, model: HigherHRNet, header: Header) -> None:
    """Writes a network and its header to a safetensors file.

    Raises:
        InputError: the header describes another network, or the file cannot be written.
    """
    if header.model != model.config:
        raise InputError(
            f"{path}: the header describes {header.model}, but the network is {model.config}"
        )
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(serialize(tensors, {"format": "pt", **header.to_metadata()}))


def load(path: str | Path) -> tuple[HigherHRNet, Header]:
    """Loads a network and its header from a file that `save` wrote.

    Returns:
        The network in evaluation mode on the CPU, in float32, and its header.

    Raises:
        InputError: the file is missing, is not a model of this package, or its weights do not
            match the network that its header describes.
    """
    require_file(path, "`higherhrnet models` lists the available models")
    try:
        with safe_open(path, "pt") as file:
            header = Header.from_metadata(file.metadata(), str(path))
            names = [str(name) for name in file.keys()]  # noqa: SIM118
            state = {_current_name(name): file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: not a safetensors file ({error}); convert a .pth file of the paper's "
            f"authors or MMPose with `higherhrnet convert {path} OUT.safetensors`"
        ) from error
    model = HigherHRNet.from_config(header.model)
    load_weights(model, state, path)
    return model.eval(), header


def _current_name(name: str) -> str:
    """Returns the current name of a weight; earlier versions call the stem `backbone`."""
    return re.sub(r"^backbone\.", "stem.", name)


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
