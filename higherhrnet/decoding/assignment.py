"""The minimum-cost assignment, with ties resolved as in the reference implementation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import DoubleArray


def assign(cost: DoubleArray) -> NDArray[np.intp]:
    """The cheapest assignment of rows to columns.

    Rounded costs tie often, and which of the cheapest assignments is found decides who is who. So
    this is what the `munkres` package (3.0) does when the original calls it, to the order of its
    additions: rows take their first cheapest free column in turn, then each row left over finds its
    shortest augmenting path. Where that first pass serves everyone, as nearly always, all releases
    of the package agree; past it, older ones may choose another of the cheapest assignments.

    Args:
        cost: (R, C), R ≤ C.

    Returns:
        (R,) the column of each row.
    """
    row_price, column_price = cost.min(1), np.zeros(cost.shape[1])
    column_of, row_of = np.full(cost.shape[0], -1), np.full(cost.shape[1], -1)
    for row in range(len(cost)):
        free = np.flatnonzero((cost[row] == row_price[row]) & (row_of < 0))
        if len(free):
            column_of[row], row_of[free[0]] = free[0], row
    for left_over in np.flatnonzero(column_of < 0):
        _serve_one_more(cost, left_over, row_price, column_price, column_of, row_of)
    return column_of


def _serve_one_more(
    cost: DoubleArray,
    start: np.intp,
    row_price: DoubleArray,
    column_price: DoubleArray,
    column_of: NDArray[np.intp],
    row_of: NDArray[np.intp],
) -> None:
    """Changes the assignment along the cheapest path that gives one more row a column."""
    small = cost.size < 16  # these the package solves by another routine
    left = np.arange(len(row_of)) if small else np.arange(len(row_of))[::-1].copy()
    shortest = np.full(len(row_of), np.inf)
    previous = np.full(len(row_of), -1)
    visited: list[int] = []
    row, length = start, 0.0
    while True:
        reach = length + cost[row, left] - row_price[row] - column_price[left]
        nearer = reach < shortest[left]
        shortest[left[nearer]], previous[left[nearer]] = reach[nearer], row
        length = shortest[left].min()
        nearest = np.flatnonzero(shortest[left] == length)
        free = nearest[row_of[left[nearest]] < 0]
        index = free[-1] if len(free) and not small else nearest[0]
        column = left[index]
        if row_of[column] < 0:
            break
        visited.append(column)
        row = row_of[column]
        if small:
            left = np.delete(left, index)
        else:
            left[index], left = left[-1], left[:-1]
    row_price[start] += length
    row_price[row_of[visited]] += length - shortest[visited]
    column_price[visited] -= length - shortest[visited]
    while column >= 0:
        row = previous[column]
        row_of[column], column_of[row], column = row, column, column_of[row]
