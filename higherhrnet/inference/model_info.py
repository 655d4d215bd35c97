"""What a model is, in words."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from higherhrnet.config import Header, ModelConfig
from higherhrnet.engines.base import EngineOptions
from higherhrnet.engines.load import load_engine
from higherhrnet.errors import InputError
from higherhrnet.zoo.resolve import resolve_model

_LONGEST_HEADER = 2**24


def describe_model(model: str | Path) -> str:
    """A few lines about a model file: shape, parameters, multiply-adds, input, settings, training.

    Raises:
        InputError: it is missing or foreign.
    """
    path = resolve_model(model)
    header = _header(path)
    config, shown = header.model, header.input
    side = header.inference.size or shown.size
    size = f"{side}×{side}"
    deconvs = " ".join(map(str, config.deconv_kernels)) or "none"
    rows = {
        "file": f"{path}, {path.stat().st_size / 1e6:.1f} MB",
        "network": f"{config.stem}, width {config.width}, {config.num_keypoints} keypoints, "
        f"{config.num_tags} tag maps, transposed convolutions {deconvs}",
        **_costs(config, side, size),
        "input": f"shorter side {side}, mean {shown.mean}, std {shown.std}, "
        f"{shown.convention} coordinates",
        "skeleton": f"{header.skeleton.name}: {', '.join(header.skeleton.names)}",
        "settings": ", ".join(
            f"{k} {v}" for k, v in asdict(header.inference).items() if k != "decode"
        ),
        "decoding": ", ".join(f"{k} {v}" for k, v in asdict(header.inference.decode).items()),
        "training": ", ".join(f"{k}: {v}" for k, v in header.training.items()) or "nothing said",
    }
    return "\n".join(f"{name:14}{text}" for name, text in rows.items())


def _header(path: Path) -> Header:
    if path.suffix == ".onnx":
        return load_engine(EngineOptions(str(path), "onnxruntime"))[1]
    try:  # a safetensors file begins with the length of its JSON header
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            entries = json.loads(file.read(min(length, _LONGEST_HEADER)))
        metadata = dict(entries.get("__metadata__", {}))
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: neither an .onnx nor a .safetensors model") from error
    return Header.from_metadata(metadata, str(path))


def _costs(config: ModelConfig, side: int, size: str) -> dict[str, str]:
    if find_spec("torch") is None:
        return {"cost": 'counted where torch is: pip install "higherhrnet[torch]"'}
    import torch

    from higherhrnet.network.higherhrnet import (
        HigherHRNet,
        count_multiply_adds,
        count_parameters,
    )

    with torch.device("meta"):
        parameters = count_parameters(HigherHRNet.from_config(config))
    multiply_adds = count_multiply_adds(config, side, side) / 1e9
    return {
        "parameters": f"{parameters:,}",
        "multiply-adds": f"{multiply_adds:.2f} G at {size} (the paper's way of counting gives a "
        "little more: it takes a transposed convolution for four times what it is)",
    }
