"""Sorting doubles by their bits: a radix sort, the least significant digit first.

A double as an order-preserving integer: all bits turned where it is negative, else the sign bit alone; so integers
compare as doubles. Digits that all values share cost nothing, so whole numbers and values of 32 bits take less.
"""

import math

import numpy as np

from dbml_kernels.jit import kernel

_DIGIT_BITS, _N_DIGITS = 11, 6


@kernel
def ordered_word(word):
    """Return the bits of a double that is not NaN as an integer of the same order."""
    sign = np.uint64(1 << 63)
    return ~word if word & sign else word | sign


@kernel
def finite_sort(values, room):
    """Return the finite ones of some values, ascending.

    Parameters
    ----------
    values : (n,)
        Any; overwritten.
    room : (n,)
        Overwritten. The result lies in one of the two.
    """
    keys, others = values.view(np.uint64), room.view(np.uint64)
    digit_of = np.uint64((1 << _DIGIT_BITS) - 1)
    counts = np.zeros((_N_DIGITS, 1 << _DIGIT_BITS), np.int64)
    n = 0
    for i in range(values.size):
        value = values[i]
        if not math.isfinite(value):
            continue
        values[n] = value + 0.0  # one zero, not two
        word = ordered_word(keys[n])
        keys[n] = word
        for digit in range(_N_DIGITS):
            counts[digit, np.int64(word >> np.uint64(_DIGIT_BITS * digit) & digit_of)] += 1
        n += 1
    for digit in range(_N_DIGITS):
        places, shift = counts[digit], np.uint64(_DIGIT_BITS * digit)
        total, shared = 0, False
        for value in range(places.size):
            count = places[value]
            shared |= count == n
            places[value] = total
            total += count
        if shared:
            continue
        for i in range(n):
            word = keys[i]
            value = np.int64(word >> shift & digit_of)
            others[places[value]] = word
            places[value] += 1
        keys, others = others, keys
    sign = np.uint64(1 << 63)
    for i in range(n):
        word = keys[i]
        keys[i] = word ^ sign if word & sign else ~word
    return keys[:n].view(np.float64)
