"""A run's best weights → the model in the box: its settings and facts in the header, in half size.

    python -m tools.default_model run/best.safetensors

What is here is the record of what was chosen on coco_dev; docs/default-model.md says why.
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

BOX = Path(higherhrnet.__file__).with_name("zoo")
SETTINGS = InferenceConfig(
    size=256,
    flip=True,
    scales=(1.0, 2.0),
    decode=DecodeConfig(
        min_peak=0.2, position_weight=0.7, peak_window=9, min_score=0.1, min_refined_score=0.05
    ),
)
FACTS = {
    "data": "2,154 photographs of COCO (val2017, some of train2017) and 3,000 of Leeds Sports Pose "
    "Extended; its trunk and the heatmaps it begins from are MoveNet MultiPose Lightning's "
    "(Google, Apache-2.0)",
    "licence": "Apache-2.0 for the weights; the photographs' own licences say what may be done "
    "with what was learnt from them where you live",
    "figures": "on coco_dev, 346 photographs that it never saw; never report it on COCO val2017",
}


def pack(weights: Positional[Path], /) -> None:
    """Writes default.safetensors and default.onnx into the package.

    Args:
        weights: A .safetensors file that `higherhrnet train` wrote.
    """
    network, trained = checkpoint.load(weights)
    kept = {name: trained.training[name] for name in ("photographs", "epochs", "steps", "batch")}
    header = replace(trained, inference=SETTINGS, training=FACTS | kept)
    export_onnx(network, header, BOX / "default.onnx", half=True)
    # batch norms are small and reach down to where half precision ends
    state = {name: w.half() if w.ndim > 1 else w for name, w in network.state_dict().items()}
    with atomic_path(BOX / "default.safetensors") as beside:
        beside.write_bytes(save(state, {"format": "pt", **header.to_metadata()}))


if __name__ == "__main__":
    tyro.cli(pack)
