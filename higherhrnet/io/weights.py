"""Weight files: .safetensors files with the header of the network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from higherhrnet.config.header import Header
from higherhrnet.errors import InputError, require_file
from higherhrnet.io.atomic import atomic_path

Weights = Mapping[str, NDArray[Any]]
"""The weights of a network by their names in the state dict."""


def read_weights(path: str | Path) -> tuple[Weights, Header]:
    """Reads the weights and the header of a file that `write_weights` wrote.

    Raises:
        InputError: the file is missing or is not a model of this package.
    """
    require_file(path, "`higherhrnet models` lists the available models")
    try:
        with safe_open(path, "numpy") as file:
            header = Header.from_metadata(file.metadata(), str(path))
            names = [str(name) for name in file.keys()]  # noqa: SIM118
            weights = {_current_name(name): file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: a type that NumPy lacks
        raise InputError(
            f"{path}: not a safetensors file of float32 weights ({error}); convert a .pth file of "
            f"the paper's authors or MMPose with `higherhrnet convert {path} OUT.safetensors`"
        ) from error
    return weights, header


def write_weights(path: str | Path, weights: Weights, header: Header) -> None:
    """Writes the weights and the header of a network.

    Raises:
        InputError: the file cannot be written.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in weights.items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(arrays, {"format": "pt", **header.to_metadata()}))


def _current_name(name: str) -> str:
    """Returns the current name of a weight; earlier versions call the stem `backbone`."""
    return re.sub(r"^backbone\.", "stem.", name)
