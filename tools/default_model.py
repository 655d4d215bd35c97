"""Writes the bundled model from trained weights: as safetensors and ONNX, in half precision.

    python -m tools.default_model run/best.safetensors

The inference settings in the header were chosen on the dataset coco_dev; docs/default-model.md
explains the choice.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import tyro
from safetensors.torch import save
from tyro.conf import Positional

import higherhrnet
from higherhrnet.config import DecodeConfig, InferenceConfig
from higherhrnet.io.atomic import atomic_path
from higherhrnet.network import checkpoint
from higherhrnet.network.export import export_onnx

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
    network, trained = checkpoint.load(weights)
    names = ("images", "epochs", "steps", "batch_size")
    training = TRAINING | {name: trained.training[name] for name in names}
    header = replace(trained, inference=INFERENCE, training=training)
    export_onnx(network, header, FOLDER / "default.onnx", half=True)
    # batch norms are small, and some of their values are below the range of half precision
    state = {
        name: weight.half() if weight.ndim > 1 else weight
        for name, weight in network.state_dict().items()
    }
    with atomic_path(FOLDER / "default.safetensors") as temporary:
        temporary.write_bytes(save(state, {"format": "pt", **header.to_metadata()}))


if __name__ == "__main__":
    tyro.cli(write_default_model)
