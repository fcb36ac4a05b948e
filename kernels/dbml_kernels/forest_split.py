"""The best split of a node of a single tree or a forest, from its sums by bin (`forest_sums`).

Splits are compared by what they lower the weighted impurity by (Breiman et al.
1984): ``sum over sides of G^2 / H`` for squared errors and for the Gini index of two classes, whose target is 0 or 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from dbml_kernels.folds import hash_mix
from dbml_kernels.forest_sums import ENTROPY, GINI, MISSING, POISSON, SQUARED
from dbml_kernels.jit import kernel

COLUMN, BIN, MISSING_LEFT, LEFT_WEIGHT = range(4)  # of a split
_LEAST, _MOST, _BELOW, _ABOVE = range(4, 8)  # bins: of the node's rows, and around the cut

_UNIT = 1.0 / 9007199254740992.0  # 2 ** -53


class Columns(NamedTuple):
    """What bins of columns are.

    Attributes
    ----------
    centres : ndarray of shape (n_columns, 256)
        A value for each bin.
    edges : ndarray of shape (n_columns, 256)
        Upper edge of each bin.
    ways : ndarray of shape (n_columns,), int64
        Monotonic constraint: -1, 0 or 1.
    """

    centres: np.ndarray
    edges: np.ndarray
    ways: np.ndarray


@kernel
def pair_terms(sums, at, by_class, shift):
    """Return weight and target of a bin: of the second of two classes, or the sum, less `shift` for each weight."""
    a, b = sums[np.uint64(at)], sums[np.uint64(at) + np.uint64(1)]
    if by_class:
        return a + b, b
    return a, b - shift * a


@kernel(exact=True)
def pair_score(criterion, g, h):
    """Return what a side adds to the score."""
    if criterion == POISSON:
        return g * math.log(g / h) if g > 0.0 else -np.inf
    return g * g / h


@kernel(exact=True)
def pair_scan(sums, rule, present, first, last, missing, totals, shift, bounded, way, low, high, top):
    """Look for a cut of a score above `top`, of sums with two numbers a bin.

    Cuts come after ``present[first:last]``; with `missing` True missing values go left. Return the place of the cut in
    `present` (-1: none is better), its score, and the weight of the left side.
    """
    slots = rule.slots + rule.counted
    by_class, criterion = rule.criterion <= ENTROPY, rule.criterion
    all_h, all_g = pair_terms(totals, 0, by_class, shift)
    left_h = left_g = left_n = np.int64(0)
    if missing:
        left_h, left_g = pair_terms(sums, MISSING * slots, by_class, shift)
        left_n = sums[MISSING * slots + rule.slots] if rule.counted else np.int64(0)
    found, weight = -1, np.int64(0)
    for i in range(last):
        at = np.uint64(present[np.uint64(i)] * slots)
        h, g = pair_terms(sums, at, by_class, shift)
        left_h += h
        left_g += g
        if rule.counted:
            left_n += sums[at + np.uint64(rule.slots)]
            if left_n < rule.min_leaf or totals[rule.slots] - left_n < rule.min_leaf:
                continue
        right_h, right_g = all_h - left_h, all_g - left_g
        if (i < first) | (left_h < rule.least_weight) | (right_h < rule.least_weight):
            continue
        hl, gl, hr, gr = float(left_h), float(left_g), float(right_h), float(right_g)
        score, size = gl * gl * hr + gr * gr * hl, hl * hr
        if criterion == POISSON:
            score, size = pair_score(criterion, gl, hl) + pair_score(criterion, gr, hr), 1.0
        if score > top * size:  # without a division for each cut
            if bounded and not order_kept(way, gl / hl + shift, gr / hr + shift, low, high):
                continue
            top, found, weight = score / size, i, left_h
    return found, top, weight


@kernel
def order_kept(way, left, right, low, high):
    """Return whether the values of two sides are within the bounds of their node, and in the right order."""
    return way * (right - left) >= 0.0 and min(left, right) >= low and max(left, right) <= high


@kernel(exact=True)
def classes_score(criterion, weights, n, total):
    """Return what a side with the given weight of each of n classes adds to the score; `total` is their sum."""
    score = 0.0
    for k in range(n):
        weight = float(weights[k])
        if criterion == GINI:
            score += weight * weight
        elif weight > 0.0:
            score += weight * math.log(weight)
    return score / float(total) if criterion == GINI else score - float(total) * math.log(float(total))


@kernel(exact=True)
def classes_scan(sums, rule, present, first, last, missing, totals, bounded, way, low, high, sides, top):
    """As `pair_scan`, for any number of classes; `sides` (2, slots) is scratch."""
    slots, n = rule.slots + rule.counted, rule.slots
    left, right = sides[0], sides[1]
    left_n = np.int64(0)
    for k in range(n):
        left[k] = sums[MISSING * slots + k] if missing else 0
        right[k] = totals[k] - left[k]
    if missing and rule.counted:
        left_n = sums[MISSING * slots + n]
    left_h = right_h = np.int64(0)
    for k in range(n):
        left_h += left[k]
        right_h += right[k]
    found, weight = -1, np.int64(0)
    for i in range(last):
        at = np.uint64(present[np.uint64(i)] * slots)
        for k in range(np.uint64(n)):
            moved = sums[at + k]
            left[k] += moved
            right[k] -= moved
            left_h += moved
            right_h -= moved
        if rule.counted:
            left_n += sums[at + np.uint64(n)]
            if left_n < rule.min_leaf or totals[n] - left_n < rule.min_leaf:
                continue
        if (i < first) | (left_h < rule.least_weight) | (right_h < rule.least_weight):
            continue
        score = classes_score(rule.criterion, left, n, left_h) + classes_score(rule.criterion, right, n, right_h)
        if score > top:
            if bounded and not order_kept(way, left[1] / float(left_h), right[1] / float(right_h), low, high):
                continue
            top, found, weight = score, i, left_h
    return found, top, weight


@kernel
def drawn_value(least, most, key, column):
    """Return a value between two others, drawn by a node's key and a column's number."""
    share = float(hash_mix(column, key ^ np.uint64(0x5DEECE66D)) >> np.uint64(11)) * _UNIT
    return least + (most - least) * share


@kernel
def column_search(
    sums, column, present, n_present, rule, centres, ways, totals, shift, low, high, key, sides, top, split
):
    """Look for a split of a column that scores above `top`; write it to `split` (8,) int64. Return the best score.

    Shapes: `sums` (256 slots,), `present` lists its bins, `sides` (2, slots) scratch. `cut_choose` completes the split.
    """
    known = n_present
    has_missing = present[n_present - 1] == MISSING
    if has_missing:
        known -= 1
    first, last = 0, known if has_missing else known - 1
    if rule.random_cuts and known > 1:
        wanted = drawn_value(centres[column, present[0]], centres[column, present[known - 1]], key, column)
        while first + 2 < known and centres[column, present[first + 1]] <= wanted:
            first += 1
        last = first + 1
    way = ways[column]
    bounded = way != 0 or low > -np.inf or high < np.inf
    for side in range(2 if has_missing and known > 1 else 1):
        missing = side == 1
        until = min(last, known - 1) if missing else last
        if rule.slots == 2 and rule.criterion != ENTROPY:
            found, top, weight = pair_scan(
                sums, rule, present, first, until, missing, totals, shift, bounded, way, low, high, top
            )
        else:
            found, top, weight = classes_scan(
                sums, rule, present, first, until, missing, totals, bounded, way, low, high, sides, top
            )
        if found < 0:
            continue
        split[COLUMN], split[MISSING_LEFT], split[LEFT_WEIGHT] = column, side, weight
        split[_LEAST], split[_MOST], split[_BELOW] = present[0], present[max(known - 1, 0)], present[found]
        split[_ABOVE] = present[found + 1] if found + 1 < known else MISSING
        if not has_missing:
            split[MISSING_LEFT] = -1
    return top


@kernel
def cut_choose(rule, centres, edges, totals, key, split):
    """Complete a split: its bin, between those that part the rows, and where missing values go if there were none."""
    column, below, above = split[COLUMN], split[_BELOW], split[_ABOVE]
    if above == MISSING:  # all known values on one side, missing ones on the other
        split[BIN] = MISSING - 1
    else:
        wanted = 0.5 * (centres[column, below] + centres[column, above])
        if rule.random_cuts:
            wanted = drawn_value(centres[column, split[_LEAST]], centres[column, split[_MOST]], key, column)
        while below + 1 < above and abs(edges[column, below + 1] - wanted) < abs(edges[column, below] - wanted):
            below += 1
        split[BIN] = below
    if split[MISSING_LEFT] < 0:
        total = totals[0]
        if rule.criterion <= ENTROPY:
            for k in range(1, rule.slots):
                total += totals[k]
        split[MISSING_LEFT] = 2 * split[LEFT_WEIGHT] > total


@kernel(exact=True)
def node_score(rule, totals, shift):
    """Return the score of a node that is not split."""
    if rule.slots == 2 and rule.criterion != ENTROPY:
        h, g = pair_terms(totals, 0, rule.criterion <= ENTROPY, shift)
        return pair_score(rule.criterion, float(g), float(h))
    total = np.int64(0)
    for k in range(rule.slots):
        total += totals[k]
    return classes_score(rule.criterion, totals, rule.slots, total)


@kernel
def node_shift(rule, totals):
    """Return about the mean target of a node, a multiple of ``2 ** coarse``: sums less its multiples lose no digits."""
    if rule.criterion != SQUARED:
        return np.int64(0)
    return ((totals[1] // totals[0]) >> rule.coarse) << rule.coarse
