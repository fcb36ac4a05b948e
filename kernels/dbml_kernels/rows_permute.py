"""Rows into another order where they lie, along the cycles of the permutation: no second copy of them is made."""

from __future__ import annotations

from dbml_kernels.jit import kernel


@kernel(exact=True)
def rows_permute(rows, order, row):
    """Let row i be what row order[i] was; rows (n, d), order (n,) is used up (all -1 after), row (d,) is scratch."""
    d = rows.shape[1]
    for begin in range(order.shape[0]):
        if order[begin] < 0:
            continue
        for j in range(d):
            row[j] = rows[begin, j]
        place = begin
        while order[place] != begin:
            source = order[place]
            for j in range(d):
                rows[place, j] = rows[source, j]
            order[place] = -1
            place = source
        for j in range(d):
            rows[place, j] = row[j]
        order[place] = -1
