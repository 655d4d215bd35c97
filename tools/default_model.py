"""Makes the bundled model: from trained weights and MoveNet's heads to the files of the package.

    python -m tools.default_model assemble run/best.safetensors movenet-multipose.json \
        assembled.safetensors
    python -m tools.default_model bundle rescored.safetensors

Between these two, `tools.offset_head` trains the offsets, and `higherhrnet train-rescore` the
rescoring network. The inference settings in the header were chosen on the dataset coco_dev;
docs/default-model.md explains the choice.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from tyro.conf import Positional
from tyro.extras import subcommand_cli_from_dict

import higherhrnet
from higherhrnet.config.centers import CenterDecodeConfig
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.graph.export import export_onnx
from higherhrnet.graph.stem_tables import MOVENET_HEATMAPS
from higherhrnet.io.weights import Weights, read_weights, write_weights
from higherhrnet.network.stems.movenet import read_center_head

FOLDER = Path(higherhrnet.__file__).with_name("zoo")
_FINER_MAPS = ("deconv_layers.", "final_layers.1.")
INFERENCE = InferenceConfig(
    size=384,
    flip=False,
    scales=(1.0, 0.5),
    decode=DecodeConfig(
        peak_window=3, min_score=0.05, centers=CenterDecodeConfig(max_similarity=0.5)
    ),
)
TRAINING = {
    "images": 7918,
    "data": "2,154 images of COCO (val2017, some of train2017) and 3,000 of Leeds Sports Pose "
    "Extended; for the offsets, 2,764 more of COCO (train2017); the stem, its heatmaps and the "
    "centers are those of MoveNet MultiPose Lightning (Google, Apache-2.0)",
    "license": "Apache-2.0 for the weights; the licenses of the images and the law of your country "
    "determine how weights that were trained on them may be used",
    "metrics": "measured on coco_dev, 346 images that are not part of the training data; metrics "
    "on COCO val2017 would not be valid, because the training data includes it",
}
"""Training metadata for the header, in addition to that of the trained weights."""


def assemble(
    weights: Positional[Path], movenet: Positional[Path], out: Positional[Path], /
) -> None:
    """Adds MoveNet's heads for centers and offsets to a trained network.

    The network is the trained one without its transposed-convolution module. Its heatmaps are the
    averages of the trained ones and of MoveNet's.

    Args:
        weights: A .safetensors file that `higherhrnet train` wrote, of a network with tags.
        movenet: The .json file of MoveNet MultiPose; the .bin file must be in the same folder.
        out: The .safetensors file to write.
    """
    state, trained = read_weights(weights)
    state = {name: w for name, w in state.items() if not name.startswith(_FINER_MAPS)}
    state |= average_heatmaps(state, trained.model.width)
    head = read_center_head(movenet)
    state |= {f"center_head.{name}": w.numpy() for name, w in head.items()}
    model = replace(trained.model, head="tags-and-offsets", deconv_kernels=())
    names = ("epochs", "steps", "batch_size")
    training = TRAINING | {name: trained.training[name] for name in names}
    header = replace(trained, model=model, inference=INFERENCE, training=training)
    write_weights(out, state, header)


def bundle(weights: Positional[Path], /) -> None:
    """Writes default.safetensors and default.onnx into the package, in half precision.

    Args:
        weights: A .safetensors file with all parts of the model.
    """
    state, header = read_weights(weights)
    header = replace(header, inference=INFERENCE, training=header.training | TRAINING)
    export_onnx(FOLDER / "default.onnx", state, header, half=True)
    # batch norms are small, and some of their values are below the range of half precision
    half = {name: w.astype(np.float16) if w.ndim > 1 else w for name, w in state.items()}
    write_weights(FOLDER / "default.safetensors", half, header)


def average_heatmaps(state: Weights, width: int) -> Weights:
    """Computes the weights of the head whose heatmaps are averages with those of the stem.

    Args:
        state: the weights of the network.
        width: channels of the features, which the heatmaps of the stem follow.
    """
    names = ("final_layers.0.weight", "final_layers.0.bias")
    weight, bias = (state[name].astype(np.float32) for name in names)
    keypoints = np.arange(MOVENET_HEATMAPS)
    weight[keypoints, width + keypoints] += 1  # (outputs, inputs, 1, 1)
    weight[keypoints] /= 2
    bias[keypoints] /= 2
    return dict(zip(names, (weight, bias), strict=True))


if __name__ == "__main__":
    subcommand_cli_from_dict({"assemble": assemble, "bundle": bundle})
