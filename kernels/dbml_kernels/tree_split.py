"""The best split of a node, from its histogram.

A side with gradient sum G and hessian sum H takes the value ``v = -G / (H + l2)`` within the node's bounds, and lowers
the loss by ``-(2 G v + (H + l2) v^2) / 2`` (Friedman 2001; Chen & Guestrin 2016, equations 5 to 7).

Gains are computed to the same bits whichever kernel they become part of: equal trees must not depend on who grows them.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel
from dbml_kernels.tree_histogram import N_BINS

# What is known of a node: sums, rows, bounds of its value, and the rows that each side of its split must have.
GRADIENT, HESSIAN, ROWS, LOW, HIGH, LEAST_ROWS = range(6)

GAIN, TERM, BIN, MISSING_LEFT, LEFT_GRADIENT, LEFT_HESSIAN = range(6)
MISSING = N_BINS - 1

# A row of `layout`: bins of a term, 1 for a category, its column. Terms that share a column have there a bin each for
# those of their bins that rows are rarely in, from `FIRST` on, and one for missing values or -1; all rows without an
# entry are in their bin `ZERO`. `FIRST` is -1 where a term has a column of its own.
BINS, CATEGORY, COLUMN, FIRST, ZERO, MISSED = range(6)

# Sums over few rows of a category are mostly noise: its levels are ordered by G / (H + SMOOTH), as LightGBM does.
_SMOOTH, CATEGORY_L2, _MOST_TOGETHER, ONE_BY_ONE, _LEVEL_ROWS = 10.0, 10.0, 32, 4, 10.0


@kernel(exact=True)
def side_value(gradient, hessian, l2, low, high):
    """Return the value of a side."""
    return min(max(-gradient / (hessian + l2), low), high)


@kernel(exact=True)
def node_values(known, l2, values):
    """Write the value of each node; shapes (n, 6) from ``GRADIENT`` on, (n,)."""
    for i in range(values.shape[0]):
        values[i] = side_value(known[i, GRADIENT], known[i, HESSIAN], l2, known[i, LOW], known[i, HIGH])


@kernel(exact=True)
def side_gain(gradient, hessian, l2, low, high):
    """Return twice what a side lowers the loss by."""
    value = side_value(gradient, hessian, l2, low, high)
    return -value * (2.0 * gradient + (hessian + l2) * value)


@kernel(exact=True)
def order_kept(way, left_gradient, left_hessian, gradient, hessian, l2, low, high):
    """Return whether the values of both sides are in the order that a monotonic constraint asks for."""
    left = side_value(left_gradient, left_hessian, l2, low, high)
    right = side_value(gradient - left_gradient, hessian - left_hessian, l2, low, high)
    return way * (right - left) >= 0.0


@kernel(exact=True)
def number_split(g, h, n_bins, way, missing, node, rule, gains, best):
    """Look for a better split of a number than `best`; return whether there was one.

    Shapes: `g`, `h` (256,) sums by bin, `node` (gradient, hessian, rows per hessian, low, high), `rule` (l2, least
    rows, least hessian), `gains` (768,) scratch, `best` (6,). With `missing` True missing values go left. `way` is the
    monotonic constraint: -1, 0 or 1.
    """
    gradient, hessian, per_hessian, low, high = node
    l2, least_rows, least_hessian = rule
    least = max(least_hessian, least_rows / per_hessian)
    left_gradient, left_hessian = (g[MISSING], h[MISSING]) if missing else (0.0, 0.0)
    last = n_bins - 1 if missing or h[MISSING] == 0.0 else n_bins
    sums_g, sums_h = gains[N_BINS : 2 * N_BINS], gains[2 * N_BINS : 3 * N_BINS]
    for b in range(last):
        left_gradient += g[b]
        left_hessian += h[b]
        sums_g[b], sums_h[b] = left_gradient, left_hessian
    for b in range(last):
        right_gradient, right_hessian = gradient - sums_g[b], hessian - sums_h[b]
        gain = side_gain(sums_g[b], sums_h[b], l2, low, high) + side_gain(right_gradient, right_hessian, l2, low, high)
        gains[b] = gain if (sums_h[b] >= least) & (right_hessian >= least) else -1.0
    found = False
    for b in range(last):
        if gains[b] > best[GAIN]:
            if way != 0 and not order_kept(way, sums_g[b], sums_h[b], gradient, hessian, l2, low, high):
                continue
            best[GAIN], best[BIN], best[MISSING_LEFT] = gains[b], b, missing
            best[LEFT_GRADIENT], best[LEFT_HESSIAN] = sums_g[b], sums_h[b]
            found = True
    return found


@kernel(exact=True)
def levels_listed(g, h, n_bins, least_hessian, keys, levels):
    """List the levels that have enough rows, and their keys ``G / (H + smooth)``; return how many there are."""
    n = 0
    for b in range(N_BINS):
        if (b < n_bins or b == MISSING) and h[b] >= least_hessian and h[b] > 0.0:
            keys[n], levels[n] = g[b] / (h[b] + _SMOOTH), b
            n += 1
    return n


@kernel(exact=True)
def levels_ordered(keys, n):
    """Return the places of the first `n` keys in ascending order, equal ones as they come (a merge sort)."""
    order, merged = np.empty(n, np.int64), np.empty(n, np.int64)
    for i in range(n):
        order[i] = i
    width = 1
    while width < n:
        for begin in range(0, n, 2 * width):
            middle, last = min(begin + width, n), min(begin + 2 * width, n)
            left, right = begin, middle
            for i in range(begin, last):
                if left < middle and (right >= last or keys[order[left]] <= keys[order[right]]):
                    merged[i] = order[left]
                    left += 1
                else:
                    merged[i] = order[right]
                    right += 1
        order, merged = merged, order
        width *= 2
    return order


@kernel(exact=True)
def category_split(g, h, n_bins, node, rule, best, goes_left):
    """Look for a better split of a category than `best`; write the side of each level; return whether there was one.

    Levels are ordered by ``G / (H + smooth)`` (Fisher 1958: then the best split lies in that order) and taken from
    either end; few levels are tried one by one. Missing values are a level; where there are none they join the larger
    side.
    """
    gradient, hessian, per_hessian, low, high = node
    l2, least_rows, least_hessian = rule
    least = max(least_hessian, least_rows / per_hessian)
    keys, levels = np.empty(N_BINS), np.empty(N_BINS, np.int64)
    n = levels_listed(g, h, n_bins, min(_LEVEL_ROWS, least_rows) / per_hessian, keys, levels)
    if n < 2:
        return False
    singles = n <= ONE_BY_ONE
    if not singles:
        l2 += CATEGORY_L2
    by_key = levels_ordered(keys, n)
    from_end = first = count = -1
    for end in range(2):
        left_gradient = left_hessian = 0.0
        for i in range(n if singles else min(_MOST_TOGETHER, n - 1)):
            level = levels[by_key[i if end == 0 else n - 1 - i]]
            if singles:
                left_gradient = left_hessian = 0.0
            left_gradient += g[level]
            left_hessian += h[level]
            right_hessian = hessian - left_hessian
            if left_hessian < least or right_hessian < least:
                continue
            gain = side_gain(left_gradient, left_hessian, l2, low, high)
            gain += side_gain(gradient - left_gradient, right_hessian, l2, low, high)
            if gain > best[GAIN]:
                best[GAIN], best[LEFT_GRADIENT], best[LEFT_HESSIAN] = gain, left_gradient, left_hessian
                from_end, first, count = end, (i if singles else 0), i + 1
        if singles:
            break
    if from_end < 0:
        return False
    goes_left[:] = 0
    for i in range(first, count):
        goes_left[levels[by_key[i if from_end == 0 else n - 1 - i]]] = 1
    if h[MISSING] == 0.0:
        goes_left[MISSING] = 1 if 2.0 * best[LEFT_HESSIAN] > hessian else 0
    best[BIN], best[MISSING_LEFT] = -1.0, np.float64(goes_left[MISSING])
    return True


@kernel(exact=True)
def term_sums(sums, steps, place, node, g, h):
    """Write the sums of a term by bin to `g` and `h` (256,), in units of 1; `place` is its row of the layout.

    Shapes: `sums` (2, 256 n_columns) in units of `steps` (2,). Of a shared column, what the term has no entry for is
    the rest of the node.
    """
    begin, n_bins, first = N_BINS * place[COLUMN], place[BINS], place[FIRST]
    if first < 0:
        for b in range(n_bins):
            g[b] = sums[0, begin + b] * steps[0]
            h[b] = sums[1, begin + b] * steps[1]
        g[MISSING] = sums[0, begin + MISSING] * steps[0]
        h[MISSING] = sums[1, begin + MISSING] * steps[1]
        return
    zero, missed = place[ZERO], place[MISSED]
    g[MISSING] = sums[0, begin + missed] * steps[0] if missed >= 0 else 0.0
    h[MISSING] = sums[1, begin + missed] * steps[1] if missed >= 0 else 0.0
    rest_g, rest_h = node[0] - g[MISSING], node[1] - h[MISSING]
    at = begin + first
    for b in range(n_bins):
        if b != zero:
            g[b], h[b] = sums[0, at] * steps[0], sums[1, at] * steps[1]
            rest_g -= g[b]
            rest_h -= h[b]
            at += 1
    g[zero], h[zero] = rest_g, max(rest_h, 0.0)


@kernel(exact=True)
def sides_write(place, last, missing_left, goes_left):
    """Write the side of each bin of a column, (256,) uint8, where a number's bins up to `last` go left."""
    first, zero = place[FIRST], place[ZERO]
    if first < 0:
        for b in range(N_BINS):
            goes_left[b] = b <= last
        goes_left[MISSING] = missing_left
        return
    goes_left[:] = zero <= last
    at = first
    for b in range(place[BINS]):
        if b != zero:
            goes_left[at] = b <= last
            at += 1
    if place[MISSED] >= 0:
        goes_left[place[MISSED]] = missing_left


