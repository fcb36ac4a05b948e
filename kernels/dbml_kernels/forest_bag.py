"""Which rows a tree learns from, drawn with replacement, by counters: any run of rows can be asked for by itself.

Draws fall on blocks of `BAG_ROWS` rows first, then on rows of the block: together a multinomial over all rows.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.folds import hash_mix
from dbml_kernels.jit import kernel

BAG_ROWS = 4096  # of a block
_BLOCK_AT = 12
_HALF = np.uint64(32)


@kernel
def below(word, n):
    """Return a number in [0, n) from 64 mixed bits; n < 2 ** 32."""
    return np.int64(((word >> _HALF) * np.uint64(n)) >> _HALF)


@kernel
def bag_sizes(n_rows, n_draws, seed, sizes):
    """``sizes[b] +=`` the draws that fall on block b; shape (ceil(n_rows / BAG_ROWS),) int64."""
    for draw in range(n_draws):
        sizes[below(hash_mix(draw, seed), n_rows) >> _BLOCK_AT] += 1


@kernel
def bag_counts(n_rows, sizes, seed, block, counts):
    """Write how often each row of a block was drawn; `counts` (BAG_ROWS,) int32. Return the rows of the block."""
    first = block << _BLOCK_AT
    n = min(BAG_ROWS, n_rows - first)
    counts[:n] = 0
    own = hash_mix(block, seed + np.uint64(1))
    for draw in range(sizes[block]):
        counts[below(hash_mix(draw, own), n)] += 1
    return n
