"""Minimum-cost assignment, with ties resolved as in the reference implementation."""

from __future__ import annotations

import math

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
    costs: list[list[float]] = cost.tolist()  # the matrices are small: lists are faster than NumPy
    row_price, column_price = [min(row) for row in costs], [0.0] * cost.shape[1]
    column_of, row_of = [-1] * cost.shape[0], [-1] * cost.shape[1]
    for row, (row_costs, price) in enumerate(zip(costs, row_price, strict=True)):
        for column, value in enumerate(row_costs):
            if value == price and row_of[column] < 0:
                column_of[row], row_of[column] = column, row
                break
    for row in [row for row, column in enumerate(column_of) if column < 0]:
        _augment(costs, row, row_price, column_price, column_of, row_of)
    return np.array(column_of)


def _augment(
    costs: list[list[float]],
    start: int,
    row_price: list[float],
    column_price: list[float],
    column_of: list[int],
    row_of: list[int],
) -> None:
    """Changes the assignment, in place, along the shortest path from a row to a free column."""
    columns = len(row_of)
    small = len(costs) * columns < 16  # munkres solves these with a different routine
    remaining = list(range(columns)) if small else list(range(columns))[::-1]
    distance, previous_row = [math.inf] * columns, [-1] * columns
    visited: list[int] = []
    row, length = start, 0.0
    while True:
        row_costs, price = costs[row], row_price[row]
        for column in remaining:
            candidate = length + row_costs[column] - price - column_price[column]
            if candidate < distance[column]:
                distance[column], previous_row[column] = candidate, row
        length = min(map(distance.__getitem__, remaining))
        nearest = [i for i, column in enumerate(remaining) if distance[column] == length]
        free = [i for i in nearest if row_of[remaining[i]] < 0]
        index = free[-1] if free and not small else nearest[0]
        column = remaining[index]
        if row_of[column] < 0:
            break
        visited.append(column)
        row = row_of[column]
        if small:
            del remaining[index]
        else:
            remaining[index] = remaining[-1]
            del remaining[-1]
    row_price[start] += length
    for passed in visited:
        row_price[row_of[passed]] += length - distance[passed]
        column_price[passed] -= length - distance[passed]
    while column >= 0:
        row = previous_row[column]
        row_of[column], column_of[row], column = row, column, column_of[row]
