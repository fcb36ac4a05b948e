"""Codes of rows over a few atoms: ``min |x - c D|^2 / 2 + l1 |c|_1`` for each row, by coordinate descent.

Only ``gram = D D'`` (k, k) and ``projection = x D'`` (n, k) are read. A ridge is added to the diagonal of `gram` by the
caller. With `positive` and ``l1 = 0`` it is least squares without negative coefficients.

Friedman, Hastie & Tibshirani 2010, covariance updates.
"""

from __future__ import annotations

from dbml_kernels.jit import kernel


@kernel
def lasso_codes(gram, projection, l1, positive, max_sweeps, tol, codes, scratch, support):
    """Improve the rows of `codes` (n, k) until no entry moves by more than `tol` of the row's largest projection.

    A sweep over all entries is followed by sweeps over those that are not 0, which touch nothing else.

    gram (k, k), projection (n, k), codes (n, k) hold the start and take the result; scratch (2, k) and support (k,)
    intp hold what is worked on. Returns the sweeps over all entries, of all rows together.
    """
    n, k = codes.shape
    q, before = scratch[0], scratch[1]
    sweeps = 0
    for i in range(n):
        code = codes[i]
        scale = _start(gram, projection[i], code, q)
        for _ in range(max_sweeps):
            sweeps += 1
            if _sweep(gram, l1, positive, code, q) <= tol * scale:
                break
            count = 0
            for j in range(k):
                if code[j] != 0.0:
                    support[count] = j
                    before[count] = code[j]
                    count += 1
            if 2 * count > k:
                continue
            for _ in range(max_sweeps):
                if _sweep_support(gram, l1, positive, code, q, support[:count]) <= tol * scale:
                    break
            _catch_up(gram, code, q, support[:count], before)
    return sweeps


@kernel
def _start(gram, projection, code, q):
    """Set ``q = projection - gram code``; return the largest projection on an atom of length 1."""
    k = code.shape[0]
    scale = 0.0
    for j in range(k):
        q[j] = projection[j]
        if gram[j, j] > 0.0:
            scale = max(scale, abs(q[j]) / gram[j, j] ** 0.5)
        else:
            code[j] = 0.0
    for j in range(k):
        value = code[j]
        if value != 0.0:
            for m in range(k):
                q[m] -= value * gram[j, m]
    return scale


@kernel
def _moved(curvature, old, q, l1, positive):
    """Return the best value of an entry, the others fixed."""
    target = q + curvature * old
    if target > l1:
        return (target - l1) / curvature
    if target < -l1 and not positive:
        return (target + l1) / curvature
    return 0.0


@kernel
def _sweep(gram, l1, positive, code, q):
    """Improve every entry of a code once; keeps ``q = projection - gram code``. Returns the largest move of the fit."""
    largest = 0.0
    for j in range(code.shape[0]):
        curvature = gram[j, j]
        if curvature <= 0.0:
            continue
        new = _moved(curvature, code[j], q[j], l1, positive)
        change = new - code[j]
        if change != 0.0:
            code[j] = new
            for m in range(code.shape[0]):
                q[m] -= change * gram[j, m]
            largest = max(largest, change * change * curvature)
    return largest**0.5


@kernel
def _sweep_support(gram, l1, positive, code, q, support):
    """Improve the entries `support` of a code once; keeps their part of q."""
    largest = 0.0
    for j in support:
        curvature = gram[j, j]
        new = _moved(curvature, code[j], q[j], l1, positive)
        change = new - code[j]
        if change != 0.0:
            code[j] = new
            for m in support:
                q[m] -= change * gram[j, m]
            largest = max(largest, change * change * curvature)
    return largest**0.5


@kernel
def _catch_up(gram, code, q, support, before):
    """Bring the other entries of q up to date after sweeps over `support`, whose entries were `before`."""
    for s in range(support.shape[0]):
        j = support[s]
        change = code[j] - before[s]
        if change != 0.0:
            for m in range(code.shape[0]):
                q[m] -= change * gram[j, m]
            for t in range(support.shape[0]):  # these are up to date already
                q[support[t]] += change * gram[j, support[t]]
