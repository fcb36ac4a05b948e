"""Distances of two vectors, in double precision and in one order of sums: the same bits wherever they are computed.

    EUCLIDEAN      sum (x - q)^2         the square: roots are taken at the end
    COSINE         1 - x.q / (|x| |q|)   at least 0; 1 where either is 0
    INNER_PRODUCT  -x.q                  the largest product is nearest
    MANHATTAN      sum |x - q|

x is (d,) float32 or float64, q is (d,) float64.
"""

from __future__ import annotations

import math

import numpy as np

from dbml_kernels.jit import kernel

EUCLIDEAN, COSINE, INNER_PRODUCT, MANHATTAN = 0, 1, 2, 3

SINGLE_UNIT = 2.0**-24  # of rounding, in single precision
SINGLE_TINY = 2.0**-148  # what is lost below the smallest normal number
SINGLE_LARGEST = 1e37  # above which sums may overflow


@kernel(exact=True)
def square_sum(x, q):
    """``sum (x - q)^2``, as four sums that are added at the end."""
    d = q.shape[0]
    a = b = c = e = 0.0
    whole = d - d % 4
    for j in range(0, whole, 4):
        s, t, u, v = x[j] - q[j], x[j + 1] - q[j + 1], x[j + 2] - q[j + 2], x[j + 3] - q[j + 3]
        a += s * s
        b += t * t
        c += u * u
        e += v * v
    for j in range(whole, d):
        s = x[j] - q[j]
        a += s * s
    return (a + b) + (c + e)


@kernel(exact=True)
def absolute_sum(x, q):
    """``sum |x - q|``, as four sums that are added at the end."""
    d = q.shape[0]
    a = b = c = e = 0.0
    whole = d - d % 4
    for j in range(0, whole, 4):
        a += abs(x[j] - q[j])
        b += abs(x[j + 1] - q[j + 1])
        c += abs(x[j + 2] - q[j + 2])
        e += abs(x[j + 3] - q[j + 3])
    for j in range(whole, d):
        a += abs(x[j] - q[j])
    return (a + b) + (c + e)


@kernel(exact=True)
def product_sum(x, q):
    """``sum x q``, as four sums that are added at the end."""
    d = q.shape[0]
    a = b = c = e = 0.0
    whole = d - d % 4
    for j in range(0, whole, 4):
        a += x[j] * q[j]
        b += x[j + 1] * q[j + 1]
        c += x[j + 2] * q[j + 2]
        e += x[j + 3] * q[j + 3]
    for j in range(whole, d):
        a += x[j] * q[j]
    return (a + b) + (c + e)


@kernel(exact=True)
def cosine_distance(x, q):
    """``1 - x.q / (|x| |q|)``; both are divided by their largest entries, so that no square overflows or vanishes."""
    largest_x = largest_q = 0.0
    for j in range(q.shape[0]):
        largest_x, largest_q = max(largest_x, abs(float(x[j]))), max(largest_q, abs(q[j]))
    if largest_x == 0.0 or largest_q == 0.0:
        return 1.0
    xx = qq = xq = 0.0
    for j in range(q.shape[0]):
        a, b = x[j] / largest_x, q[j] / largest_q
        xx += a * a
        qq += b * b
        xq += a * b
    return max(0.0, 1.0 - xq / math.sqrt(xx * qq))


@kernel(exact=True)
def distance(metric, x, q):
    """The distance that neighbours are ordered by; see the module."""
    if metric == EUCLIDEAN:
        return square_sum(x, q)
    if metric == COSINE:
        return cosine_distance(x, q)
    if metric == INNER_PRODUCT:
        return -product_sum(x, q)
    return absolute_sum(x, q)


@kernel
def distance_bound(metric, x, q, size):
    """A bound that `distance` is never below, from sums in any order, as fast as they are made; `size` is |q|."""
    d = q.shape[0]
    lost = (d + 8) * 1e-15
    if metric == EUCLIDEAN:
        total = 0.0
        for j in range(d):
            apart = x[j] - q[j]
            total += apart * apart
        return total - lost * total
    if metric == MANHATTAN:
        total = 0.0
        for j in range(d):
            total += abs(x[j] - q[j])
        return total - lost * total
    xx = xq = 0.0
    for j in range(d):
        xx += x[j] * x[j]
        xq += x[j] * q[j]
    length = math.sqrt(xx) * size
    if metric == INNER_PRODUCT:
        return -xq - lost * length
    if not 1e-200 < length < 1e200 or not 1e-200 < xx < 1e200:
        return -math.inf
    return 1.0 - xq / length - lost


@kernel
def single_bound(x, q):
    """A bound that `square_sum` is never below, from sums in single precision, as fast again; x and q are float32."""
    d = q.shape[0]
    total = np.float32(0.0)
    for j in range(d):
        apart = x[j] - q[j]
        total += apart * apart
    if not total < SINGLE_LARGEST:
        return -math.inf
    return total - (d + 8) * SINGLE_UNIT * total - d * SINGLE_TINY
