"""The errors that int8 causes in a network's maps, and the layers that cause most of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from higherhrnet.arrays import FloatArray
from higherhrnet.config.header import Header
from higherhrnet.engines.base import Engine, EngineOptions
from higherhrnet.engines.load import load_engine
from higherhrnet.quantization.qdq_network import FloatNetwork

if TYPE_CHECKING:
    from onnxruntime.quantization import TensorsData


class CalibrationSample(NamedTuple):
    """An input of the network, and the outputs of the float network for it."""

    images: FloatArray
    """(B, 3, H, W)"""
    float_maps: Sequence[FloatArray]
    """The outputs, coarse to fine."""


def rank_layers(
    network: FloatNetwork, ranges: TensorsData, samples: Sequence[CalibrationSample]
) -> list[str]:
    """Sorts the layers by the error of the maps when only that layer is int8, largest first.

    Args:
        network: the network.
        ranges: the activation ranges, as `calibrate` returns them.
        samples: the inputs on which the errors are measured.
    """
    errors = {}
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # open files on Windows
        trial = Path(folder, "trial.onnx")
        for layer in tqdm(network.layers, "ranking", unit=" layers", disable=None):
            network.write(trial, ranges, [other for other in network.layers if other != layer])
            engine, _ = load_engine(EngineOptions(str(trial), "onnxruntime"))
            errors[layer] = sum(map_errors(engine, samples, network.header))
    return sorted(errors, key=lambda layer: -errors[layer])


def map_errors(
    engine: Engine, samples: Iterable[CalibrationSample], header: Header
) -> tuple[float, float]:
    """Measures the errors of an engine's heatmaps, and of its tags or offsets.

    Returns:
        The root mean square errors of heatmaps and of tags or offsets, divided by the root mean
        square of the float maps.
    """
    errors, norms = np.zeros(2), np.zeros(2)
    for images, float_maps in samples:
        maps = _split(engine(images), header)
        for kind, (exact, quantized) in enumerate(
            zip(_split(float_maps, header), maps, strict=True)
        ):
            errors[kind] += np.square(quantized - exact).sum()
            norms[kind] += np.square(exact).sum()
    heatmaps, others = np.sqrt(errors / np.maximum(norms, np.finfo(float).tiny)).tolist()
    return heatmaps, others


def _split(maps: Sequence[FloatArray], header: Header) -> tuple[FloatArray, FloatArray]:
    """Returns all values of the heatmaps, and all values of the tags or offsets."""
    if header.model.head == "offsets":
        return maps[0].ravel(), maps[1].ravel()
    count = len(header.skeleton)
    if header.model.has_offsets:  # centers and offsets, which remain in float, are last
        maps = maps[:-1]
    heatmaps = np.concatenate([output[:, :count].ravel() for output in maps])
    return heatmaps, maps[0][:, count:].ravel()
