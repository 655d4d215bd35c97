"""Converts weights of other projects: those of the paper's authors, of SWAHR and of MMPose 0.x."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from numpy.typing import NDArray

from higherhrnet.config.header import Header
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.config.model import InputConfig, ModelConfig
from higherhrnet.config.rescoring import RescoringNetwork
from higherhrnet.errors import InputError
from higherhrnet.geometry import Convention
from higherhrnet.graph.build import check_weights, trace
from higherhrnet.io.torch_file.reader import read_torch_file
from higherhrnet.io.weights import Weights
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import AIC, COCO, COCO_WHOLEBODY, CROWDPOSE
from higherhrnet.zoo import convert_dekr

_PREFIXES = re.compile(r"^(module\.)?(1\.)?(backbone\.|keypoint_head\.|head\.)?")
"""Prefixes of weight names in other projects: of DataParallel, half precision and MMPose."""
_MMPOSE_HEAD = re.compile(r"keypoint_head\.|^head\.")
_HEADS = re.compile(
    r"(incre_modules|downsamp_modules|final_layers?|deconv_layers|conv_scale_layers|center_head|"
    r"classifier)\.|" + convert_dekr.HEADS.pattern
)
COARSE_FUSE_LAYERS = re.compile(r"stage4\.2\.fuse_layers\.[123]\.")
"""Layers to the coarser resolutions of the last module, which only networks with offsets have."""


def convert_weights(
    source: str | Path,
    *,
    input_size: int | None = None,
    skeleton: Skeleton | None = None,
    rescoring: str | Path | None = None,
) -> tuple[Weights, Header]:
    """Converts a `.pth` or `.pth.tar` file of HigherHRNet, SWAHR or DEKR, of the authors or MMPose.

    An HRNet trained for classification on ImageNet gives a network with this backbone and
    untrained heads.

    The architecture follows from the shapes of the weights. What the file does not state is derived
    from its name and from MMPose's configuration in it; `training["assumed"]` of the header lists
    these values.

    Args:
        source: the file.
        input_size: length in pixels of the shorter side in training; None: from the file's name or
            configuration, else 512.
        skeleton: the skeleton; None: COCO's for 17 keypoints, COCO-WholeBody's for 133, and for 14
            AI Challenger's if the file's name or configuration contains `aic`, else CrowdPose's.
        rescoring: the file of a rescoring network for DEKR; None: the one in `source`, if any.

    Returns:
        The weights by name, in float32, and the header of the network.

    Raises:
        InputError: the file cannot be read, contains code, does not contain the weights of a
            HigherHRNet or DEKR, or has keypoints of an unknown skeleton.
    """
    source = Path(source)
    contents = read_torch_file(source)
    state = read_state_dict(contents, source)
    weights = without_prefixes(state)
    is_dekr = convert_dekr.is_dekr(list(weights))
    if is_dekr:
        weights = convert_dekr.authors_names(weights)
    elif "stage4.0.branches.0.0.conv1.weight" in weights and "final_layers.0.weight" not in weights:
        return _with_untrained_heads(source, weights, input_size, skeleton)
    config = (convert_dekr.model_config if is_dekr else _model_config)(weights, source)
    mmpose_config = _mmpose_config(contents)
    assumed: dict[str, Any] = {"convention": _convention(source.name, mmpose_config)}
    if skeleton is None:
        skeleton = _skeleton(config.num_keypoints, source, mmpose_config)
        assumed["skeleton"] = skeleton.name
    if input_size is None:
        input_size = assumed["input_size"] = _input_size(source.name, mmpose_config)
    training = {
        "converted_from": source.name,
        "format": "mmpose" if any(map(_MMPOSE_HEAD.search, state)) else "reference",
        "assumed": assumed,
    }
    input_config = InputConfig(input_size, convention=assumed["convention"])
    inference = _inference_config(config, skeleton, input_config)
    network = convert_dekr.rescoring_network(state, source.name)
    if rescoring is not None:
        network = read_rescoring(rescoring)
    header = Header(config, skeleton, input_config, inference, training, network)
    return _complete(config, weights, source), header


def _inference_config(
    config: ModelConfig, skeleton: Skeleton, input_config: InputConfig
) -> InferenceConfig:
    """Returns the inference settings with which the publishers evaluate a network."""
    if config.head == "offsets":
        return convert_dekr.inference_config(config.num_keypoints)
    if config.scale_maps and (config.width, skeleton) == (32, COCO):  # as SWAHR's authors set it
        return InferenceConfig(decode=DecodeConfig(min_peak=0.12))
    # MMPose decodes the maps of UDP weights at the resolution of the network's finest output.
    return InferenceConfig(project=not input_config.align_corners)


def read_rescoring(source: str | Path) -> RescoringNetwork:
    """Reads the file of a rescoring network of DEKR's authors or of MMPose.

    Raises:
        InputError: the file cannot be read, contains code, or contains no rescoring network.
    """
    source = Path(source)
    state = read_state_dict(read_torch_file(source), source)
    if network := convert_dekr.rescoring_network(state, source.name):
        return network
    raise InputError(f"{source}: contains no rescoring network for COCO or CrowdPose")


def _with_untrained_heads(
    source: Path, weights: Weights, input_size: int | None, skeleton: Skeleton | None
) -> tuple[Weights, Header]:
    """Adds untrained heads to a pretrained backbone, so that a training can start from it."""
    skeleton = skeleton or COCO
    config = ModelConfig(weights["stage4.0.branches.0.0.conv1.weight"].shape[0], len(skeleton))
    shapes, rng = trace(config).shapes, np.random.default_rng(0)
    heads = {name: _initialize(name, shapes[name], rng) for name in shapes if is_head(name)}
    training = {"converted_from": source.name, "format": "backbone", "heads": "untrained"}
    input_config = InputConfig(input_size or InputConfig().size)
    header = Header(config, skeleton, input_config, training=training)
    return _complete(config, {**heads, **select_backbone(weights, shapes)}, source), header


def _initialize(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
    """Initializes a weight of a head as `HigherHRNet` does: filters from N(0, 0.001²)."""
    if len(shape) == 4:
        return 0.001 * rng.standard_normal(shape, np.float32)
    is_scale = re.search(r"bn\d\.weight|\.0\.1\.weight|running_var", name) is not None
    return np.full(shape, is_scale, np.float32)


def _complete(config: ModelConfig, weights: Weights, source: Path) -> Weights:
    """Checks the weights of a network, converts them to float32 and adds missing batch counters."""
    check_weights(config, weights, str(source))
    return {
        name: _to_float32(weights[name]) if name in weights else np.zeros((), np.int64)
        for name in trace(config).shapes
    }


def _to_float32(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array


def is_head(name: str) -> bool:
    """Returns whether a weight belongs to the heads of a pose network or of a classifier."""
    return _HEADS.match(name) is not None


def select_backbone(weights: Weights, known: Container[str]) -> Weights:
    """Selects the backbone's weights of a pose network or a classifier.

    Args:
        weights: the weights by name.
        known: the names of the weights of the network that they are for.
    """
    return {
        name: array
        for name, array in weights.items()
        if not is_head(name) and (name in known or not COARSE_FUSE_LAYERS.match(name))
    }


def read_state_dict(contents: Any, source: Path) -> Weights:  # noqa: ANN401
    """Returns the state dict of a file: its contents or their entry `state_dict`.

    Raises:
        InputError: the file contains no state dict, or it has entries that are not tensors.
    """
    entries = contents if isinstance(contents, dict) else {}
    state = entries.get("state_dict", entries)
    if not isinstance(state, dict) or not state:
        raise InputError(f"{source}: contains no state dict, and so no weights to convert")
    invalid = [
        str(name)
        for name, value in state.items()
        if not (isinstance(name, str) and isinstance(value, np.ndarray))
    ]
    if invalid:
        raise InputError(
            f"{source}: a state dict contains only tensors by name; invalid entries: "
            f"{shorten(', '.join(invalid), 600)}"
        )
    return state


def without_prefixes(state: Weights) -> Weights:
    """Removes the prefixes that wrappers in other projects add to the names of weights."""
    return {_PREFIXES.sub("", name): array for name, array in state.items()}


def _model_config(state: Weights, source: Path) -> ModelConfig:
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
            scale_maps=count(r"conv_scale_layers\..*") > 0,
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
    is_aic = re.search(r"(\b|_)aic(\b|_)|BottomUpAic", f"{source.name} {mmpose_config}")
    if keypoints == len(AIC) and is_aic:  # CrowdPose has 14 keypoints, too, in another order
        return AIC
    known = {len(skeleton): skeleton for skeleton in (COCO, CROWDPOSE, COCO_WHOLEBODY)}
    if keypoints not in known:
        raise InputError(
            f"{source}: the skeleton of its {keypoints} keypoints is unknown; set --skeleton FILE"
        )
    return known[keypoints]


def _input_size(name: str, mmpose_config: str) -> int:
    match = re.search(r"(\d{3,4})x\1|_(512|640)(?!\d)", name)
    match = match or re.search(r"image_size=(\d+)", mmpose_config)
    return int(match.group(match.lastindex or 0)) if match else 512


def _convention(name: str, mmpose_config: str) -> Convention:
    """Returns the pixel convention of the weights of a file."""
    udp = "udp" in name.lower() or "use_udp=True" in mmpose_config
    return "udp" if udp else "reference"
