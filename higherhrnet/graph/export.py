"""Writes networks as ONNX files, which contain the header of the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from higherhrnet.config.header import Header
from higherhrnet.errors import InputError, reading
from higherhrnet.graph.build import build_model, check_weights
from higherhrnet.graph.decode.people import add_decoding
from higherhrnet.io.atomic import atomic_path
from higherhrnet.io.weights import Weights


def export_onnx(path: str | Path, weights: Weights, header: Header, half: bool = False) -> None:
    """Writes a network to an ONNX file that accepts any batch size, height and width.

    The input is `images`, (B, 3, H, W) float32, normalized as the header describes, with H and W
    multiples of 32. The outputs are `maps0` (B, K + T, H/4, W/4), `maps1` (B, K, H/2, W/2) and so
    on, in the order of `HigherHRNet.forward`. Scale maps, which only training uses, are omitted,
    also from the header.

    Args:
        path: the file to write.
        weights: the weights of the network by name.
        header: the header of the network, which is stored in the file.
        half: store the weights in half precision, in half the space. They are converted to
            float32 when the file is loaded.

    Raises:
        InputError: the weights do not match the network that the header describes, or the file
            cannot be written.
    """
    check_weights(header.model, weights, str(path))
    header = replace(header, model=replace(header.model, scale_maps=False))
    with atomic_path(path) as temporary:
        model = build_model(header.model, weights)
        if half:
            convert_weights_to_float16(model.graph)
        onnx.helper.set_model_props(model, header.to_metadata())
        onnx.save(model, str(temporary))


def read_network(path: Path) -> tuple[onnx.ModelProto, Header]:
    """Reads the network in an ONNX file of this package, and its header.

    Raises:
        InputError: the file is not an ONNX model, or has no header.
    """
    try:
        with reading(path):
            model = onnx.load(path)
    except DecodeError as error:
        raise InputError(f"{path}: is not an ONNX model") from error
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return model, Header.from_metadata(metadata, str(path))


def export_people(path: str | Path, model: onnx.ModelProto, header: Header) -> None:
    """Writes an ONNX file that computes people from a uint8 image; see `add_decoding`.

    Args:
        path: the file to write.
        model: the network, as `read_network` returns it, which is changed.
        header: the header, with the inference settings that the file is for.

    Raises:
        InputError: a setting is not supported, or the file cannot be written.
    """
    add_decoding(model, header)
    onnx.helper.set_model_props(model, header.to_metadata())
    with atomic_path(path) as temporary:
        onnx.save(model, str(temporary))


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
