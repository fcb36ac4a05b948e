"""Nonnegative codes of rows under the Kullback-Leibler divergence, by multiplicative updates.

Minimises ``sum x log(x / (w H)) - x + w H + l1 |w|_1 + l2 |w|^2 / 2`` over ``w >= 0`` for each row, and adds up what
the update of H needs: ``w' (x / (w H))``. Where x is 0 nothing but the sum of ``w H`` counts, so only entries of x that
are not 0 are gone through.

Lee & Seung 2001.
"""

from __future__ import annotations

import math

from dbml_kernels.jit import kernel

_LEAST = 1e-12


@kernel
def divergence_codes(X, H, sums, l1, l2, max_updates, tol, W, places, ratio, new):
    """Improve the rows of `W` (n, k) until no entry moves by more than `tol` of the row's largest.

    X (n, p) of values that are not negative, H (p, k) and its column sums `sums` (k,). Scratch: places (p,) intp,
    ratio (p,), new (k,).
    """
    n, p = X.shape
    k = H.shape[1]
    for i in range(n):
        count = 0
        for j in range(p):
            if X[i, j] > 0.0:
                places[count] = j
                count += 1
        for _ in range(max_updates):
            for m in range(k):
                new[m] = 0.0
            for s in range(count):
                j = places[s]
                fitted = _LEAST
                for m in range(k):
                    fitted += W[i, m] * H[j, m]
                ratio[s] = X[i, j] / fitted
                for m in range(k):
                    new[m] += ratio[s] * H[j, m]
            change, largest = 0.0, 0.0
            for m in range(k):
                below = sums[m] + l1 + l2 * W[i, m]
                value = W[i, m] * new[m] / below if below > 0.0 else 0.0
                change = max(change, abs(value - W[i, m]))
                largest = max(largest, value)
                W[i, m] = value
            if change <= tol * largest:
                break


@kernel
def divergence_add(X, H, W, numerator):
    """Add ``w (x / (w H))`` of all rows to `numerator` (p, k); return the divergence of the rows.

    X (n, p), H (p, k), W (n, k). The term ``w H`` of entries where x is 0 is not in the result.
    """
    n, p = X.shape
    k = H.shape[1]
    total = 0.0
    for i in range(n):
        for j in range(p):
            value = X[i, j]
            if value > 0.0:
                fitted = _LEAST
                for m in range(k):
                    fitted += W[i, m] * H[j, m]
                share = value / fitted
                for m in range(k):
                    numerator[j, m] += share * W[i, m]
                total += value * math.log(value / fitted) - value
    return total
