"""The order of the k largest values, with ties resolved as by `torch.topk` on a CPU.

The reference implementation uses `torch.topk`, and its results depend on the order of equal peaks.
`torch.topk` calls `std::partial_sort`, which keeps the largest values in a heap, so that the order
of equal values depends on the operations before. This is used only for keypoints with equal peaks.
"""

from __future__ import annotations

import numpy as np

from higherhrnet.arrays import FloatArray, IndexArray


def top_k_indices(values: FloatArray, k: int) -> IndexArray:
    """Finds the indices of the k largest values, in the order of `torch.topk`.

    Args:
        values: (N,) values, N ≥ k. For N < 64 · k, `torch.topk` uses a different algorithm, whose
            order of equal values differs.
        k: number of values.

    Returns:
        (k,) indices.
    """
    heap = list(range(k))
    for parent in reversed(range(k // 2)):
        _sift(heap, values, parent, k, heap[parent])
    for index in np.flatnonzero(values[k:] > values[heap[0]]) + k:
        if values[index] > values[heap[0]]:
            _sift(heap, values, 0, k, int(index))
    for size in reversed(range(1, k)):
        last, heap[size] = heap[size], heap[0]
        _sift(heap, values, 0, size, last)
    return np.array(heap, np.intp)


def _sift(heap: list[int], values: FloatArray, top: int, size: int, item: int) -> None:
    """Replaces the item at `top`: the hole sinks to the bottom of the heap, then the item rises."""
    hole = top
    while (child := 2 * hole + 2) <= size:
        if child == size or values[heap[child]] > values[heap[child - 1]]:
            child -= 1
        heap[hole] = heap[child]
        hole = child
    while hole > top and values[heap[parent := (hole - 1) // 2]] > values[item]:
        heap[hole] = heap[parent]
        hole = parent
    heap[hole] = item
