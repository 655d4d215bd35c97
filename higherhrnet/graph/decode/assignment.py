"""Minimum-cost assignment; it corresponds to `decoding/assignment.py`, also for equal costs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from higherhrnet.graph.decode.program import LARGEST, Program
from higherhrnet.graph.decode.tensor import Tensor

_NONE = np.int64(-1)


def assign(program: Program, cost: Tensor) -> Tensor:
    """Finds an assignment of rows to columns with the minimum total cost.

    Args:
        program: the program.
        cost: (R, C) float64 costs, 1 ≤ R ≤ C.

    Returns:
        (R,) the column of each row.
    """
    rows, columns = cost.size(0), program.arange(cost.size(1))
    row_price = cost.min(1)

    def take_cheapest(row: Tensor, row_of: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        free = cost.take(row).equals(row_price.take(row)) & (row_of < 0)
        column = program.where(free.any(), free.cast(np.int64).argmax(), _NONE)
        return [program.where(columns.equals(column), row, row_of)], [column]

    row_of = program.full(_NONE, cost.size(1))
    row_of, column_of = program.loop(rows, [row_of], take_cheapest)
    unassigned = (column_of < 0).nonzero()

    def augment(index: Tensor, *state: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        return _augment(program, cost, unassigned.take(index), *state), []

    def augment_all() -> Tensor:
        column_price = program.full(np.float64(0), cost.size(1))
        state = [row_price, column_price, column_of, row_of]
        return program.loop(unassigned.size(0), state, augment)[2]

    return program.branch(unassigned.size(0) > 0, augment_all, lambda: column_of)


class _Path(NamedTuple):
    """The shortest path from a row to a free column, and what was visited on the way."""

    length: Tensor
    """The length of the path."""
    column: Tensor
    """The free column."""
    previous_row: Tensor
    """(C,) the row before each column on the shortest path to it."""
    gain: Tensor
    """(C,) by how much the price of each column is reduced."""


def _augment(
    program: Program,
    cost: Tensor,
    start: Tensor,
    row_price: Tensor,
    column_price: Tensor,
    column_of: Tensor,
    row_of: Tensor,
) -> list[Tensor]:
    """Changes the assignment along the shortest path from a row to a free column.

    Returns:
        The new prices of rows and columns, and the new assignment.
    """
    path = _shortest_path(program, cost, start, row_price, column_price, row_of)
    rows, columns = program.arange(cost.size(0)), program.arange(cost.size(1))
    row_price = row_price + program.where(rows.equals(start), path.length, np.float64(0))
    row_price = row_price.op("ScatterElements", row_of.op("Max", 0), path.gain, reduction="add")

    def reassign(
        _index: Tensor, _going: Tensor, column: Tensor, column_of: Tensor, row_of: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        row = path.previous_row.take(column)
        row_of = program.where(columns.equals(column), row, row_of)
        left = column_of.take(row)
        column_of = program.where(rows.equals(row), column, column_of)
        return [left >= 0, left.op("Max", 0), column_of, row_of], []

    going = program.constant(np.bool_(True))
    _, _, column_of, row_of = program.loop(None, [going, path.column, column_of, row_of], reassign)
    return [row_price, column_price - path.gain, column_of, row_of]


def _shortest_path(
    program: Program,
    cost: Tensor,
    start: Tensor,
    row_price: Tensor,
    column_price: Tensor,
    row_of: Tensor,
) -> _Path:
    """Finds the shortest path from a row to a free column by Dijkstra's algorithm."""
    columns = program.arange(cost.size(1))
    small = cost.op("Size") < 16
    infinity = program.constant(np.float64(np.inf))
    # The order of the remaining columns, which decides between equal lengths; -1: visited.
    order = program.where(small, columns, cost.size(1) - 1 - columns)

    def visit(
        _index: Tensor, _going: Tensor, row: Tensor, length: Tensor, *state: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        distance, previous_row, order, _column = state
        remaining = order >= 0
        candidate = length + cost.take(row) - row_price.take(row) - column_price
        shorter = remaining & (candidate < distance)
        distance = program.where(shorter, candidate, distance)
        previous_row = program.where(shorter, row, previous_row)
        length = program.where(remaining, distance, infinity).min(0)
        nearest = remaining & distance.equals(length)
        free = nearest & (row_of < 0)
        last_free = program.where(free, order, _NONE).argmax()
        first = program.where(nearest, order, LARGEST).argmin()
        column = program.where(free.any() & ~small, last_free, first)
        going = row_of.take(column) >= 0
        # The last column takes the place of the visited one, except in small matrices.
        is_last = order.equals(order.max(0)) & ~small
        moved = program.where(is_last, order.take(column), order)
        moved = program.where(columns.equals(column), _NONE, moved)
        order = program.where(going, moved, order)
        row = row_of.take(column)
        return [going, row, length, distance, previous_row, order, column], []

    distances = program.full(np.float64(np.inf), cost.size(1))
    previous = program.full(_NONE, cost.size(1))
    zero = program.constant(np.float64(0))
    going = program.constant(np.bool_(True))
    _, _, length, distance, previous, order, column = program.loop(
        None, [going, start, zero, distances, previous, order, start], visit
    )
    gain = program.where(order < 0, length - distance, np.float64(0))
    return _Path(length, column, previous, gain)
