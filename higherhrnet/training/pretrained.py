"""Loads pretrained backbones into networks."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from higherhrnet.io.torch_file.reader import read_torch_file
from higherhrnet.io.weights import Weights
from higherhrnet.network.checkpoint import load_weights
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.network.hrnet import HRNet
from higherhrnet.network.stems.movenet import MoveNet, read_center_head, read_movenet
from higherhrnet.zoo.convert import (
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
    too. Other heads and layers of the file that the network does not have are ignored; all other
    weights must match.

    Raises:
        InputError: the file cannot be read, contains code, or its weights do not match.
    """
    source = Path(source)
    current = model.state_dict()
    if isinstance(model.stem, MoveNet):
        loaded = {f"stem.{name}": weight for name, weight in read_movenet(source).items()}
        if _has_movenet_heads(model):
            head = read_center_head(source)
            loaded |= {f"center_head.{name}": weight for name, weight in head.items()}
    elif model.stem:
        stem = _efficientnet_weights(_read_state_dict(source))
        loaded = {f"stem.{name}": weight for name, weight in _to_tensors(stem).items()}
    else:
        weights = without_prefixes(_read_state_dict(source))
        loaded = _to_tensors(select_backbone(weights, current))
    kept = {
        name: tensor
        for name, tensor in current.items()
        if (not name.startswith("stem.") if model.stem else is_head(name))
    }
    load_weights(model, kept | loaded, source)


def _has_movenet_heads(model: HRNet) -> bool:
    """Whether a network has a head for centers and for the offsets of MoveNet's keypoints."""
    return (
        isinstance(model, HigherHRNet)
        and model.center_head is not None
        and model.config.num_keypoints == model.num_heatmaps
    )


def _read_state_dict(source: Path) -> Weights:
    return read_state_dict(read_torch_file(source), source)


def _to_tensors(weights: Weights) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in weights.items()}


def _efficientnet_weights(state: Weights) -> Weights:
    """Renames the weights of EfficientNet-Lite to this package's names; drops the classifier."""
    renamed = {re.sub(r"(^|\.)_", r"\1", name): array for name, array in state.items()}
    classifier = ("conv_head.", "bn1.", "fc.")
    return {name: array for name, array in renamed.items() if not name.startswith(classifier)}
