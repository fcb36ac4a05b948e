"""Factors of one side of ratings, those of the other side fixed: a small ridge regression for each user or item.

Explicit feedback: ``min_w sum_r weight (rating - bias' - x . w - b)^2 + l2 |w|^2 + bias_l2 b^2``, where x are the
factors and bias' the bias of the other side; the penalties may grow with the weight of the ratings (their number of
ratings without weights, Zhou et al. 2008), so that a weight of 2 is two ratings.
Implicit feedback: ``min_w sum_all c (p - x . w)^2 + l2 |w|^2`` with c = 1 + alpha value and p = 1 for pairs that were
seen, c = 1 and p = 0 for all others, whose share of the normal equations is one matrix (Hu, Koren & Volinsky 2008).
"""

from __future__ import annotations

from dbml_kernels.jit import kernel


@kernel
def ratings_count(codes, counts):
    """Add the number of ratings of each code to `counts`; codes (n,) int32, negative ones are none."""
    for code in codes:
        if code >= 0:
            counts[code] += 1


@kernel
def ratings_group(own, other, values, weights, place, indices, grouped, grouped_weights):
    """Write ratings to where those of their `own` code lie, in order; `place` (n_own,) moves on to the ends.

    own, other (n,) int32, values (n,) float32, weights (n,) or empty float32.
    """
    for r in range(own.shape[0]):
        at = place[own[r]]
        place[own[r]] = at + 1
        indices[at] = other[r]
        grouped[at] = values[r]
        if weights.shape[0]:
            grouped_weights[at] = weights[r]


@kernel
def _equations_add(A, b, x, scales, targets):
    """Add four ratings to normal equations: rows x (4, d) with a weight and a target each; A is gone through once."""
    d = b.shape[0]
    x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
    for i in range(d):
        s0, s1, s2, s3 = scales[0] * x0[i], scales[1] * x1[i], scales[2] * x2[i], scales[3] * x3[i]
        b[i] += targets[0] * x0[i] + targets[1] * x1[i] + targets[2] * x2[i] + targets[3] * x3[i]
        row = A[i]
        for j in range(i + 1):
            row[j] += s0 * x0[j] + s1 * x1[j] + s2 * x2[j] + s3 * x3[j]


@kernel
def _rating_read(x, scales, targets, at, factors, bias, j, value, weight, with_bias, implicit, alpha):
    """Put a rating in place `at` of four; return what it adds to the loss of a model that predicts 0."""
    k = factors.shape[1]
    scales[at] = targets[at] = 0.0
    if implicit and value <= 0.0:
        return 0.0
    for m in range(k):
        x[at, m] = factors[j, m]
    if implicit:  # the 1 of 1 + alpha value is in the matrix of all pairs, not in the right-hand side
        scales[at] = alpha * weight * value
        targets[at] = weight + scales[at]
        return targets[at]
    target = value
    if with_bias:
        x[at, k] = 1.0
        target = value - bias[j]
    scales[at] = weight
    targets[at] = weight * target
    return weight * target * target


@kernel
def _equations_solve(A, b, w, d):
    """Solve ``A w = b`` by Cholesky; A (d, d) lower triangle, overwritten. A pivot that is but rounding gives 0."""
    for i in range(d):
        for j in range(i + 1):
            value = A[i, j]
            for m in range(j):
                value -= A[i, m] * A[j, m]
            if i == j:
                A[i, i] = value**0.5 if value > 1e-12 * A[i, i] else 0.0
            else:
                A[i, j] = value / A[j, j] if A[j, j] > 0.0 else 0.0
    for i in range(d):
        value = b[i]
        for m in range(i):
            value -= A[i, m] * w[m]
        w[i] = value / A[i, i] if A[i, i] > 0.0 else 0.0
    for i in range(d - 1, -1, -1):
        value = w[i]
        for m in range(i + 1, d):
            value -= A[m, i] * w[m]
        w[i] = value / A[i, i] if A[i, i] > 0.0 else 0.0


@kernel
def _finish(A, b, x, mass, l2, bias_l2, by_weight, with_bias, own, own_bias, i):
    """Solve the equations of one code, whose ratings weigh `mass`; store its factors, return what the loss falls by."""
    k = own.shape[1]
    scale = mass if by_weight else 1.0
    for m in range(k):
        A[m, m] += l2 * scale
    if with_bias:
        A[k, k] += bias_l2 * scale
    _equations_solve(A, b, x, b.shape[0])
    saved = 0.0
    for m in range(k):
        own[i, m] = x[m]
        saved += b[m] * x[m] + l2 * scale * x[m] * x[m]
    if with_bias:
        own_bias[i] = x[k]
        saved += b[k] * x[k] + bias_l2 * scale * x[k] * x[k]
    return saved


