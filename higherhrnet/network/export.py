"""Networks for where torch is not: ONNX files that carry their header."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch

from higherhrnet.config import Header
from higherhrnet.io.atomic import atomic_path
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.network.hrnet import STRIDE


def export_onnx(model: HigherHRNet, header: Header, path: str | Path, half: bool = False) -> None:
    """Writes a network as ONNX: any batch, any height and width that are multiples of 32.

    The input is `images`, (B, 3, H, W) float32, normalised as the header says; the outputs are
    `maps0` (B, K + T, H/4, W/4), `maps1` (B, K, H/2, W/2) and so on, as the network gives them.

    Args:
        model: the network.
        header: what it is.
        path: the file to write.
        half: store the weights in half precision, in half the space; they are computed with in
            float32 all the same.

    Raises:
        InputError: the place cannot be written to.
    """
    with atomic_path(path) as beside:
        proto = _exported(model.eval())
        for node in proto.graph.node:
            del node.metadata_props[:]  # stack traces, with the paths of this machine
        if half:
            halve_weights(proto.graph)
        onnx.helper.set_model_props(proto, header.to_metadata())
        onnx.save(proto, str(beside))


def _exported(model: HigherHRNet) -> onnx.ModelProto:
    dimension = torch.export.Dim
    sizes = {
        0: dimension("batch", min=1, max=4096),
        2: STRIDE * dimension("rows", min=1, max=1024),
        3: STRIDE * dimension("columns", min=1, max=1024),
    }
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the exporter's notes about itself
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                model,
                (torch.zeros(2, 3, 2 * STRIDE, 3 * STRIDE),),
                dynamo=True,
                dynamic_shapes={"images": sizes},
                input_names=["images"],
                output_names=[f"maps{i}" for i in range(len(model.final_layers))],
                verbose=False,
            )
    finally:
        logging.disable(before)
    assert program is not None  # with dynamo it never is
    return program.model_proto


def halve_weights(graph: onnx.GraphProto) -> None:
    """Stores float32 tensors as float16, each behind a cast that engines fold when they load.

    A tensor that would lose more than a thousandth of its largest value stays as it is.
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
