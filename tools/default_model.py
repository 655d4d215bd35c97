"""Writes the bundled model from trained weights: as safetensors and ONNX, in half precision.

    python -m tools.default_model run/best.safetensors

The inference settings in the header were chosen on the dataset coco_dev; docs/default-model.md
explains the choice.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro
from tyro.conf import Positional

import higherhrnet
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.graph.export import export_onnx
from higherhrnet.io.weights import read_weights, write_weights

FOLDER = Path(higherhrnet.__file__).with_name("zoo")
INFERENCE = InferenceConfig(
    size=256,
    flip=True,
    scales=(1.0, 2.0),
    decode=DecodeConfig(
        min_peak=0.2, position_weight=0.7, peak_window=9, min_score=0.1, min_refined_score=0.05
    ),
)
TRAINING = {
    "data": "2,154 images of COCO (val2017, some of train2017) and 3,000 of Leeds Sports Pose "
    "Extended; the stem and its heatmaps are those of MoveNet MultiPose Lightning (Google, "
    "Apache-2.0)",
    "license": "Apache-2.0 for the weights; the licenses of the images and the law of your country "
    "determine how weights that were trained on them may be used",
    "metrics": "measured on coco_dev, 346 images that are not part of the training data; metrics "
    "on COCO val2017 would not be valid, because the training data includes it",
}
"""Training metadata for the header, in addition to that of the trained weights."""


def write_default_model(weights: Positional[Path], /) -> None:
    """Writes default.safetensors and default.onnx into the package.

    Args:
        weights: A .safetensors file that `higherhrnet train` wrote.
    """
    state, trained = read_weights(weights)
    names = ("images", "epochs", "steps", "batch_size")
    training = TRAINING | {name: trained.training[name] for name in names}
    header = replace(trained, inference=INFERENCE, training=training)
    export_onnx(state, header, FOLDER / "default.onnx", half=True)
    # batch norms are small, and some of their values are below the range of half precision
    half = {name: w.astype(np.float16) if w.ndim > 1 else w for name, w in state.items()}
    write_weights(FOLDER / "default.safetensors", half, header)


if __name__ == "__main__":
    tyro.cli(write_default_model)
