"""A float ONNX network that can be written in int8, with selected layers in float."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import onnx
from onnxruntime.quantization import QDQQuantizer, QuantType, quant_pre_process

from higherhrnet.config.header import Header
from higherhrnet.config.model import HeadName
from higherhrnet.errors import InputError
from higherhrnet.io.atomic import atomic_path

if TYPE_CHECKING:
    from onnxruntime.quantization import TensorsData

_MOVENET = ("stem.laterals.", "stem.merges.", "stem.head.")
"""The beginnings of the names of the layers after the blocks of MoveNet's backbone, which always
remain in float, too. In int8, they cost the bundled model a sixth of its AP, and in float no time
that can be measured."""
_HEADS: dict[HeadName, tuple[str, ...]] = {
    "tags": ("final_layers.",),
    "tags-and-offsets": ("final_layers.", "center_head"),  # without a number: center_head
    "offsets": ("head_heatmap.1", "transition_offset.", "offset_feature_layers.", "maps1", "taps"),
}
"""The beginnings of the names of the layers that always remain in float, by the network's head.

Those of offsets include the layer before the adaptive convolutions, because OpenVINO 2026.4 reads
quantized maps at wrong positions (GridSample).
"""

OPERATIONS = ["Conv", "ConvTranspose", "Add", "Relu", "Clip", "Resize"]
"""All operations of the network except Concat, which would round the network's first output."""


class FloatNetwork:
    """A float ONNX network that can be written in int8.

    Args:
        path: an .onnx file.
        header: the header of the model.

    Raises:
        InputError: the network is quantized already.
    """

    def __init__(self, path: Path, header: Header) -> None:
        with TemporaryDirectory() as folder:
            folded = Path(folder, "folded.onnx")  # without casts of weights in half precision
            quant_pre_process(path, folded, skip_symbolic_shape=True)
            self.proto = onnx.load(folded)
        if any(node.op_type == "QuantizeLinear" for node in self.proto.graph.node):
            raise InputError(f"{path}: the model is int8 already; use the float model")
        for node in self.proto.graph.node:
            node.name = node.output[0]  # the quantizer selects nodes by their names
        self.header = header
        heads = (*_HEADS[header.model.head], *_MOVENET)
        self._nodes = _nodes_by_layer(self.proto.graph, heads)
        self.heads = [layer for layer in self._nodes if layer.startswith(heads)]
        """The layers that output the maps, those of DEKR's adaptive convolutions, and those after
        the blocks of a MoveNet stem. They always remain in float, since int8 costs the most
        accuracy and saves little time there."""
        self.layers = [layer for layer in self._nodes if layer not in self.heads]
        """All other layers, in order."""

    def write(self, path: Path, ranges: TensorsData, float_layers: Collection[str]) -> None:
        """Writes the network in int8 as an ONNX file that any engine can run.

        Weights are int8 with a scale for each channel; activations are uint8, which processors
        multiply by int8 in one instruction. Engines compute in integers between int8 layers.

        Args:
            path: the file to write.
            ranges: the activation ranges, as `calibrate` returns them.
            float_layers: the layers of `layers` that remain in float in addition to the heads.

        Raises:
            InputError: the file cannot be written.
        """
        excluded = [node for layer in [*self.heads, *float_layers] for node in self._nodes[layer]]
        quantizer = QDQQuantizer(
            deepcopy(self.proto),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=excluded,
            op_types_to_quantize=OPERATIONS,
            extra_options={},
        )
        proto = quantizer.quantize_model()
        used = {node.domain for node in proto.graph.node}
        domains = [domain for domain in proto.opset_import if domain.domain in used]
        del proto.opset_import[:]
        proto.opset_import.extend(domains)
        entry = {"int8": {"float_layers": [*self.heads, *float_layers]}}
        header = replace(self.header, training=self.header.training | entry)
        onnx.helper.set_model_props(proto, header.to_metadata())
        with atomic_path(path) as temporary:
            onnx.save(proto, str(temporary))


def _nodes_by_layer(graph: onnx.GraphProto, heads: tuple[str, ...]) -> dict[str, list[str]]:
    """Returns the names of each layer's nodes: convolutions, and operations on their results.

    Nodes whose names begin as those of the heads belong to the heads.
    """
    weights = {tensor.name for tensor in graph.initializer}
    layer_of_value: dict[str, str] = {}
    nodes = defaultdict(list)
    for node in graph.node:
        input_layers = [layer_of_value[name] for name in node.input if name in layer_of_value]
        if node.op_type.startswith("Conv") and node.input[1] in weights:
            layer = _layer(node.input[1])
        elif node.name.startswith(heads):
            layer = _layer(node.name)
        else:
            layer = next(iter(input_layers), "images")
        layer_of_value.update(dict.fromkeys(node.output, layer))
        nodes[layer].append(node.name)
    return dict(nodes)


def _layer(weight: str) -> str:
    """Returns the layer of a weight: the block, branch or fuse layer that is quantized as one.

    For example, `stage4.2.branches.1.3.conv2.weight` belongs to `stage4.2.branches.1`.
    """
    parts = weight.removesuffix(".weight").split(".")[:4]
    while len(parts) > 1 and not parts[-1].isdigit():
        parts.pop()
    return ".".join(parts)
