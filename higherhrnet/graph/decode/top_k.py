"""The order of the highest values, with ties as `decoding/top_k.py` resolves them by a heap."""

from __future__ import annotations

import numpy as np

from higherhrnet.graph.decode.program import Program
from higherhrnet.graph.decode.tensor import Tensor

MIN_RATIO = 64
"""Number of values per selected value from which `torch.topk` uses a heap."""


def select_by_heap(program: Program, values: Tensor, count: int) -> Tensor:
    """Finds the indices of the highest values as `decoding.top_k.select_by_heap` does.

    Args:
        program: the program.
        values: (N,) values, N ≥ count.
        count: number of values.

    Returns:
        (count,) indices, from the highest value to the lowest.
    """
    slots = program.constant(np.arange(count))

    def sift(heap: Tensor, top: Tensor, size: Tensor, item: Tensor) -> Tensor:
        """Replaces the item at `top`: it sinks below all children that are not higher."""
        value = values.take(item)

        def sink(
            _index: Tensor, _going: Tensor, hole: Tensor, heap: Tensor
        ) -> tuple[list[Tensor], list[Tensor]]:
            right = hole * 2 + 2
            left_value, right_value = (
                values.take(heap.take(child.op("Min", count - 1))) for child in (right - 1, right)
            )
            is_left = (right >= size) | (right_value > left_value)
            child = program.where(is_left, right - 1, right)
            child_value = program.where(is_left, left_value, right_value)
            going = (child < size) & (child_value <= value)
            raised = heap.take(child.op("Min", count - 1))
            heap = program.where(slots.equals(hole) & going, raised, heap)
            return [going, program.where(going, child, hole), heap], []

        going = program.constant(np.bool_(True))
        _, hole, heap = program.loop(None, [going, top, heap], sink)
        return program.where(slots.equals(hole), item, heap)

    first, full = program.constant(np.int64(0)), program.constant(np.int64(count))

    def build(index: Tensor, heap: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        parent = program.constant(np.int64(count // 2 - 1)) - index
        return [sift(heap, parent, full, heap.take(parent))], []

    def replace_lowest(index: Tensor, heap: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        item = candidates.take(index)
        is_higher = values.take(item) > values.take(heap.take(first))
        return [program.branch(is_higher, lambda: sift(heap, first, full, item), lambda: heap)], []

    def sort(index: Tensor, heap: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        size = program.constant(np.int64(count - 1)) - index
        rest = program.where(slots.equals(size), heap.take(first), heap)
        return [sift(rest, first, size, heap.take(size))], []

    (heap,) = program.loop(program.constant(np.int64(count // 2)), [slots], build)
    higher = values.part(count, np.iinfo(np.int64).max) > values.take(heap.take(first))
    candidates = higher.nonzero() + count
    (heap,) = program.loop(candidates.size(0), [heap], replace_lowest)
    (heap,) = program.loop(program.constant(np.int64(count - 1)), [heap], sort)
    return heap
