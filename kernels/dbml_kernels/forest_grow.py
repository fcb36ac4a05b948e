"""A tree, or a part of one, grown from rows that lie together in memory: no object for a node, no pass over the rest.

The rows of a node are a run of `order`. Nodes of at most `LOCAL_ROWS` rows get a copy of theirs that stays in the
cache, and are grown to their leaves there.

Shapes: `bins` (n_rows * width,) uint8, row by row, 255 where missing; `payload` (2 n_rows,) int64, weight and target of
each row; `order` (n_rows,) int32. A table of nodes: `nodes` (most, 8) int32, `gains` and `bounds` (most, 2) float64 and
`keys` (most,) uint64.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.folds import hash_mix
from dbml_kernels.forest_split import (
    BIN,
    COLUMN,
    MISSING_LEFT,
    column_search,
    cut_choose,
    node_score,
    node_shift,
)
from dbml_kernels.forest_sums import (
    ENTROPY,
    FEW_ROWS,
    MISSING,
    N_BINS,
    TARGET,
    WEIGHT,
    column_add_few,
    columns_add,
    drawn_column,
    node_totals,
    present_list,
    sums_clear,
    undraw,
)
from dbml_kernels.jit import kernel
from dbml_kernels.prefetch import prefetch

# Of a node: its split, then its left child (that of the right one is 1 more; -1 in a leaf), its rows, splits above it.
LEFT, BEGIN, END, DEPTH = 3, 4, 5, 6
LOCAL_ROWS = 8192

_STACK = 192
_AHEAD = 16


@kernel
def may_split(rule, n_rows, depth, pure):
    """Return whether a node may be split at all."""
    return not pure and n_rows >= rule.min_split and n_rows >= 2 * rule.min_leaf and depth < rule.max_depth


@kernel
def node_search(
    bins, width, payload, order, begin, end, rule, centres, edges, ways, low, high, key,
    sums, few, seen, present, totals, sides, names, swaps, chosen, split,
):  # fmt: skip
    """Find the best split of a node; write it to `split` (8,). Return whether there is one, and its gain.

    From `sums` on: scratch, see `work_arrays`; `totals` are those of the node. All arrays are arguments of their own,
    since to take one from a tuple costs as much as a row does.
    """
    slots = rule.slots + rule.counted
    shift = node_shift(rule, totals)
    top, nothing = -np.inf, -np.inf
    n = names.shape[0]
    many = end - begin > FEW_ROWS
    if many:
        for i in range(rule.n_drawn):
            chosen[i] = drawn_column(names, swaps, i, key, rule.n_drawn)
        sums[:] = 0
        columns_add(bins, width, payload, order, begin, end, rule, chosen, sums)
    varies = False
    drawn = rule.n_drawn if many else 0
    for i in range(n):
        if i >= rule.n_drawn and varies:
            break
        if many and i < rule.n_drawn:
            column = chosen[i]
            n_present = present_list(sums[i], rule, present)
            if n_present > 1:
                varies = True
                top = column_search(
                    sums[i], column, present, n_present, rule, centres, ways, totals, shift, low, high, key, sides, top,
                    split,
                )  # fmt: skip
            continue
        column = drawn_column(names, swaps, i, key, rule.n_drawn)
        drawn = i + 1
        n_present = column_add_few(bins, width, column, payload, order, begin, end, rule, few, seen, present)
        if n_present > 1:
            varies = True
            top = column_search(
                few, column, present, n_present, rule, centres, ways, totals, shift, low, high, key, sides, top, split
            )
        sums_clear(few, present, n_present, slots)
    undraw(names, swaps, drawn, rule.n_drawn)
    if top == nothing:
        return False, 0.0
    cut_choose(rule, centres, edges, totals, key, split)
    gain = max(top - node_score(rule, totals, shift), 0.0)
    return gain >= rule.least_gain, gain


@kernel
def level_search(sums, drawn, at_first, rule, columns, totals, low, high, key, split):
    """As `node_search`, from the sums of some columns (n_drawn, 256 slots): of all, or up to the first that varies.

    Return whether one of them varies, whether there is a split, and its gain.
    """
    shift = node_shift(rule, totals)
    present, sides = np.zeros(N_BINS + 1, np.int64), np.zeros((2, rule.slots), np.int64)
    top, nothing = -np.inf, -np.inf
    varies = False
    for i in range(drawn.shape[0]):
        n_present = present_list(sums[i], rule, present)
        if n_present < 2:
            continue
        varies = True
        top = column_search(
            sums[i], drawn[i], present, n_present, rule, columns.centres, columns.ways, totals, shift, low, high, key,
            sides, top, split,
        )  # fmt: skip
        if at_first:
            break
    if top == nothing:
        return varies, False, 0.0
    cut_choose(rule, columns.centres, columns.edges, totals, key, split)
    gain = max(top - node_score(rule, totals, shift), 0.0)
    return varies, gain >= rule.least_gain, gain


@kernel
def columns_of(key, first, n_drawn, drawn):
    """Write the columns that a node looks at, from the one of number `first` on, of ``drawn.shape[0]``.

    Return how many there are; `n_drawn` is that of the rule.
    """
    n = len(drawn)
    names, swaps = np.arange(n), np.zeros(n, np.int64)
    count = 0
    for i in range(min(first + n_drawn, n)):
        column = drawn_column(names, swaps, i, key, n_drawn)
        if i >= first:
            drawn[count] = column
            count += 1
    return count


@kernel
def rows_divide(bins, width, order, begin, end, split, scratch):
    """Put the rows ``order[begin:end]`` that go left before the others, in their order; return where those begin."""
    wide, first = np.uint64(width), np.uint64(split[COLUMN])
    bound, missing_left = split[BIN], split[MISSING_LEFT]
    left, right = np.uint64(begin), np.uint64(0)
    for i in range(np.uint64(begin), np.uint64(end)):
        row = order[i]
        bin = np.int64(bins[np.uint64(row) * wide + first])
        goes = np.uint64((bin <= bound) | ((bin == MISSING) & (missing_left != 0)))
        order[left] = row
        scratch[right] = row
        left += goes
        right += np.uint64(1) - goes
    for i in range(right):
        order[left + i] = scratch[i]
    return np.int64(left)


@kernel
def children_add(nodes, gains, bounds, keys, n_nodes, node, split, gain, middle, ways, totals_value):
    """Write the split of a node and its two children to a table; return the number of nodes then.

    `totals_value` are the values of left and right, for the bounds that a monotonic constraint passes on.
    """
    for name in range(MISSING_LEFT + 1):
        nodes[node, name] = split[name]
    nodes[node, LEFT] = n_nodes
    gains[node] = gain
    for side in range(2):
        child = n_nodes + side
        nodes[child, LEFT] = -1
        nodes[child, COLUMN] = -1
        nodes[child, BEGIN] = nodes[node, BEGIN] if side == 0 else middle
        nodes[child, END] = middle if side == 0 else nodes[node, END]
        nodes[child, DEPTH] = nodes[node, DEPTH] + 1
        gains[child] = 0.0
        bounds[child, 0], bounds[child, 1] = bounds[node, 0], bounds[node, 1]
        keys[child] = hash_mix(side + 1, keys[node])
    way = ways[split[COLUMN]]
    if way != 0:
        between = 0.5 * (totals_value[0] + totals_value[1])
        upper = n_nodes if way > 0 else n_nodes + 1
        bounds[upper, 1] = between
        bounds[n_nodes + 1 if way > 0 else n_nodes, 0] = between
    return n_nodes + 2


@kernel(exact=True)
def run_value(payload, order, begin, end, by_class):
    """Return the mean target of a run of rows; of classes the share of the second."""
    h = g = np.int64(0)
    for i in range(begin, end):
        at = 2 * np.int64(order[i])
        weight, target = payload[at + WEIGHT], payload[at + TARGET]
        h += weight
        g += weight * np.int64(target == 1) if by_class else weight * target
    return float(g) / float(h)


@kernel
def nodes_grow(bins, width, payload, order, base, root, small, rule, columns, work, scratch, table, n_nodes, later):
    """Grow all nodes below `root`, whose row ``order[i - base]`` is number i of the table's runs.

    Nodes of at most `small` rows are listed in `later` instead. Return the number of nodes, and how many are listed.
    """
    nodes, gains, bounds, keys = table
    centres, edges, ways = columns
    sums, few, seen, present, totals, sides, names, swaps, chosen = work
    split = np.zeros(8, np.int64)
    values = np.zeros(2)
    stack = np.empty(_STACK, np.int32)
    stack[0] = root
    waiting, n_later = 1, 0
    while waiting > 0:
        waiting -= 1
        node = stack[waiting]
        begin, end = np.int64(nodes[node, BEGIN]) - base, np.int64(nodes[node, END]) - base
        if end - begin <= small:
            later[n_later] = node
            n_later += 1
            continue
        if end - begin < rule.min_split or nodes[node, DEPTH] >= rule.max_depth:
            continue
        pure = node_totals(payload, order, begin, end, rule, totals)
        if not may_split(rule, end - begin, nodes[node, DEPTH], pure):
            continue
        low, high, key = bounds[node, 0], bounds[node, 1], keys[node]
        found, gain = node_search(
            bins, width, payload, order, begin, end, rule, centres, edges, ways, low, high, key,
            sums, few, seen, present, totals, sides, names, swaps, chosen, split,
        )  # fmt: skip
        if not found:
            continue
        middle = rows_divide(bins, width, order, begin, end, split, scratch)
        if ways[split[COLUMN]] != 0:
            by_class = rule.criterion <= ENTROPY
            values[0] = run_value(payload, order, begin, middle, by_class)
            values[1] = run_value(payload, order, middle, end, by_class)
        n_nodes = children_add(nodes, gains, bounds, keys, n_nodes, node, split, gain, middle + base, ways, values)
        # The smaller side is grown first: then few nodes wait.
        larger = 0 if middle - begin > end - middle else 1
        stack[waiting] = n_nodes - 2 + larger
        stack[waiting + 1] = n_nodes - 1 - larger
        waiting += 2
    return n_nodes, n_later


@kernel
def rows_copy(bins, width, payload, order, begin, size, to_bins, to_payload, rows):
    """Copy the rows ``order[begin:begin + size]`` next to each other, and their numbers to `rows`."""
    last = begin + size - 1
    wide = np.uint64(width)
    for r in range(np.uint64(size)):
        coming = np.int64(order[min(begin + np.int64(r) + _AHEAD, last)])
        prefetch(bins, coming * width)
        prefetch(bins, coming * width + width - 1)
        prefetch(payload, 2 * coming)
        row = np.uint64(order[np.uint64(begin) + r])
        rows[r] = row
        to_payload[r + r], to_payload[r + r + np.uint64(1)] = payload[row + row], payload[row + row + np.uint64(1)]
        for c in range(wide):
            to_bins[r * wide + c] = bins[row * wide + c]


@kernel
def work_arrays(rule, n_columns):
    """Return the scratch of `node_search`."""
    slots = rule.slots + rule.counted
    return (
        np.zeros((rule.n_drawn, N_BINS * slots), np.int64),
        np.zeros(N_BINS * slots, np.int64),
        np.zeros(4, np.uint64),
        np.zeros(N_BINS + 1, np.int64),
        np.zeros(rule.slots + 1, np.int64),
        np.zeros((2, rule.slots), np.int64),
        np.arange(n_columns),
        np.zeros(n_columns, np.int64),
        np.zeros(rule.n_drawn, np.int64),
    )


@kernel
def tree_grow(bins, width, payload, order, root, rule, columns, table, n_nodes):
    """Grow all nodes below `root`, whose rows are all of ``order`` (as rows of `bins`); return the number of nodes.

    `order` is put in the order of the leaves; the runs of the table are counted from the begin of the root's.
    """
    nodes = table[0]
    work = work_arrays(rule, width)
    n_rows = order.shape[0]
    base = np.int64(nodes[root, BEGIN])
    scratch = np.empty(n_rows, np.int32)
    later = np.empty(table[0].shape[0] - n_nodes + 1, np.int32)
    nothing = np.empty(1, np.int32)
    n_nodes, n_later = nodes_grow(
        bins, width, payload, order, base, root, LOCAL_ROWS, rule, columns, work, scratch, table, n_nodes, later
    )
    most = min(LOCAL_ROWS, n_rows)
    own_bins, own_payload = np.empty(most * width, np.uint8), np.empty(2 * most, np.int64)
    own_order, rows = np.empty(most, np.int32), np.empty(most, np.int32)
    for i in range(n_later):
        node = later[i]
        begin = np.int64(nodes[node, BEGIN]) - base
        size = np.int64(nodes[node, END]) - base - begin
        rows_copy(bins, width, payload, order, begin, size, own_bins, own_payload, rows)
        for r in range(size):
            own_order[r] = r
        n_nodes, _ = nodes_grow(
            own_bins, width, own_payload, own_order, base + begin, node, 0, rule, columns, work, scratch, table,
            n_nodes, nothing,
        )  # fmt: skip
        for r in range(size):
            order[begin + r] = rows[own_order[r]]
    return n_nodes
