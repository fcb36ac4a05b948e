"""Exponential and logistic functions without branches, so that loops over rows vectorise (math.exp does not)."""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel

_LOG2E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer and leaves that in the low bits


@kernel(exact=True)
def exponential(x):
    """``exp(x)`` to 3e-16 relative for x in [-708, 709]; beyond, the value at the nearer end.

    ``x = k ln 2 + r`` with ``|r| <= ln(2) / 2``, Taylor's polynomial of degree 13 in r, exponent bits set to k.
    """
    x = min(max(x, -708.0), 709.0)
    shifted = x * _LOG2E + _ROUND
    k = shifted - _ROUND
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    p = 1 / 6227020800.0
    p = p * r + 1 / 479001600.0
    p = p * r + 1 / 39916800.0
    p = p * r + 1 / 3628800.0
    p = p * r + 1 / 362880.0
    p = p * r + 1 / 40320.0
    p = p * r + 1 / 5040.0
    p = p * r + 1 / 720.0
    p = p * r + 1 / 120.0
    p = p * r + 1 / 24.0
    p = p * r + 1 / 6.0
    p = p * r + 0.5
    p = p * r * r + r + 1.0
    power = (np.float64(shifted).view(np.int64) + 1023) << 52
    return p * np.int64(power).view(np.float64)


_F = np.float32
_LOG2E_SINGLE, _ROUND_SINGLE = _F(_LOG2E), _F(12582912.0)  # 1.5 * 2^23
_LN2_HIGH_SINGLE, _LN2_LOW_SINGLE = _F(0.693359375), _F(-2.12194440e-4)
_LEAST_SINGLE, _MOST_SINGLE = _F(-87.0), _F(88.0)
_C2, _C3, _C4, _C5, _C6 = _F(1 / 2), _F(1 / 6), _F(1 / 24), _F(1 / 120), _F(1 / 720)
_ONE = _F(1.0)


@kernel(exact=True)
def exponential_single(x):
    """``exp(x)`` of a float32 to 2e-7 relative for x in [-87, 88]; beyond, the value at the nearer end."""
    x = min(max(x, _LEAST_SINGLE), _MOST_SINGLE)
    shifted = x * _LOG2E_SINGLE + _ROUND_SINGLE
    k = shifted - _ROUND_SINGLE
    r = (x - k * _LN2_HIGH_SINGLE) - k * _LN2_LOW_SINGLE
    p = ((((_C6 * r + _C5) * r + _C4) * r + _C3) * r + _C2) * r * r + r + _ONE
    power = (np.float32(shifted).view(np.int32) + 127) << 23
    return p * np.int32(power).view(np.float32)


@kernel
def log1p_unit(u):
    """``log(1 + u)`` to 4e-16 relative for u in [0, 1]: the odd series of ``2 atanh(u / (2 + u))``."""
    s = u / (2.0 + u)
    z = s * s
    p = 1.0 / 31.0
    p = p * z + 1.0 / 29.0
    p = p * z + 1.0 / 27.0
    p = p * z + 1.0 / 25.0
    p = p * z + 1.0 / 23.0
    p = p * z + 1.0 / 21.0
    p = p * z + 1.0 / 19.0
    p = p * z + 1.0 / 17.0
    p = p * z + 1.0 / 15.0
    p = p * z + 1.0 / 13.0
    p = p * z + 1.0 / 11.0
    p = p * z + 1.0 / 9.0
    p = p * z + 1.0 / 7.0
    p = p * z + 1.0 / 5.0
    p = p * z + 1.0 / 3.0
    return 2.0 * s * (p * z + 1.0)


@kernel
def exponential_rows(x, out):
    """``out = exp(x)``; x (n,), out (n,)."""
    for i in range(x.shape[0]):
        out[i] = exponential(x[i])


@kernel
def logistic_rows(x, out):
    """``out = 1 / (1 + exp(-x))`` without overflow; x (n,), out (n,)."""
    for i in range(x.shape[0]):
        u = exponential(-abs(x[i]))
        out[i] = (1.0 if x[i] >= 0.0 else u) / (1.0 + u)
