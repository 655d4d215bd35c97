"""Converts weights of other projects: the paper's authors', MMPose 0.x's and pretrained backbones.

Their files are pickles, which are read with `weights_only=True`, so that no code in them is run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from higherhrnet.config import Convention, InputConfig, ModelConfig
from higherhrnet.errors import InputError, require_file
from higherhrnet.header import Header
from higherhrnet.network.checkpoint import load_weights
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.network.hrnet import HRNet
from higherhrnet.network.stems.movenet import MoveNet, read_movenet
from higherhrnet.skeleton import COCO, CROWDPOSE, SKELETONS, Skeleton

_PREFIXES = re.compile(r"^(module\.)?(1\.)?(backbone\.|keypoint_head\.)?")
"""Prefixes of weight names in other projects: of DataParallel, half precision and MMPose."""
_HEADS = re.compile(r"(incre_modules|downsamp_modules|final_layers?|deconv_layers|classifier)\.")
_COARSE_FUSE_LAYERS = re.compile(r"stage4\.2\.fuse_layers\.[123]\.")
"""Layers to the coarser resolutions of the last module, which HigherHRNet does not have."""


def convert_weights(
    source: str | Path, *, input_size: int | None = None, skeleton: Skeleton | None = None
) -> tuple[HigherHRNet, Header]:
    """Converts a `.pth` or `.pth.tar` file of the paper's authors or of MMPose 0.x.

    An HRNet trained for classification on ImageNet gives a network with this backbone and
    untrained heads.

    The architecture follows from the shapes of the weights. What the file does not state is derived
    from its name and from MMPose's configuration in it; `training["assumed"]` of the header lists
    these values.

    Args:
        source: the file.
        input_size: length in pixels of the shorter side in training; None: from the file's name or
            configuration, else 512.
        skeleton: the skeleton; None: COCO's for 17 keypoints, CrowdPose's for 14.

    Returns:
        The network in evaluation mode on the CPU, in float32, and its header.

    Raises:
        InputError: the file cannot be read, contains code, does not contain the weights of a
            HigherHRNet, or has keypoints of an unknown skeleton.
    """
    source = Path(source)
    contents = _read_pickle(source)
    state = _state_dict(contents, source)
    weights = _without_prefixes(state)
    if "stage4.0.branches.0.0.conv1.weight" in weights and "final_layers.0.weight" not in weights:
        return _with_untrained_heads(source, weights, input_size, skeleton)
    config = _model_config(weights, source)
    mmpose_config = _mmpose_config(contents)
    assumed: dict[str, Any] = {"convention": _convention(source.name, mmpose_config)}
    if skeleton is None:
        skeleton = _skeleton(config.num_keypoints, source, mmpose_config)
        assumed["skeleton"] = skeleton.name
    if input_size is None:
        input_size = assumed["input_size"] = _input_size(source.name, mmpose_config)
    training = {
        "converted_from": source.name,
        "format": "mmpose" if any("keypoint_head." in name for name in state) else "reference",
        "assumed": assumed,
    }
    input_config = InputConfig(input_size, convention=assumed["convention"])
    header = Header(config, skeleton, input_config, training=training)
    model = HigherHRNet.from_config(config)
    load_weights(model, weights, source)
    return model.eval(), header


def _with_untrained_heads(
    source: Path, weights: Mapping[str, Tensor], input_size: int | None, skeleton: Skeleton | None
) -> tuple[HigherHRNet, Header]:
    """Builds a network with a pretrained backbone, from which a training can start."""
    skeleton = skeleton or COCO
    model = HigherHRNet(weights["stage4.0.branches.0.0.conv1.weight"].shape[0], len(skeleton))
    load_backbone(model, source)
    training = {"converted_from": source.name, "format": "backbone", "heads": "untrained"}
    input_config = InputConfig(input_size or InputConfig().size)
    return model.eval(), Header(model.config, skeleton, input_config, training=training)


def load_backbone(model: HRNet, source: str | Path) -> None:
    """Loads pretrained weights into the backbone of a network; its heads are not changed.

    The file contains an HRNet trained on ImageNet, or a pose network of the paper's authors or of
    MMPose. If the network has a pretrained stem, the file contains that stem, an EfficientNet-Lite
    or MoveNet (TensorFlow.js's `.json`), and the rest of the backbone is not changed either. Heads
    and layers of the file that the network does not have are ignored; all other weights must match.

    Raises:
        InputError: the file cannot be read, contains code, or its weights do not match.
    """
    source = Path(source)
    current = model.state_dict()
    if model.stem:
        is_movenet = isinstance(model.stem, MoveNet)
        stem = (
            read_movenet(source)
            if is_movenet
            else _efficientnet_weights(_state_dict(_read_pickle(source), source))
        )
        rest = {name: tensor for name, tensor in current.items() if not name.startswith("stem.")}
        load_weights(model, rest | {f"stem.{name}": w for name, w in stem.items()}, source)
        return
    state = _state_dict(_read_pickle(source), source)
    heads = {name: tensor for name, tensor in current.items() if _HEADS.match(name)}
    backbone = {
        name: tensor
        for name, tensor in _without_prefixes(state).items()
        if not _HEADS.match(name) and (name in current or not _COARSE_FUSE_LAYERS.match(name))
    }
    load_weights(model, heads | backbone, source)


def _efficientnet_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the weights of EfficientNet-Lite to this package's names; drops the classifier."""
    renamed = {re.sub(r"(^|\.)_", r"\1", name): tensor for name, tensor in state.items()}
    classifier = ("conv_head.", "bn1.", "fc.")
    return {name: tensor for name, tensor in renamed.items() if not name.startswith(classifier)}


class _Ignored:
    """Replaces objects that training scripts saved along with the weights."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


_IGNORED_CLASSES = (
    "fp16_utils.loss_scaler.LossScaler",  # in the half-precision optimizer of the authors
    "fp16_utils.loss_scaler.DynamicLossScaler",
    "numpy.core.multiarray.scalar",  # MMPose's best AP, saved with NumPy 1
    "numpy._core.multiarray.scalar",  # saved with NumPy 2
    "numpy.dtype",
)


def _read_pickle(source: Path) -> Any:  # noqa: ANN401
    """Reads the contents of a file that torch.save wrote."""
    require_file(source, "`higherhrnet models` lists the available models")
    try:
        with torch.serialization.safe_globals([(_Ignored, name) for name in _IGNORED_CLASSES]):
            return torch.load(source, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror}") from error
    except Exception as error:  # invalid pickles raise errors of many types
        if code := re.search(r"GLOBAL (\S+)", str(error)):
            raise InputError(
                f"{source}: not loaded, because it would run {code[1]}, which weights do not need; "
                "save the network's state_dict() in its own environment and convert that file"
            ) from error
        raise InputError(
            f"{source}: not a file of weights written by torch.save, or damaged; download it again"
        ) from error


def _state_dict(contents: Any, source: Path) -> Mapping[str, Tensor]:  # noqa: ANN401
    """Returns the state dict of a file: its contents or their entry `state_dict`."""
    entries = contents if isinstance(contents, dict) else {}
    state = entries.get("state_dict", entries)
    if not isinstance(state, dict) or not state:
        raise InputError(f"{source}: contains no state dict, and so no weights to convert")
    invalid = [
        str(name)
        for name, value in state.items()
        if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if invalid:
        raise InputError(
            f"{source}: a state dict contains only tensors by name; invalid entries: "
            f"{', '.join(invalid[:8])}"
        )
    return state


def _without_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {_PREFIXES.sub("", name): tensor for name, tensor in state.items()}


def _model_config(state: Mapping[str, Tensor], source: Path) -> ModelConfig:
    """Derives the architecture of a network from its weights."""

    def count(pattern: str) -> int:
        return sum(re.fullmatch(pattern, name) is not None for name in state)

    deconvs = max(count(r"final_layers\.\d+\.weight") - 1, 1)
    try:
        outputs = state["final_layers.0.weight"].shape[0]
        keypoints = state[f"final_layers.{deconvs}.weight"].shape[0]
        return ModelConfig(
            state["stage2.0.branches.0.0.conv1.weight"].shape[0],
            keypoints,
            outputs == 2 * keypoints,
            tuple(state[f"deconv_layers.{i}.0.0.weight"].shape[2] for i in range(deconvs)),
            count(r"deconv_layers\.0\.\d+\.0\.conv1\.weight"),
        )
    except KeyError as error:
        raise InputError(
            f"{source}: not the weights of a HigherHRNet: {error.args[0]} is missing"
        ) from error
    except (IndexError, InputError) as error:
        raise InputError(f"{source}: not the weights of a HigherHRNet: {error}") from error


def _mmpose_config(contents: Mapping[str, Any]) -> str:
    """Returns the training configuration that MMPose saves as text; empty if there is none."""
    meta = contents.get("meta")
    return str(meta.get("config", "")) if isinstance(meta, dict) else ""


def _skeleton(keypoints: int, source: Path, mmpose_config: str) -> Skeleton:
    known = {len(skeleton): skeleton for skeleton in SKELETONS.values()}
    # AI Challenger has 14 keypoints too, in another order.
    challenger = re.search(r"(\b|_)aic(\b|_)|BottomUpAic", f"{source.name} {mmpose_config}")
    if keypoints not in known or (challenger and keypoints == len(CROWDPOSE)):
        raise InputError(
            f"{source}: the skeleton of its {keypoints} keypoints is unknown; set --skeleton FILE"
        )
    return known[keypoints]


def _input_size(name: str, mmpose_config: str) -> int:
    match = re.search(r"(\d{3,4})x\1|_(512|640)(?!\d)", name)
    match = match or re.search(r"image_size=(\d+)", mmpose_config)
    return int(match.group(match.lastindex or 0)) if match else 512


def _convention(name: str, mmpose_config: str) -> Convention:
    """Returns the pixel convention: `unbiased` for MMPose's UDP, which is similar to it.

    UDP aligns the centers of the outermost pixels where `unbiased` aligns their edges: both agree
    in the middle, and differ by 1.5 input pixels at the border of a map of stride 4.
    """
    udp = "udp" in name.lower() or "use_udp=True" in mmpose_config
    return "unbiased" if udp else "reference"
