"""Measures the latency of the published models on a CPU, with random weights.

Run it with `python -m higherhrnet.bench.scripts.zoo`. The values are in `higherhrnet.zoo.table`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
import tyro

from higherhrnet import Predictor
from higherhrnet.arrays import FloatArray, Image
from higherhrnet.bench.tables import markdown_table
from higherhrnet.bench.timing import Measurement, timed
from higherhrnet.config.header import Header
from higherhrnet.config.inference import InferenceConfig
from higherhrnet.config.model import ModelConfig
from higherhrnet.graph.build import trace
from higherhrnet.graph.export import export_onnx
from higherhrnet.io.weights import Weights
from higherhrnet.poses.skeletons import SKELETONS
from higherhrnet.zoo.published import PUBLISHED, published_model

_LAST_LAYERS = "final_layers.", "head_heatmap.1.", "offset_final_layer."
"""The beginnings of the names of the weights that predict the maps."""


def random_weights(config: ModelConfig) -> Weights:
    """Draws weights with which activations keep their magnitude; all maps are 0."""
    rng = np.random.default_rng(0)
    weights: dict[str, FloatArray] = {}
    for name, shape in trace(config).shapes.items():
        if len(shape) == 4:
            scale = 0 if name.startswith(_LAST_LAYERS) else (2 / np.prod(shape[1:])) ** 0.5
            weights[name] = np.float32(scale) * rng.standard_normal(shape, np.float32)
        else:
            is_scale = name.endswith(("running_var", "weight"))
            weights[name] = np.full(shape, is_scale, np.float32)
    return weights


def measure(predictor: Predictor, image: Image, runs: int) -> tuple[Measurement, Measurement]:
    """Measures the latency and the processor time of an image, in milliseconds."""
    predictor(image)
    latency, processor = [], []
    for _ in range(runs):
        start = process_time()
        latency.append(1e3 * timed(partial(predictor, image))[0])
        processor.append(1e3 * (process_time() - start))
    return Measurement.of(latency), Measurement.of(processor)


def main(models: tuple[str, ...] = (), runs: int = 20, threads: int | None = None) -> None:
    """Prints the latency for an image of 640×480 pixels in ONNX Runtime, in float32.

    Args:
        models: Names of the models to measure (default: one model for each architecture, skeleton
            and input size).
        runs: Number of measured runs.
        threads: Number of CPU threads. Processor time with one thread is hardly affected by other
            processes.
    """
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    distinct = {(m.config, m.input_size): m for m in reversed(PUBLISHED) if m.skeleton}
    chosen = [published_model(name) for name in models] or list(distinct.values())
    rows = []
    for model in chosen:
        header = Header(model.config, SKELETONS[model.skeleton or ""])
        with TemporaryDirectory() as folder:
            path = Path(folder, "model.onnx")
            export_onnx(path, random_weights(model.config), header)
            loaded = Predictor.load(path, engine="onnxruntime", threads=threads)
        config = InferenceConfig(size=model.input_size)
        for flip in (False, True):
            predictor = loaded.with_config(config).with_flip(flip)
            rows.append([model.name, "yes" if flip else "no", *measure(predictor, image, runs)])
            print(*rows[-1], flush=True)
    heading = ["model", "flipped view", "latency in ms", "processor time in ms"]
    print(markdown_table(heading, rows))


if __name__ == "__main__":
    tyro.cli(main)
