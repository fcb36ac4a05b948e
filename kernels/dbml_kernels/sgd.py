"""Stochastic gradient descent, row after row, with implicit steps: a step never passes the minimum of its own row.

Terms are standardised: ``v_j = x_j * inverse_j``. Rows come as row-major tiles of dense terms and compressed sparse
terms. Penalties and averages are settled after every short run of rows.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.exponential import exponential, log1p_unit
from dbml_kernels.jit import kernel
from dbml_kernels.penalties import soft_threshold

HINGE, SQUARED_HINGE, LOG_LOSS, MODIFIED_HUBER, PERCEPTRON = 0, 1, 2, 3, 4
SQUARED_ERROR, HUBER, EPSILON_INSENSITIVE, SQUARED_EPSILON_INSENSITIVE = 5, 6, 7, 8


@kernel
def tile_fill(x, n, d, start, rows, offset, inverse, tile):
    """``tile[i, j] = (x[start + i, j] + offset_j) inverse_j``; x (n * d,) column-major, tile (>= rows, d) row-major."""
    for j in range(d):
        column = x[j * n + start : j * n + start + rows]
        for i in range(rows):
            tile[i, j] = (column[i] + offset[j]) * inverse[j]


@kernel
def implicit_step(code, a, eta, y, rate, norm):
    """Return (loss, step): the step s along the row, from ``min loss(eta + s norm) + norm s^2 / (2 rate)``.

    Exact for losses made of straight and parabolic pieces up to the piece they start on; one Newton step for the
    logistic loss, whose curvature is bounded by 1/4. Classes y are -1 and 1.
    """
    if code <= PERCEPTRON:
        margin = y * eta
        if code == LOG_LOSS:
            u = exponential(-abs(margin))
            wrong = u / (1.0 + u) if margin >= 0.0 else 1.0 / (1.0 + u)
            return log1p_unit(u) + max(-margin, 0.0), rate * y * wrong / (1.0 + 0.25 * rate * norm)
        if code == PERCEPTRON:
            short = max(-margin, 0.0)
            return short, y * rate if margin <= 0.0 else 0.0
        short = max(1.0 - margin, 0.0)
        if code == HINGE:
            return short, y * min(rate, short / norm)
        if code == MODIFIED_HUBER and margin < -1.0:
            return -4.0 * margin, y * min(4.0 * rate, short / norm)
        return short * short, y * 2.0 * rate * short / (1.0 + 2.0 * rate * norm)
    residual = y - eta
    size = abs(residual)
    sign = 1.0 if residual > 0.0 else -1.0
    if code == SQUARED_ERROR:
        return 0.5 * residual * residual, rate * residual / (1.0 + rate * norm)
    if code == HUBER:
        smooth = size / (1.0 + rate * norm)
        loss = 0.5 * size * size if size <= a else a * size - 0.5 * a * a
        return loss, sign * rate * min(a, smooth)
    over = max(size - a, 0.0)
    if code == EPSILON_INSENSITIVE:
        return over, sign * min(rate, over / norm)
    return over * over, sign * 2.0 * rate * over / (1.0 + 2.0 * rate * norm)


@kernel
def sgd_rows(
    tile, first, rows, indptr, indices, values, inverse, y, w, own, code, a, rate, intercept_step, coef, intercept,
    totals,
):  # fmt: skip
    """Take one step per row and output; rows ``first .. first + rows`` of the block, ``0 .. rows`` of the tile.

    With one output, y is the target (classes -1 and 1); with more, the class number, one against the rest, and own (k,)
    is a factor on the weight of a row for the output of its class. Adds loss, weight and rows to totals. coef (k, p),
    intercept (k,); `intercept_step` is 1 where there is an intercept, else 0.
    """
    k, d = coef.shape[0], tile.shape[1]
    for i in range(rows):
        r = first + i
        if w[r] == 0.0:
            continue
        x = tile[i]
        norm = intercept_step
        for j in range(d):
            norm += x[j] * x[j]
        for e in range(indptr[r], indptr[r + 1]):
            norm += (values[e] * inverse[indices[e]]) ** 2
        norm = max(norm, 1e-12)
        totals[1] += w[r]
        totals[2] += 1.0
        for c in range(k):
            target, weight = y[r], w[r]
            if k > 1:
                target = 1.0 if y[r] == c else -1.0
                weight = w[r] * own[c] if y[r] == c else w[r]
            row = coef[c]
            eta = 0.0
            for j in range(d):
                eta += x[j] * row[j]
            for e in range(indptr[r], indptr[r + 1]):
                eta += values[e] * inverse[indices[e]] * row[indices[e]]
            loss, step = implicit_step(code, a, eta + intercept[c], target, rate * weight, norm)
            totals[0] += weight * loss
            if step != 0.0:
                for j in range(d):
                    row[j] += step * x[j]
                for e in range(indptr[r], indptr[r + 1]):
                    row[indices[e]] += step * values[e] * inverse[indices[e]]
                intercept[c] += step * intercept_step


@kernel
def sgd_settle(reach, l1, l2, share, coef, intercept, average, average_intercept):
    """Shrink by the penalties of a run of rows, implicitly, then move the averages by `share` towards the iterate.

    ``coef = soft(coef, reach l1) / (1 + reach l2)``, reach = sum of the rates of the run; l1, l2 (p,); others (k, p).
    """
    for c in range(coef.shape[0]):
        row, mean = coef[c], average[c]
        for j in range(row.shape[0]):
            row[j] = soft_threshold(row[j], reach * l1[j]) / (1.0 + reach * l2[j])
            mean[j] += share * (row[j] - mean[j])
        average_intercept[c] += share * (intercept[c] - average_intercept[c])


@kernel
def schedule_rate(kind, base, power, t):
    """Return the learning rate after t rows: 0 constant, 1 ``base / t^power``, 2 ``1 / (power (base + t))``.

    3, the default: ``base / sqrt(1 + t / power)``.
    """
    if kind == 0:
        return base
    if kind == 1:
        return base / max(t, 1.0) ** power
    if kind == 2:
        return 1.0 / (power * (base + t))
    return base / np.sqrt(1.0 + t / power)


@kernel
def sgd_block(
    x, n, d, indptr, indices, values, offset, inverse, y, w, own, code, a, intercept_step, schedule, penalty, run,
    averaging_from, tile, coef, intercept, average, average_intercept, totals,
):  # fmt: skip
    """One pass over a block, in runs of `run` rows; see `sgd_rows`, `sgd_settle` and `schedule_rate`.

    schedule (3,) kind, base, power; penalty (2, p) strengths of l1 and l2 on standardised coefficients; totals (4,)
    loss, weight, rows of positive weight, runs averaged. Later runs weigh more in the averages, run T ``4 / (T + 3)``.
    """
    for start in range(0, n, run):
        rows = min(run, n - start)
        tile_fill(x, n, d, start, rows, offset, inverse, tile)
        rate = schedule_rate(np.int64(schedule[0]), schedule[1], schedule[2], totals[2])
        seen = totals[2]
        sgd_rows(
            tile, start, rows, indptr, indices, values, inverse, y, w, own, code, a, rate, intercept_step, coef,
            intercept, totals,
        )  # fmt: skip
        share = 1.0
        if totals[2] > averaging_from:
            totals[3] += 1.0
            share = 4.0 / (totals[3] + 3.0)
        reach = rate * (totals[2] - seen)
        sgd_settle(reach, penalty[0], penalty[1], share, coef, intercept, average, average_intercept)


@kernel
def loss_slopes(code, a, eta, y, w, out):
    """``out[i] = w_i d loss(eta_i, y_i) / d eta_i``; all (n,), classes y are -1 and 1."""
    for i in range(len(y)):
        # The implicit step of a row of no length is the explicit one.
        out[i] = -w[i] * implicit_step(code, a, eta[i], y[i], 1.0, 1e-12)[1]
