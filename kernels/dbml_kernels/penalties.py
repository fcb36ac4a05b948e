"""Proximal operators, and coordinate descent on a quadratic model with an l1 penalty."""

from __future__ import annotations

from dbml_kernels.jit import kernel


@kernel
def soft_threshold(value, threshold):
    """``argmin_u (u - value)^2 / 2 + threshold |u|``."""
    return max(value - threshold, 0.0) - max(-value - threshold, 0.0)


@kernel
def coordinate_move(H, j, theta, l1, step, slope):
    """Minimise over coordinate j, update `step` and ``slope = g + H step``; return the size ``H_jj move^2``."""
    diagonal = H[j, j]
    if diagonal <= 0.0:
        return 0.0
    current = theta[j] + step[j]
    move = soft_threshold(current - slope[j] / diagonal, l1[j] / diagonal) - current
    if move == 0.0:
        return 0.0
    step[j] += move
    row = H[j]
    for k in range(slope.shape[0]):
        slope[k] += move * row[k]
    return diagonal * move * move


@kernel
def quadratic_descent(H, gradient, theta, l1, tolerance, max_sweeps, step, slope):
    """Minimise ``g' s + s' H s / 2 + sum l1_j |theta_j + s_j|`` over s; return the number of sweeps.

    Full sweeps alternate with sweeps over the coordinates that are not zero (Friedman, Hastie and Tibshirani 2010).
    Stops where no move of a full sweep changes the model by more than `tolerance`.
    H (p, p) symmetric; gradient, theta, l1, step, slope (p,); `step` holds the start and the result.
    """
    p = theta.shape[0]
    for j in range(p):
        slope[j] = gradient[j]
    for j in range(p):
        if step[j] != 0.0:
            for k in range(p):
                slope[k] += step[j] * H[j, k]
    sweeps = 0
    while sweeps < max_sweeps:
        largest = 0.0
        for j in range(p):
            largest = max(largest, coordinate_move(H, j, theta, l1, step, slope))
        sweeps += 1
        if largest <= tolerance:
            break
        while sweeps < max_sweeps:
            largest = 0.0
            for j in range(p):
                if theta[j] + step[j] != 0.0 or l1[j] == 0.0:
                    largest = max(largest, coordinate_move(H, j, theta, l1, step, slope))
            sweeps += 1
            if largest <= tolerance:
                break
    return sweeps
