"""The rows that a tree grows from: those not held out, and a sample of them, by hashes of their positions.

Gradient-based one-side sampling (Ke et al. 2017): the rows of the largest gradients, and a share of the others, whose
derivatives are multiplied by what makes up for those left out. "The largest" is told by ranks: gradients in whole
steps, so that a count of rows by rank is exact, whatever the partition.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.folds import hash_mix
from dbml_kernels.jit import kernel
from dbml_kernels.tree_gradients import row_noise

SLICES = 1 << 20  # of rows, by hash: what is held out is a run of them
N_RANKS = 2048
WHOLE = 1 << 32  # a share of all rows
MOST_FACTOR = 31  # that words can be multiplied by

_HALF, _UNIT = np.uint64(32), 1.0 / 65536.0


@kernel
def is_held(row, held):
    """Return whether a row is held out; `held`: seed, and the slices from … to."""
    place = np.int64(hash_mix(row, held[0]) & np.uint64(SLICES - 1))
    return (place >= held[1]) & (place < held[2])


@kernel
def held_find(first_row, held, rows):
    """Write the rows that are held out; return their number; shape of `rows` (n,) int32."""
    n = 0
    for i in range(rows.shape[0]):
        rows[n] = i
        n += is_held(first_row + i, held)
    return n


@kernel
def rows_draw(first_row, held, seed, below, order):
    """Put the rows that a tree grows from first, ascending, then the others, descending; return how many are first.

    `below`, a share of `WHOLE`, of the rows that are not held out are drawn. Shape of `order`: (n,) int32.
    """
    left, right = 0, order.shape[0]
    for i in range(order.shape[0]):
        drawn = not is_held(first_row + i, held) if held[2] > held[1] else True
        if below < WHOLE:
            drawn = drawn & (np.int64(hash_mix(first_row + i, seed) >> _HALF) < below)
        order[left] = i
        order[right - 1] = i
        left += drawn
        right -= 1 - drawn
    return left


@kernel
def words_rank(words, ranks):
    """``ranks[i] = sum_k |gradient of words[k, i]|``, at most `N_RANKS` - 1; shapes: (n_outputs, n), (n,) uint16."""
    ranks[:] = 0
    for k in range(words.shape[0]):
        for i in range(ranks.shape[0]):
            ranks[i] = min(np.int32(ranks[i]) + abs(words[k, i] >> np.int32(16)), N_RANKS - 1)


@kernel
def floats_rank(gradient, step, ranks):
    """As `words_rank`, of gradients (n_outputs, n) in full precision and the step they would be rounded to."""
    for i in range(ranks.shape[0]):
        size = 0.0
        for k in range(gradient.shape[0]):
            size += abs(gradient[k, i])
        ranks[i] = min(np.int64(size / step), N_RANKS - 1)


@kernel
def ranks_count(first_row, held, ranks, counts):
    """Count the rows that are not held out by rank; shape of `counts`: (N_RANKS,) int64."""
    for i in range(ranks.shape[0]):
        kept = not is_held(first_row + i, held) if held[2] > held[1] else True
        counts[ranks[i]] += kept


@kernel
def rows_draw_ranked(first_row, held, seed, threshold, tied_below, below, ranks, order):
    """As `rows_draw`: rows of a rank above the threshold, a share of those at it, and a share `below` of the others.

    ``ranks[i]`` becomes 1 for the drawn among these others, and else 0.
    """
    left, right = 0, order.shape[0]
    for i in range(order.shape[0]):
        mixed = hash_mix(first_row + i, seed)
        tied = (ranks[i] == threshold) & (np.int64(mixed >> _HALF) < tied_below)
        top = (ranks[i] > threshold) | tied
        other = np.int64(mixed & np.uint64(WHOLE - 1)) < below
        kept = not is_held(first_row + i, held) if held[2] > held[1] else True
        drawn = kept & (top | other)
        ranks[i] = drawn & (not top)
        order[left] = i
        order[right - 1] = i
        left += drawn
        right -= 1 - drawn
    return left


@kernel
def words_multiply(first_row, seed, flags, factor, words):
    """Multiply the words of flagged rows, rounded at random without bias; shapes (n,) and (n_outputs, n)."""
    for i in range(flags.shape[0]):
        if not flags[i]:
            continue
        noise = row_noise(first_row + i, seed)
        low = np.float64(noise & np.uint32(0xFFFF)) * _UNIT
        high = np.float64(noise >> np.uint32(16)) * _UNIT
        for k in range(words.shape[0]):
            word = np.int64(words[k, i])
            gradient = np.int32(np.floor((word >> 16) * factor + low))
            words[k, i] = (gradient << np.int32(16)) | np.int32((word & 0xFFFF) * factor + high)


@kernel
def floats_multiply(flags, factor, gradient, hessian):
    """Multiply the derivatives (n_outputs, n) of flagged rows."""
    for k in range(gradient.shape[0]):
        for i in range(flags.shape[0]):
            if flags[i]:
                gradient[k, i] *= factor
                hessian[k, i] *= factor
