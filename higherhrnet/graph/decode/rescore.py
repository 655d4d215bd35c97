"""Rescoring of people; it corresponds to `decoding/offsets/rescore.py`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from higherhrnet.config.rescoring import RescoringNetwork
from higherhrnet.graph.decode.program import Program
from higherhrnet.graph.decode.tensor import Tensor


def predict_similarity(
    program: Program, positions: Sequence[Tensor], scores: Tensor, network: RescoringNetwork
) -> Tensor:
    """Predicts the Object Keypoint Similarity of each person.

    Args:
        program: the program.
        positions: (P, K) x and (P, K) y in pixels of the image.
        scores: (P, K) scores of the keypoints.
        network: the rescoring network.

    Returns:
        (P,) predictions; 0 where they would be NaN.
    """
    first, second = np.array(network.links).T
    x, y = (axis.take(first, 1) - axis.take(second, 1) for axis in positions)
    lengths = (x * x + y * y).op("Sqrt")
    units = np.array(network.unit_links)
    unit = (lengths.take(units, 1).sum(1) / len(units)).op("Max", 1).expand_dims(1)
    links = program.stack([x, y], 2).reshape(-1, 2 * len(first))
    value = program.concat([links / unit, lengths / unit, scores], 1)
    *hidden, (weight, bias) = network.layers()
    for hidden_weight, hidden_bias in hidden:
        value = (value @ hidden_weight.T + hidden_bias).op("Relu")
    value = (value @ weight.T + bias).take(np.int64(0), 1)
    return program.where(value.op("IsNaN", dtype=np.bool_), np.float32(0), value)
