"""Moments of rows by their shares in the components of a mixture, about the present means: one step of EM.

    N_k = sum_i w_i r_ik,    s_k = sum_i w_i r_ik (x_i - m_k),    S_k = sum_i w_i r_ik (x_i - m_k)(x_i - m_k)'

Differences are taken from the means before they are squared, so that no digits cancel. Dempster, Laird & Rubin 1977.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.gram import slice_add
from dbml_kernels.jit import kernel
from dbml_kernels.mixture_density import SLICE

LEAST = 1e-16  # shares below it change no digit of a sum


@kernel
def share_moments(x, n, start, d, mean, share, rows, chosen, plain, scaled, zeros, tile, gram):
    """``gram += [1 0 x - m]' diag(share) [1 0 x - m]`` of one slice, lower triangle; gram (d + 2, d + 2).

    plain, scaled (d * SLICE,) scratch; zeros (SLICE,).
    """
    m = 0
    total = 0.0
    for i in range(rows):
        chosen[m] = i
        m += share[i] > LEAST
        total += share[i]
    gram[0, 0] += total
    for j in range(d):
        column, into, times = x[j * n + start : j * n + start + rows], plain[j * SLICE :], scaled[j * SLICE :]
        centre = mean[j]
        if m == rows:
            for i in range(rows):
                into[i] = column[i] - centre
                times[i] = into[i] * share[i]
        else:
            for t in range(m):
                into[t] = column[chosen[t]] - centre
                times[t] = into[t] * share[chosen[t]]
    if m > 0:
        slice_add(scaled, SLICE, 0, plain, SLICE, 0, m, d, zeros[:m], tile, gram)


@kernel
def diagonal_moments(x, n, start, d, mean, share, rows, moments):
    """``moments[0] += sum share``, ``moments[1 + j]`` and ``[1 + d + j]``: first and second about the mean."""
    total = 0.0
    for i in range(rows):
        total += share[i]
    moments[0] += total
    for j in range(d):
        column, centre = x[j * n + start : j * n + start + rows], mean[j]
        first = second = 0.0
        for i in range(rows):
            value = column[i] - centre
            times = value * share[i]
            first += times
            second += times * value
        moments[1 + j] += first
        moments[1 + d + j] += second


@kernel
def moments_add(x, n, d, means, weight, weighted, shares, diagonal, plain, scaled, moments):
    """Add the moments of all components; shares (k, n).

    moments (k, d + 2, d + 2), lower triangles of ``[1 0 x - m]``; or, diagonal, (k, 1, 2 d + 1).
    """
    chosen, zeros, tile, share = np.empty(SLICE, np.int64), np.zeros(SLICE), np.empty(12), np.empty(SLICE)
    for start in range(0, n, SLICE):
        rows = min(SLICE, n - start)
        for q in range(means.shape[0]):
            own = shares[q, start : start + rows]
            for i in range(rows):
                share[i] = own[i] * (weight[start + i] if weighted else 1.0)
            if diagonal:
                diagonal_moments(x, n, start, d, means[q], share, rows, moments[q, 0])
            else:
                share_moments(
                    x, n, start, d, means[q], share, rows, chosen, plain, scaled, zeros, tile, moments[q]
                )  # fmt: skip
