"""Weights of values by the next bits of their order-preserving integers, among values that begin with some bits.

Selecting the bin of a rank, and counting again in it, finds any order statistic exactly (radix selection).
"""

import math

import numpy as np

from dbml_kernels.jit import kernel
from dbml_kernels.radix_sort import ordered_word


@kernel
def radix_histogram_add(column, weight, prefixes, fixed, bits, histogram):
    """Add the weights of the values of a column that begin like one of `prefixes`.

    Parameters
    ----------
    column : (n,)
        Values; NaN is missing.
    weight : (n,) or (0,)
        Weights, none where all are 1.
    prefixes : (m,) uint64, ascending
        First `fixed` bits of the values that count.
    fixed, bits : int
        Bits that are known, and bits that follow them: together at most 64.
    histogram : (m, 2 ** bits)
        Weights, changed in place.
    """
    keys = np.empty(1, np.float64)
    words = keys.view(np.uint64)
    low_shift = np.uint64(64 - fixed - bits)
    high_shift = np.uint64(64 - fixed)
    mask = np.uint64((1 << bits) - 1)
    m = prefixes.size
    weighted = weight.size > 0
    for i in range(column.size):
        value = column[i]
        if math.isnan(value):
            continue
        keys[0] = value + 0.0  # one zero, not two
        word = ordered_word(words[0])
        place = 0
        if fixed > 0:
            prefix = word >> high_shift
            low, high = 0, m
            while low < high:
                middle = (low + high) // 2
                if prefixes[middle] < prefix:
                    low = middle + 1
                else:
                    high = middle
            if low == m or prefixes[low] != prefix:
                continue
            place = low
        digit = np.int64((word >> low_shift) & mask)
        histogram[place, digit] += weight[i] if weighted else 1.0
