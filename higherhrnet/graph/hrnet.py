"""The graph of HRNet, the backbone; it corresponds to `higherhrnet.network.hrnet`."""

from __future__ import annotations

from collections.abc import Sequence

from higherhrnet.config.model import ModelConfig
from higherhrnet.graph.architecture import BOTTLENECK_EXPANSION, LAYER1_BLOCKS, STEM_CHANNELS
from higherhrnet.graph.builder import BatchNorm, GraphBuilder, Value
from higherhrnet.graph.stems import STEMS, StemOutput


def conv_bn(
    graph: GraphBuilder,
    x: Value,
    name: str,
    channels: int,
    kernel: int = 3,
    stride: int = 1,
    relu: bool = True,
) -> Value:
    """Adds a convolution with batch norm and, by default, ReLU: a sequence of layers in torch."""
    x = graph.conv(x, f"{name}.0", channels, kernel, stride, norm=BatchNorm(f"{name}.1"))
    return graph.relu(x) if relu else x


def basic_block(graph: GraphBuilder, x: Value, name: str) -> Value:
    """Adds a residual block of two 3×3 convolutions."""
    y = _conv(graph, x, name, 1, x.channels, 3)
    y = _conv(graph, graph.relu(y), name, 2, x.channels, 3)
    return graph.relu(graph.add(y, x))


def _bottleneck(graph: GraphBuilder, x: Value, name: str, planes: int) -> Value:
    """Adds a residual block of 1×1, 3×3 and 1×1 convolutions."""
    y = graph.relu(_conv(graph, x, name, 1, planes))
    y = graph.relu(_conv(graph, y, name, 2, planes, 3))
    y = _conv(graph, y, name, 3, planes * BOTTLENECK_EXPANSION)
    if x.channels != y.channels:
        x = conv_bn(graph, x, f"{name}.downsample", y.channels, kernel=1, relu=False)
    return graph.relu(graph.add(y, x))


def _conv(
    graph: GraphBuilder, x: Value, name: str, number: int, channels: int, kernel: int = 1
) -> Value:
    """Adds the convolution of a residual block with a number, and its batch norm."""
    norm = BatchNorm(f"{name}.bn{number}")
    return graph.conv(x, f"{name}.conv{number}", channels, kernel, norm=norm)


def add_stem(graph: GraphBuilder, images: Value, config: ModelConfig) -> StemOutput:
    """Adds the stem of the backbone: normalized images → features."""
    if config.stem == "hrnet":
        return StemOutput([_hrnet_stem(graph, images)])
    return STEMS[config.stem](graph, images, "stem")


def add_backbone(
    graph: GraphBuilder, stem: StemOutput, config: ModelConfig, *, all_strides: bool = False
) -> list[Value]:
    """Adds the backbone.

    Args:
        graph: the graph.
        stem: the output of the stem.
        config: the architecture.
        all_strides: return the features at strides 4, 8, 16 and 32 (default: at stride 4 only).

    Returns:
        The features at each stride, finest first. The finest include the stem's heatmaps.
    """
    widths = [config.width * 2**i for i in range(4)]
    xs = stem.features[:1]
    for index, modules in enumerate(config.modules):
        start = stem.features[index + 1] if len(stem.features) > 1 else None
        xs = _transition(graph, xs, start, f"transition{index + 1}", widths[: index + 2])
        for module in range(modules):
            last = index == 2 and module == modules - 1 and not all_strides
            name = f"stage{index + 2}.{module}"
            xs = _module(graph, xs, name, 1 if last else len(xs), config.blocks)
    if stem.heatmaps:  # of a MoveNet stem
        xs[0] = graph.concat(xs[0], stem.heatmaps)
    return xs


def _hrnet_stem(graph: GraphBuilder, images: Value) -> Value:
    """Adds the paper's stem: two convolutions of stride 2, and layer1."""
    x = images
    for number in (1, 2):
        norm = BatchNorm(f"bn{number}")
        x = graph.relu(graph.conv(x, f"conv{number}", STEM_CHANNELS, 3, 2, norm=norm))
    for block in range(LAYER1_BLOCKS):
        x = _bottleneck(graph, x, f"layer1.{block}", STEM_CHANNELS)
    return x


def _transition(
    graph: GraphBuilder, xs: Sequence[Value], start: Value | None, name: str, widths: Sequence[int]
) -> list[Value]:
    """Adds the layers that adapt the channels of each branch and start a coarser branch.

    Args:
        graph: the graph.
        xs: the features of the existing branches.
        start: the stem's features that start the new branch; None: the coarsest branch starts it.
        name: the name of the layers.
        widths: channels of the branches, one more than there are features.
    """
    adapted = [
        x if x.channels == width else conv_bn(graph, x, f"{name}.{i}", width)
        for i, (x, width) in enumerate(zip(xs, widths, strict=False))
    ]
    new = f"{name}.{len(xs)}"
    if start:
        return [*adapted, conv_bn(graph, start, new, widths[-1], kernel=1)]
    return [*adapted, conv_bn(graph, xs[-1], f"{new}.0", widths[-1], stride=2)]


def _module(
    graph: GraphBuilder, xs: Sequence[Value], name: str, outputs: int, blocks: int
) -> list[Value]:
    """Adds parallel branches of residual blocks, and the layers that fuse them."""
    branches = []
    for branch, x in enumerate(xs):
        for block in range(blocks):
            x = basic_block(graph, x, f"{name}.branches.{branch}.{block}")
        branches.append(x)
    fused = []
    for target in range(outputs):
        layers = f"{name}.fuse_layers.{target}"
        terms = [
            _fuse_layer(graph, x, f"{layers}.{source}", branches[target], target - source)
            for source, x in enumerate(branches)
        ]
        total = terms[0]
        for term in terms[1:]:
            total = graph.add(total, term)
        fused.append(graph.relu(total))
    return fused


def _fuse_layer(graph: GraphBuilder, x: Value, name: str, target: Value, halvings: int) -> Value:
    """Adds the layers that convert a branch to the channels and stride of another.

    Args:
        graph: the graph.
        x: the features of the branch.
        name: the name of the layers.
        target: the features of the other branch.
        halvings: how often height and width are halved; negative: doubled.
    """
    if halvings < 0:
        y = conv_bn(graph, x, name, target.channels, kernel=1, relu=False)
        return graph.upsample(y, 2**-halvings)
    for step in range(halvings - 1):
        x = conv_bn(graph, x, f"{name}.{step}", x.channels, stride=2)
    if halvings:
        x = conv_bn(graph, x, f"{name}.{halvings - 1}", target.channels, stride=2, relu=False)
    return x
