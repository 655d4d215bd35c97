"""Selection of people; it corresponds to `decoding/select.py`."""

from __future__ import annotations

import numpy as np

from higherhrnet.config.header import Header
from higherhrnet.graph.decode.program import Program
from higherhrnet.graph.decode.tensor import Tensor


def select(
    program: Program, keypoints: Tensor, scores: Tensor, header: Header
) -> tuple[Tensor, Tensor]:
    """Applies `min_score`, then `oks_nms`, then `max_results`; people keep their order.

    Args:
        program: the program.
        keypoints: (P, K, 3) x, y and score; zeros for missing keypoints.
        scores: (P,) scores of the people.
        header: the header of the model.
    """
    config = header.inference.decode
    if config.min_score > 0:  # scores of rescored people may be negative
        strong = (scores >= config.min_score).nonzero()
        keypoints, scores = keypoints.take(strong), scores.take(strong)
    if config.oks_nms is not None:
        similar = pairwise_similarity(program, keypoints, header) > config.oks_nms
        kept = suppress_people(program, similar, scores)
        keypoints, scores = keypoints.take(kept), scores.take(kept)
    if config.max_results is not None:
        count = scores.size(0).op("Min", config.max_results)
        best = program.top_k(scores, count)[1]
        kept = program.top_k(best, count, largest=False)[0]  # sorted
        keypoints, scores = keypoints.take(kept), scores.take(kept)
    return keypoints, scores


def pairwise_similarity(program: Program, keypoints: Tensor, header: Header) -> Tensor:
    """Computes (P, P) similarities of every two people; see `select.pairwise_similarity`."""
    positions, found = keypoints.part(0, 2, 2), keypoints.part(2, 3, 2) > 0
    low = program.where(found, positions, np.float32(np.inf)).min(1)
    high = program.where(found, positions, np.float32(-np.inf)).max(1)
    sides = (high - low).op("Max", 0)
    area = (sides.take(np.int64(0), 1) * sides.take(np.int64(1), 1)).op("Max", 1)
    areas = (area.expand_dims(1) + area) / 2
    offset = positions.expand_dims(1) - positions
    variances = np.square(2 * np.array(header.skeleton.sigmas, np.float32))
    scaled = (offset * offset).sum(3) / (areas.expand_dims(2) * (2 * variances))
    compared = (found.expand_dims(1) & found).op("Squeeze", np.array([3])).cast(np.float32)
    return (scaled.op("Neg").op("Exp") * compared).sum(2) / compared.sum(2).op("Max", 1)


def suppress_people(program: Program, similar: Tensor, scores: Tensor) -> Tensor:
    """Returns the indices of people who are not similar to a kept person of a higher score."""
    people = program.arange(scores.size(0))
    order = program.top_k(scores, scores.size(0))[1]

    def visit(index: Tensor, kept: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        person = order.take(index)
        is_new = ~(similar.take(person) & kept).any()
        return [kept | (people.equals(person) & is_new)], []

    nobody = program.full(np.bool_(False), scores.size(0))
    return program.loop(scores.size(0), [nobody], visit)[0].nonzero()
