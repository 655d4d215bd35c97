"""How far int8 puts a network's maps off, and which of its layers do so most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from higherhrnet.arrays import FloatArray
from higherhrnet.engines.base import Engine, EngineOptions
from higherhrnet.engines.load import load_engine
from higherhrnet.quantization.network import FloatNetwork

if TYPE_CHECKING:
    from onnxruntime.quantization import TensorsData


Maps = Sequence[FloatArray]
"""A network's outputs, coarse to fine."""


def rank_layers(
    network: FloatNetwork, ranges: TensorsData, samples: Sequence[FloatArray], truth: Sequence[Maps]
) -> list[str]:
    """The layers, first the one that disturbs the maps most when it alone is in int8.

    Args:
        network: whose layers.
        ranges: of its values.
        samples: (V, 3, H, W) what to show it.
        truth: what it makes of each sample in float.
    """
    errors = {}
    with TemporaryDirectory() as folder:
        trial = Path(folder, "trial.onnx")
        for layer in tqdm(network.layers, "layers", unit=" layers", disable=None):
            network.write(trial, ranges, [other for other in network.layers if other != layer])
            engine, _ = load_engine(EngineOptions(str(trial), "onnxruntime"))
            errors[layer] = sum(map_errors(engine, samples, truth, len(network.header.skeleton)))
    return sorted(errors, key=lambda layer: -errors[layer])


def map_errors(
    engine: Engine, samples: Iterable[FloatArray], truth: Iterable[Maps], keypoints: int
) -> tuple[float, float]:
    """How far off an engine's heatmaps and tags are: root mean squares, as parts of the truth's."""
    off, size = np.zeros(2), np.zeros(2)
    for views, right in zip(samples, truth, strict=True):
        pairs = zip(_parts(right, keypoints), _parts(engine(views), keypoints), strict=True)
        for part, (exact, given) in enumerate(pairs):
            off[part] += np.square(given - exact).sum()
            size[part] += np.square(exact).sum()
    heatmaps, tags = np.sqrt(off / np.maximum(size, np.finfo(float).tiny)).tolist()
    return heatmaps, tags


def _parts(maps: Maps, keypoints: int) -> tuple[FloatArray, FloatArray]:
    heatmaps = np.concatenate([level[:, :keypoints].ravel() for level in maps])
    return heatmaps, maps[0][:, keypoints:].ravel()
