"""Describes a model file as text; implements `higherhrnet info`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from higherhrnet.config.header import Header
from higherhrnet.config.model import HeadName, ModelConfig
from higherhrnet.config.rescoring import RescoringNetwork
from higherhrnet.engines.base import EngineOptions
from higherhrnet.engines.load import load_engine
from higherhrnet.errors import InputError
from higherhrnet.graph.build import trace
from higherhrnet.poses.keypoint_names import describe_pairs
from higherhrnet.zoo.resolve import resolve_model

_MAX_HEADER_BYTES = 2**24


def _tag_heads(config: ModelConfig) -> str:
    kernels = ", ".join(map(str, config.deconv_kernels)) or "none"
    scale_maps = ", with scale maps for training" if config.scale_maps else ""
    return (
        f"{config.num_keypoints} heatmaps, {config.num_tags} tag maps, kernel sizes of transposed "
        f"convolutions: {kernels}{scale_maps}"
    )


def _offset_heads(config: ModelConfig) -> str:
    count = config.num_keypoints
    return f"{count} heatmaps and 1 of the centers, {count} offset fields"


def _all_heads(config: ModelConfig) -> str:
    count = config.num_keypoints
    return f"{_tag_heads(config)}; 1 heatmap of the centers, {count} offset fields"


_HEADS: dict[HeadName, Callable[[ModelConfig], str]] = {
    "tags": _tag_heads,
    "offsets": _offset_heads,
    "tags-and-offsets": _all_heads,
}
"""Describes the heads of a network."""


def describe_model(model: str | Path) -> str:
    """Describes a model: architecture, size, computation, input, inference settings and training.

    Args:
        model: a .onnx or .safetensors file, `default` for the bundled model, or the name of a
            published model.

    Returns:
        One line for each property.

    Raises:
        InputError: the file is missing or is not a model of this package.
    """
    path = resolve_model(model)
    header = _read_header(path)
    config, inputs = header.model, header.input
    side = header.inference.size or inputs.size
    inference = asdict(header.inference)
    decoding = inference.pop("decode")
    rows = {
        "file": f"{path}, {path.stat().st_size / 1e6:.1f} MB",
        "architecture": f"stem {config.stem}, width {config.width}, {_HEADS[config.head](config)}",
        **_costs(config, side),
        "input": f"shorter side {side} pixels, mean {inputs.mean}, std {inputs.std}, "
        f"{inputs.convention} pixel coordinates",
        "skeleton": f"{header.skeleton.name}: {', '.join(header.skeleton.names)}",
        "flip pairs": describe_pairs(header.skeleton.pairs, header.skeleton.unpaired_sides),
        "inference": _list_values(inference),
        "decoding": _list_values(decoding),
        "rescoring": _describe_rescoring(header.rescoring),
        "training": _list_values(header.training) or "unknown",
    }
    return "\n".join(f"{name:14}{text}" for name, text in rows.items())


def _describe_rescoring(network: RescoringNetwork | None) -> str:
    if network is None:
        return "without"
    return f"with a rescoring network{' with context' * network.context}"


def _list_values(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in values.items())


def _read_header(path: Path) -> Header:
    if path.suffix == ".onnx":
        return load_engine(EngineOptions(str(path), "onnxruntime"))[1]
    try:  # a .safetensors file begins with the length of its JSON header
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            entries = json.loads(file.read(min(length, _MAX_HEADER_BYTES)))
        metadata = dict(entries.get("__metadata__", {}))
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: is neither a .onnx nor a .safetensors model") from error
    return Header.from_metadata(metadata, str(path))


def _costs(config: ModelConfig, side: int) -> dict[str, str]:
    graph = trace(config)
    multiply_adds = graph.multiply_adds(side, side) / 1e9
    return {
        "parameters": f"{graph.num_parameters:,}",
        "multiply-adds": f"{multiply_adds:.2f} G for {side}×{side} pixels (the paper counts "
        "those of transposed convolutions four times)",
    }
