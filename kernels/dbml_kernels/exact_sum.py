"""Sums that do not depend on how rows are divided: what rounding loses is kept beside (Knuth's two-sum)."""

from __future__ import annotations

from dbml_kernels.jit import kernel


@kernel(exact=True)
def sum_with_rest(values):
    """Return the sum of `values`, (n,), and what its rounding lost: together about 106 bits."""
    total = rest = 0.0
    for value in values:
        new = total + value
        taken = new - total
        rest += (total - (new - taken)) + (value - taken)
        total = new
    return total, rest
