"""Rescoring of people; it corresponds to `decoding/rescore.py`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from higherhrnet.config.rescoring import RescoringNetwork
from higherhrnet.decoding.rescore import MIN_SIZE
from higherhrnet.graph.decode.preprocess import View
from higherhrnet.graph.decode.program import Program
from higherhrnet.graph.decode.tensor import Tensor


def rescore(
    program: Program,
    positions: Sequence[Tensor],
    keypoint_scores: Tensor,
    scores: Tensor,
    view: View,
    network: RescoringNetwork,
) -> Tensor:
    """Computes new scores of the people of one image.

    Args:
        program: the program.
        positions: (P, K) x and (P, K) y in pixels of the image.
        keypoint_scores: (P, K) scores of the keypoints.
        scores: (P,) scores of the people before rescoring.
        view: the transform of the image to the network's input.
        network: the rescoring network.

    Returns:
        (P,) new scores.
    """
    features = [_pose_features(program, positions, keypoint_scores, network)]
    if network.context:
        side = view.width.op("Min", view.height) / view.factor
        features.append(_context_features(program, positions, scores, side.cast(np.float32)))
    value = program.concat(features, 1)
    *hidden, (weight, bias) = network.layers
    for hidden_weight, hidden_bias in hidden:
        value = (value @ hidden_weight.T + hidden_bias).op("Relu")
    value = (value @ weight.T + bias).take(np.int64(0), 1)
    if network.context:
        value = value.op("Sigmoid")
    value = program.where(value.op("IsNaN", dtype=np.bool_), np.float32(0), value)
    return value if network.context else scores * value


def _pose_features(
    program: Program, positions: Sequence[Tensor], scores: Tensor, network: RescoringNetwork
) -> Tensor:
    """Computes inputs from each pose alone; see `rescore.pose_features`."""
    first, second = np.array(network.links).T
    x, y = (axis.take(first, 1) - axis.take(second, 1) for axis in positions)
    lengths = (x * x + y * y).op("Sqrt")
    units = np.array(network.unit_links)
    unit = (lengths.take(units, 1).sum(1) / len(units)).op("Max", 1).expand_dims(1)
    links = program.stack([x, y], 2).reshape(-1, 2 * len(first))
    return program.concat([links / unit, lengths / unit, scores], 1)


def _context_features(
    program: Program, positions: Sequence[Tensor], scores: Tensor, image_side: Tensor
) -> Tensor:
    """Computes inputs from all people of the image; see `rescore.context_features`."""
    low = program.stack([axis.min(1) / image_side for axis in positions], 1)
    high = program.stack([axis.max(1) / image_side for axis in positions], 1)
    sides = high - low
    areas = (sides.take(np.int64(0), 1) * sides.take(np.int64(1), 1)).op("Max", MIN_SIZE**2)
    sides = high.expand_dims(1).op("Min", high) - low.expand_dims(1).op("Max", low)
    sides = sides.op("Max", 0)
    people = program.arange(scores.size(0))
    same = people.expand_dims(1).equals(people)
    shared = sides.take(np.int64(0), 2) * sides.take(np.int64(1), 2)
    shared = program.where(same, np.float32(0), shared)
    own = areas.expand_dims(1)
    iou, inside = (shared / (own + areas - shared)).max(1), (shared / own).max(1)
    count = scores.size(0).cast(np.float32).op("Log")
    counts = scores * 0 + count
    return program.stack([scores, areas.op("Log") / 2, iou, inside, counts], 1)
