"""Coordinate descent on ``w' G w / 2 - xy . w + l1 |w|_1 + l2 |w|^2 / 2``, from second moments alone."""

from __future__ import annotations

from dbml_kernels.jit import kernel


@kernel
def gram_descend(gram, l1, l2, positive, order, w, q):
    """Sweep once over the coordinates `order`; keeps ``q = xy - G w``. Returns the largest ``|change| sqrt(G_jj)``.

    Friedman, Hastie & Tibshirani 2010, covariance updates. gram (p, p), w (p,), q (p,), order (any,) intp.
    """
    largest = 0.0
    for o in range(order.shape[0]):
        j = order[o]
        curvature = gram[j, j]
        if curvature <= 0.0:
            continue
        old = w[j]
        target = q[j] + curvature * old
        if target > l1:
            new = (target - l1) / (curvature + l2)
        elif target < -l1 and not positive:
            new = (target + l1) / (curvature + l2)
        else:
            new = 0.0
        change = new - old
        if change != 0.0:
            w[j] = new
            row = gram[j]
            for k in range(q.shape[0]):
                q[k] -= change * row[k]
            largest = max(largest, change * change * curvature)
    return largest**0.5
