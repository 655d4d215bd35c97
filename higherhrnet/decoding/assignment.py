"""Minimum-cost assignment, with ties resolved as in the reference implementation."""

from __future__ import annotations

import numpy as np

from higherhrnet.arrays import DoubleArray, IndexArray


def assign(cost: DoubleArray) -> IndexArray:
    """Finds an assignment of rows to columns with the minimum total cost.

    Rounded costs are often equal, and the choice between assignments of equal cost decides which
    peak joins which person. Therefore this computes what the `munkres` package (3.0) computes when
    the reference implementation calls it, down to the order of its additions: each row takes the
    first of its cheapest columns that is free, then each remaining row takes its shortest
    augmenting path. If the first step assigns all rows, which is nearly always so, all releases of
    the package agree; otherwise releases before 3.0 may choose another assignment of the same cost.

    Args:
        cost: (R, C) costs, R ≤ C.

    Returns:
        (R,) the column of each row.
    """
    row_price, column_price = cost.min(1), np.zeros(cost.shape[1])
    column_of, row_of = np.full(cost.shape[0], -1), np.full(cost.shape[1], -1)
    for row in range(len(cost)):
        free = np.flatnonzero((cost[row] == row_price[row]) & (row_of < 0))
        if len(free):
            column_of[row], row_of[free[0]] = free[0], row
    for unassigned in np.flatnonzero(column_of < 0):
        _augment(cost, unassigned, row_price, column_price, column_of, row_of)
    return column_of


def _augment(
    cost: DoubleArray,
    start: np.intp,
    row_price: DoubleArray,
    column_price: DoubleArray,
    column_of: IndexArray,
    row_of: IndexArray,
) -> None:
    """Changes the assignment, in place, along the shortest path from a row to a free column."""
    small = cost.size < 16  # munkres solves matrices of this size with a different routine
    remaining = np.arange(len(row_of)) if small else np.arange(len(row_of))[::-1].copy()
    distance = np.full(len(row_of), np.inf)
    previous_row = np.full(len(row_of), -1)
    visited: list[int] = []
    row, length = start, 0.0
    while True:
        candidate = length + cost[row, remaining] - row_price[row] - column_price[remaining]
        shorter = candidate < distance[remaining]
        distance[remaining[shorter]], previous_row[remaining[shorter]] = candidate[shorter], row
        length = distance[remaining].min()
        nearest = np.flatnonzero(distance[remaining] == length)
        free = nearest[row_of[remaining[nearest]] < 0]
        index = free[-1] if len(free) and not small else nearest[0]
        column = remaining[index]
        if row_of[column] < 0:
            break
        visited.append(column)
        row = row_of[column]
        if small:
            remaining = np.delete(remaining, index)
        else:
            remaining[index], remaining = remaining[-1], remaining[:-1]
    row_price[start] += length
    row_price[row_of[visited]] += length - distance[visited]
    column_price[visited] -= length - distance[visited]
    while column >= 0:
        row = previous_row[column]
        row_of[column], column_of[row], column = row, column, column_of[row]
