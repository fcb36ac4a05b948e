"""Losses of a linear predictor: value, first and second derivative by ``eta``, for a slice of rows at once.

Each loss is one short loop that vectorises; `loss_rows` chooses by an integer code. Classes are -1 and 1, `a` and `b`
parameters of a loss.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.exponential import exponential, log1p_unit
from dbml_kernels.jit import kernel

SQUARED_ERROR, LOGISTIC, POISSON, GAMMA, TWEEDIE_LOG, TWEEDIE_IDENTITY = 0, 1, 2, 3, 4, 5
HUBER, SQUARED_HINGE, HINGE, EPSILON_INSENSITIVE, SQUARED_EPSILON_INSENSITIVE = 6, 7, 8, 9, 10


@kernel
def squared_error(eta, y, w, gradient, curvature):
    """``(eta - y)^2 / 2``."""
    total = 0.0
    for i in range(eta.shape[0]):
        residual = eta[i] - y[i]
        total += 0.5 * w[i] * residual * residual
        gradient[i] = w[i] * residual
        curvature[i] = w[i]
    return total


@kernel
def logistic(eta, y, w, gradient, curvature):
    """``log(1 + exp(-y eta))``, y in {-1, 1}."""
    total = 0.0
    for i in range(eta.shape[0]):
        margin = y[i] * eta[i]
        u = exponential(-abs(margin))
        low = u / (1.0 + u)
        wrong = low if margin >= 0.0 else 1.0 - low
        total += w[i] * (log1p_unit(u) + max(-margin, 0.0))
        gradient[i] = -w[i] * y[i] * wrong
        curvature[i] = w[i] * low * (1.0 - low)
    return total


@kernel
def poisson(eta, y, w, gradient, curvature):
    """``exp(eta) - y eta``: half the Poisson deviance, without what does not depend on eta."""
    total = 0.0
    for i in range(eta.shape[0]):
        mean = exponential(eta[i])
        total += w[i] * (mean - y[i] * eta[i])
        gradient[i] = w[i] * (mean - y[i])
        curvature[i] = w[i] * mean
    return total


@kernel
def gamma(eta, y, w, gradient, curvature):
    """``eta + y exp(-eta)``: half the gamma deviance, without what does not depend on eta."""
    total = 0.0
    for i in range(eta.shape[0]):
        ratio = y[i] * exponential(-eta[i])
        total += w[i] * (eta[i] + ratio)
        gradient[i] = w[i] * (1.0 - ratio)
        curvature[i] = w[i] * ratio
    return total


@kernel
def tweedie_log(power, eta, y, w, gradient, curvature):
    """``exp((2 - p) eta) / (2 - p) - y exp((1 - p) eta) / (1 - p)``, p not 1 or 2.

    The curvature is the exact one where it cannot be negative (1 < p < 2), else its expectation.
    """
    p2, p1 = 2.0 - power, 1.0 - power
    exact = 1.0 if 1.0 < power < 2.0 else 0.0
    total = 0.0
    for i in range(eta.shape[0]):
        first, second = exponential(p2 * eta[i]), y[i] * exponential(p1 * eta[i])
        total += w[i] * (first / p2 - second / p1)
        gradient[i] = w[i] * (first - second)
        curvature[i] = w[i] * (first + exact * (p2 * first - p1 * second - first))
    return total


@kernel
def tweedie_identity(power, eta, y, w, gradient, curvature):
    """Half the Tweedie deviance of mean ``eta``, which must be positive (else infinite); expected curvature."""
    p2, p1 = 2.0 - power, 1.0 - power
    total = 0.0
    for i in range(eta.shape[0]):
        mean = eta[i]
        if mean <= 0.0:
            if w[i] > 0.0:
                return np.inf
            mean = 1.0
        if power == 1.0:
            total += w[i] * (mean - y[i] * np.log(mean))
        elif power == 2.0:
            total += w[i] * (np.log(mean) + y[i] / mean)
        else:
            total += w[i] * (mean**p2 / p2 - y[i] * mean**p1 / p1)
        precision = mean**-power
        gradient[i] = w[i] * (mean - y[i]) * precision
        curvature[i] = w[i] * precision
    return total


@kernel
def huber(epsilon, scale, eta, y, w, gradient, curvature, ratio, slope):
    """``r^2 / s`` where ``|r| <= epsilon s``, else ``2 epsilon |r| - s epsilon^2``; r = y - eta, s = scale.

    (Owen 2007: jointly convex in eta and s.) Writes ``ratio = -r / s``: the direction in which s moves the curvature
    part, and adds the derivative by s to ``slope[0]``.
    """
    total = change = 0.0
    for i in range(eta.shape[0]):
        residual = y[i] - eta[i]
        size = abs(residual)
        inside = 1.0 if size <= epsilon * scale else 0.0
        clipped = min(size, epsilon * scale)
        z = clipped / scale
        total += w[i] * (z * (2.0 * size - clipped))
        change -= w[i] * z * z
        gradient[i] = w[i] * (-2.0 * z if residual > 0.0 else 2.0 * z)
        curvature[i] = inside * w[i] * 2.0 / scale
        ratio[i] = inside * residual / scale
    slope[0] += change
    return total


@kernel
def squared_hinge(eta, y, w, gradient, curvature):
    """``max(0, 1 - y eta)^2``, y in {-1, 1}."""
    total = 0.0
    for i in range(eta.shape[0]):
        short = max(1.0 - y[i] * eta[i], 0.0)
        total += w[i] * short * short
        gradient[i] = -2.0 * w[i] * y[i] * short
        curvature[i] = 2.0 * w[i] if short > 0.0 else 0.0
    return total


@kernel
def hinge(width, eta, y, w, gradient, curvature):
    """``max(0, 1 - y eta)`` with its corner rounded over `width`: above the hinge by at most ``width / 8``."""
    total = 0.0
    half = 0.5 * width
    for i in range(eta.shape[0]):
        short = 1.0 - y[i] * eta[i]
        part = min(max(short + half, 0.0), width) / width
        total += w[i] * (part * (short + half) - half * part * part)
        gradient[i] = -w[i] * y[i] * part
        curvature[i] = w[i] / width if 0.0 < part < 1.0 else 0.0
    return total


@kernel
def epsilon_insensitive(epsilon, width, eta, y, w, gradient, curvature):
    """``max(0, |eta - y| - epsilon)`` with its corners rounded over `width`."""
    total = 0.0
    half = 0.5 * width
    for i in range(eta.shape[0]):
        above = eta[i] - y[i] - epsilon + half
        below = y[i] - eta[i] - epsilon + half
        up = min(max(above, 0.0), width) / width
        down = min(max(below, 0.0), width) / width
        total += w[i] * (up * above - half * up * up + down * below - half * down * down)
        gradient[i] = w[i] * (up - down)
        bends = (1.0 if 0.0 < up < 1.0 else 0.0) + (1.0 if 0.0 < down < 1.0 else 0.0)
        curvature[i] = w[i] * bends / width
    return total


@kernel
def squared_epsilon_insensitive(epsilon, eta, y, w, gradient, curvature):
    """``max(0, |eta - y| - epsilon)^2``."""
    total = 0.0
    for i in range(eta.shape[0]):
        residual = eta[i] - y[i]
        over = max(abs(residual) - epsilon, 0.0)
        total += w[i] * over * over
        gradient[i] = 2.0 * w[i] * (over if residual > 0.0 else -over)
        curvature[i] = 2.0 * w[i] if over > 0.0 else 0.0
    return total


def loss_rows(code, a, b, eta, y, w, gradient, curvature, ratio, slope):
    """Return ``sum w loss(eta, y)``; write ``w loss'`` and ``w loss''`` to gradient and curvature; all (n,).

    `ratio` (n,) and `slope` (1,) are written by the Huber loss only, see there. Not a kernel: that would be all
    of them, and a first fit would wait for each to be compiled.
    """
    rows = (eta, y, w, gradient, curvature)
    if code == HUBER:
        return huber(a, b, *rows, ratio, slope)
    loss, parameters = _LOSSES[code]
    return loss(*(a, b)[parameters], *rows)


_NONE, _A, _B, _BOTH = slice(0), slice(0, 1), slice(1, 2), slice(2)
_LOSSES = {
    SQUARED_ERROR: (squared_error, _NONE),
    LOGISTIC: (logistic, _NONE),
    POISSON: (poisson, _NONE),
    GAMMA: (gamma, _NONE),
    TWEEDIE_LOG: (tweedie_log, _A),
    TWEEDIE_IDENTITY: (tweedie_identity, _A),
    SQUARED_HINGE: (squared_hinge, _NONE),
    HINGE: (hinge, _B),
    EPSILON_INSENSITIVE: (epsilon_insensitive, _BOTH),
    SQUARED_EPSILON_INSENSITIVE: (squared_epsilon_insensitive, _A),
}
