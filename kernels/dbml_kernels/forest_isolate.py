"""A tree that tells rows apart by values drawn at random: what is isolated soon is unlike the rest.

Liu, Ting & Zhou 2008, isolation forest.
"""

from __future__ import annotations

import math

import numpy as np

from dbml_kernels.folds import hash_mix
from dbml_kernels.forest_bag import below
from dbml_kernels.forest_sums import drawn_column, undraw
from dbml_kernels.jit import kernel

# Of a node: its column (-1 in a leaf), left child (that of the right one is 1 more), its rows, splits above it, and
# whether missing values go left.
COLUMN, LEFT, BEGIN, END, DEPTH, MISSING_LEFT = range(6)

_EULER = 0.5772156649015329
_UNIT = 1.0 / 9007199254740992.0  # 2 ** -53


@kernel
def path_length(n):
    """Return the mean number of splits that tell one of n rows from the others by a search tree of them."""
    if n <= 1:
        return 0.0
    if n == 2:
        return 1.0
    return 2.0 * (math.log(n - 1.0) + _EULER) - 2.0 * (n - 1.0) / n


@kernel
def known_range(X, order, begin, end, column):
    """Return the least and the largest known value of a column in a node, and how many rows have none."""
    least, most, missing = np.inf, -np.inf, 0
    for i in range(begin, end):
        value = X[order[i], column]
        if math.isnan(value):
            missing += 1
        else:
            least, most = min(least, value), max(most, value)
    return least, most, missing


@kernel
def varying_column(X, order, begin, end, columns, key, places, swaps):
    """Draw a column that varies in a node; return it (-1: none does), its range, and how many rows lack a value."""
    column, drawn, missing = -1, 0, 0
    least = most = 0.0
    for i in range(places.shape[0]):
        place = drawn_column(places, swaps, i, key, 1)
        drawn = i + 1
        least, most, missing = known_range(X, order, begin, end, columns[place])
        if least < most or (missing > 0 and missing < end - begin):
            column = columns[place]
            break
    undraw(places, swaps, drawn, 1)
    return column, least, most, missing


@kernel
def bound_drawn(least, most, key, column):
    """Return a value from the least to below the largest, drawn by a node's key; infinity where they are the same."""
    if not least < most:
        return np.inf
    share = float(hash_mix(column, key ^ np.uint64(0x5DEECE66D)) >> np.uint64(11)) * _UNIT
    bound = least * (1.0 - share) + most * share
    return bound if least <= bound < most else least


@kernel
def values_divide(X, order, begin, end, column, bound, missing_left, scratch):
    """Put the rows ``order[begin:end]`` that go left before the others, in their order; return where those begin."""
    left, right = begin, 0
    for i in range(begin, end):
        row = order[i]
        value = X[row, column]
        if value <= bound or (math.isnan(value) and missing_left):
            order[left] = row
            left += 1
        else:
            scratch[right] = row
            right += 1
    for i in range(right):
        order[left + i] = scratch[i]
    return left


@kernel
def node_write(nodes, node, begin, end, depth):
    """Write a leaf."""
    nodes[node] = 0
    nodes[node, COLUMN], nodes[node, LEFT] = -1, -1
    nodes[node, BEGIN], nodes[node, END], nodes[node, DEPTH] = begin, end, depth


@kernel
def isolation_grow(X, columns, key, max_depth, nodes, thresholds, lengths):
    """Grow a tree over the rows of X (m, n_columns), NaN where missing; return its number of nodes.

    `columns` are those that may be tested. A column and a value between its least and largest are drawn; columns that
    do not vary in a node are drawn again. Where a column varies by being missing only, missing values are told from
    the others. Shapes: `nodes` (2 m, 6) int32, `thresholds` (2 m,), `lengths` (2 m,): of a leaf, the splits above it
    and those that its rows would still need.
    """
    m = X.shape[0]
    order, scratch = np.arange(m), np.empty(m, np.int64)
    places, swaps = np.arange(columns.shape[0]), np.zeros(columns.shape[0], np.int64)
    stack, keys = np.empty(2 * m + 1, np.int32), np.empty(2 * m + 1, np.uint64)
    node_write(nodes, 0, 0, m, 0)
    stack[0], keys[0] = 0, key
    waiting, n = 1, 1
    while waiting > 0:
        waiting -= 1
        node = stack[waiting]
        begin, end, depth = np.int64(nodes[node, BEGIN]), np.int64(nodes[node, END]), nodes[node, DEPTH]
        lengths[node] = depth + path_length(end - begin)
        thresholds[node] = np.nan
        if end - begin <= 1 or depth >= max_depth:
            continue
        own = keys[node]
        column, least, most, missing = varying_column(X, order, begin, end, columns, own, places, swaps)
        if column < 0:
            continue
        bound = bound_drawn(least, most, own, column)
        missing_left = bound < np.inf and below(hash_mix(column, own ^ np.uint64(0x2545F4914F6CDD1D)), 2) == 1
        middle = values_divide(X, order, begin, end, column, bound, missing_left, scratch)
        if missing == 0:
            missing_left = middle - begin > end - middle
        nodes[node, COLUMN], nodes[node, LEFT], nodes[node, MISSING_LEFT] = column, n, missing_left
        thresholds[node] = bound
        node_write(nodes, n, begin, middle, depth + 1)
        node_write(nodes, n + 1, middle, end, depth + 1)
        for side in range(2):
            keys[n + side] = hash_mix(side + 1, own)
        stack[waiting], stack[waiting + 1] = n + 1, n
        waiting += 2
        n += 2
    return n
