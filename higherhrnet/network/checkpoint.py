"""Weights on disk: safetensors whose header says everything needed to build, feed and read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor, nn

from higherhrnet.config import Header
from higherhrnet.errors import InputError
from higherhrnet.io.atomic import atomic_path
from higherhrnet.network.higherhrnet import HigherHRNet


def save(path: str | Path, model: HigherHRNet, header: Header) -> None:
    """Writes a network and its header to a safetensors file, beside first and then renamed.

    Raises:
        InputError: the header describes another network, or the place cannot be written to.
    """
    if header.model != model.config:
        raise InputError(f"{path}: the header says {header.model}, the network is {model.config}")
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as beside:
        beside.write_bytes(serialize(tensors, {"format": "pt", **header.to_metadata()}))


def load(path: str | Path) -> tuple[HigherHRNet, Header]:
    """The network in a file that `save` wrote, in evaluation mode on the CPU, and its header.

    Weights stored in half precision become float32.

    Raises:
        InputError: the file is missing, is not ours, or its weights are not the header's.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; `higherhrnet models` lists what can be had")
    try:
        with safe_open(path, "pt") as file:
            header = Header.from_metadata(file.metadata(), str(path))
            names = [str(name) for name in file.keys()]  # noqa: SIM118
            state = {_current_name(name): file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: not a safetensors file ({error}); for a .pth of the paper's authors or "
            f"MMPose run `higherhrnet convert {path} OUT.safetensors` first"
        ) from error
    model = HigherHRNet.from_config(header.model)
    load_strictly(model, state, str(path))
    return model.eval(), header


def _current_name(name: str) -> str:
    """A weight's name, where the file was written when the stem was called the backbone."""
    return re.sub(r"^backbone\.", "stem.", name)


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Fills a network from a state dict that must fit it exactly.

    Raises:
        InputError: something is left over, missing or of another shape; all of it is listed.
    """
    wanted = model.state_dict()
    wrong = [
        f"{name} is {tuple(state[name].shape)}, not {tuple(wanted[name].shape)}"
        for name in wanted.keys() & state.keys()
        if state[name].shape != wanted[name].shape
    ]
    problems = {
        "missing": wanted.keys() - state.keys(),
        "left over": state.keys() - wanted.keys(),
        "of another shape": wrong,
    }
    if any(problems.values()):
        listed = "; ".join(
            f"{what}: {_shorten(names)}" for what, names in problems.items() if names
        )
        raise InputError(f"{source}: its weights do not fit the network; {listed}")
    model.load_state_dict(state)


def _shorten(names: Iterable[str], shown: int = 40) -> str:
    names = sorted(names)
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest
