"""The graph of a network, which its head selects; it corresponds to `higherhrnet.network.build`."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import shorten

import onnx

from higherhrnet.config.model import HeadName, ModelConfig
from higherhrnet.errors import require
from higherhrnet.graph.builder import BATCH_COUNTER, GraphBuilder, Value
from higherhrnet.graph.dekr import add_dekr
from higherhrnet.graph.higherhrnet import add_higherhrnet
from higherhrnet.io.weights import Weights

NETWORKS: dict[HeadName, Callable[[GraphBuilder, Value, ModelConfig], list[Value]]] = {
    "tags": add_higherhrnet,
    "offsets": add_dekr,
    "tags-and-offsets": add_higherhrnet,
}
"""For each head, the function that adds the network: graph, images and architecture → maps."""
IMAGES = Value("images", 3, 1)
"""The input of the network."""


def build_model(config: ModelConfig, weights: Weights) -> onnx.ModelProto:
    """Builds the graph of a network, with batch norm folded into the convolutions.

    Args:
        config: the architecture.
        weights: the weights, which `check_weights` accepts.
    """
    graph = GraphBuilder(weights)
    return graph.to_model(IMAGES, _add_network(graph, config))


def trace(config: ModelConfig) -> GraphBuilder:
    """Traces an architecture without weights: shapes, number of parameters and multiply-adds."""
    graph = GraphBuilder()
    _add_network(graph, config)
    return graph


def check_weights(config: ModelConfig, weights: Weights, source: str) -> None:
    """Checks that weights are those of an architecture.

    Only the batch counters of batch norm (`num_batches_tracked`) may be missing.

    Args:
        config: the architecture.
        weights: the weights by name.
        source: the name of the file, for the message.

    Raises:
        InputError: weights are missing, unexpected or of another shape; the message lists them.
    """
    shapes = trace(config).shapes
    missing = [name for name in shapes if name not in weights and not name.endswith(BATCH_COUNTER)]
    unexpected = [name for name in weights if name not in shapes]
    problems = [
        f"{kind}: {shorten(', '.join(names), 600)}."
        for kind, names in (
            ("Missing key(s) in state_dict", [f'"{name}"' for name in missing]),
            ("Unexpected key(s) in state_dict", [f'"{name}"' for name in unexpected]),
        )
        if names
    ]
    problems += [
        f"size mismatch for {name}: {weights[name].shape} instead of {shape}."
        for name, shape in shapes.items()
        if name in weights and weights[name].shape != shape
    ]
    require(
        not problems,
        f"{source}: the weights do not match the network: {shorten(' '.join(problems), 2000)}",
    )


def _add_network(graph: GraphBuilder, config: ModelConfig) -> list[Value]:
    """Adds the network that the head selects; returns the maps."""
    return NETWORKS[config.head](graph, IMAGES, config)
