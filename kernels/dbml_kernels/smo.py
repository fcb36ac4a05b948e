"""Sequential minimal optimisation of a small dual problem of a support vector machine.

Variables a in layers over the rows, ``0 <= a <= bound``, with signs s and offsets u; ``f = K b`` where b is the sum of
``s a`` over the layers. The dual

    minimise  b' K b / 2 - sum u s a   where  sum s a  is constant

is at its minimum where ``max over up of (u - f) <= min over low of (u - f)``: up are the variables whose ``s a`` may
grow, low those whose ``s a`` may fall. A step moves the variable that violates most, with the one that then gains most
to second order. What a step does to all variables is written without branches, in loops that vectorise.

Shapes: K (q, q) float32; sign, offset, bound, alpha (layers, q), f (q,) float64.

Source: Fan, Chen & Lin 2005, working set selection using second order information.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel

_LEAST_CURVATURE = 1e-12
_LANES = 16


@kernel
def smo_solve(K, sign, offset, bound, tol, most, alpha, f):
    """Take at most `most` steps, until no pair violates the optimum by `tol`; return the steps taken."""
    layers, q = sign.shape
    closed_up, closed_low = np.zeros((layers, q)), np.zeros((layers, q))  # -inf where a variable is not of the set
    up, low, gain = np.empty((layers, q)), np.empty((layers, q)), np.empty((layers, q))  # low: of -(u - f)
    all_up, all_low, all_gain = up.reshape(layers * q), low.reshape(layers * q), gain.reshape(layers * q)
    diagonal, lanes = np.empty(q), np.empty(_LANES)
    for k in range(q):
        diagonal[k] = K[k, k]
        for layer in range(layers):
            _close(sign, bound, alpha, layer, k, closed_up, closed_low)
    for step in range(most):
        for layer in range(layers):
            u, high, deep = offset[layer], up[layer], low[layer]
            no_high, no_deep = closed_up[layer], closed_low[layer]
            for k in range(q):
                v = u[k] - f[k]
                high[k] = v + no_high[k]
                deep[k] = no_deep[k] - v
        i, highest = _largest(all_up, lanes)
        lowest = -_largest(all_low, lanes)[1]
        if not highest - lowest >= tol:
            return step
        a = i % q
        row, own = K[a], diagonal[a]
        for layer in range(layers):
            deep, line = low[layer], gain[layer]
            for k in range(q):
                gap = highest + deep[k]
                gap = gap if gap > 0.0 else 0.0
                curvature = own + diagonal[k] - 2.0 * row[k]
                line[k] = gap * gap / (curvature if curvature > _LEAST_CURVATURE else _LEAST_CURVATURE)
        j, best = _largest(all_gain, lanes)
        if not best > 0.0:
            return step
        b = j % q
        curvature = max(own + diagonal[b] - 2.0 * row[b], _LEAST_CURVATURE)
        move = (highest + low[j // q, b]) / curvature
        move = smo_move(sign, bound, alpha, i // q, a, j // q, b, move)
        _close(sign, bound, alpha, i // q, a, closed_up, closed_low)
        _close(sign, bound, alpha, j // q, b, closed_up, closed_low)
        other = K[b]
        for k in range(q):
            f[k] += move * (np.float64(row[k]) - other[k])
    return most


@kernel
def _close(sign, bound, alpha, layer, k, closed_up, closed_low):
    """Write whether ``s a`` of a variable may grow and fall."""
    a = alpha[layer, k]
    more, less = a < bound[layer, k], a > 0.0
    grows, falls = (more, less) if sign[layer, k] > 0.0 else (less, more)
    closed_up[layer, k] = 0.0 if grows else -np.inf
    closed_low[layer, k] = 0.0 if falls else -np.inf


@kernel
def _largest(values, lanes):
    """Return the first place of the largest value, and the value; lanes (_LANES,) is scratch."""
    whole = values.shape[0] - values.shape[0] % _LANES
    lanes[:] = -np.inf
    for start in range(0, whole, _LANES):
        part = values[start : start + _LANES]
        for k in range(_LANES):
            lanes[k] = part[k] if part[k] > lanes[k] else lanes[k]
    best = -np.inf
    for k in range(_LANES):
        best = lanes[k] if lanes[k] > best else best
    for k in range(whole, values.shape[0]):
        best = values[k] if values[k] > best else best
    for k in range(values.shape[0]):
        if values[k] == best:
            return k, best
    return 0, best


@kernel
def smo_move(sign, bound, alpha, layer_i, i, layer_j, j, move):
    """Raise ``s a`` of variable i and lower that of j by `move`, or as far as both may go; return how far."""
    sign_i, sign_j, most_i, most_j = sign[layer_i, i], sign[layer_j, j], bound[layer_i, i], bound[layer_j, j]
    room_i = most_i - alpha[layer_i, i] if sign_i > 0.0 else alpha[layer_i, i]
    room_j = alpha[layer_j, j] if sign_j > 0.0 else most_j - alpha[layer_j, j]
    move = min(move, room_i, room_j)
    alpha[layer_i, i] += sign_i * move
    alpha[layer_j, j] -= sign_j * move
    if move >= room_i:
        alpha[layer_i, i] = most_i if sign_i > 0.0 else 0.0
    if move >= room_j:
        alpha[layer_j, j] = 0.0 if sign_j > 0.0 else most_j
    return move
