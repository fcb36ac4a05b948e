"""Priorities that draw rows at random, each in proportion to a mass, without replacement: the largest win.

``priority_i = mass_i / -log(u_i)`` with ``mass_i = w_i d_i^2`` and ``u_i`` in (0, 1) by a hash of the row's position,
so that draws do not depend on the batching. Efraimidis & Spirakis 2006.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.folds import hash_mix
from dbml_kernels.jit import kernel

_SHIFT, _UNIT = np.uint64(11), 2.0**-53


@kernel
def draw_priorities(start, seed, square, weight, weighted, priorities):
    """Write the priority of each row, 0 for a mass of 0; square, weight, priorities (n,)."""
    for i in range(priorities.shape[0]):
        uniform = (np.float64(hash_mix(start + i, seed) >> _SHIFT) + 0.5) * _UNIT
        priorities[i] = square[i] * (weight[i] if weighted else 1.0) / -np.log(uniform)
