"""Weight, mean, sum of squares about the mean, least and greatest value of each column, missing values left out.

``mean' = mean + (m - mean) w / (W + w)``, ``M2' = M2 + m2 + (m - mean)^2 W w / (W + w)`` (Chan, Golub & LeVeque 1983)
"""

import math

from dbml_kernels.jit import kernel


@kernel
def column_moments_update(X, weight, moments, limits, missing):
    """Add rows to the moments of each column.

    Parameters
    ----------
    X : (n, p) Fortran order
        Rows; NaN is missing.
    weight : (n,) or (0,)
        Weights, none where all are 1. A row of weight 0 is not there.
    moments : (3, p)
        Sums of weights, means, sums of squares about them; changed in place.
    limits : (2, p)
        Least and greatest values, infinity and -infinity of no rows; changed in place.
    missing : (p,)
        Sums of weights of the rows where a column is missing; changed in place. Exactly 0 where none is.
    """
    n, p = X.shape
    weighted = weight.size > 0
    for j in range(p):
        total = 0.0
        mass = 0.0
        low = limits[0, j]
        high = limits[1, j]
        for i in range(n):
            value = X[i, j]
            w = weight[i] if weighted else 1.0
            if math.isnan(value):
                missing[j] += w
                continue
            if w == 0.0:
                continue
            mass += w
            total += w * value
            low = min(low, value)
            high = max(high, value)
        limits[0, j] = low
        limits[1, j] = high
        if mass == 0.0:
            continue
        mean = total / mass
        squares = 0.0
        rest = 0.0
        for i in range(n):
            value = X[i, j]
            w = weight[i] if weighted else 1.0
            if math.isnan(value) or w == 0.0:
                continue
            delta = value - mean
            squares += w * delta * delta
            rest += w * delta
        # What rounding left out of the mean.
        squares = max(squares - rest * rest / mass, 0.0)
        mean += rest / mass
        column_moments_merge(moments, j, mass, mean, squares)


@kernel
def column_moments_merge(moments, j, mass, mean, squares):
    """Add the moments of later rows to those of column j."""
    if mass == 0.0:
        return
    before = moments[0, j]
    both = before + mass
    delta = mean - moments[1, j]
    if before == 0.0:
        moments[1, j] = mean
        moments[2, j] = squares
    else:
        moments[1, j] += delta * (mass / both)
        moments[2, j] += squares + delta * delta * (before * mass / both)
    moments[0, j] = both


@kernel
def column_moments_join(into, other):
    """Add the moments of later rows, shape (3, p), to those of earlier ones, column by column."""
    for j in range(into.shape[1]):
        column_moments_merge(into, j, other[0, j], other[1, j], other[2, j])
