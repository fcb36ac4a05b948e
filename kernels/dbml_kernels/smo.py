"""Sequential minimal optimisation of a small dual problem of a support vector machine.

Variables a_k in [0, bound_k] with a sign s_k and an offset u_k, each of a row r_k; ``f = K (s a)`` by rows. The dual

    minimise  (s a)' K (s a) / 2 - u . (s a)   where  s . a  is constant

is at its minimum where ``max over up of (u - f) <= min over low of (u - f)``: up are the variables whose ``s a`` may
grow, low those whose ``s a`` may fall. A step moves the variable that violates most,
with the one that then gains most to second order.

Shapes: K (q, q) float32; row (m,) int64, sign, offset, bound, alpha (m,), f (q,) float64.

Source: Fan, Chen & Lin 2005, working set selection using second order information.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel

_LEAST_CURVATURE = 1e-12


@kernel
def smo_solve(K, row, sign, offset, bound, tol, most, alpha, f):
    """Take at most `most` steps, until no pair violates the optimum by `tol`; return the steps taken."""
    for step in range(most):
        i, highest, lowest = -1, -np.inf, np.inf
        for k in range(row.shape[0]):
            v = offset[k] - f[row[k]]
            if v > highest and (alpha[k] < bound[k] if sign[k] > 0.0 else alpha[k] > 0.0):
                i, highest = k, v
            if v < lowest and (alpha[k] > 0.0 if sign[k] > 0.0 else alpha[k] < bound[k]):
                lowest = v
        if highest - lowest < tol or i < 0:
            return step
        a = row[i]
        j = smo_partner(K, row, sign, offset, bound, alpha, f, a, highest)
        if j < 0:
            return step
        b = row[j]
        curvature = max(np.float64(K[a, a]) + K[b, b] - 2.0 * K[a, b], _LEAST_CURVATURE)
        move = (highest - (offset[j] - f[b])) / curvature
        move = smo_move(sign, bound, alpha, i, j, move)
        for k in range(f.shape[0]):
            f[k] += move * (np.float64(K[a, k]) - K[b, k])
    return most


@kernel
def smo_partner(K, row, sign, offset, bound, alpha, f, a, highest):
    """Return the variable of low that gains most, paired with one of row `a`; -1 where none violates."""
    j, best = -1, 0.0
    own = np.float64(K[a, a])
    for k in range(row.shape[0]):
        r = row[k]
        gap = highest - (offset[k] - f[r])
        if gap > 0.0 and (alpha[k] > 0.0 if sign[k] > 0.0 else alpha[k] < bound[k]):
            curvature = max(own + K[r, r] - 2.0 * K[a, r], _LEAST_CURVATURE)
            gain = gap * gap / curvature
            if gain > best:
                j, best = k, gain
    return j


@kernel
def smo_move(sign, bound, alpha, i, j, move):
    """Raise ``s a`` of variable i and lower that of j by `move`, or as far as both may go; return how far."""
    room_i = bound[i] - alpha[i] if sign[i] > 0.0 else alpha[i]
    room_j = alpha[j] if sign[j] > 0.0 else bound[j] - alpha[j]
    move = min(move, room_i, room_j)
    alpha[i] += sign[i] * move
    alpha[j] -= sign[j] * move
    if move >= room_i:
        alpha[i] = bound[i] if sign[i] > 0.0 else 0.0
    if move >= room_j:
        alpha[j] = 0.0 if sign[j] > 0.0 else bound[j]
    return move
