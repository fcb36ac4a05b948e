"""Gradients and hessians of a loss: as they are, or as small integers in one word, rounded at random without bias.

A word is ``gradient << 16 | hessian``: the gradient within ±`GRADIENT_STEPS`, the hessian within 0 … `HESSIAN_STEPS`.
Rounding up with the probability of the fraction keeps sums right on average (Shi et al. 2022, quantized training of
gradient boosting decision trees); the random numbers are those of the row, so that no partition changes them.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.exponential import exponential
from dbml_kernels.jit import kernel
from dbml_kernels.losses import GAMMA, LOGISTIC, POISSON, gamma, logistic, poisson, squared_error

GRADIENT_STEPS = (1 << 10) - 1
HESSIAN_STEPS = (1 << 11) - 1
ABSOLUTE_ERROR, QUANTILE = 100, 101

N_EXPONENTS = 1 << 11  # of float64
_EXPONENT_AT, _EXPONENT = 52, N_EXPONENTS - 1

_TILE = 512
_UNIT = 1.0 / 65536.0


@kernel
def row_noise(row, seed):
    """Return 32 mixed bits of a row's number and a seed (both uint32); the hash is Mueller's, with one more mixing."""
    # numba widens a product of 32 bits to 64.
    z = np.uint32(np.uint32(row) * np.uint32(0x9E3779B1) + np.uint32(seed))
    z = np.uint32((z ^ (z >> np.uint32(16))) * np.uint32(0x45D9F3B))
    z = np.uint32((z ^ (z >> np.uint32(16))) * np.uint32(0x45D9F3B))
    return np.uint32(z ^ (z >> np.uint32(16)))


@kernel
def derivatives(code, a, scores, y, w, gradient, hessian):
    """Write ``w loss'`` and ``w loss''`` of a tile of rows; return the loss; `a`: quantile of the pinball loss."""
    if code in (QUANTILE, ABSOLUTE_ERROR):
        level = a if code == QUANTILE else 0.5
        total = 0.0
        for i in range(scores.shape[0]):
            above = scores[i] - y[i]
            slope = 1.0 - level if above > 0.0 else -level
            gradient[i] = w[i] * slope if above != 0.0 else 0.0
            hessian[i] = w[i]
            total += w[i] * above * slope
        return total
    if code == LOGISTIC:
        return logistic(scores, y, w, gradient, hessian)
    if code == POISSON:
        return poisson(scores, y, w, gradient, hessian)
    if code == GAMMA:
        return gamma(scores, y, w, gradient, hessian)
    return squared_error(scores, y, w, gradient, hessian)


@kernel
def gradients_quantize(code, a, scores, y, w, first_row, seed, gradient_step, hessian_step, words):
    """Write the words of rows; return the loss.

    Shapes: `scores`, `y` (n,), `w` (n,) or (0,) for weights of 1, `words` (n,) int32. Row i is ``first_row + i`` of the
    table. A unit of the word's gradient is `gradient_step`, one of its hessian `hessian_step`.
    """
    n = scores.shape[0]
    gradient, hessian, ones = np.empty(_TILE), np.empty(_TILE), np.ones(_TILE)
    per_gradient, per_hessian = 1.0 / gradient_step, 1.0 / hessian_step
    total = 0.0
    for begin in range(0, n, _TILE):
        size = min(_TILE, n - begin)
        weights = w[begin : begin + size] if w.shape[0] else ones[:size]
        g, h = gradient[:size], hessian[:size]
        total += derivatives(code, a, scores[begin : begin + size], y[begin : begin + size], weights, g, h)
        for i in range(size):
            noise = row_noise(first_row + begin + i, seed)
            low = np.float64(noise & np.uint32(0xFFFF)) * _UNIT
            high = np.float64(noise >> np.uint32(16)) * _UNIT
            steps = np.int32(np.floor(g[i] * per_gradient + low))
            words[begin + i] = (steps << np.int32(16)) | np.int32(h[i] * per_hessian + high)
    return total


