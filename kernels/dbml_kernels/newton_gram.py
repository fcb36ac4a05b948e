"""Hessians of sums over rows: ``V' diag(h) V`` with ``V = [1 z X]``, where the weights h change with every pass."""

from __future__ import annotations

import numpy as np

from dbml_kernels.gram import SLICE, slice_add, target_add
from dbml_kernels.jit import kernel


@kernel
def hessian_add(x, n, d, z, h, scaled, gram):
    """``gram += [1 z X]' diag(h) [1 z X]`` (lower triangle) for n rows, h of any sign.

    x (n * d,) column-major, z (n,), h (n,), scaled (d * SLICE,) scratch, gram (m, m) with m >= d + 2.
    """
    tile = np.empty(12)
    target_add(z, h, True, gram)
    for start in range(0, n, SLICE):
        stop = min(n, start + SLICE)
        weights = h[start:stop]
        for j in range(d):
            column, into = x[j * n + start : j * n + stop], scaled[j * SLICE : (j + 1) * SLICE]
            for i in range(stop - start):
                into[i] = column[i] * weights[i]
        slice_add(scaled, SLICE, 0, x, n, start, stop - start, d, z[start:stop], tile, gram)
