"""Others' weights → ours: the paper's authors', MMPose 0.x's, and HRNet trunks from ImageNet.

Their files are pickles. They are read with `weights_only=True`, which runs no code of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from higherhrnet.config import Convention, Header, InputConfig, ModelConfig
from higherhrnet.errors import InputError
from higherhrnet.network.checkpoint import load_strictly
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.network.hrnet import HRNet
from higherhrnet.network.stems.movenet import MoveNet, read_movenet
from higherhrnet.skeleton import COCO, CROWDPOSE, Skeleton

_WRAPPERS = re.compile(r"^(module\.)?(1\.)?(backbone\.|keypoint_head\.)?")
"""What other code put before our names: parallel training, half precision, MMPose's two parts."""
_HEADS = re.compile(r"(incre_modules|downsamp_modules|final_layers?|deconv_layers|classifier)\.")
_COARSE = re.compile(r"stage4\.2\.fuse_layers\.[123]\.")
"""The last module's other resolutions, which HigherHRNet does without."""


def convert_weights(
    source: str | Path, *, input_size: int | None = None, skeleton: Skeleton | None = None
) -> tuple[HigherHRNet, Header]:
    """The network in a `.pth` or `.pth.tar` of the paper's authors or MMPose 0.x, and its header.

    Of an HRNet that classifies ImageNet it is the trunk, under heads that are yet to be trained.

    The network's shape is read from the weights'. What no file says for certain is guessed from
    its name and from the recipe inside MMPose's; `training["assumed"]` of the header says what.

    Args:
        source: the file.
        input_size: pixels of the shorter side in training; 512 if nothing else is said.
        skeleton: what the keypoints are; else COCO's when they are 17 and CrowdPose's when 14.

    Returns:
        The network in evaluation mode on the CPU, in float32, and what to save beside it.

    Raises:
        InputError: the file cannot be read, would run code, is not a HigherHRNet's, has weights
            left over or missing, or its keypoints are nobody's known skeleton.
    """
    source = Path(source)
    contents = _read(source)
    state = _state_dict(contents, source)
    weights = _renamed(state)
    if "stage4.0.branches.0.0.conv1.weight" in weights and "final_layers.0.weight" not in weights:
        return _with_fresh_heads(source, weights, input_size, skeleton)
    config = _model_config(weights, source)
    recipe = _recipe(contents)
    assumed: dict[str, Any] = {"convention": _convention(source.name, recipe)}
    if skeleton is None:
        skeleton = _skeleton(config.num_keypoints, source, recipe)
        assumed["skeleton"] = skeleton.name
    if input_size is None:
        input_size = assumed["input_size"] = _input_size(source.name, recipe)
    facts = {
        "converted_from": source.name,
        "format": "mmpose" if any("keypoint_head." in name for name in state) else "authors",
        "assumed": assumed,
    }
    reads = InputConfig(input_size, convention=assumed["convention"])
    header = Header(config, skeleton, reads, training=facts)
    model = HigherHRNet.from_config(config)
    _fill(model, weights, source)
    return model.eval(), header


def _with_fresh_heads(
    source: Path, weights: Mapping[str, Tensor], input_size: int | None, skeleton: Skeleton | None
) -> tuple[HigherHRNet, Header]:
    """A trunk's network: to start a training from, since its heads know nothing yet."""
    skeleton = skeleton or COCO
    model = HigherHRNet(weights["stage4.0.branches.0.0.conv1.weight"].shape[0], len(skeleton))
    load_backbone(model, source)
    facts = {"converted_from": source.name, "format": "trunk", "heads": "untrained"}
    reads = InputConfig(input_size or InputConfig().size)
    return model.eval(), Header(model.config, skeleton, reads, training=facts)


def load_backbone(model: HRNet, source: str | Path) -> None:
    """Fills a network's trunk from an HRNet's `.pth`; a HigherHRNet's heads stay as they are.

    Made for the classification networks trained on ImageNet; the authors' and MMPose's pose
    networks serve as well, and EfficientNet-Lite's or MoveNet's (tfjs' `.json`) where that is the
    trunk. The file's own heads are dropped, and so is what fuses to resolutions that the network
    does without; all else must fit.

    Raises:
        InputError: the file cannot be read, would run code, or its trunk does not fit.
    """
    source = Path(source)
    own = model.state_dict()
    if model.stem:
        movenet = isinstance(model.stem, MoveNet)
        read = read_movenet(source) if movenet else _lite(_state_dict(_read(source), source))
        rest = {name: tensor for name, tensor in own.items() if not name.startswith("stem.")}
        _fill(model, rest | {f"stem.{n}": w for n, w in read.items()}, source)
        return
    state = _state_dict(_read(source), source)
    heads = {name: tensor for name, tensor in own.items() if _HEADS.match(name)}
    stem = {
        name: tensor
        for name, tensor in _renamed(state).items()
        if not _HEADS.match(name) and (name in own or not _COARSE.match(name))
    }
    _fill(model, heads | stem, source)


