"""What is measured: photographs and a network, and the machine that they meet on."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from higherhrnet.bench.apart import Apart
from higherhrnet.bench.timed import RealEngine
from higherhrnet.config import Header
from higherhrnet.errors import InputError, require
from higherhrnet.hardware import usable_cores
from higherhrnet.io.images import write_image
from higherhrnet.io.sources import Source, list_sources
from higherhrnet.synthetic.scenes import draw_scene
from higherhrnet.zoo.models import resolve_model, torch_weights

TYPICAL = 5
"""People who stand for a photograph's where the network has not learnt to find any."""


def photographs(images: Sequence[str], folder: Path) -> tuple[Source, ...]:
    """What was named, or a drawn scene in the folder.

    Raises:
        InputError: something named is not there, or is a video or camera.
    """
    if not images:
        path = folder / "drawn.jpg"
        write_image(path, draw_scene(0, height=480, width=640, people=(TYPICAL, TYPICAL)).image)
        return (Source(path.name, path),)
    listed = list_sources(images, sys.stdin)
    for source in listed:
        require(not source.is_video, f"--images: {source.name} is no photograph")
    return tuple(listed)


def models(name: str | None, exported: bool, folder: Path) -> dict[RealEngine, Path]:
    """The file that each engine runs; what has to be made for it is made in the folder.

    Exporting takes more memory than running, so a process of its own does it.

    Args:
        name: a file or the name of a downloaded model; None for a w32 with random weights.
        exported: whether an engine other than torch is to run.
        folder: for files that are made.

    Raises:
        InputError: the model cannot be used, or torch is needed for it and not there.
    """
    source = resolve_model(name) if name else None
    if source is None and not find_spec("torch"):
        raise InputError(
            "without torch there is no network with random weights: say --model default, or "
            'another; or pip install "higherhrnet[train]"'
        )
    if source and (source.suffix == ".onnx" or not find_spec("torch")):
        return dict.fromkeys(get_args(RealEngine), source) | {"torch": torch_weights(source)}
    weights, onnx = source or folder / "network.safetensors", folder / "network.onnx"
    with Apart(_write_network, weights, onnx if exported else None):
        return {"torch": weights, "onnxruntime": onnx, "openvino": onnx}


def _write_network(weights: Path, onnx: Path | None) -> None:
    import torch

    from higherhrnet.network import checkpoint
    from higherhrnet.network.export import export_onnx
    from higherhrnet.network.higherhrnet import HigherHRNet

    if not weights.is_file():
        torch.manual_seed(0)
        model = HigherHRNet().eval()
        checkpoint.save(weights, model, Header(model.config))
    if onnx:
        export_onnx(*checkpoint.load(weights), onnx)


def machine() -> dict[str, Any]:
    """The processor and its cores, the system, and the versions of what computes."""
    listed = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.+)", listed.read_text()) if listed.is_file() else None
    versions: dict[str, str | None] = {}
    for package in ("higherhrnet", "numpy", "opencv-python-headless", *get_args(RealEngine)):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "processor": name[1] if name else platform.processor(),
        "cores": usable_cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }
