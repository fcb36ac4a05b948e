"""Codes of rows over a few atoms: ``min |x - c D|^2 / 2 + l1 |c|_1`` for each row, by coordinate descent.

Only ``gram = D D'`` (k, k) and ``projection = x D'`` (n, k) are read. A ridge is added to the diagonal of `gram` by the
caller. With `positive` and ``l1 = 0`` it is least squares without negative coefficients.

Friedman, Hastie & Tibshirani 2010, covariance updates.
"""

from __future__ import annotations

from dbml_kernels.jit import kernel


@kernel
def lasso_codes(gram, projection, l1, positive, max_sweeps, tol, codes, q):
    """Improve the rows of `codes` (n, k) until no entry moves by more than `tol` of the row's largest projection.

    gram (k, k), projection (n, k), codes (n, k) hold the start and take the result, q (k,) is scratch. Returns the
    sweeps of all rows together.
    """
    n, k = codes.shape
    sweeps = 0
    for i in range(n):
        scale = 0.0
        for j in range(k):
            q[j] = projection[i, j]
            if gram[j, j] > 0.0:
                scale = max(scale, abs(q[j]) / gram[j, j] ** 0.5)
            else:
                codes[i, j] = 0.0
        for j in range(k):
            value = codes[i, j]
            if value != 0.0:
                for m in range(k):
                    q[m] -= value * gram[j, m]
        for _ in range(max_sweeps):
            sweeps += 1
            if _sweep(gram, l1, positive, codes[i], q) <= tol * scale:
                break
    return sweeps


@kernel
def _sweep(gram, l1, positive, code, q):
    """Improve every entry of a code once; keeps ``q = projection - gram code``. Returns the largest move of the fit."""
    largest = 0.0
    for j in range(code.shape[0]):
        curvature = gram[j, j]
        if curvature <= 0.0:
            continue
        old = code[j]
        target = q[j] + curvature * old
        new = 0.0
        if target > l1:
            new = (target - l1) / curvature
        elif target < -l1 and not positive:
            new = (target + l1) / curvature
        change = new - old
        if change != 0.0:
            code[j] = new
            for m in range(code.shape[0]):
                q[m] -= change * gram[j, m]
            largest = max(largest, change * change * curvature)
    return largest**0.5
