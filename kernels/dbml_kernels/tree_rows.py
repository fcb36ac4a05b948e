"""The rows of a tree's nodes: a list of row numbers, in which every node has a run of its own."""

from __future__ import annotations

import numpy as np

from dbml_kernels.bytes_copy import bytes_copy, bytes_transpose
from dbml_kernels.jit import kernel

_GROUP = 16  # rows
_TILE = 64  # rows


@kernel
def rows_split(order, begin, end, column, goes_left, scratch):
    """Put the rows ``order[begin:end]`` that go left before the others, both in their order; return where those begin.

    Shapes: `order` (n_rows,) int32, `column` (n_rows,) uint8 bins, `goes_left` (256,) uint8 of 0 and 1, `scratch`
    (n_rows,) int32. Without branches: every row is written to both sides, and one of them moves on.
    """
    left, right = np.uint64(begin), np.uint64(0)
    for i in range(np.uint64(begin), np.uint64(end)):
        row = order[i]
        goes = np.uint64(goes_left[np.uint64(column[np.uint64(row)])])
        order[left] = row
        scratch[right] = row
        left += goes
        right += np.uint64(1) - goes
    for i in range(right):
        order[left + i] = scratch[i]
    return np.int64(left)


@kernel
def runs_split(order, begins, ends, columns, numbers, goes_left, scratch, middles):
    """Split the runs of some nodes as `rows_split` does; write where their right parts begin to `middles`.

    Shapes: `begins`, `ends`, `numbers`, `middles` (n,), `columns` (any, n_rows) of which run i goes by ``numbers[i]``,
    `goes_left` (n, 256).
    """
    for i in range(begins.shape[0]):
        middles[i] = rows_split(order, begins[i], ends[i], columns[numbers[i]], goes_left[i], scratch)


@kernel
def bins_copy(bins, n_columns, rows, copies, columns, begin, most):
    """``copies[i] = columns[:, begin + i] = bins[rows[i]]``: row by row, and column by column.

    Shapes: `bins` and `copies` flat, `n_columns` bins a row, `rows` (n,) int32, `columns` (n_columns * most,), flat.
    """
    for first in range(0, rows.shape[0], _TILE):
        size = min(_TILE, rows.shape[0] - first)
        for i in range(first, first + size):
            bytes_copy(bins, np.int64(rows[i]) * n_columns, copies, i * n_columns, n_columns)
        bytes_transpose(copies, first, size, n_columns, columns, begin + first, most)


@kernel
def rows_number(order):
    """``order[i] = i``."""
    for i in range(order.shape[0]):
        order[i] = i


@kernel
def leaves_add(order, begins, ends, values, scores):
    """``scores[r] += values[l]`` for the rows ``order[begins[l]:ends[l]]`` of every leaf l."""
    for leaf in range(begins.shape[0]):
        value = values[leaf]
        for i in range(begins[leaf], ends[leaf]):
            scores[np.uint64(order[i])] += value


@kernel
def bins_leaves_add(bins, n_columns, rows, column, left, goes_left, values, scores):
    """``scores[r] += value of row r's leaf`` for some rows, walked down one tree by their bins.

    Shapes: `bins` (n_rows * n_columns,) uint8, `rows` (n,) int32, `column` and `left` (n_nodes,) of the nodes of one
    tree, `goes_left` (n_nodes, 256) uint8, `values` (n_nodes,). A leaf leads to itself: it is its own `left`, where all
    go. Some rows go down side by side, so that their loads overlap.
    """
    at = np.empty(_GROUP, np.uint32)
    for first in range(0, rows.shape[0], _GROUP):
        size = np.uint64(min(_GROUP, rows.shape[0] - first))
        at[:] = 0
        moved = np.uint32(1)
        while moved != 0:
            moved = np.uint32(0)
            for r in range(size):
                node = np.uint64(at[r])
                row = np.uint64(rows[np.uint64(first) + r])
                bin = np.uint64(bins[row * np.uint64(n_columns) + np.uint64(column[node])])
                reached = np.uint32(np.uint32(left[node]) + np.uint32(1) - np.uint32(goes_left[node, bin]))
                moved |= reached ^ at[r]
                at[r] = reached
        for r in range(size):
            scores[np.uint64(rows[np.uint64(first) + r])] += values[np.uint64(at[r])]
