"""Which of equal peaks comes first: as torch.topk has it, since the original's results hang on it.

`torch.topk` on a CPU is `std::partial_sort`, which keeps the largest so far in a heap; where values
are equal, what was pushed before decides their order. Only keypoints with equal peaks come here.
"""

from __future__ import annotations

import numpy as np

from higherhrnet.arrays import FloatArray, IndexArray


def topk_order(values: FloatArray, most: int) -> IndexArray:
    """The indices of the `most` largest values, in the order in which torch.topk gives them.

    Args:
        values: (N,), most ≤ N; torch does so where 64 · most ≤ N, and takes another way with fewer.
        most: how many.
    """
    heap = list(range(most))
    for parent in reversed(range(most // 2)):
        _sift(heap, values, parent, most, heap[parent])
    for index in np.flatnonzero(values[most:] > values[heap[0]]) + most:
        if values[index] > values[heap[0]]:
            _sift(heap, values, 0, most, int(index))
    for size in reversed(range(1, most)):
        last, heap[size] = heap[size], heap[0]
        _sift(heap, values, 0, size, last)
    return np.array(heap, np.intp)


def _sift(heap: list[int], values: FloatArray, top: int, size: int, item: int) -> None:
    """Puts an item where the top was: the hole sinks to the bottom, then the item rises."""
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