@kernel
def _few_solve(rows, scales, targets, count, l2, bias_l2, own, own_bias, i, A, b, x):
    """Solve for the factors of a code with fewer ratings than unknowns, by a system of as many equations as ratings.

    ``w = P^-1 X' u`` with ``(X P^-1 X' + W^-1) u = target``, penalties P and weights W, whose residuals are ``W^-1 u``.
    rows (count, d), scales and targets (count,) hold X, W and the targets. Returns the loss of the ratings.
    """
    k, d = own.shape[1], rows.shape[1]
    for r in range(count):
        b[r] = targets[r]
        for s in range(r + 1):
            value = 0.0
            for m in range(k):
                value += rows[r, m] * rows[s, m]
            A[r, s] = value / l2 + (1.0 / bias_l2 if d > k else 0.0)
        A[r, r] += 1.0 / scales[r]
    _equations_solve(A, b, x, count)
    loss = 0.0
    for r in range(count):
        if scales[r] > 0.0:
            loss += x[r] * x[r] / scales[r]
    for m in range(k):
        value = 0.0
        for r in range(count):
            value += rows[r, m] * x[r]
        own[i, m] = value / l2
    if d > k:
        value = 0.0
        for r in range(count):
            value += x[r]
        own_bias[i] = value / bias_l2
    return loss


@kernel
def factors_solve(
    indptr,
    indices,
    values,
    weights,
    first,
    last,
    factors,
    bias,
    shared,
    l2,
    bias_l2,
    by_weight,
    with_bias,
    implicit,
    alpha,
    own,
    own_bias,
    A,
    b,
    x,
    scales,
    targets,
    solved,
):
    """Solve for the factors of codes ``first`` to ``last``; return the loss of their ratings.

    indptr (n_own + 1,), indices and values (n_ratings,), weights (n_ratings,) or empty, factors (n_other, k) and bias
    (n_other,) of the other side, shared (d, d) what all equations begin with, own (n_own, k) and own_bias (n_own,) take
    the result. Scratch: A (d, d), b and solved (d,), x (f, d) of finite values, scales and targets (f,), with d = k, or
    k + 1 with biases, and f = max(4, d / 2): with f ratings or fewer, explicit ones, the equations are as many as the
    ratings.
    """
    d = b.shape[0]
    loss = 0.0
    few = min(x.shape[0], d) if not implicit and l2 > 0.0 and (bias_l2 > 0.0 or not with_bias) else 0
    for i in range(first, last):
        count = indptr[i + 1] - indptr[i]
        mass = float(count)
        if weights.shape[0]:
            mass = 0.0
            for r in range(indptr[i], indptr[i + 1]):
                mass += weights[r]
        if mass > 0.0 and count <= few:
            for at in range(count):
                r = indptr[i] + at
                weight = float(weights[r]) if weights.shape[0] else 1.0
                value, j = float(values[r]), indices[r]
                _rating_read(x, scales, targets, at, factors, bias, j, value, weight, with_bias, implicit, alpha)
                targets[at] = value - bias[j] if with_bias else value
            scale = mass if by_weight else 1.0
            penalties = l2 * scale, bias_l2 * scale
            loss += _few_solve(x, scales, targets, count, *penalties, own, own_bias, i, A, b, solved)
            continue
        for m in range(d):
            b[m] = 0.0
            for j in range(m + 1):
                A[m, j] = shared[m, j]
        for start in range(indptr[i], indptr[i + 1], 4):
            for at in range(4):
                r = start + at
                if r >= indptr[i + 1]:
                    scales[at] = targets[at] = 0.0
                    continue
                weight = float(weights[r]) if weights.shape[0] else 1.0
                value, j = float(values[r]), indices[r]
                loss += _rating_read(
                    x, scales, targets, at, factors, bias, j, value, weight, with_bias, implicit, alpha
                )
            _equations_add(A, b, x, scales, targets)
        loss -= _finish(A, b, solved, mass, l2, bias_l2, by_weight, with_bias, own, own_bias, i)
    return loss


@kernel
def equations_add(
    own,
    other,
    values,
    weights,
    first,
    last,
    factors,
    bias,
    with_bias,
    implicit,
    alpha,
    A,
    b,
    masses,
    x,
    scales,
    targets,
):
    """Add ratings of codes ``first`` to ``last`` to their normal equations; return the loss of predicting 0.

    own, other (n,) int32, negative ones are left out. A (last - first, d, d), b (last - first, d), masses
    (last - first,) take weights. Scratch: x (4, d) of finite values, scales and targets (4,), 0 but for the first.
    """
    loss = 0.0
    for r in range(own.shape[0]):
        i = own[r] - first
        if own[r] < first or own[r] >= last or other[r] < 0:
            continue
        weight = float(weights[r]) if weights.shape[0] else 1.0
        value, j = float(values[r]), other[r]
        loss += _rating_read(x, scales, targets, 0, factors, bias, j, value, weight, with_bias, implicit, alpha)
        _equations_add(A[i], b[i], x, scales, targets)
        masses[i] += weight
    return loss


@kernel
def equations_finish(A, b, masses, first, shared, l2, bias_l2, by_weight, with_bias, own, own_bias, x):
    """Solve the normal equations of `equations_add` and store the factors; return what that takes off the loss."""
    saved = 0.0
    d = b.shape[1]
    for i in range(A.shape[0]):
        for m in range(d):
            for j in range(m + 1):
                A[i, m, j] += shared[m, j]
        saved += _finish(A[i], b[i], x, masses[i], l2, bias_l2, by_weight, with_bias, own, own_bias, first + i)
    return saved
