"""The graphs of the pretrained stems; they correspond to `higherhrnet.network.stems`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from higherhrnet.config.model import StemName
from higherhrnet.graph.builder import BatchNorm, GraphBuilder, Value
from higherhrnet.graph.stem_tables import (
    EFFICIENTNET_EPSILON,
    EFFICIENTNET_FIRST_CHANNELS,
    EFFICIENTNET_STAGES,
    MOVENET_FIRST_CHANNELS,
    MOVENET_HEAD_CHANNELS,
    MOVENET_HEATMAPS,
    MOVENET_LAST_BLOCKS,
    MOVENET_LAST_CHANNELS,
    MOVENET_PYRAMID,
    MOVENET_PYRAMID_BLOCKS,
    MOVENET_STAGES,
    StemStage,
    same_padding,
)


@dataclass(frozen=True)
class StemOutput:
    """The output of a stem."""

    features: list[Value]
    """Features at strides 4, 8, 16 and 32, or at stride 4 only."""
    heatmaps: Value | None = None
    """Heatmaps at stride 4, if the stem predicts them; the finest features include them."""
    pyramid: Value | None = None
    """The finest features without the heatmaps, if the stem predicts heatmaps."""


def add_efficientnet(graph: GraphBuilder, images: Value, name: str, size: StemName) -> StemOutput:
    """Adds EfficientNet-Lite without its classifier."""
    norm = BatchNorm(f"{name}.bn0", EFFICIENTNET_EPSILON)
    channels, pads = EFFICIENTNET_FIRST_CHANNELS, same_padding(3)
    x = graph.conv(images, f"{name}.conv_stem", channels, 3, 2, norm=norm, pads=pads)
    blocks = _add_blocks(graph, graph.relu6(x), name, EFFICIENTNET_STAGES[size], norm=True)
    last = {block.stride: block for block in blocks}  # of each stride, the last block
    return StemOutput([last[stride] for stride in (4, 8, 16, 32)])


def add_movenet(graph: GraphBuilder, images: Value, name: str) -> StemOutput:
    """Adds MoveNet's backbone and heatmap head."""
    x = graph.conv(
        images, f"{name}.conv_stem", MOVENET_FIRST_CHANNELS, 3, 2, bias=True, pads=same_padding(3)
    )
    blocks = _add_blocks(graph, graph.relu6(x), name, MOVENET_STAGES, norm=False)
    x = graph.conv(blocks[-1], f"{name}.conv_head", MOVENET_LAST_CHANNELS, bias=True)
    widths = [width for _, width in MOVENET_PYRAMID]
    y = graph.conv(graph.relu6(x), f"{name}.laterals.0", widths[0], bias=True)
    for index, number in enumerate(MOVENET_PYRAMID_BLOCKS.values()):
        feature = blocks[number - 1]
        lateral = graph.conv(feature, f"{name}.laterals.{index + 1}", y.channels, bias=True)
        y = graph.add(graph.upsample(y, 2, linear=True), lateral)
        finer = widths[min(index + 1, len(widths) - 1)]
        y = _separable_conv(graph, y, f"{name}.merges.{index}", finer)
    x = _separable_conv(graph, y, f"{name}.head", MOVENET_HEAD_CHANNELS)
    heatmaps = graph.sigmoid(graph.conv(x, f"{name}.head.3", MOVENET_HEATMAPS, bias=True))
    coarser = [blocks[number - 1] for number in MOVENET_LAST_BLOCKS.values()]
    return StemOutput([graph.concat(y, heatmaps), *coarser], heatmaps, y)


STEMS: dict[StemName, Callable[[GraphBuilder, Value, str], StemOutput]] = {
    "efficientnet-lite0": partial(add_efficientnet, size="efficientnet-lite0"),
    "efficientnet-lite2": partial(add_efficientnet, size="efficientnet-lite2"),
    "movenet": add_movenet,
}
"""For each network that replaces the paper's stem, the function that adds it: graph, normalized
images and the prefix of its layers → features."""


def _add_blocks(
    graph: GraphBuilder, x: Value, name: str, stages: tuple[StemStage, ...], norm: bool
) -> list[Value]:
    """Adds inverted residuals, with batch norm or with biases, and returns their outputs."""
    blocks: list[Value] = []
    for stage in stages:
        for index in range(stage.blocks):
            stride = stage.stride if index == 0 else 1
            block = f"{name}.blocks.{len(blocks)}"
            x = _inverted_residual(graph, x, block, stage, stride, norm)
            blocks.append(x)
    return blocks


def _inverted_residual(
    graph: GraphBuilder, x: Value, name: str, stage: StemStage, stride: int, norm: bool
) -> Value:
    """Adds a 1×1 expansion, a depthwise convolution and a 1×1 projection."""
    norms = [BatchNorm(f"{name}.bn{i}", EFFICIENTNET_EPSILON) if norm else None for i in range(3)]
    inner = x.channels * stage.expansion
    y = x
    if stage.expansion > 1:
        y = graph.conv(y, f"{name}.expand_conv", inner, norm=norms[0], bias=not norm)
        y = graph.relu6(y)
    y = graph.conv(
        y,
        f"{name}.depthwise_conv",
        inner,
        stage.kernel,
        stride,
        groups=inner,
        norm=norms[1],
        bias=not norm,
        pads=same_padding(stage.kernel) if stride == 2 else None,
    )
    y = graph.relu6(y)
    y = graph.conv(y, f"{name}.project_conv", stage.channels, norm=norms[2], bias=not norm)
    return graph.add(x, y) if stride == 1 and x.channels == y.channels else y


def _separable_conv(graph: GraphBuilder, x: Value, name: str, channels: int) -> Value:
    """Adds a 3×3 depthwise convolution, a 1×1 convolution and ReLU."""
    x = graph.conv(x, f"{name}.0", x.channels, 3, groups=x.channels)
    return graph.relu(graph.conv(x, f"{name}.1", channels, bias=True))
