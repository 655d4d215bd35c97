"""Suppression of poses of the same person; it corresponds to `decoding/offsets/pose_nms.py`."""

from __future__ import annotations

import numpy as np

from higherhrnet.config.offsets import NmsOrder
from higherhrnet.graph.decode.program import Program
from higherhrnet.graph.decode.tensor import Tensor

_LOWEST = np.float32(-np.inf)


def suppress_poses(
    program: Program,
    keypoints: Tensor,
    scores: Tensor,
    max_distance: float,
    min_keypoints: int,
    order: NmsOrder,
    max_people: int,
) -> Tensor:
    """Returns the indices of one pose for each person; see `pose_nms.suppress_poses`."""
    poses = program.arange(scores.size(0))
    offset = keypoints.expand_dims(1) - keypoints
    squared = (offset * offset).sum(3)
    sides = keypoints.max(1) - keypoints.min(1)
    limit = (sides * sides).sum(1) * max_distance**2
    near = squared < limit.reshape(-1, 1, 1)
    similar = near.cast(np.int64).sum(2) > min_keypoints
    similar = similar | poses.expand_dims(1).equals(poses)
    suppress = _suppress_by_score if order == "score" else _suppress
    kept = suppress(program, similar, scores, poses)
    # More than max_people: the highest, sorted by score; otherwise the order of the suppression.
    count = kept.size(0).op("Min", max_people)
    best = kept.take(program.top_k(scores.take(kept), count)[1])
    return program.branch(kept.size(0) > max_people, lambda: best, lambda: kept)


def _suppress(program: Program, near: Tensor, scores: Tensor, poses: Tensor) -> Tensor:
    """Suppresses in the order of the poses; see `decoding/offsets/pose_nms.py`."""

    def visit(pose: Tensor, removed: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        neighbors = near.take(pose)
        selected = program.where(neighbors, scores, _LOWEST).argmax()
        is_open = ~removed.take(pose)
        is_kept = is_open & ~removed.take(selected)
        removed = removed | (neighbors & is_kept) | (poses.equals(pose) & is_open)
        return [removed], [program.where(is_kept, selected, np.int64(-1))]

    nothing = program.full(np.bool_(False), scores.size(0))
    _, selected = program.loop(scores.size(0), [nothing], visit)
    return selected.take((selected >= 0).nonzero())


def _suppress_by_score(program: Program, near: Tensor, scores: Tensor, poses: Tensor) -> Tensor:
    """Keeps poses from high to low score, and removes the neighbors of each kept pose."""
    order = program.top_k(scores, scores.size(0))[1]
    mutual = near | near.transpose(1, 0)

    def visit(index: Tensor, removed: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        pose = order.take(index)
        is_kept = ~removed.take(pose)
        return [removed | (mutual.take(pose) & is_kept)], [is_kept]

    nothing = program.full(np.bool_(False), scores.size(0))
    _, is_kept = program.loop(scores.size(0), [nothing], visit)
    return order.take(is_kept.nonzero())