@kernel(exact=True)
def split_find(sums, steps, terms, layout, monotonic, node, rule, scratch, best, goes_left):
    """Find the best split of a node: write it to `best` (6,) and the side of each bin to `goes_left` (256,) uint8.

    Shapes: `sums` (2, 256 n_columns) in units of `steps` (2,), `terms` those that may be tested, `layout` (n_terms, 6),
    `monotonic` (n_terms,), `scratch` (5, 256). ``best[GAIN]`` must hold the gain of no split, and stays where nothing
    is better.
    """
    g, h = scratch[0], scratch[1]
    gains = scratch[2:].reshape(3 * N_BINS)
    for term in terms:
        place = layout[term]
        term_sums(sums, steps, place, node, g, h)
        if place[CATEGORY]:
            if category_split(g, h, place[BINS], node, rule, best, goes_left):
                best[TERM] = term
            continue
        found = False
        for missing in range(2 if h[MISSING] > 0.0 else 1):
            found |= number_split(g, h, place[BINS], monotonic[term], missing == 1, node, rule, gains, best)
        if found:
            best[TERM] = term
            if h[MISSING] == 0.0:
                best[MISSING_LEFT] = 1.0 if 2.0 * best[LEFT_HESSIAN] > node[1] else 0.0
    if best[TERM] >= 0.0 and not layout[np.int64(best[TERM]), CATEGORY]:
        sides_write(layout[np.int64(best[TERM])], best[BIN], best[MISSING_LEFT] > 0.0, goes_left)


