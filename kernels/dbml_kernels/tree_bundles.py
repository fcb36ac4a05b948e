"""Terms that rows rarely have together share a column of bins: which ones, and their bins (Ke et al. 2017).

In a shared column bin 0 is of rows that have none of its terms; each term has bins of its own from there on.
"""

from __future__ import annotations

import math

import numpy as np

from dbml_kernels.jit import kernel
from dbml_kernels.tree_split import BINS, COLUMN, FIRST, MISSED, ZERO

_WORD = np.uint64(64)


@kernel
def bundles_find(indptr, rows, terms, widths, capacity, most_conflicts, taken, free, conflicts, bundles):
    """Put each term into the first bundle with room for its bins where it meets few rows; return the number of bundles.

    Shapes: `rows` the rows of each term, those of term t in ``indptr[t]:indptr[t + 1]``, `terms` in which order,
    `widths` (n_terms,) bins, `taken` (most, n_rows / 64) uint64 bits, `free` and `conflicts` (most,), `bundles`
    (n_terms,) gets the numbers. Where there are `most` bundles, terms get one of their own.
    """
    n, most = 0, taken.shape[0]
    for term in terms:
        begin, end = indptr[term], indptr[term + 1]
        chosen = -1
        for bundle in range(min(n, most)):
            if free[bundle] < widths[term]:
                continue
            met = conflicts[bundle]
            for at in range(begin, end):
                row = np.uint64(rows[at])
                met += np.int64((taken[bundle, row // _WORD] >> (row % _WORD)) & np.uint64(1))
                if met > most_conflicts:
                    break
            if met <= most_conflicts:
                chosen = bundle
                conflicts[bundle] = met
                break
        if chosen < 0:
            chosen = n
            n += 1
            if chosen < most:
                free[chosen] = capacity
        bundles[term] = chosen
        if chosen < most:
            free[chosen] -= widths[term]
            for at in range(begin, end):
                row = np.uint64(rows[at])
                taken[chosen, row // _WORD] |= np.uint64(1) << (row % _WORD)
    return n


@kernel
def shared_rank(value, edges, place):
    """Return the bin of a term's value in its column (a shared one: 0 as of no entry); `place`: see `tree_split`."""
    if not math.isfinite(value):
        return max(np.int64(0), place[MISSED])
    low, high = 0, edges.shape[0]
    while low < high:
        middle = (low + high) // 2
        if edges[middle] < value:
            low = middle + 1
        else:
            high = middle
    if place[FIRST] < 0:
        return low
    if low == place[ZERO]:
        return 0
    return place[FIRST] + low - (1 if low > place[ZERO] else 0)


@kernel
def shared_dense(values, edges, place, step, out):
    """Write the bins of a dense term to its shared column; shapes: `values` (n,), `out` flat uint8."""
    for i in range(values.shape[0]):
        if values[i] != 0.0:
            bin = shared_rank(values[i], edges, place)
            if bin > 0:
                out[i * step + place[COLUMN]] = bin


@kernel
def shared_sparse(indptr, indices, values, edges, bounds, n_dense, layout, step, out):
    """Write the bins of sparse rows; of several terms of a bundle in a row the last one stays.

    Shapes: rows in compressed form, whose terms are `n_dense` and on; edges of sparse term j in
    ``bounds[j - n_dense] : bounds[j - n_dense + 1]``; `layout` (n_terms, 6); `out` flat uint8, with the bins of rows
    without entries.
    """
    for i in range(indptr.shape[0] - 1):
        for at in range(indptr[i], indptr[i + 1]):
            term = np.int64(indices[at])
            place = layout[term]
            if place[BINS] > 1:
                own = edges[bounds[term - n_dense] : bounds[term - n_dense + 1]]
                bin = shared_rank(values[at], own, place)
                if bin > 0 or place[FIRST] < 0:
                    out[i * step + place[COLUMN]] = bin
