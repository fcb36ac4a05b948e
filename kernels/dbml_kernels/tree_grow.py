"""A whole tree, grown by one thread over rows that lie together: best split first."""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel
from dbml_kernels.tree_histogram import histogram_add_rows, histogram_widen
from dbml_kernels.tree_rows import rows_split
from dbml_kernels.tree_split import (
    GAIN,
    HESSIAN,
    LEAST_ROWS,
    LEFT_HESSIAN,
    ROWS,
    TERM,
    children_know,
    children_search,
    node_search,
)

# A row of `places`: where a node's run of the order begins and ends, its left child (the right one follows) or -1, its
# depth, and where its sums are.
BEGIN, END, LEFT, DEPTH, SUMS = range(5)


@kernel(exact=True)
def largest_gain(places, bests, n_nodes):
    """Return the leaf of the largest gain, the leftmost one of several, or -1."""
    found = -1
    for node in range(n_nodes):
        if places[node, LEFT] >= 0 or bests[node, TERM] < 0.0:
            continue
        more = 1.0 if found < 0 else bests[node, GAIN] - bests[found, GAIN]
        if more > 0.0 or (more == 0.0 and places[node, BEGIN] < places[found, BEGIN]):
            found = node
    return found


@kernel(exact=True)
def tree_grow(
    order, columns, bins, words, column_of, steps, terms, layout, monotonic, rules, limits, scratch, moved, histogram,
    sums, places, known, bests, goes_left,
):  # fmt: skip
    """Grow a tree from its root; return the number of its nodes.

    Shapes: `order` (n_rows,) int32, `columns` (n_columns, n_rows) and `bins` (n_rows * n_columns,) uint8, `words`
    (n_rows,) int32, `column_of` (n_terms,), `moved` (n_rows,) int32 scratch, `histogram` (256 n_columns,) int64 of
    zeros, `sums` (most leaves, 2, 256 n_columns), of which the first are the root's. Of each node, the root's given:
    `places` (n, 5), `known` (n, 6), and found: `bests` (n, 6), `goes_left` (n, 256). `limits` are the most leaves, the
    most depth, and the least rows of a side; for the others see `children_search`.
    """
    most_leaves, most_depth, least_rows = limits
    l2, n_columns = rules[0], columns.shape[0]
    n_nodes = leaves = 1
    bests[0, TERM] = -1.0
    if known[0, ROWS] >= 2.0 * known[0, LEAST_ROWS] and most_depth > 0:
        node_search(sums[0], steps, terms, layout, monotonic, known[0], rules, scratch, bests[0], goes_left[0])
    while leaves < most_leaves:
        node = largest_gain(places, bests, n_nodes)
        if node < 0:
            break
        best, begin, end = bests[node], places[node, BEGIN], places[node, END]
        own = sums[places[node, SUMS]]
        term = np.int64(best[TERM])
        middle = rows_split(order, begin, end, columns[column_of[term]], goes_left[node], moved)
        if min(middle - begin, end - middle) < least_rows:
            # Rows were estimated from hessians; ask for more of them.
            known[node, LEAST_ROWS] *= 1.5
            best[TERM] = -1.0
            if known[node, ROWS] >= 2.0 * known[node, LEAST_ROWS]:
                node_search(own, steps, terms, layout, monotonic, known[node], rules, scratch, best, goes_left[node])
            continue
        left = n_nodes
        children = known[left : left + 2]
        children_know(known[node], best, middle - begin, monotonic[term], l2, least_rows, children)
        small_left = 2.0 * best[LEFT_HESSIAN] <= known[node, HESSIAN]
        for child in range(2):
            place = places[left + child]
            place[BEGIN], place[END] = (begin, middle) if child == 0 else (middle, end)
            place[LEFT], place[DEPTH] = -1, places[node, DEPTH] + 1
            place[SUMS] = leaves if small_left == (child == 0) else places[node, SUMS]
            bests[left + child, TERM] = -1.0
        places[node, LEFT] = left
        if leaves + 1 < most_leaves and places[left, DEPTH] < most_depth:
            first, last = (begin, middle) if small_left else (middle, end)
            histogram_add_rows(bins, n_columns, words, order, first, last, histogram)
            small = sums[leaves]
            small[:] = 0.0
            histogram_widen(histogram, small)
            children_search(
                small, own, small_left, steps, (terms, terms), layout, monotonic, children, rules, scratch,
                bests[left : left + 2], goes_left[left : left + 2],
            )  # fmt: skip
        n_nodes += 2
        leaves += 1
    return n_nodes
