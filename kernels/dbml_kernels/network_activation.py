"""Activations of a layer, their derivatives, and losses with the slopes of the outputs.

Matrices are row-major inside flat arrays: `rows` rows of `width` numbers from `at` on, of which the first `n` columns
are those of the layer; the rest are padding and stay 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from dbml_kernels.exponential import exponential, exponential_single, log1p_unit
from dbml_kernels.folds import hash_mix
from dbml_kernels.jit import kernel

IDENTITY, LOGISTIC, TANH, RELU = 0, 1, 2, 3
SQUARED, LOG_LOSS, SOFTMAX = 0, 1, 2


def exponential_of(x: Any) -> Any:
    """Return ``exp(x)`` in the precision of x; for kernels only."""
    raise NotImplementedError


@overload(exponential_of)
def _exponential_of(x):
    return (exponential_single if x == types.float32 else exponential).py_func


@kernel
def activation_rows(code, z, at, rows, n, width):
    """``z = f(z)`` in place."""
    if code == IDENTITY:
        return
    zero, one, two = z.dtype.type(0), z.dtype.type(1), z.dtype.type(2)
    for i in range(rows):
        row = z[at + i * width : at + i * width + n]
        if code == RELU:
            for j in range(n):
                row[j] = max(row[j], zero)
        elif code == TANH:
            for j in range(n):
                u = exponential_of(-two * abs(row[j]))
                size = (one - u) / (one + u)
                row[j] = size if row[j] >= zero else -size
        else:
            for j in range(n):
                u = exponential_of(-abs(row[j]))
                row[j] = (one if row[j] >= zero else u) / (one + u)


@kernel
def activation_slopes(code, a, a_at, delta, at, rows, n, width):
    """``delta *= f'(z)``, of ``a = f(z)``."""
    if code == IDENTITY:
        return
    zero = a.dtype.type(0)
    for i in range(rows):
        value = a[a_at + i * width : a_at + i * width + n]
        slope = delta[at + i * width : at + i * width + n]
        if code == RELU:
            for j in range(n):
                slope[j] = slope[j] if value[j] > zero else zero
        elif code == TANH:
            for j in range(n):
                slope[j] -= slope[j] * value[j] * value[j]
        else:
            for j in range(n):
                slope[j] = slope[j] * value[j] - slope[j] * value[j] * value[j]


@kernel
def units_drop(z, at, rows, n, width, share, first, seed):
    """Set a share of the units of rows to 0, and divide the others by the share that is left.

    Which ones depends on `seed` and the number of the row, ``first + i``, alone.
    """
    below, kept = np.uint64(share * 4294967296.0), z.dtype.type(1.0 / (1.0 - share))
    for i in range(rows):
        row = z[at + i * width : at + i * width + n]
        for j in range(n):
            dropped = (hash_mix((first + i) * n + j, seed) >> np.uint64(32)) < below
            row[j] = z.dtype.type(0) if dropped else row[j] * kept


@kernel
def loss_slopes_rows(code, z, at, y, w, first, chosen, rows, n, width, delta, delta_at):
    """Write the derivatives of the loss of rows by their outputs z, times their weights; return the sum of the losses.

    Row i is number ``chosen[first + i]`` of y and w. ``SQUARED`` is half the square, ``LOG_LOSS`` that of classes 0 and
    1 by one logit, ``SOFTMAX`` that of class numbers by one logit each.
    """
    total = 0.0
    if code == SQUARED:
        for i in range(rows):
            r = chosen[first + i]
            off = z[at + i * width] - y[r]
            total += w[r] * 0.5 * off * off
            delta[delta_at + i * width] = w[r] * off
    elif code == LOG_LOSS:
        for i in range(rows):
            r, eta = chosen[first + i], float(z[at + i * width])
            u = exponential(-abs(eta))
            total += w[r] * (log1p_unit(u) + max(eta, 0.0) - y[r] * eta)
            delta[delta_at + i * width] = w[r] * ((1.0 if eta >= 0.0 else u) / (1.0 + u) - y[r])
    else:
        for i in range(rows):
            r, row = chosen[first + i], z[at + i * width : at + i * width + n]
            high, norm, own = float(row[0]), 0.0, int(y[r])
            for j in range(1, n):
                high = max(high, float(row[j]))
            for j in range(n):
                norm += exponential(row[j] - high)
            total += w[r] * (math.log(norm) + high - row[own])
            for j in range(n):
                share = exponential(row[j] - high) / norm
                delta[delta_at + i * width + j] = w[r] * (share - (1.0 if j == own else 0.0))
    return total
