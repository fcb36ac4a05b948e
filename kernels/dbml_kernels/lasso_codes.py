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

    Entries join one by one, the one that gains most first, each time followed by equations for all that are not 0,
    whose signs are taken as known. A sweep over all entries tells whether the code is found; else, where there are
    many or their atoms are alike, sweeps over them go on.

    gram (k, k), projection (n, k), codes (n, k) hold the start and take the result; scratch (3, k), support (k,) intp
    and factor (MOST, MOST) hold what is worked on. Returns the sweeps over all entries, of all rows together.
    """
    n, k = codes.shape
    q, before, solved = scratch[0], scratch[1], scratch[2]
    sweeps = 0
    for i in range(n):
        code = codes[i]
        scale = _start(gram, projection[i], code, q)
        if l1 > 0.0 or positive:
            _join(gram, projection[i], l1, positive, code, q, tol * scale, support, factor, solved)
        for _ in range(max_sweeps):
            sweeps += 1
            if _sweep(gram, l1, positive, code, q) <= tol * scale:
                break
            count = _support_of(code, support)
            if count <= MOST and _solve_support(gram, projection[i], l1, code, support, count, 0, factor, solved) >= 0:
                _catch_up_all(gram, projection[i], code, q)
                continue
            count = _support_of(code, support)
            if 2 * count > k:
                continue
            for s in range(count):
                before[s] = code[support[s]]
            for _ in range(max_sweeps):
                if _sweep_support(gram, l1, positive, code, q, support[:count]) <= tol * scale:
                    break
            _catch_up(gram, code, q, support[:count], before)
    return sweeps


@kernel
def _start(gram, projection, code, q):
    """Set ``q = projection - gram code``; return the largest projection on an atom of length 1."""
    k = code.shape[0]
    most, curvature = 0.0, 1.0
    for j in range(k):
        q[j] = projection[j]
        if gram[j, j] <= 0.0:
            code[j] = 0.0
        elif q[j] * q[j] * curvature > most * gram[j, j]:
            most, curvature = q[j] * q[j], gram[j, j]
    for j in range(k):
        value = code[j]
        if value != 0.0:
            for m in range(k):
                q[m] -= value * gram[j, m]
    return (most / curvature) ** 0.5


@kernel
def _join(gram, projection, l1, positive, code, q, least, support, factor, solved):
    """Let entries join the code, best first, until none moves the fit by more than `least` or there are `MOST`."""
    count, ready = _support_of(code, support), 0
    for _ in range(2 * MOST):
        if count > MOST:
            return
        if count:
            count = _solve_support(gram, projection, l1, code, support, count, ready, factor, solved)
            if count < 0:
                _catch_up_all(gram, projection, code, q)
                return
            _catch_up_with(gram, projection, code, q, support, count)
        ready = count
        best = _most_gain(gram, l1, positive, code, q, least)
        if best < 0 or count == MOST:
            return
        code[best] = _moved(gram[best, best], 0.0, q[best], l1, positive)
        support[count] = best
        count += 1


@kernel
def _support_of(code, support):
    """Write the entries of a code that are not 0 to `support`; return their number."""
    count = 0
    for j in range(code.shape[0]):
        if code[j] != 0.0:
            support[count] = j
            count += 1
    return count


@kernel
def _most_gain(gram, l1, positive, code, q, least):
    """Return the entry at 0 whose best move lowers the loss most, -1 where none moves the fit by more than `least`."""
    best, most, curvature = -1, least * least, 1.0
    for j in range(code.shape[0]):
        excess = (q[j] if positive else abs(q[j])) - l1
        if excess > 0.0 and code[j] == 0.0 and excess * excess * curvature > most * gram[j, j]:
            best, most, curvature = j, excess * excess, gram[j, j]
    return best


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
def _catch_up_with(gram, projection, code, q, support, count):
    """Set ``q = projection - gram code`` for a code that is 0 but for the first `count` entries of `support`."""
    for m in range(q.shape[0]):
        q[m] = projection[m]
    for s in range(count):
        j = support[s]
        value = code[j]
        for m in range(q.shape[0]):
            q[m] -= value * gram[j, m]


@kernel
def _solve_support(gram, projection, l1, code, support, count, ready, factor, solved):
    """Minimise over the first `count` entries of `support` while their signs stay; what becomes 0 is left at 0.

    Goes straight to the minimum of the quadratic of these signs, or as far as the first entry that becomes 0, and on
    without it. `support` is reordered; of `factor` the first `ready` rows stand already. Returns the entries that are
    left, whose factor stands, or -1 where the atoms are too alike.
    """
    while count > 0:
        for s in range(ready, count):
            if not _factor_row(gram, support, s, factor):
                return -1
        _solve_signs(projection, l1, code, support, count, factor, solved)
        step, first = 1.0, -1
        for s in range(count):
            old = code[support[s]]
            if old * solved[s] <= 0.0 and old / (old - solved[s]) < step:
                step, first = old / (old - solved[s]), s
        for s in range(count):
            code[support[s]] += step * (solved[s] - code[support[s]])
        if first < 0:
            return count
        code[support[first]] = 0.0
        count -= 1
        support[first] = support[count]
        ready = first
    return count


@kernel
def _factor_row(gram, support, s, factor):
    """Add row `s` to the Cholesky factor of ``G_SS``, its diagonal inverted; False where the atoms are too alike."""
    i = support[s]
    rest = gram[i, i]
    for t in range(s):
        value = gram[i, support[t]]
        for m in range(t):
            value -= factor[s, m] * factor[t, m]
        value *= factor[t, t]
        factor[s, t] = value
        rest -= value * value
    if rest <= _PIVOT * gram[i, i]:
        return False
    factor[s, s] = 1.0 / rest**0.5
    return True


@kernel
def _solve_signs(projection, l1, code, support, count, factor, solved):
    """Solve ``G_SS w = projection_S - l1 sign(code_S)`` by the factor of ``G_SS``."""
    for s in range(count):
        i = support[s]
        value = projection[i] - (l1 if code[i] > 0.0 else -l1)
        for m in range(s):
            value -= factor[s, m] * solved[m]
        solved[s] = value * factor[s, s]
    for s in range(count - 1, -1, -1):
        value = solved[s] * factor[s, s]
        solved[s] = value
        for m in range(s):
            solved[m] -= factor[s, m] * value
