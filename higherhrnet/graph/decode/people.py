"""Adds the decoding to the graph of a network: uint8 image → people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from higherhrnet.config.header import Header
from higherhrnet.config.model import HeadName
from higherhrnet.decoding.decoders import load_decoder
from higherhrnet.errors import require
from higherhrnet.geometry import STRIDE
from higherhrnet.graph.decode.centers import decode_centers
from higherhrnet.graph.decode.offsets import check_offset_settings, decode_offsets
from higherhrnet.graph.decode.preprocess import View, network_input, resize_for_network
from higherhrnet.graph.decode.program import Program
from higherhrnet.graph.decode.select import select
from higherhrnet.graph.decode.tags import check_tag_settings, decode_tags
from higherhrnet.graph.decode.tensor import Tensor

Scales = Mapping[float, Sequence[Tensor]]
"""For each scale the network's outputs."""


@dataclass(frozen=True)
class GraphDecoder:
    """The decoding of one head."""

    check: Callable[[Header], None]
    """Raises InputError if a setting of the header is not supported."""
    decode: Callable[[Program, Scales, Mapping[float, View], Header], tuple[Tensor, Tensor]]
    """Computes (P, K, 3) keypoints in pixels of the image and (P,) scores, before `select`."""


DECODERS: dict[HeadName, GraphDecoder] = {
    "tags": GraphDecoder(check_tag_settings, decode_tags),
    "offsets": GraphDecoder(check_offset_settings, decode_offsets),
    "tags-and-offsets": GraphDecoder(check_tag_settings, decode_centers),
}
"""The decoding of each head."""
IMAGE = "image"
"""The input of a graph with decoding."""
_OPSETS = range(18, 22)
"""The versions of ONNX's operators in which the decoding is valid."""


def add_decoding(model: onnx.ModelProto, header: Header) -> None:
    """Extends the graph of a network, in place, by what is before and after it in prediction.

    The input becomes `image`, (H, W, 3) or (1, H, W, 3) uint8 RGB of any size. The outputs become
    `keypoints`, (P, K, 3) float32: x and y in pixels of the image and a score, zeros for missing
    keypoints; and `scores`, (P,) float32. The settings are those of the header.

    Args:
        model: the network, float or int8, with the input `images`.
        header: the header of the model.

    Raises:
        InputError: a setting of the header or the version of the graph is not supported.
    """
    graph, scales = model.graph, header.inference.scales
    base_scale = load_decoder(header).base_scale(scales)
    _require_supported(model, header, base_scale)
    program = Program()
    image = program.input(IMAGE, np.uint8)
    pixels = image.op("Reshape", image.op("Shape", start=-3))
    outputs, views = {}, {}
    for scale in scales:
        views[scale] = resize_for_network(program, pixels, header, scale, base_scale)
        images = network_input(program, pixels, views[scale], header)
        outputs[scale] = _add_network(program, graph, images, f"scale{scale:g}/")
    keypoints, scores = DECODERS[header.model.head].decode(program, outputs, views, header)
    keypoints, scores = select(program, keypoints, scores, header)
    _replace_nodes(graph, program, {"keypoints": keypoints, "scores": scores}, len(header.skeleton))


def _require_supported(model: onnx.ModelProto, header: Header, base_scale: float) -> None:
    """Raises InputError if the decoding of a network cannot be added."""
    require(
        header.model.head in DECODERS,
        f"--decode does not support networks with the head {header.model.head}",
    )
    require(
        len(header.model.deconv_kernels) <= 2,
        "--decode supports at most 2 transposed-convolution modules, not "
        f"{len(header.model.deconv_kernels)}",
    )
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    require(opset in _OPSETS, f"--decode needs a network of opset 18 to 21, not {opset}")
    require(
        [value.name for value in model.graph.input] == ["images"],
        "the model contains its decoding already; export the model that it was made from",
    )
    for scale in header.inference.scales:
        require(
            64 * scale / base_scale % STRIDE == 0,
            f"the scale {scale:g} gives input sizes that are not multiples of {STRIDE}; use powers "
            "of 2 as scales, for example 0.5 1 2",
        )
    DECODERS[header.model.head].check(header)


def _replace_nodes(
    graph: onnx.GraphProto, program: Program, results: Mapping[str, Tensor], num_keypoints: int
) -> None:
    """Replaces the nodes, inputs and outputs of the graph by those of the program."""
    for name, tensor in results.items():
        program.nodes.append(helper.make_node("Identity", [tensor.name], [name], name=name))
    shape: list[str | int] = ["people", num_keypoints, 3]
    for field, values in {
        "node": program.nodes,
        "input": [helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, None)],
        "output": [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, size)
            for name, size in (("keypoints", shape), ("scores", shape[:1]))
        ],
        "value_info": [],
    }.items():
        graph.ClearField(field)
        getattr(graph, field).extend(values)
    graph.initializer.extend(program.initializers)


def _add_network(
    program: Program, graph: onnx.GraphProto, images: Tensor, prefix: str
) -> list[Tensor]:
    """Adds the network's nodes, with a prefix of their names; all scales share the weights."""
    shared = {tensor.name for tensor in graph.initializer} | {""}
    names = {"images": images.name}
    for node in graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = node.name and prefix + node.name
        for field in (copy.input, copy.output):
            field[:] = [
                name if name in shared else names.get(name, prefix + name) for name in field
            ]
        program.nodes.append(copy)
    return [program.input(prefix + output.name, np.float32) for output in graph.output]
