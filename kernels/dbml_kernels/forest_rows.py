"""From rows as they lie in shards to what a tree grows from: how often each was drawn, the node it is in, copies.

Shapes, of n rows of a shard: `bins` (n * width,) uint8, `y` (n,) float64: numbers, or those of classes, `weight` (n,)
float64 or (0,) for weights of 1, `counts` (n,) int32: how often a row was drawn, `reached` (n,) int32: the node it is
in, or -1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dbml_kernels.forest_bag import BAG_ROWS, bag_counts
from dbml_kernels.forest_grow import BEGIN, END, LEFT
from dbml_kernels.forest_split import BIN, COLUMN, MISSING_LEFT
from dbml_kernels.forest_sums import ENTROPY, MISSING, TARGET, WEIGHT
from dbml_kernels.jit import kernel


class Units(NamedTuple):
    """How weights and targets become whole numbers, whose sums do not depend on their order.

    Attributes
    ----------
    of_classes : ndarray of shape (n_classes,) or (1,)
        Weight of the rows of a class.
    per_weight : float
        Units of a weight of 1.
    centre, per_target : float
        A target is ``round((y - centre) * per_target)``.
    """

    of_classes: np.ndarray
    per_weight: float
    centre: float
    per_target: float


@kernel(exact=True)
def row_weight(y, weight, units, r):
    """Return the weight of a row."""
    w = weight[r] if weight.shape[0] else 1.0
    return w * units.of_classes[np.int64(y[r])] if units.of_classes.shape[0] > 1 else w


@kernel(exact=True)
def row_units(y, weight, units, r):
    """Return the weight of a row, at least 1, and its target, in units."""
    whole = max(np.int64(np.rint(row_weight(y, weight, units, r) * units.per_weight)), 1)
    return whole, np.int64(np.rint((y[r] - units.centre) * units.per_target))


@kernel
def rows_drawn(n_rows, start, sizes, seed, weight, counts):
    """Write how often a tree draws the rows ``start …`` to `counts`; 0 also where a row weighs nothing.

    `sizes` are the draws of all blocks, see `bag_sizes`; (0,) for no draws: every row once.
    """
    n = counts.shape[0]
    if sizes.shape[0] == 0:
        counts[:] = 1
    else:
        own = np.empty(BAG_ROWS, np.int32)
        row = start
        while row < start + n:
            block = row // BAG_ROWS
            size = bag_counts(n_rows, sizes, seed, block, own)
            first = block * BAG_ROWS
            last = min(first + size, start + n)
            for r in range(row, last):
                counts[r - start] = own[r - first]
            row = last
    for r in range(weight.shape[0]):
        if weight[r] == 0.0:
            counts[r] = 0


@kernel
def goes_left(bin, own):
    """Return whether a bin goes left at a node (a row of a table)."""
    return bin <= own[BIN] or (bin == MISSING and own[MISSING_LEFT] != 0)


@kernel
def rows_reach(bins, width, nodes, chosen, wanted, reached):
    """Write the leaf that each row is in, walked from node 0, where ``(chosen > 0) == wanted``; -1 for other rows."""
    for r in range(chosen.shape[0]):
        if (chosen[r] > 0) != wanted:
            reached[r] = -1
            continue
        node = 0
        while nodes[node, LEFT] >= 0:
            bin = np.int64(bins[r * width + nodes[node, COLUMN]])
            node = nodes[node, LEFT] + (0 if goes_left(bin, nodes[node]) else 1)
        reached[r] = node


@kernel
def reached_count(reached, job_of_node, sizes):
    """``sizes[job] +=`` the rows that are in its node; `job_of_node` is -1 for nodes of no job."""
    for r in range(reached.shape[0]):
        if reached[r] >= 0 and job_of_node[reached[r]] >= 0:
            sizes[job_of_node[reached[r]]] += 1


@kernel
def reached_copy(bins, width, y, weight, counts, units, reached, job_of_node, places, to_bins, payload, exact):
    """Copy the rows of jobs to where ``places[job]`` says, which moves on.

    Shapes: `to_bins` (total * width,) uint8, `payload` (2 total,) int64, `exact` (total, 2): weight and y in full
    precision.
    """
    for r in range(reached.shape[0]):
        if reached[r] < 0 or job_of_node[reached[r]] < 0:
            continue
        job = job_of_node[reached[r]]
        at = places[job]
        places[job] = at + 1
        for c in range(width):
            to_bins[at * width + c] = bins[r * width + c]
        own, target = row_units(y, weight, units, r)
        payload[2 * at + WEIGHT] = own * counts[r]
        payload[2 * at + TARGET] = target
        exact[at, 0] = row_weight(y, weight, units, r) * counts[r]
        exact[at, 1] = y[r]


@kernel
def level_add(bins, width, y, weight, counts, units, reached, slots, drawn, rule, sums, about):
    """Add rows to the sums of the nodes that they are in.

    Shapes: `slots` (n_nodes,) int32: number among those that are looked at, or -1; `drawn` (n_slots, n_drawn) columns,
    `sums` (n_slots, n_drawn, 256 slots) int64, `about` (n_slots, 3) int64: rows, least and largest target.
    """
    size = rule.slots + rule.counted
    by_class = rule.criterion <= ENTROPY
    for r in range(reached.shape[0]):
        if reached[r] < 0 or slots[reached[r]] < 0:
            continue
        slot = slots[reached[r]]
        own, target = row_units(y, weight, units, r)
        own *= counts[r]
        about[slot, 0] += 1
        about[slot, 1] = min(about[slot, 1], target)
        about[slot, 2] = max(about[slot, 2], target)
        for j in range(drawn.shape[1]):
            place = np.int64(bins[r * width + drawn[slot, j]]) * size
            if by_class:
                sums[slot, j, place + target] += own
            else:
                sums[slot, j, place] += own
                sums[slot, j, place + 1] += own * target
            if rule.counted:
                sums[slot, j, place + rule.slots] += 1


@kernel
def units_sum(y, weight, counts, units):
    """Return the weight of the rows that a tree drew, in units, and how many there are."""
    total, n = np.int64(0), 0
    for r in range(counts.shape[0]):
        if counts[r] > 0:
            total += row_units(y, weight, units, r)[0] * counts[r]
            n += 1
    return total, n


@kernel(exact=True)
def reached_sum(y, weight, counts, units, by_class, reached, wanted, values, weights):
    """Add the sums of `leaves_sum` for the rows that are in the nodes that are `wanted` (n_nodes,) bool."""
    for r in range(reached.shape[0]):
        if reached[r] < 0 or not wanted[reached[r]]:
            continue
        own = row_weight(y, weight, units, r) * counts[r]
        weights[reached[r]] += own
        if by_class:
            values[reached[r], np.int64(y[r])] += own
        else:
            values[reached[r], 0] += own * y[r]


@kernel(exact=True)
def leaves_sum(nodes, n_nodes, base, order, payload, exact, by_class, values, weights):
    """Write the sums of every leaf: of classes the weight of each, else of weighted targets; and its weight.

    Shapes: `values` (n_nodes, n_values), `weights` (n_nodes,), 0 before.
    """
    for node in range(n_nodes):
        if nodes[node, LEFT] >= 0:
            continue
        for i in range(nodes[node, BEGIN] - base, nodes[node, END] - base):
            row = np.int64(order[i])
            weight = exact[row, 0]
            weights[node] += weight
            if by_class:
                values[node, payload[2 * row + 1]] += weight
            else:
                values[node, 0] += weight * exact[row, 1]


@kernel
def nodes_number(left, numbers):
    """Number the nodes of a tree depth first, siblings together; return how many can be reached from node 0.

    ``numbers[k]`` is the node that becomes number k.
    """
    stack = np.empty(left.shape[0] + 2, np.int32)
    numbers[0] = 0
    stack[0] = 0
    waiting, n = 1, 1
    while waiting > 0:
        waiting -= 1
        node = numbers[stack[waiting]]
        if left[node] < 0:
            continue
        numbers[n], numbers[n + 1] = left[node], left[node] + 1
        stack[waiting], stack[waiting + 1] = n + 1, n
        waiting += 2
        n += 2
    return n


@kernel(exact=True)
def sums_up(left, values, weights):
    """Add the sums of children to their parents; a parent comes before its children."""
    for k in range(left.shape[0]):
        node = left.shape[0] - 1 - k
        if left[node] >= 0:
            weights[node] = weights[left[node]] + weights[left[node] + 1]
            for v in range(values.shape[1]):
                values[node, v] = values[left[node], v] + values[left[node] + 1, v]


@kernel(exact=True)
def reached_add(reached, values, sums, counts):
    """Add the values of reached nodes to rows: ``sums[r] += values[reached[r]]``; count them in `counts` (n,)."""
    for r in range(reached.shape[0]):
        if reached[r] >= 0:
            counts[r] += 1
            for v in range(values.shape[1]):
                sums[r, v] += values[reached[r], v]


@kernel(exact=True)
def splits_worth(left, gains, price, kept):
    """Choose the splits of the subtree of least cost, a leaf costing `price` (Breiman et al. 1984): `kept` (n,) bool.

    Return how many. A parent comes before its children.
    """
    n = left.shape[0]
    worth = np.zeros(n)
    count = 0
    for k in range(n):
        node = n - 1 - k
        kept[node] = False
        if left[node] >= 0:
            whole = gains[node] - price + worth[left[node]] + worth[left[node] + 1]
            if whole > 0.0:
                worth[node] = whole
                kept[node] = True
                count += 1
    return count
