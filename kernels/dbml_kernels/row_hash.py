"""Hashes of the values of rows: equal rows have equal hashes, whatever their position.

Values count in the units of the columns, to 40 of their 52 binary digits: centring rounds the last ones.

Shapes: x (n * d,) column-major, centre (d,); indptr (n + 1,), indices, values (nnz,); hashes (n,) uint64.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.folds import hash_mix
from dbml_kernels.jit import kernel

_HALF, _DIGITS = np.int64(1 << 11), np.int64(12)


@kernel(exact=True)
def _mixed(h, term, value):
    """Mix a value of a term, not 0, into a hash."""
    bits = (np.float64(value).view(np.int64) + _HALF) >> _DIGITS
    return h + hash_mix(np.uint64(bits), np.uint64(term) + np.uint64(1))


@kernel(exact=True)
def rows_hash(x, n, d, centre, hashes):
    """Add dense terms."""
    for term in range(d):
        for i in range(n):
            value = x[term * n + i] + centre[term]
            if value != 0.0:
                hashes[i] = _mixed(hashes[i], term, value)


@kernel(exact=True)
def rows_hash_sparse(indptr, indices, values, hashes):
    """Add sparse terms."""
    for i in range(hashes.shape[0]):
        for entry in range(indptr[i], indptr[i + 1]):
            if values[entry] != 0.0:
                hashes[i] = _mixed(hashes[i], indices[entry], values[entry])


@kernel(exact=True)
def hashes_spread(hashes, seed, out):
    """``out[i]`` = a number in (0, 1) of a hash and a seed; out (n,) float64."""
    for i in range(out.shape[0]):
        out[i] = (np.float64(hash_mix(hashes[i], seed) >> np.uint64(11)) + 0.5) / 9007199254740992.0
