"""Some features of rows and atoms, copied together: what a minibatch costs that is read in a part of its features.

Atoms lie by feature in memory, (p, k): a feature is a run of k numbers.
"""

from __future__ import annotations

from dbml_kernels.jit import kernel
from dbml_kernels.matrix_tile import product_add


@kernel
def sampled_gram(atoms, terms, scale, part, products, gram):
    """Copy the features `terms` of all atoms (p, k) to `part` (q, K), and write ``scale D D'`` of them to gram (k, k).

    K is k padded to a multiple of 4, products (K, K) scratch of zeros.
    """
    k, padded = atoms.shape[1], part.shape[1]
    for c in range(terms.shape[0]):
        for j in range(k):
            part[c, j] = atoms[terms[c], j]
        for j in range(k, padded):
            part[c, j] = 0.0
    flat = part.reshape(part.size)
    to = products.reshape(products.size)
    product_add(flat, 0, 1, padded, flat, 0, padded, to, 0, padded, padded, terms.shape[0], padded)
    for i in range(k):
        for j in range(k):
            gram[i, j] = scale * products[i, j]


@kernel
def sampled_projection(X, top, centre, terms, part, scale, rows, products, projection):
    """Write ``scale x D'`` in the features `terms` to projection (n, k), for the n rows of X from row `top` on.

    Feature c is column ``terms[c]`` of X plus ``centre[terms[c]]``. Scratch: rows (q, N) and products (N, K) of zeros,
    N and K padded to multiples of 4.
    """
    n, padded, width = projection.shape[0], rows.shape[1], part.shape[1]
    for c in range(terms.shape[0]):
        term = terms[c]
        for i in range(n):
            rows[c, i] = X[top + i, term] + centre[term]
        for i in range(n, padded):
            rows[c, i] = 0.0
    to = products.reshape(products.size)
    flat, of_part = rows.reshape(rows.size), part.reshape(part.size)
    product_add(flat, 0, 1, padded, of_part, 0, width, to, 0, width, padded, terms.shape[0], width)
    for i in range(n):
        for j in range(projection.shape[1]):
            projection[i, j] = scale * products[i, j]


@kernel
def sampled_gather(stored, terms, first, last, taken):
    """Copy the features ``terms[first:last]`` of stored (p, k) to the columns ``first:last`` of taken (>= k, m)."""
    for c in range(first, last):
        for j in range(stored.shape[1]):
            taken[j, c] = stored[terms[c], j]


@kernel
def sampled_scatter(taken, terms, first, last, stored):
    """Copy the columns ``first:last`` of `taken` back; see `sampled_gather`."""
    for c in range(first, last):
        for j in range(stored.shape[1]):
            stored[terms[c], j] = taken[j, c]


@kernel
def mean_gradient(sums, size, weights, first, last, gradient):
    """Take ``sums / size`` into the means `gradient` (k, m) of the features ``first:last``, each of its weight."""
    for j in range(sums.shape[0]):
        for c in range(first, last):
            gradient[j, c] += (sums[j, c] / size - gradient[j, c]) / weights[c]


@kernel
def less_changes(less, changes, first, last, gradient):
    """Add ``-A changes`` to the gradient (K, m) in the features ``first:last``, their number a multiple of 4."""
    k, m = changes.shape
    moved, to = changes.reshape(k * m), gradient.reshape(k * m)
    product_add(less.reshape(k * k), 0, k, 1, moved, first, m, to, first, m, k, k, last - first)
