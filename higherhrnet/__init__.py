"""HigherHRNet: every person's keypoints in one pass. Heatmaps say where, tags say whose."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from higherhrnet.errors import InputError
    from higherhrnet.inference.predictor import Predictor
    from higherhrnet.io.images import read_image
    from higherhrnet.network.higherhrnet import HigherHRNet
    from higherhrnet.poses import Poses
    from higherhrnet.skeleton import COCO, CROWDPOSE, Skeleton
    from higherhrnet.tracking.tracker import Tracker
    from higherhrnet.visualization.maps import draw_maps
    from higherhrnet.visualization.poses import draw

__version__ = "0.1.0"

_HOMES = {
    "COCO": "skeleton",
    "CROWDPOSE": "skeleton",
    "HigherHRNet": "network.higherhrnet",
    "InputError": "errors",
    "Poses": "poses",
    "Predictor": "inference.predictor",
    "Skeleton": "skeleton",
    "Tracker": "tracking.tracker",
    "draw": "visualization.poses",
    "draw_maps": "visualization.maps",
    "read_image": "io.images",
}
"""Where each public name lives: imported when first asked for, so that predicting needs no torch
and `import higherhrnet` takes no time."""

__all__ = [
    "COCO",
    "CROWDPOSE",
    "HigherHRNet",
    "InputError",
    "Poses",
    "Predictor",
    "Skeleton",
    "Tracker",
    "draw",
    "draw_maps",
    "read_image",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