def _lite(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """EfficientNet-Lite's weights but for its classifier, as our names have them."""
    renamed = {re.sub(r"(^|\.)_", r"\1", name): tensor for name, tensor in state.items()}
    classifier = ("conv_head.", "bn1.", "fc.")
    return {name: tensor for name, tensor in renamed.items() if not name.startswith(classifier)}


class _Ignored:
    """Takes the place of what training scripts pickled beside the weights; does nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


_BOOKKEEPING = (
    "fp16_utils.loss_scaler.LossScaler",  # in the authors' half-precision optimiser
    "fp16_utils.loss_scaler.DynamicLossScaler",
    "numpy.core.multiarray.scalar",  # MMPose's best AP so far, by NumPy 1
    "numpy._core.multiarray.scalar",  # and by NumPy 2
    "numpy.dtype",
)


def _read(source: Path) -> Any:  # noqa: ANN401
    if not source.is_file():
        raise InputError(f"{source}: no such file; `higherhrnet models` lists what can be had")
    try:
        with torch.serialization.safe_globals([(_Ignored, name) for name in _BOOKKEEPING]):
            return torch.load(source, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror}") from error
    except Exception as error:  # bytes that are no pickle can raise anything
        if code := re.search(r"GLOBAL (\S+)", str(error)):
            raise InputError(
                f"{source}: not loaded, since it asks to run {code[1]}, which weights alone never "
                "do; where it was made, save the network's state_dict() and convert that"
            ) from error
        raise InputError(
            f"{source}: not weights that torch.save wrote, or damaged on the way; fetch it again"
        ) from error


def _state_dict(contents: Any, source: Path) -> Mapping[str, Tensor]:  # noqa: ANN401
    entries = contents if isinstance(contents, dict) else {}
    state = entries.get("state_dict", entries)
    if not isinstance(state, dict) or not state:
        raise InputError(f"{source}: no state dict inside, so no weights to convert")
    strays = [
        str(name)
        for name, value in state.items()
        if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if strays:
        raise InputError(f"{source}: a state dict holds tensors only, not {', '.join(strays[:8])}")
    return state


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {_WRAPPERS.sub("", name): tensor for name, tensor in state.items()}


def _model_config(state: Mapping[str, Tensor], source: Path) -> ModelConfig:
    """The shape of the network whose weights these are."""

    def count(pattern: str) -> int:
        return sum(re.fullmatch(pattern, name) is not None for name in state)

    modules = max(count(r"final_layers\.\d+\.weight") - 1, 1)
    try:
        outputs = state["final_layers.0.weight"].shape[0]
        keypoints = state[f"final_layers.{modules}.weight"].shape[0]
        return ModelConfig(
            state["stage2.0.branches.0.0.conv1.weight"].shape[0],
            keypoints,
            outputs == 2 * keypoints,
            tuple(state[f"deconv_layers.{i}.0.0.weight"].shape[2] for i in range(modules)),
            count(r"deconv_layers\.0\.\d+\.0\.conv1\.weight"),
        )
    except KeyError as error:
        raise InputError(
            f"{source}: not the weights of a HigherHRNet, which have a {error.args[0]}"
        ) from error
    except (IndexError, InputError) as error:
        raise InputError(f"{source}: not the weights of a HigherHRNet: {error}") from error


def _recipe(contents: Mapping[str, Any]) -> str:
    """The training configuration that MMPose keeps as text, empty where there is none."""
    meta = contents.get("meta")
    return str(meta.get("config", "")) if isinstance(meta, dict) else ""


def _skeleton(keypoints: int, source: Path, recipe: str) -> Skeleton:
    known = {len(skeleton): skeleton for skeleton in (COCO, CROWDPOSE)}
    # AI Challenger has 14 keypoints too, in another order.
    foreign = re.search(r"(\b|_)aic(\b|_)|BottomUpAic", f"{source.name} {recipe}")
    if keypoints not in known or (foreign and keypoints == len(CROWDPOSE)):
        raise InputError(
            f"{source}: {keypoints} keypoints of no known skeleton; name them with --skeleton FILE"
        )
    return known[keypoints]


def _input_size(name: str, recipe: str) -> int:
    in_name = re.search(r"(\d{3,4})x\1|_(512|640)(?!\d)", name)
    said = in_name or re.search(r"image_size=(\d+)", recipe)
    return int(said.group(said.lastindex or 0)) if said else 512


def _convention(name: str, recipe: str) -> Convention:
    """`unbiased` for MMPose's UDP, which is near but not the same.

    It lays the outermost pixels' centres over each other where we lay the edges: the same in the
    middle, 1.5 input pixels apart at the border of a map of stride 4.
    """
    return "unbiased" if "udp" in name.lower() or "use_udp=True" in recipe else "reference"


def _fill(model: HRNet, state: Mapping[str, Tensor], source: Path) -> None:
    """Strictly, but for the counters of batch norm, which torch before 0.4.1 did not save."""
    counters = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.endswith("num_batches_tracked")
    }
    load_strictly(model, {**counters, **state}, str(source))
