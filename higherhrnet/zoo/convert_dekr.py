"""Weights of DEKR: the names of the authors and of MMPose, and what the shapes tell.

The functions accept any arrays: NumPy's or PyTorch's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.config.model import ModelConfig
from higherhrnet.config.offsets import OffsetDecodeConfig
from higherhrnet.config.rescoring import RescoringNetwork
from higherhrnet.errors import InputError
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO, CROWDPOSE

Weights = Mapping[str, Any]
"""Arrays by name."""

HEADS = re.compile(
    r"(transition_heatmap|transition_offset|head_heatmap|offset_feature_layers|offset_final_layer)\."
)
"""The layers of the heads."""
_RESCORING = re.compile(r"(.*\brescore_net\.)?(l[123])\.(weight|bias)")
_MMPOSE = re.compile(r"heatmap_conv_layers\.|(offset|displacement)_conv_layers\.")
_MMPOSE_1 = "displacement_conv_layers."
"""The name of the offset head in MMPose 1.x; in 0.x it is `offset_conv_layers.`."""
_CHANNELS = 15
"""Channels of each keypoint in the offset head."""
_CROWDPOSE_KEYPOINTS = 14

# Pairs of keypoints, in the order in which the weights of the rescoring networks expect them.
_LINKS = {
    ("authors", 17): "0-1 0-2 1-2 1-3 2-4 3-5 4-6 5-6 5-7 5-11 6-8 6-12 7-9 8-10 11-12 11-13 12-14 "
    "13-15 14-16",
    ("authors", 14): "12-13 13-0 13-1 0-2 1-3 2-4 3-5 0-6 1-7 6-8 7-9 8-10 9-11 6-7 0-1",
    ("mmpose", 17): "15-13 13-11 16-14 14-12 11-12 5-11 6-12 5-6 5-7 6-8 7-9 8-10 1-2 0-1 0-2 1-3 "
    "2-4 3-5 4-6",
    ("mmpose", 14): "10-8 8-6 11-9 9-7 6-7 0-6 1-7 0-1 0-2 1-3 2-4 3-5 12-13 1-13 0-13",
}
_UNIT_LINKS = {
    ("authors", 17): (9, 11),  # the sides of the torso
    ("authors", 14): (9, 11),  # left thigh and shank, a slip of the authors that the weights need
    ("mmpose", 17): (5, 6),
    ("mmpose", 14): (0, 1),
}


def authors_links(skeleton: Skeleton) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]] | None:
    """Returns the links and unit links of the authors' rescoring network for a skeleton.

    None: the skeleton has other keypoints than COCO and CrowdPose.
    """
    if skeleton.names not in (COCO.names, CROWDPOSE.names):
        return None
    key = "authors", len(skeleton)
    return _parse_links(_LINKS[key]), _UNIT_LINKS[key]


def _parse_links(text: str) -> tuple[tuple[int, int], ...]:
    pairs = (link.split("-") for link in text.split())
    return tuple((int(first), int(second)) for first, second in pairs)


def is_dekr(names: Sequence[str]) -> bool:
    """Whether these are the names of the weights of a DEKR network, without prefixes."""
    return any("offset_final_layer." in name or _MMPOSE.search(name) for name in names)


def authors_names(state: Weights) -> dict[str, Any]:
    """Converts MMPose's weights to the authors' names and values.

    Args:
        state: weights by name, without the prefixes of training tools (`module.`, `backbone.`,
            `keypoint_head.` and `head.`). Those with the authors' names are kept.

    Returns:
        The weights of the network, without those of a rescoring network.
    """
    network = {name: array for name, array in state.items() if not _RESCORING.fullmatch(name)}
    heads = {name: array for name, array in network.items() if _MMPOSE.match(name)}
    converted = {name: array for name, array in network.items() if name not in heads}
    if not heads:
        return converted
    is_version_1 = any(name.startswith(_MMPOSE_1) for name in heads)
    keypoints = len(heads.get("heatmap_conv_layers.2.bias", [0])) - 1
    for name, array in heads.items():
        kind, layer, part = re.split(r"_conv_layers\.(\d)\.", name, maxsplit=1)
        if kind == "heatmap":
            converted |= _heatmap_layer(int(layer), part, array, is_version_1)
        elif part in ("regular_matrix", "norm.num_batches_tracked"):
            converted |= _shared_part(name, array, keypoints)
        else:
            converted |= _offset_layer(int(layer), part, array, is_version_1)
    return converted


def _heatmap_layer(layer: int, part: str, array: Any, is_version_1: bool) -> dict[str, Any]:  # noqa: ANN401
    if layer == 0:
        return {f"transition_heatmap.{_conv_bn_name(part)}": array}
    if layer == 1:
        return {f"head_heatmap.0.0.{part}": array}
    if not is_version_1:  # MMPose 0.x has the centers first
        array = array[[*range(1, len(array)), 0]]
    return {f"head_heatmap.1.{part}": array}


def _offset_layer(layer: int, part: str, array: Any, is_version_1: bool) -> dict[str, Any]:  # noqa: ANN401
    """Splits a layer of all keypoints, except for what all keypoints share (`_shared_part`)."""
    if layer == 0:
        return {f"transition_offset.{_conv_bn_name(part)}": array}
    if layer == 3:
        rows = [-each if is_version_1 else each for each in _split(array, 2)]
        return {f"offset_final_layer.{k}.{part}": each for k, each in enumerate(rows)}
    if part.startswith("transform_matrix_conv."):
        converted = {}
        for k, rows in enumerate(_split(array, 6)):
            matrix, translation = rows[[0, 1, 3, 4]], rows[[2, 5]]
            if part.endswith("bias"):  # MMPose predicts the difference from the regular grid
                matrix[0] += 1
                matrix[3] += 1
            block = f"offset_feature_layers.{k}.{layer - 1}."
            converted[block + part] = matrix
            converted[block + part.replace("transform_matrix", "translation")] = translation
        return converted
    part = part.replace("norm.", "bn.")
    return {
        f"offset_feature_layers.{k}.{layer - 1}.{part}": rows
        for k, rows in enumerate(_split(array, _CHANNELS))
    }


def _shared_part(name: str, array: Any, keypoints: int) -> dict[str, Any]:  # noqa: ANN401
    """Copies what all keypoints of a layer share: the batch counter and the regular grid."""
    layer = int(name.split(".")[1]) - 1
    part, value = "bn.num_batches_tracked", array
    if name.endswith("regular_matrix"):
        part, value = "regular_matrix", array[:2]
    return {f"offset_feature_layers.{k}.{layer}.{part}": value for k in range(keypoints)}


def _conv_bn_name(part: str) -> str:
    """Returns the name in a sequence: `conv.weight` → `0.weight`, `bn.bias` → `1.bias`."""
    return part.replace("conv.", "0.").replace("bn.", "1.")


def _split(array: Any, rows: int) -> list[Any]:  # noqa: ANN401
    return [array[start : start + rows] for start in range(0, len(array), rows)]


def model_config(weights: Weights, source: object) -> ModelConfig:
    """Derives the architecture of a network from its weights.

    Args:
        weights: weights with the authors' names.
        source: the name of the file, for error messages.

    Raises:
        InputError: the weights are not those of DEKR.
    """
    try:
        width = weights["transition_heatmap.0.weight"].shape[0]
        return ModelConfig(width, weights["head_heatmap.1.bias"].shape[0] - 1, head="offsets")
    except KeyError as error:
        raise InputError(
            f"{source}: not the weights of DEKR: {error.args[0]} is missing"
        ) from error
    except (IndexError, InputError) as error:
        raise InputError(f"{source}: not the weights of DEKR: {error}") from error


def inference_config(num_keypoints: int) -> InferenceConfig:
    """Returns the published inference settings."""
    is_crowdpose = num_keypoints == _CROWDPOSE_KEYPOINTS
    offsets = OffsetDecodeConfig(other_scales=0.8 if is_crowdpose else 0.9)
    return InferenceConfig(align_flip=True, decode=DecodeConfig(offsets=offsets))


def rescoring_network(state: Weights, source: str) -> RescoringNetwork | None:
    """Finds a rescoring network in a file.

    Args:
        state: weights by name: those of a rescoring network, or of a network that MMPose saved
            together with one.
        source: the name of the file. MMPose's files begin with `kpt_rescore`; the order of their
            inputs differs from that of the authors.

    Returns:
        The network; None if the file contains none for the keypoints of COCO or CrowdPose.
    """
    layers: dict[str, dict[str, Any]] = {}
    origin = "mmpose" if source.startswith("kpt_rescore") else "authors"
    for name, array in state.items():
        if match := _RESCORING.fullmatch(name):
            layers.setdefault(match[2], {})[match[3]] = np.asarray(array, np.float32)
            origin = "mmpose" if match[1] else origin
    if sorted(layers) != ["l1", "l2", "l3"] or any(len(layer) < 2 for layer in layers.values()):
        return None
    inputs = layers["l1"]["weight"].shape[-1]
    for (known, num_keypoints), text in _LINKS.items():
        links = _parse_links(text)
        if known == origin and inputs == 3 * len(links) + num_keypoints:
            values = [(layers[name]["weight"], layers[name]["bias"]) for name in sorted(layers)]
            unit = _UNIT_LINKS[known, num_keypoints]
            return RescoringNetwork.from_layers(values, num_keypoints, links, unit)
    return None
