"""Sums by bin of the rows of a node of a single tree or a forest: whole numbers, the same for any order of rows.

A bin holds `Rule.slots` numbers: the weight of each class; or the weight and the sum of the target in fixed point; and
with `Rule.counted` the number of rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.cpython.unsafe.numbers import trailing_zeros

from dbml_kernels.folds import hash_mix
from dbml_kernels.forest_bag import below
from dbml_kernels.jit import kernel
from dbml_kernels.prefetch import prefetch

GINI, ENTROPY, SQUARED, POISSON = range(4)
N_BINS, MISSING = 256, 255
FEW_ROWS = 128  # of a node whose bins are looked up one by one, rather than all 256 of them
WEIGHT, TARGET = 0, 1  # of a row's payload, two numbers a row; the target of a class is its number

_AHEAD = 16


class Rule(NamedTuple):
    """How nodes are split.

    Attributes
    ----------
    criterion : int
        `GINI`, `ENTROPY`, `SQUARED` or `POISSON`.
    slots : int
        Numbers of a bin besides the count of rows: classes, or 2.
    counted : int
        1 where rows of a side must be counted: more than one is asked for.
    random_cuts : int
        1: one threshold of a column is tried, drawn between its least and largest value in the node.
    n_drawn : int
        Columns that a node looks at, more while none of them varies.
    max_depth, min_split, min_leaf, least_weight : int
        Most splits above a node; fewest rows of a node that is split; fewest rows and least weight of a side.
    least_gain : float
        Gain that a split must have.
    coarse : int
        Bits of a target that its means are rounded to: sums of round numbers stay round, and squares exact.
    """

    criterion: int
    slots: int
    counted: int
    random_cuts: int
    n_drawn: int
    max_depth: int
    min_split: int
    min_leaf: int
    least_weight: int
    least_gain: float
    coarse: int


@kernel
def drawn_column(order, swaps, i, key, n_drawn):
    """Return the i-th column that a node looks at; `order` (n_columns,) is shuffled as far as that, see `undraw`."""
    n = order.shape[0]
    if n_drawn < n:
        j = i + below(hash_mix(i, key), n - i)
        swaps[i] = j
        order[i], order[j] = order[j], order[i]
    return order[i]


@kernel
def undraw(order, swaps, drawn, n_drawn):
    """Put `order` back as it was before `drawn` columns were drawn."""
    if n_drawn < order.shape[0]:
        for k in range(drawn):
            i = drawn - 1 - k
            j = swaps[i]
            order[i], order[j] = order[j], order[i]


@kernel
def node_totals(payload, order, begin, end, rule, totals):
    """Write the sums of a node to `totals` (slots + 1,), its rows last; return whether they have one target."""
    totals[:] = 0
    totals[rule.slots] = end - begin
    first = payload[2 * np.int64(order[begin]) + TARGET]
    pure = True
    by_class = rule.criterion <= ENTROPY
    for i in range(np.uint64(begin), np.uint64(end)):
        at = np.uint64(2) * np.uint64(order[i])
        weight, target = payload[at], payload[at + np.uint64(TARGET)]
        pure &= target == first
        if by_class:
            totals[np.uint64(target)] += weight
        else:
            totals[0] += weight
            totals[1] += weight * target
    return pure


@kernel
def columns_add(bins, width, payload, order, begin, end, rule, drawn, sums):
    """Add rows of a node to the sums of some columns; `sums` (n_drawn, 256 slots); shapes as in `forest_grow`."""
    slots = np.uint64(rule.slots + rule.counted)
    last = end - 1
    n = np.uint64(drawn.shape[0])
    by_class = rule.criterion <= ENTROPY
    for i in range(begin, end):
        coming = np.int64(order[min(i + _AHEAD, last)])
        prefetch(bins, coming * width)
        prefetch(payload, 2 * coming)
        row = np.uint64(order[i])
        weight, target = payload[row + row], payload[row + row + np.uint64(1)]
        at = row * np.uint64(width)
        if by_class:
            place = np.uint64(target)
            for j in range(n):
                sums[j, np.uint64(bins[at + np.uint64(drawn[j])]) * slots + place] += weight
        else:
            product = weight * target
            for j in range(n):
                place = np.uint64(bins[at + np.uint64(drawn[j])]) * slots
                sums[j, place] += weight
                sums[j, place + np.uint64(1)] += product
        if rule.counted:
            for j in range(n):
                sums[j, np.uint64(bins[at + np.uint64(drawn[j])]) * slots + np.uint64(rule.slots)] += 1


@kernel
def column_add_few(bins, width, column, payload, order, begin, end, rule, sums, seen, present):
    """Add the rows of a small node to the sums of a column (256 slots,), all 0 before; list the bins they are in.

    Return how many there are in `present` (257,), in ascending order, that of missing values last. `seen` (4,) uint64
    is scratch: a bit for each bin.
    """
    slots = np.uint64(rule.slots + rule.counted)
    by_class = rule.criterion <= ENTROPY
    one, wide, first = np.uint64(1), np.uint64(width), np.uint64(column)
    for word in range(4):
        seen[word] = 0
    for i in range(np.uint64(begin), np.uint64(end)):
        row = np.uint64(order[i])
        bin = np.uint64(bins[row * wide + first])
        seen[bin >> np.uint64(6)] |= one << (bin & np.uint64(63))
        at = bin * slots
        weight, target = payload[row + row], payload[row + row + one]
        if by_class:
            sums[at + np.uint64(target)] += weight
        else:
            sums[at] += weight
            sums[at + one] += weight * target
        if rule.counted:
            sums[at + np.uint64(rule.slots)] += 1
    n = 0
    for word in range(4):
        left = seen[word]
        while left:
            present[n] = 64 * word + np.int64(trailing_zeros(left))
            left &= left - one
            n += 1
    return n


@kernel
def sums_clear(sums, present, n, slots):
    """Set the sums of the listed bins to 0."""
    for i in range(np.uint64(n)):
        at = np.uint64(present[i] * slots)
        for k in range(np.uint64(slots)):
            sums[at + k] = 0


@kernel
def present_list(sums, rule, present):
    """List the bins of a column that rows are in, as `column_add_few`; return how many."""
    slots = rule.slots + rule.counted
    read = rule.slots if rule.criterion <= ENTROPY else 1
    n = 0
    for bin in range(N_BINS):
        weight = np.int64(0)
        for k in range(read):
            weight += sums[bin * slots + k]
        present[n] = bin
        n += weight != 0
    return n
