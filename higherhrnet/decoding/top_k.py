"""The order of the k largest values, with ties resolved as by `torch.topk` on a CPU.

The reference implementation uses `torch.topk`, and its results depend on the order of equal peaks.
`torch.topk` calls algorithms of C++: `std::partial_sort`, which keeps the largest values in a heap,
or for few values `std::nth_element` and `std::sort`. The order of equal values depends on the
operations before. This is used only for keypoints with equal peaks.
"""

from __future__ import annotations

import numpy as np

from higherhrnet.arrays import FloatArray, IndexArray

_INSERTION_SORT = 16
"""Number of values up to which `std::sort` uses insertion sort, which is stable."""


def top_k_indices(values: FloatArray, k: int) -> IndexArray:
    """Finds the indices of the k largest values, in the order of `torch.topk`.

    Args:
        values: (N,) values, N ≥ k.
        k: number of values.

    Returns:
        (k,) indices.
    """
    return select_by_heap(values, k) if 64 * k <= len(values) else _select_by_partition(values, k)


def select_by_heap(values: FloatArray, k: int) -> IndexArray:
    """Finds the indices of the k largest values as `std::partial_sort` does, which N ≥ 64 · k uses.

    Args:
        values: (N,) values, N ≥ k.
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


def _select_by_partition(values: FloatArray, k: int) -> IndexArray:
    """Finds the indices of the k largest values as `std::nth_element` and `std::sort` do."""
    items = list(zip(values.tolist(), range(len(values)), strict=True))
    first, last = 0, len(items)
    while last - first > 3:
        cut = _partition(items, first, last)
        first, last = (cut, last) if cut <= k - 1 else (first, cut)
    items[first:last] = _stable_sort(items[first:last])
    _sort(items, 0, k - 1)
    return np.array([index for _, index in items[:k]], np.intp)


def _sort(items: list[tuple[float, int]], first: int, last: int) -> None:
    """Sorts a part of the items from high to low."""
    parts, end = [], last
    while end - first > _INSERTION_SORT:
        cut = _partition(items, first, end)
        parts.append((cut, end))
        end = cut
    for start, stop in parts:
        if stop - start > _INSERTION_SORT:
            _sort(items, start, stop)
    items[first:last] = _stable_sort(items[first:last])


def _stable_sort(items: list[tuple[float, int]]) -> list[tuple[float, int]]:
    return sorted(items, key=lambda item: -item[0])


def _partition(items: list[tuple[float, int]], first: int, last: int) -> int:
    """Partitions items around the median of three of them; returns the start of the second part."""

    def swap(a: int, b: int) -> None:
        items[a], items[b] = items[b], items[a]

    a, b, c = first + 1, first + (last - first) // 2, last - 1
    va, vb, vc = items[a][0], items[b][0], items[c][0]
    if va > vb:
        median = b if vb > vc else c if va > vc else a
    else:
        median = a if va > vc else c if vb > vc else b
    swap(first, median)
    pivot, left, right = items[first][0], first + 1, last
    while True:
        while items[left][0] > pivot:
            left += 1
        right -= 1
        while pivot > items[right][0]:
            right -= 1
        if left >= right:
            return left
        swap(left, right)
        left += 1
