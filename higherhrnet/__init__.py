"""HigherHRNet: multi-person 2D pose estimation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from higherhrnet.config.centers import CenterDecodeConfig as CenterDecodeConfig
    from higherhrnet.config.inference import DecodeConfig as DecodeConfig
    from higherhrnet.config.inference import InferenceConfig as InferenceConfig
    from higherhrnet.config.model import InputConfig as InputConfig
    from higherhrnet.config.model import ModelConfig as ModelConfig
    from higherhrnet.config.offsets import OffsetDecodeConfig as OffsetDecodeConfig
    from higherhrnet.engines.base import EngineOptions as EngineOptions
    from higherhrnet.errors import InputError as InputError
    from higherhrnet.evaluation.metrics import evaluate as evaluate
    from higherhrnet.inference.predictor import Predictor as Predictor
    from higherhrnet.io.images import read_image as read_image
    from higherhrnet.io.images import write_image as write_image
    from higherhrnet.io.skeleton_files import load_skeleton as load_skeleton
    from higherhrnet.network.higherhrnet import HigherHRNet as HigherHRNet
    from higherhrnet.poses.poses import Poses as Poses
    from higherhrnet.poses.skeleton import Skeleton as Skeleton
    from higherhrnet.poses.skeletons import COCO as COCO
    from higherhrnet.poses.skeletons import CROWDPOSE as CROWDPOSE
    from higherhrnet.tracking.tracker import TrackConfig as TrackConfig
    from higherhrnet.tracking.tracker import Tracker as Tracker
    from higherhrnet.visualization.maps import draw_maps as draw_maps
    from higherhrnet.visualization.poses import draw as draw

__version__ = "0.1.0"

_MODULES = {
    "COCO": "poses.skeletons",
    "CROWDPOSE": "poses.skeletons",
    "CenterDecodeConfig": "config.centers",
    "DecodeConfig": "config.inference",
    "EngineOptions": "engines.base",
    "HigherHRNet": "network.higherhrnet",
    "InferenceConfig": "config.inference",
    "InputConfig": "config.model",
    "InputError": "errors",
    "ModelConfig": "config.model",
    "OffsetDecodeConfig": "config.offsets",
    "Poses": "poses.poses",
    "Predictor": "inference.predictor",
    "Skeleton": "poses.skeleton",
    "TrackConfig": "tracking.tracker",
    "Tracker": "tracking.tracker",
    "draw": "visualization.poses",
    "draw_maps": "visualization.maps",
    "evaluate": "evaluation.metrics",
    "load_skeleton": "io.skeleton_files",
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
