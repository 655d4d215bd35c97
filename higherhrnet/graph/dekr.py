"""The graph of DEKR; it corresponds to `higherhrnet.network.dekr`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from higherhrnet.arrays import FloatArray
from higherhrnet.config.model import ModelConfig
from higherhrnet.graph.architecture import OFFSET_BLOCKS, OFFSET_CHANNELS, TAPS
from higherhrnet.graph.builder import BatchNorm, GraphBuilder, Value
from higherhrnet.graph.hrnet import add_backbone, add_stem, basic_block, conv_bn

_Node = Callable[..., str]
"""Adds a node of an operator with inputs and a name; returns the name of its output."""
_AFFINE = {"transform_matrix_conv": 4, "translation_conv": 2}
"""The layers that predict where the taps read, and the numbers of their outputs."""


def add_dekr(graph: GraphBuilder, images: Value, config: ModelConfig) -> list[Value]:
    """Adds the backbone and the heads; returns the heatmaps and the offsets."""
    stem = add_stem(graph, images, config)
    finest, *coarser = add_backbone(graph, stem, config, all_strides=True)
    enlarged = [graph.upsample(x, 2 ** (i + 1), linear=True) for i, x in enumerate(coarser)]
    features, keypoints = graph.concat(finest, *enlarged), config.num_keypoints
    x = conv_bn(graph, features, "transition_heatmap", config.width, kernel=1)
    x = basic_block(graph, x, "head_heatmap.0.0")
    heatmaps = graph.conv(x, "head_heatmap.1", keypoints + 1, bias=True, output="maps0")
    x = conv_bn(graph, features, "transition_offset", keypoints * OFFSET_CHANNELS, kernel=1)
    for depth in range(OFFSET_BLOCKS):
        names = [f"offset_feature_layers.{k}.{depth}" for k in range(keypoints)]
        x = _adaptive_blocks(graph, x, names)
    finals = [(f"offset_final_layer.{k}", 2) for k in range(keypoints)]
    return [heatmaps, _grouped_conv(graph, x, finals, keypoints, 1, "maps1")]


def _grouped_conv(
    graph: GraphBuilder,
    x: Value,
    layers: Sequence[tuple[str, int]],
    groups: int,
    kernel: int,
    output: str,
) -> Value:
    """Adds convolutions with biases of separate layers as one with groups.

    Args:
        graph: the graph.
        x: the input.
        layers: the name and the number of outputs of each layer, in the order of the outputs.
        groups: number of groups of channels.
        kernel: side of the kernels.
        output: the name of the result.
    """
    inputs = x.channels // groups
    weights, biases = [], []
    for name, channels in layers:
        weights.append(graph.weight(f"{name}.weight", (channels, inputs, kernel, kernel)))
        biases.append(graph.weight(f"{name}.bias", (channels,)))
    weight, bias = np.concatenate(weights), np.concatenate(biases)
    graph.count_conv(weight, x.stride)
    names = graph.constant(f"{output}.weight", weight), graph.constant(f"{output}.bias", bias)
    out = Value(output, len(bias), x.stride)
    pads = [kernel // 2] * 4
    return graph.node("Conv", [x.name, *names], out, group=groups, pads=pads)


def _adaptive_blocks(graph: GraphBuilder, x: Value, names: Sequence[str]) -> Value:
    """Adds the adaptive blocks of all keypoints, which are computed at once."""
    prefix, groups, channels = names[0], len(names), OFFSET_CHANNELS
    layers = []
    for name in names:
        graph.buffer(f"{name}.regular_matrix", (2, 9))
        layers += [(f"{name}.{layer}", count) for layer, count in _AFFINE.items()]
    affine = _grouped_conv(graph, x, layers, groups, 3, f"{prefix}.affine")
    weights, biases = [], []
    for name in names:
        weight = graph.weight(f"{name}.adapt_conv.weight", (channels, channels, 3, 3))
        graph.count_conv(weight, x.stride)
        scale, offset = graph.norm(BatchNorm(f"{name}.bn"), channels)
        weights.append((weight * scale[:, None, None, None]).astype(np.float32))
        biases.append(offset.astype(np.float32))
    parts = _read_and_weigh(graph, x, affine, np.concatenate(weights), prefix)
    bias = graph.constant(f"{prefix}.bias", np.concatenate(biases)[:, None, None])
    total = graph.node("Add", [parts[0].name, bias], Value(f"{prefix}.total", x.channels, x.stride))
    for part in (*parts[1:], x):
        total = graph.add(total, part)
    return graph.relu(total)


def _read_and_weigh(
    graph: GraphBuilder, x: Value, affine: Value, weight: FloatArray, prefix: str
) -> list[Value]:
    """Adds the adaptive convolutions: the results of the three rows of the kernel.

    As in `network.dekr.adaptive_convolution`, the values of a row of taps are read at once.
    """
    channels, groups = OFFSET_CHANNELS, x.channels // OFFSET_CHANNELS

    def node(operator: str, inputs: Sequence[str], part: str, **attributes: object) -> str:
        out = Value(f"{prefix}.{part}", 0, x.stride)
        return graph.node(operator, list(inputs), out, **attributes).name

    def reshape(name: str, shape: Sequence[str | int], part: str) -> str:
        sizes = [
            size if isinstance(size, str) else graph.constant(f"size{size}", np.array([size]))
            for size in shape
        ]
        return node("Reshape", [name, node("Concat", sizes, f"{part}.shape", axis=0)], part)

    shape = node("Shape", [x.name], "shape")
    height, width = (
        node("Gather", [shape, graph.constant(f"index{i}", np.array([i]))], f"side{i}")
        for i in (2, 3)
    )
    maps = reshape(x.name, [-1, channels, height, width], "maps")
    moves = reshape(affine.name, [-1, sum(_AFFINE.values()), height, width], "matrices")
    moves = node("Conv", [moves, graph.constant("taps", _tap_filters())], "moves")
    moves = reshape(moves, [-1, len(TAPS), 2, height, width], "moves_by_tap")
    moves = node("Transpose", [moves], "moves_last", perm=[0, 1, 3, 4, 2])
    grid = node("Mul", [moves, _cell_size(node, graph, height, width)], "scaled")
    grid = node("Add", [grid, _cell_centers(node, graph, height, width)], "grid")
    results = []
    for row in range(3):
        limits = [graph.constant(f"index{i}", np.array([i])) for i in (3 * row, 3 * row + 3, 1)]
        places = node("Slice", [grid, *limits], f"grid{row}")
        places = reshape(places, [0, -1, width, 2], f"places{row}")
        values = node(
            "GridSample", [maps, places], f"read{row}",
            mode="bilinear", padding_mode="zeros", align_corners=0,
        )  # fmt: skip
        values = reshape(values, [-1, 3 * x.channels, height, width], f"values{row}")
        row_weight = weight[:, :, row].reshape(groups * channels, 3 * channels, 1, 1)
        name = graph.constant(f"{prefix}.weight{row}", row_weight)
        out = Value(f"{prefix}.row{row}", x.channels, x.stride)
        results.append(graph.node("Conv", [values, name], out, group=groups))
    return results


def _tap_filters() -> FloatArray:
    """Returns (18, 6, 1, 1) filters that compute x and y of A·g + t for each tap from A and t."""
    filters = np.zeros((len(TAPS), 2, 6), np.float32)
    for tap, (y, x) in enumerate(TAPS):
        filters[tap, 0, [2, 3, 5]] = y, x, 1
        filters[tap, 1, [0, 1, 4]] = y, x, 1
    return filters.reshape(-1, 6, 1, 1)


def _cell_size(node: _Node, graph: GraphBuilder, height: str, width: str) -> str:
    """Returns (2,) width and height of a cell, where the map extends from -1 to 1."""
    sides = node("Concat", [width, height], "sides", axis=0)
    sides = node("Cast", [sides], "sides_float", to=1)
    return node("Div", [_constant(graph, 2), sides], "cell")


def _cell_centers(node: _Node, graph: GraphBuilder, height: str, width: str) -> str:
    """Returns (h, w, 2) x and y of the centers of the cells, where the map extends from -1 to 1."""
    zero, one = (graph.constant(f"scalar{i}", np.array(i)) for i in (0, 1))
    axes = []
    for axis, (side, shape) in {"x": (width, [1, -1, 1]), "y": (height, [-1, 1, 1])}.items():
        scalar = node("Squeeze", [side], f"{axis}.side")
        cells = node("Range", [zero, scalar, one], f"{axis}.cells")
        cells = node("Cast", [cells], f"{axis}.float", to=1)
        side_float = node("Cast", [side], f"{axis}.side_float", to=1)
        half = node("Add", [cells, _constant(graph, 0.5)], f"{axis}.half")
        position = node("Div", [half, side_float], f"{axis}.position")
        double = node("Mul", [position, _constant(graph, 2)], f"{axis}.double")
        center = node("Sub", [double, _constant(graph, 1)], f"{axis}.center")
        sizes = graph.constant(f"{axis}.axis", np.array(shape))
        axes.append(node("Reshape", [center, sizes], f"{axis}.reshaped"))
    full = node("Concat", [height, width, graph.constant("one", np.array([1]))], "full", axis=0)
    expanded = [node("Expand", [axis, full], f"expanded{i}") for i, axis in enumerate(axes)]
    return node("Concat", expanded, "centers", axis=2)


def _constant(graph: GraphBuilder, value: float) -> str:
    return graph.constant(f"float{value}", np.array([value], np.float32))
