"""HigherHRNet: multi-person 2D pose estimation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from higherhrnet.config import DecodeConfig as DecodeConfig
    from higherhrnet.config import InferenceConfig as InferenceConfig
    from higherhrnet.config import InputConfig as InputConfig
    from higherhrnet.config import ModelConfig as ModelConfig
    from higherhrnet.engines.base import EngineOptions as EngineOptions
    from higherhrnet.errors import InputError as InputError
    from higherhrnet.evaluation.metrics import evaluate as evaluate
    from higherhrnet.inference.predictor import Predictor as Predictor
    from higherhrnet.io.images import read_image as read_image
    from higherhrnet.io.images import write_image as write_image
    from higherhrnet.network.higherhrnet import HigherHRNet as HigherHRNet
    from higherhrnet.offset_config import OffsetDecodeConfig as OffsetDecodeConfig
    from higherhrnet.poses import Poses as Poses
    from higherhrnet.skeleton import COCO as COCO
    from higherhrnet.skeleton import CROWDPOSE as CROWDPOSE
    from higherhrnet.skeleton import Skeleton as Skeleton
    from higherhrnet.skeleton import load_skeleton as load_skeleton
    from higherhrnet.tracking.tracker import TrackConfig as TrackConfig
    from higherhrnet.tracking.tracker import Tracker as Tracker
    from higherhrnet.visualization.maps import draw_maps as draw_maps
    from higherhrnet.visualization.poses import draw as draw

__version__ = "0.1.0"

_MODULES = {
    "COCO": "skeleton",
    "CROWDPOSE": "skeleton",
    "DecodeConfig": "config",
    "EngineOptions": "engines.base",
    "HigherHRNet": "network.higherhrnet",
    "InferenceConfig": "config",
    "InputConfig": "config",
    "InputError": "errors",
    "ModelConfig": "config",
    "Poses": "poses",
    "Predictor": "inference.predictor",
    "Skeleton": "skeleton",
    "TrackConfig": "tracking.tracker",
    "Tracker": "tracking.tracker",
    "draw": "visualization.poses",
    "OffsetDecodeConfig": "offset_config",
    "draw_maps": "visualization.maps",
    "evaluate": "evaluation.metrics",
    "load_skeleton": "skeleton",
    "read_image": "io.images",
    "write_image": "io.images",
}
"""The module of each public name. Modules are imported at the first access to a name, so that
`import higherhrnet` is fast and only the names that need PyTorch import it."""

__all__ = [*_MODULES, "__version__"]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
