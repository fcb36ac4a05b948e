"""Products of the design ``[X S]`` with a vector, from the left and from the right.

X is the flat memory of a column-major (n, d) matrix; S is compressed rows with term numbers from d on.
"""

from __future__ import annotations

from dbml_kernels.jit import kernel

SLICE = 2048


@kernel
def predictor_add(x, n, d, coef, out):
    """``out += X coef``; x (n * d,), coef (>= d,), out (n,)."""
    for start in range(0, n, SLICE):
        stop = min(n, start + SLICE)
        eta = out[start:stop]
        for jb in range(0, d - 3, 4):
            c0, c1, c2, c3 = coef[jb], coef[jb + 1], coef[jb + 2], coef[jb + 3]
            if c0 == 0.0 and c1 == 0.0 and c2 == 0.0 and c3 == 0.0:
                continue
            x0, x1 = x[jb * n + start : jb * n + stop], x[(jb + 1) * n + start : (jb + 1) * n + stop]
            x2, x3 = x[(jb + 2) * n + start : (jb + 2) * n + stop], x[(jb + 3) * n + start : (jb + 3) * n + stop]
            for i in range(stop - start):
                eta[i] += c0 * x0[i] + c1 * x1[i] + c2 * x2[i] + c3 * x3[i]
        for j in range(d - d % 4, d):
            column, c = x[j * n + start : j * n + stop], coef[j]
            for i in range(stop - start):
                eta[i] += c * column[i]


@kernel
def predictor_add_sparse(indptr, indices, values, coef, out):
    """``out += S coef``; coef (n_terms,), out (n,)."""
    for i in range(out.shape[0]):
        eta = 0.0
        for e in range(indptr[i], indptr[i + 1]):
            eta += values[e] * coef[indices[e]]
        out[i] += eta


@kernel
def transposed_add(x, n, d, r, out):
    """``out[:d] += X' r``; x (n * d,), r (n,), out (>= d,)."""
    for start in range(0, n, SLICE):
        stop = min(n, start + SLICE)
        part = r[start:stop]
        for jb in range(0, d - 3, 4):
            x0, x1 = x[jb * n + start : jb * n + stop], x[(jb + 1) * n + start : (jb + 1) * n + stop]
            x2, x3 = x[(jb + 2) * n + start : (jb + 2) * n + stop], x[(jb + 3) * n + start : (jb + 3) * n + stop]
            s0 = s1 = s2 = s3 = 0.0
            for i in range(stop - start):
                s0 += x0[i] * part[i]
                s1 += x1[i] * part[i]
                s2 += x2[i] * part[i]
                s3 += x3[i] * part[i]
            out[jb] += s0
            out[jb + 1] += s1
            out[jb + 2] += s2
            out[jb + 3] += s3
        for j in range(d - d % 4, d):
            column = x[j * n + start : j * n + stop]
            total = 0.0
            for i in range(stop - start):
                total += column[i] * part[i]
            out[j] += total


@kernel
def transposed_add_sparse(indptr, indices, values, r, out):
    """``out += S' r``; r (n,), out (n_terms,)."""
    for i in range(r.shape[0]):
        residual = r[i]
        for e in range(indptr[i], indptr[i + 1]):
            out[indices[e]] += values[e] * residual


@kernel
def squares_add(x, n, d, r, out):
    """``out[j] += sum_i r_i x_ij^2``; x (n * d,), r (n,), out (>= d,)."""
    for j in range(d):
        column = x[j * n : (j + 1) * n]
        total = 0.0
        for i in range(n):
            total += r[i] * column[i] * column[i]
        out[j] += total
