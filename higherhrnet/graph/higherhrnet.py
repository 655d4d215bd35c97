"""The graph of HigherHRNet; it corresponds to `higherhrnet.network.higherhrnet`."""

from __future__ import annotations

from higherhrnet.config.model import ModelConfig
from higherhrnet.graph.architecture import CENTER_HEAD_CHANNELS, DECONV_PADDING
from higherhrnet.graph.builder import BatchNorm, GraphBuilder, Value
from higherhrnet.graph.hrnet import add_backbone, add_stem, basic_block
from higherhrnet.graph.stems import separable_conv


def add_higherhrnet(graph: GraphBuilder, images: Value, config: ModelConfig) -> list[Value]:
    """Adds the backbone, the heads and the transposed-convolution modules; returns the maps."""
    stem = add_stem(graph, images, config)
    (x,) = add_backbone(graph, stem, config)
    of_centers = stem.pyramid or x
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
        maps.append(_center_head(graph, of_centers, config.num_keypoints, f"maps{len(maps)}"))
    if config.scale_maps:
        _register_scale_heads(graph, features, config.num_keypoints)
    return maps


def _center_head(graph: GraphBuilder, x: Value, keypoints: int, output: str) -> Value:
    """Adds the head for centers and offsets; returns the center heatmap and the offsets."""
    branches = []
    for name, channels in (("centers", 1), ("offsets", 2 * keypoints)):
        y = separable_conv(graph, x, f"center_head.{name}", CENTER_HEAD_CHANNELS)
        branches.append(graph.conv(y, f"center_head.{name}.3", channels, bias=True))
    centers, offsets = branches
    return graph.concat(graph.sigmoid(centers), offsets, output=output)


def _register_scale_heads(graph: GraphBuilder, features: list[Value], keypoints: int) -> None:
    """Registers the weights of the scale heads, which are not part of the graph."""
    heads = GraphBuilder()
    for index, x in enumerate(features):
        name = f"conv_scale_layers.{index}"
        x = heads.conv(x, f"{name}.0", keypoints, norm=BatchNorm(f"{name}.1"), bias=True)
        heads.conv(x, f"{name}.3", keypoints, kernel=9, groups=keypoints, bias=True)
    graph.shapes |= heads.shapes
    graph.num_parameters += heads.num_parameters
