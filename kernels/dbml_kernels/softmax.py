"""Multinomial logistic loss: ``log sum_k exp(eta_k) - eta_y``, classes side by side in a (k, n) matrix."""

from __future__ import annotations

import numpy as np

from dbml_kernels.exponential import exponential
from dbml_kernels.jit import kernel

SLICE = 1024


@kernel
def softmax_rows(eta, out):
    """``out_k = exp(eta_k) / sum_j exp(eta_j)`` for every row; eta (k, n), out (k, n), may be the same array."""
    k, n = eta.shape
    top, total = np.empty(SLICE), np.empty(SLICE)
    for start in range(0, n, SLICE):
        rows = min(SLICE, n - start)
        top[:] = -np.inf
        total[:] = 0.0
        for c in range(k):
            column = eta[c, start : start + rows]
            for i in range(rows):
                top[i] = max(top[i], column[i])
        for c in range(k):
            column, into = eta[c, start : start + rows], out[c, start : start + rows]
            for i in range(rows):
                into[i] = exponential(column[i] - top[i])
                total[i] += into[i]
        for c in range(k):
            into = out[c, start : start + rows]
            for i in range(rows):
                into[i] /= total[i]


@kernel
def softmax_loss(eta, y, w, proba, gradient):
    """Return ``sum w loss``; write the probabilities and the derivatives ``w (p_k - 1[y = k])``; y holds class numbers.

    Shapes: eta, proba, gradient (k, n); y, w (n,).
    """
    k, n = eta.shape
    softmax_rows(eta, proba)
    for c in range(k):
        column, into = proba[c], gradient[c]
        for i in range(n):
            into[i] = w[i] * column[i]
    total = 0.0
    for i in range(n):
        label = np.int64(y[i])
        gradient[label, i] -= w[i]
        top = spread = 0.0
        for c in range(k):
            difference = eta[c, i] - eta[label, i]
            top = max(top, difference)
        if proba[label, i] > 1e-200:
            total -= w[i] * np.log(proba[label, i])
        else:
            for c in range(k):
                spread += exponential(eta[c, i] - eta[label, i] - top)
            total += w[i] * (top + np.log(spread))
    return total


@kernel
def softmax_curvature(w, left, right, same, h):
    """``h = w p_a (1[a = b] - p_b)``: the weights of block (a, b) of the Hessian; all (n,)."""
    for i in range(w.shape[0]):
        h[i] = w[i] * left[i] * (same - right[i])
