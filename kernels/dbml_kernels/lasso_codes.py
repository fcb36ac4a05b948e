"""Codes of rows over a few atoms: ``min |x - c D|^2 / 2 + l1 |c|_1`` for each row, by coordinate descent.

Only ``gram = D D'`` (k, k) and ``projection = x D'`` (n, k) are read. A ridge is added to the diagonal of `gram` by the
caller. With `positive` and ``l1 = 0`` it is least squares without negative coefficients.

Friedman, Hastie & Tibshirani 2010, covariance updates; Lee, Battle, Raina & Ng 2006, steps of known signs.
"""

from __future__ import annotations

from dbml_kernels.jit import kernel

MOST = 32  # entries of a code whose equations are solved at once; more are swept over
_PIVOT = 1e-10  # squared share of an atom that the others do not span, below which equations are not solved


@kernel
def lasso_codes(gram, projection, l1, positive, max_sweeps, tol, codes, scratch, support, factor):
    """Improve the rows of `codes` (n, k) until no entry moves by more than `tol` of the row's largest projection.

    A sweep over all entries is followed by equations for those that are not 0, whose signs are taken as known; where
    there are many, or their atoms are alike, by sweeps over them.

    gram (k, k), projection (n, k), codes (n, k) hold the start and take the result; scratch (3, k), support (k,) intp
    and factor (MOST, MOST) hold what is worked on. Returns the sweeps over all entries, of all rows together.
    """
    n, k = codes.shape
    q, before, solved = scratch[0], scratch[1], scratch[2]
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
            if count <= MOST and _solve_support(gram, projection[i], l1, code, support, count, factor, solved):
                _catch_up_all(gram, projection[i], code, q)
                continue
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


@kernel
def _catch_up_all(gram, projection, code, q):
    """Set ``q = projection - gram code``."""
    k = code.shape[0]
    for j in range(k):
        q[j] = projection[j]
    for j in range(k):
        value = code[j]
        if value != 0.0:
            for m in range(k):
                q[m] -= value * gram[j, m]


@kernel
def _solve_support(gram, projection, l1, code, support, count, factor, solved):
    """Minimise over the first `count` entries of `support` while their signs stay; what becomes 0 is left at 0.

    Goes straight to the minimum of the quadratic of these signs, or as far as the first entry that becomes 0, and on
    without it. `support` is reordered. Returns False, with the code as it was, where the atoms are too alike.
    """
    whole = count
    while count > 0:
        if not _solve_signs(gram, projection, l1, code, support, count, factor, solved):
            return count < whole
        step, first = 1.0, -1
        for s in range(count):
            old = code[support[s]]
            if old * solved[s] <= 0.0 and old / (old - solved[s]) < step:
                step, first = old / (old - solved[s]), s
        for s in range(count):
            code[support[s]] += step * (solved[s] - code[support[s]])
        if first < 0:
            return True
        code[support[first]] = 0.0
        count -= 1
        support[first] = support[count]
    return True


@kernel
def _solve_signs(gram, projection, l1, code, support, count, factor, solved):
    """Solve ``G_SS w = projection_S - l1 sign(code_S)`` by Cholesky; False where the atoms are too alike."""
    for s in range(count):
        i = support[s]
        for t in range(s + 1):
            value = gram[i, support[t]]
            for m in range(t):
                value -= factor[s, m] * factor[t, m]
            if s > t:
                factor[s, t] = value / factor[t, t]
            elif value <= _PIVOT * gram[i, i]:
                return False
            else:
                factor[s, s] = value**0.5
        value = projection[i] - (l1 if code[i] > 0.0 else -l1)
        for m in range(s):
            value -= factor[s, m] * solved[m]
        solved[s] = value / factor[s, s]
    for s in range(count - 1, -1, -1):
        value = solved[s]
        for m in range(s + 1, count):
            value -= factor[m, s] * solved[m]
        solved[s] = value / factor[s, s]
    return True