@kernel
def gradients_bound(code, a, scores, y, w, first_row, every, exponents):
    """Return the largest absolute gradient and hessian of rows; shapes as in `gradients_quantize`.

    Of one row in `every`, ``exponents[0, e]`` counts the gradients of exponent e (as float64 stores it), and
    ``exponents[1, e]`` the hessians; shape (2, `N_EXPONENTS`).
    """
    n = scores.shape[0]
    gradient, hessian, ones = np.empty(_TILE), np.empty(_TILE), np.ones(_TILE)
    gradient_bits, hessian_bits = gradient.view(np.int64), hessian.view(np.int64)
    most_gradient = most_hessian = 0.0
    for begin in range(0, n, _TILE):
        size = min(_TILE, n - begin)
        weights = w[begin : begin + size] if w.shape[0] else ones[:size]
        g, h = gradient[:size], hessian[:size]
        derivatives(code, a, scores[begin : begin + size], y[begin : begin + size], weights, g, h)
        for i in range(size):
            most_gradient = max(most_gradient, abs(g[i]))
            most_hessian = max(most_hessian, h[i])
        for i in range(-(first_row + begin) % every, size, every):
            exponents[0, (gradient_bits[i] >> _EXPONENT_AT) & _EXPONENT] += 1
            exponents[1, (hessian_bits[i] >> _EXPONENT_AT) & _EXPONENT] += 1
    return most_gradient, most_hessian


@kernel
def loss_sum(code, a, scores, y, w):
    """Return the loss of rows; shapes as in `gradients_quantize`."""
    n = scores.shape[0]
    gradient, hessian, ones = np.empty(_TILE), np.empty(_TILE), np.ones(_TILE)
    total = 0.0
    for begin in range(0, n, _TILE):
        size = min(_TILE, n - begin)
        end = begin + size
        weights = w[begin:end] if w.shape[0] else ones[:size]
        total += derivatives(code, a, scores[begin:end], y[begin:end], weights, gradient[:size], hessian[:size])
    return total


@kernel
def gradients_write(code, a, scores, y, w, gradient, hessian):
    """Write the derivatives of rows in full precision, shapes (n,); return the loss; see `gradients_quantize`."""
    n = scores.shape[0]
    ones = np.ones(_TILE)
    total = 0.0
    for begin in range(0, n, _TILE):
        end = min(n, begin + _TILE)
        weights = w[begin:end] if w.shape[0] else ones[: end - begin]
        total += derivatives(code, a, scores[begin:end], y[begin:end], weights, gradient[begin:end], hessian[begin:end])
    return total


@kernel
def softmax_row(scores, i, p):
    """Write the probabilities of the classes of row i; return minus the logarithm that the scores are divided by."""
    n_outputs = p.shape[0]
    top = scores[0, i]
    for k in range(1, n_outputs):
        top = max(top, scores[k, i])
    norm = 0.0
    for k in range(n_outputs):
        p[k] = exponential(scores[k, i] - top)
        norm += p[k]
    for k in range(n_outputs):
        p[k] /= norm
    return np.log(norm) + top


@kernel
def softmax_quantize(scores, y, w, first_row, seed, gradient_step, hessian_step, words):
    """Write the words of all outputs of the multinomial log loss; return the loss.

    Shapes: `scores` (n_outputs, n), `y` (n,) class numbers, `words` (n_outputs, n) int32. Gradient ``p_k - [y = k]``,
    hessian ``p_k (1 - p_k)``.
    """
    n_outputs, n = scores.shape
    p = np.empty(n_outputs)
    total = 0.0
    for i in range(n):
        weight = w[i] if w.shape[0] else 1.0
        label = np.int64(y[i])
        total += weight * (softmax_row(scores, i, p) - scores[label, i])
        for k in range(n_outputs):
            noise = row_noise(first_row + i, seed + k)
            low = np.float64(noise & np.uint32(0xFFFF)) * _UNIT
            high = np.float64(noise >> np.uint32(16)) * _UNIT
            slope = weight * (p[k] - (1.0 if label == k else 0.0))
            steps = np.int32(np.floor(slope / gradient_step + low))
            words[k, i] = (steps << np.int32(16)) | np.int32(weight * p[k] * (1.0 - p[k]) / hessian_step + high)
    return total


@kernel
def softmax_write(scores, y, w, gradient, hessian):
    """Write the derivatives of `softmax_quantize` in full precision, shapes (n_outputs, n); return the loss."""
    n_outputs, n = scores.shape
    p = np.empty(n_outputs)
    total = 0.0
    for i in range(n):
        weight = w[i] if w.shape[0] else 1.0
        label = np.int64(y[i])
        total += weight * (softmax_row(scores, i, p) - scores[label, i])
        for k in range(n_outputs):
            gradient[k, i] = weight * (p[k] - (1.0 if label == k else 0.0))
            hessian[k, i] = weight * p[k] * (1.0 - p[k])
    return total


@kernel
def steps_round(values, step, steps):
    """Write values as whole multiples of a step, the nearest ones; shapes (n_outputs, n), `steps` int32."""
    per_step = 1.0 / step
    for k in range(values.shape[0]):
        for i in range(values.shape[1]):
            steps[k, i] = np.int32(np.rint(values[k, i] * per_step))
