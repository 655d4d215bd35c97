"""Exports a network to ONNX, so that it runs without torch; the file contains the header."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch

from higherhrnet.geometry import STRIDE
from higherhrnet.header import Header
from higherhrnet.io.atomic import atomic_path
from higherhrnet.network.higherhrnet import HigherHRNet


def export_onnx(model: HigherHRNet, header: Header, path: str | Path, half: bool = False) -> None:
    """Writes a network to an ONNX file that accepts any batch size, height and width.

    The input is `images`, (B, 3, H, W) float32, normalized as the header describes, with H and W
    multiples of 32. The outputs are `maps0` (B, K + T, H/4, W/4), `maps1` (B, K, H/2, W/2) and so
    on, in the order of `HigherHRNet.forward`.

    Args:
        model: the network; it is left in evaluation mode.
        header: the header of the network, which is stored in the file.
        path: the file to write.
        half: store the weights in half precision, in half the space. They are converted to
            float32 when the file is loaded.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        proto = _export(model.eval())
        for node in proto.graph.node:
            del node.metadata_props[:]  # stack traces, which contain paths of this machine
        if half:
            convert_weights_to_float16(proto.graph)
        onnx.helper.set_model_props(proto, header.to_metadata())
        onnx.save(proto, str(temporary))


def _export(model: HigherHRNet) -> onnx.ModelProto:
    dimension = torch.export.Dim
    dynamic_dimensions = {
        0: dimension("batch", min=1, max=4096),
        2: STRIDE * dimension("rows", min=1, max=1024),
        3: STRIDE * dimension("columns", min=1, max=1024),
    }
    logging_level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the exporter logs details of its own implementation
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                model,
                (torch.zeros(2, 3, 2 * STRIDE, 3 * STRIDE),),
                dynamo=True,
                dynamic_shapes={"images": dynamic_dimensions},
                input_names=["images"],
                output_names=[f"maps{i}" for i in range(len(model.final_layers))],
                verbose=False,
            )
    finally:
        logging.disable(logging_level)
    assert program is not None  # None is returned only with dynamo=False
    return program.model_proto


def convert_weights_to_float16(graph: onnx.GraphProto) -> None:
    """Converts float32 weights to float16, with casts back to float32 that engines fold.

    A weight tensor whose largest rounding error exceeds 0.1 % of its largest absolute value stays
    in float32.
    """
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        half = values.astype(np.float16)
        if np.abs(half - values).max(initial=0) <= 1e-3 * np.abs(values).max(initial=0):
            name, to = tensor.name, onnx.TensorProto.FLOAT
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}.half"))
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=to))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
