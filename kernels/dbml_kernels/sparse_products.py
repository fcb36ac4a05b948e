"""Products of rows in compressed form with several columns at once: ``S M`` and ``S' Z``.

Row i of S has the entries ``indptr[i] … indptr[i + 1]`` of `indices` (numbers of the columns of S) and `values`;
rows of M, Z and the results lie together, so that an entry costs one run over memory.
"""

from __future__ import annotations

from dbml_kernels.jit import kernel


@kernel
def sparse_times_add(indptr, indices, values, m, out):
    """``out[i] += sum_e values[e] m[indices[e]]`` over the entries e of row i; m (n_terms, l), out (n, l)."""
    width = m.shape[1]
    for i in range(indptr.shape[0] - 1):
        into = out[i]
        for e in range(indptr[i], indptr[i + 1]):
            value, row = values[e], m[indices[e]]
            for k in range(width):
                into[k] += value * row[k]


@kernel
def sparse_transposed_times_add(indptr, indices, values, z, out):
    """``out[indices[e]] += values[e] z[i]`` over the entries e of every row i; z (n, l), out (n_terms, l)."""
    width = z.shape[1]
    for i in range(indptr.shape[0] - 1):
        row = z[i]
        for e in range(indptr[i], indptr[i + 1]):
            value, into = values[e], out[indices[e]]
            for k in range(width):
                into[k] += value * row[k]
