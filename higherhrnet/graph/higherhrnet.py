"""The graph of HigherHRNet; it corresponds to `higherhrnet.network.higherhrnet`."""

from __future__ import annotations

from collections.abc import Sequence

from higherhrnet.config.model import ModelConfig
from higherhrnet.graph.architecture import CENTER_HEAD_CHANNELS, DECONV_PADDING
from higherhrnet.graph.builder import BatchNorm, GraphBuilder, Value
from higherhrnet.graph.hrnet import add_backbone, add_stem, basic_block


def add_higherhrnet(graph: GraphBuilder, images: Value, config: ModelConfig) -> list[Value]:
    """Adds the backbone, the heads and the transposed-convolution modules; returns the maps."""
    stem = add_stem(graph, images, config)
    all_strides = config.has_offsets and not stem.pyramid
    backbone = add_backbone(graph, stem, config, all_strides=all_strides)
    x = backbone[0]
    channels = config.num_keypoints + config.num_tags
    features = [x]
    maps = [graph.conv(x, "final_layers.0", channels, bias=True, output="maps0")]
    for index, kernel in enumerate(config.deconv_kernels):
        name = f"deconv_layers.{index}"
        x = graph.transposed_conv(
            graph.concat(x, maps[-1]),
            f"{name}.0.0",
            config.width,
            kernel,
            DECONV_PADDING[kernel],
            BatchNorm(f"{name}.0.1"),
        )
        x = graph.relu(x)
        for block in range(config.deconv_blocks):
            x = basic_block(graph, x, f"{name}.{block + 1}.0")
        features.append(x)
        head = f"final_layers.{index + 1}"
        output = f"maps{index + 1}"
        maps.append(graph.conv(x, head, config.num_keypoints, bias=True, output=output))
    if config.has_offsets:
        of_centers = [stem.pyramid, *stem.features[1:]] if stem.pyramid else backbone
        maps.append(_center_head(graph, of_centers, config.num_keypoints, f"maps{len(maps)}"))
    if config.scale_maps:
        _register_scale_heads(graph, features, config.num_keypoints)
    return maps


def _center_head(
    graph: GraphBuilder, features: Sequence[Value], keypoints: int, output: str
) -> Value:
    """Adds the head for centers and offsets; returns the center heatmap and the offsets."""
    centers = _center_branch(graph, features[:1], "center_head.centers", 1)
    offsets = _center_branch(graph, features, "center_head.offsets", 2 * keypoints)
    return graph.concat(graph.sigmoid(centers), offsets, output=output)


def _center_branch(
    graph: GraphBuilder, features: Sequence[Value], name: str, outputs: int
) -> Value:
    """Adds a branch of the head for centers and offsets, which sums the projected features."""
    finest, *coarser = features
    x = graph.conv(finest, f"{name}.depthwise", finest.channels, 3, groups=finest.channels)
    total = graph.conv(x, f"{name}.project.0", CENTER_HEAD_CHANNELS, bias=True)
    for index, x in enumerate(coarser, 1):
        x = graph.conv(x, f"{name}.project.{index}", CENTER_HEAD_CHANNELS)
        total = graph.add(total, graph.upsample(x, 2**index, linear=True))
    return graph.conv(graph.relu(total), f"{name}.predict", outputs, bias=True)


def _register_scale_heads(graph: GraphBuilder, features: list[Value], keypoints: int) -> None:
    """Registers the weights of the scale heads, which are not part of the graph."""
    heads = GraphBuilder()
    for index, x in enumerate(features):
        name = f"conv_scale_layers.{index}"
        x = heads.conv(x, f"{name}.0", keypoints, norm=BatchNorm(f"{name}.1"), bias=True)
        heads.conv(x, f"{name}.3", keypoints, kernel=9, groups=keypoints, bias=True)
    graph.shapes |= heads.shapes
    graph.num_parameters += heads.num_parameters
