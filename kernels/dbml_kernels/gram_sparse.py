"""Sparse part of the Gram matrix of ``V = [1 y X S]``: rows of S in compressed form, never made dense."""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel

# Rows that are copied row by row at a time, so that the dense part of a row lies together.
ROWS = 64


@kernel
def gram_sparse_add(x, n, d, y, w, weighted, chosen, indptr, indices, values, gram):
    """``gram[2 + s, :] += w v_s [1 y x_dense v_<=s]`` for every entry (s, v_s) of the rows `chosen`.

    x (n * d,) column-major, term numbers s in [d, m - 2) ascending within a row; gram (m, m), lower triangle.
    """
    rows = np.empty((ROWS, d + 2))
    for start in range(0, chosen.shape[0], ROWS):
        part = chosen[start : start + ROWS]
        for i in range(part.shape[0]):
            rows[i, 0] = 1.0
            rows[i, 1] = y[part[i]]
        for j in range(d):
            column = x[j * n : (j + 1) * n]
            for i in range(part.shape[0]):
                rows[i, 2 + j] = column[part[i]]
        for i in range(part.shape[0]):
            first, last = indptr[part[i]], indptr[part[i] + 1]
            weight = w[part[i]] if weighted else 1.0
            row = rows[i]
            for e in range(first, last):
                value = weight * values[e]
                into = gram[2 + indices[e]]
                for j in range(d + 2):
                    into[j] += value * row[j]
                for f in range(first, e + 1):
                    into[2 + indices[f]] += value * values[f]