@kernel(exact=True)
def part_search(sums, steps, terms, layout, monotonic, node, rules, scratch, best, goes_left):
    """Find the best split of a node by some terms as `split_find` does; return the gain of the node without a split.

    ``best[TERM]`` is -1 where no split is better by enough. Shapes: `node` (6,) from ``GRADIENT`` on, `rules` (l2,
    least hessian, least gain).
    """
    l2, least_hessian, least_gain = rules
    gradient, hessian, low, high = node[GRADIENT], node[HESSIAN], node[LOW], node[HIGH]
    without = side_gain(gradient, hessian, l2, low, high)
    best[:] = 0.0
    best[GAIN], best[TERM] = without + 2.0 * least_gain + 1e-12 * abs(without), -1.0
    about = (gradient, hessian, node[ROWS] / max(hessian, 1e-300), low, high)
    rule = (l2, node[LEAST_ROWS], least_hessian)
    split_find(sums, steps, terms, layout, monotonic, about, rule, scratch, best, goes_left)
    return without


@kernel(exact=True)
def node_search(sums, steps, terms, layout, monotonic, node, rules, scratch, best, goes_left):
    """Find the best split of a node as `part_search` does; ``best[GAIN]`` is what the split gains over none."""
    without = part_search(sums, steps, terms, layout, monotonic, node, rules, scratch, best, goes_left)
    best[GAIN] -= without


@kernel(exact=True)
def children_know(node, best, left_rows, way, l2, least_rows, children):
    """Write what is known of the children of a node, (2, 6), that is split by `best`; see `node_search`.

    With a monotonic constraint, `way`, the values of one child end where those of the other begin.
    """
    left, right = children[0], children[1]
    for child in children:
        child[LOW], child[HIGH], child[LEAST_ROWS] = node[LOW], node[HIGH], least_rows
    left[GRADIENT], left[HESSIAN], left[ROWS] = best[LEFT_GRADIENT], best[LEFT_HESSIAN], left_rows
    for i in (GRADIENT, HESSIAN, ROWS):
        right[i] = node[i] - left[i]
    if way != 0:
        middle = 0.5 * side_value(left[GRADIENT], left[HESSIAN], l2, node[LOW], node[HIGH])
        middle += 0.5 * side_value(right[GRADIENT], right[HESSIAN], l2, node[LOW], node[HIGH])
        if way > 0:
            left[HIGH] = right[LOW] = middle
        else:
            left[LOW] = right[HIGH] = middle


@kernel(exact=True)
def children_search(
    small, large, small_left, steps, terms, layout, monotonic, children, rules, scratch, bests, goes_left
):
    """Find the best splits of both children of a node; subtract the smaller one's sums from those of the node.

    Shapes: `small` and `large` (2, 256 n_columns), the latter the node's until then, `terms` of the left and of the
    right child, `children` (2, 6), `bests` (2, 6), `goes_left` (2, 256); see `node_search`. A child with too few rows
    for two sides has no split.
    """
    for i in range(large.shape[0]):
        for j in range(large.shape[1]):
            large[i, j] -= small[i, j]
    for child in range(2):
        bests[child, TERM] = -1.0
        if children[child, ROWS] >= 2.0 * children[child, LEAST_ROWS]:
            sums = small if small_left == (child == 0) else large
            node_search(
                sums, steps, terms[child], layout, monotonic, children[child], rules, scratch, bests[child],
                goes_left[child],
            )  # fmt: skip
