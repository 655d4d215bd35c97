"""Loads the state of an earlier run from its folder, and compares the settings."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from higherhrnet.config.training import TrainConfig
from higherhrnet.errors import InputError, reading

JsonObject = dict[str, Any]

_FIXED_SETTINGS = (
    "model.", "input.", "targets.", "losses.", "data.skeleton", "optim.freeze", "optim.slow",
)  # fmt: skip
"""Settings that cannot change when a run is resumed: they determine the network, what it is trained
to predict, or the parameters of the optimizer."""
_UNREPORTED_SETTINGS = (
    "run.out", "run.resume", "run.init", "run.device", "run.preview_images", "data.workers",
)  # fmt: skip
"""Settings that can change without a message."""
_UNPREFIXED_GROUPS = ("data.", "optim.", "run.")
"""Groups of settings whose flags do not contain the group's name."""


def flatten_config(config: TrainConfig) -> JsonObject:
    """Converts a configuration to JSON values by name, such as `optim.lr`."""
    groups = json.loads(json.dumps(asdict(config), default=str))
    return {
        f"{group}.{name}": value
        for group, settings in groups.items()
        for name, value in settings.items()
    }


def load_state(config: TrainConfig, *, verbose: bool = True) -> JsonObject | None:
    """Loads the state that an earlier run saved in the same folder.

    Args:
        config: the configuration of the current run.
        verbose: report changed settings to stderr.

    Returns:
        The state as it was saved; None if the folder contains none.

    Raises:
        InputError: the folder contains a run, but this one does not resume it or has incompatible
            settings; or the file cannot be read.
    """
    folder = config.run.out
    path = folder / "last.pt"
    with reading(path):
        is_file = path.is_file()
    if not is_file:
        if config.run.resume and verbose:
            print(f"{folder} contains no run to resume; starting a new one", file=sys.stderr)
        return None
    if not config.run.resume:
        raise InputError(f"{folder} contains a run: resume it with --resume, or use another --out")
    state = _read_state(path)
    saved, current = state["config"], flatten_config(config)
    changes = {
        name: f"{_flag(name)} is {current.get(name)}, was {saved.get(name)}"
        for name in sorted(saved.keys() | current.keys())
        if saved.get(name) != current.get(name) and not name.startswith(_UNREPORTED_SETTINGS)
    }
    if incompatible := [text for name, text in changes.items() if name.startswith(_FIXED_SETTINGS)]:
        raise InputError(
            f"{folder}: the run cannot be resumed with other settings ({'; '.join(incompatible)}); "
            "use the settings in its config.json, or another --out"
        )
    if changes and verbose:
        print(f"resuming with changed settings: {'; '.join(changes.values())}", file=sys.stderr)
    return state


def saved_settings(folder: Path) -> JsonObject:
    """Reads the settings of the run that a folder contains.

    Args:
        folder: the folder of the run.

    Returns:
        The settings by name, as `flatten_config` returns them; empty if there is no run.

    Raises:
        InputError: the file cannot be read.
    """
    path = folder / "last.pt"
    return dict(_read_state(path, lazily=True)["config"]) if path.is_file() else {}


def _read_state(path: Path, *, lazily: bool = False) -> JsonObject:
    """Reads last.pt; lazily, its tensors are read when they are used."""
    try:
        state: JsonObject = torch.load(path, map_location="cpu", weights_only=True, mmap=lazily)
    except Exception as error:  # a damaged file raises errors of many types
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: cannot be read ({reason}); move it elsewhere to start a new run"
        ) from error
    return state


def _flag(name: str) -> str:
    """Returns the command-line flag of a setting."""
    short = name.partition(".")[2] if name.startswith(_UNPREFIXED_GROUPS) else name
    return f"--{short.replace('_', '-')}"
