"""A float ONNX network and the ranges of its values → int8, with any of its layers left float."""

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

from higherhrnet.config import Header
from higherhrnet.errors import InputError
from higherhrnet.io.atomic import atomic_path

if TYPE_CHECKING:
    from onnxruntime.quantization import TensorsData

OPERATIONS = ["Conv", "ConvTranspose", "Add", "Relu", "Clip", "Resize"]
"""All that the network is made of but Concat, which would round the first maps as they leave."""


class FloatNetwork:
    """A float network that can be written in int8.

    Args:
        path: a .onnx file.
        header: what it is.

    Raises:
        InputError: it is in int8 already.
    """

    def __init__(self, path: Path, header: Header) -> None:
        with TemporaryDirectory() as folder:
            folded = Path(folder, "folded.onnx")  # weights stored in half precision among others
            quant_pre_process(path, folded, skip_symbolic_shape=True)
            self.proto = onnx.load(folded)
        if any(node.op_type == "QuantizeLinear" for node in self.proto.graph.node):
            raise InputError(f"{path}: is in int8 already; start from the float model")
        for node in self.proto.graph.node:
            node.name = node.output[0]  # by which the quantiser is told what to leave out
        self.header = header
        self._nodes = _nodes_by_layer(self.proto.graph)
        self.heads = [layer for layer in self._nodes if layer.startswith("final_layers")]
        """These give the maps: rounding those costs the most and saves next to nothing."""
        self.layers = [layer for layer in self._nodes if layer not in self.heads]

    def write(self, path: Path, ranges: TensorsData, floats: Collection[str]) -> None:
        """Writes the network in int8 as an ONNX file that any engine can run.

        Weights are int8, a scale a channel; values uint8, which processors multiply by them at
        once. Where two layers in int8 meet, engines compute in it from one to the other.

        Args:
            path: the file to write.
            ranges: the least and greatest of each of its values.
            floats: the layers to leave as they are, besides the heads.

        Raises:
            InputError: the place cannot be written to.
        """
        left = [node for layer in [*self.heads, *floats] for node in self._nodes[layer]]
        quantizer = QDQQuantizer(
            deepcopy(self.proto),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=left,
            op_types_to_quantize=OPERATIONS,
            extra_options={},
        )
        proto = quantizer.quantize_model()
        used = {node.domain for node in proto.graph.node}
        domains = [domain for domain in proto.opset_import if domain.domain in used]
        del proto.opset_import[:]
        proto.opset_import.extend(domains)
        facts = {"int8": {"float_layers": [*self.heads, *floats]}}
        header = replace(self.header, training=self.header.training | facts)
        onnx.helper.set_model_props(proto, header.to_metadata())
        with atomic_path(path) as beside:
            onnx.save(proto, str(beside))


def _nodes_by_layer(graph: onnx.GraphProto) -> dict[str, list[str]]:
    """For each layer, in order, its nodes: convolutions, and what is done to their results."""
    weights = {tensor.name for tensor in graph.initializer}
    layer_of: dict[str, str] = {}
    nodes = defaultdict(list)
    for node in graph.node:
        known = [layer_of[name] for name in node.input if name in layer_of]
        if node.op_type.startswith("Conv") and node.input[1] in weights:
            layer = _layer(node.input[1])
        else:
            layer = next(iter(known), "images")
        layer_of.update(dict.fromkeys(node.output, layer))
        nodes[layer].append(node.name)
    return dict(nodes)


def _layer(weight: str) -> str:
    """The part of the network that is put back to float as one: a block, a branch, a fusion.

    `stage4.2.branches.1.3.conv2.weight` is in `stage4.2.branches.1`.
    """
    parts = weight.removesuffix(".weight").split(".")[:4]
    while len(parts) > 1 and not parts[-1].isdigit():
        parts.pop()
    return ".".join(parts)
