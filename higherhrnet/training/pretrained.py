"""Loads pretrained backbones into networks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from higherhrnet.errors import InputError
from higherhrnet.io.torch_file.reader import read_torch_file
from higherhrnet.io.weights import Weights
from higherhrnet.network.checkpoint import load_weights
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.network.hrnet import HRNet
from higherhrnet.network.stems.efficientnet import EfficientNetLite
from higherhrnet.network.stems.movenet import MoveNet, read_center_head, read_movenet
from higherhrnet.network.stems.stem import Stem
from higherhrnet.zoo.convert import (
    COARSE_FUSE_LAYERS,
    is_head,
    read_state_dict,
    select_backbone,
    without_prefixes,
)


def load_backbone(model: HRNet, source: str | Path) -> None:
    """Loads pretrained weights into the backbone of a network; its heads are not changed.

    The file contains an HRNet trained on ImageNet, or a pose network of the paper's authors or of
    MMPose. If the network has a pretrained stem, the file contains that stem, an EfficientNet-Lite
    or MoveNet (TensorFlow.js's `.json`), and the rest of the backbone is not changed either. A head
    for the centers and offsets of COCO's keypoints beside a MoveNet stem gets MoveNet's weights,
    too, and then predicts the same as MoveNet. Other heads, and layers of the file that the network
    does not have, are ignored. Fuse layers to coarser strides, which networks that predict only
    tags lack, are not changed if the file has none of them; all other weights must match.

    Raises:
        InputError: the file cannot be read, contains code, or its weights do not match.
    """
    source = Path(source)
    current = model.state_dict()
    if model.stem:
        reader = _STEM_READERS.get(type(model.stem))
        if reader is None:
            raise InputError(
                f"--init {source}: weights of the stem {type(model.stem).__name__} are read only "
                "from .safetensors files of this package"
            )
        stem = reader(source)
        loaded = {f"stem.{name}": weight for name, weight in stem.items()}
        if _has_movenet_heads(model):
            head = read_center_head(source)
            loaded |= {f"center_head.{name}": weight for name, weight in head.items()}
    else:
        weights = without_prefixes(_read_state_dict(source))
        loaded = _to_tensors(select_backbone(weights, current))
    lacks_coarse_layers = not any(COARSE_FUSE_LAYERS.match(name) for name in loaded)
    kept = {
        name: tensor
        for name, tensor in current.items()
        if (not name.startswith("stem.") if model.stem else is_head(name))
        or (lacks_coarse_layers and COARSE_FUSE_LAYERS.match(name))
    }
    load_weights(model, kept | loaded, source)


def _has_movenet_heads(model: HRNet) -> bool:
    """Whether a network has a head for centers and for the offsets of MoveNet's keypoints."""
    return (
        isinstance(model, HigherHRNet)
        and isinstance(model.stem, MoveNet)
        and model.center_head is not None
        and model.config.num_keypoints == model.num_heatmaps
    )


def _read_state_dict(source: Path) -> Weights:
    return read_state_dict(read_torch_file(source), source)


def _to_tensors(weights: Weights) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in weights.items()}


def _read_efficientnet(source: Path) -> dict[str, Tensor]:
    """Reads the weights of EfficientNet-Lite by this package's names, without the classifier."""
    state = _read_state_dict(source)
    renamed = {re.sub(r"(^|\.)_", r"\1", name): array for name, array in state.items()}
    classifier = ("conv_head.", "bn1.", "fc.")
    return _to_tensors(
        {name: array for name, array in renamed.items() if not name.startswith(classifier)}
    )


_STEM_READERS: dict[type[Stem], Callable[[Path], dict[str, Tensor]]] = {
    EfficientNetLite: _read_efficientnet,
    MoveNet: read_movenet,
}
"""For each class of stem, the function that reads its published weights, by the names in it."""
