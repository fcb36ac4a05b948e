"""What atoms can still gain from some rows: ``E = X - C D`` and ``C' E``, for codes C of few entries.

``C' E`` is the gradient of half the squared error of the atoms, less its sign. Cost: two multiplications for each entry
of a code and each feature, where products of matrices take them for every atom.
"""

from __future__ import annotations

from dbml_kernels.jit import kernel

LANES = 64  # features side by side: their part of all atoms stays in the cache, and is long enough for vectors
_TURNED = 8  # features copied at a time: as many numbers as lie together in a line of the cache


@kernel
def entries_of(codes, indptr, places, entries):
    """Write the entries of codes (n, k) that are not 0, row by row: `indptr` (n + 1,), `places`, `entries` (n k,)."""
    count = 0
    for i in range(codes.shape[0]):
        indptr[i] = count
        for j in range(codes.shape[1]):
            if codes[i, j] != 0.0:
                places[count], entries[count] = j, codes[i, j]
                count += 1
    indptr[codes.shape[0]] = count


@kernel
def entry_products(indptr, places, entries, sums):
    """Add ``C' C`` to sums (k, k) for codes by their entries."""
    for i in range(indptr.shape[0] - 1):
        for s in range(indptr[i], indptr[i + 1]):
            for t in range(indptr[i], indptr[i + 1]):
                sums[places[s], places[t]] += entries[s] * entries[t]


@kernel
def residual_sums(X, top, centre, terms, atoms, indptr, places, entries, first, last, sums, rows, parts, found):
    """Write ``C' E`` of the features ``first`` to ``last`` to `sums` (k, p); return the sum of squares of E in them.

    Feature c is column ``terms[c]`` of `X` from row `top` on, less ``-centre[terms[c]]``; atoms (k, p); indptr
    (b + 1,), places, entries: the codes, row by row. Scratch: rows (b, LANES), parts and found (k, LANES).
    """
    k, b = atoms.shape[0], indptr.shape[0] - 1
    squares = 0.0
    for start in range(first, last, LANES):
        size = min(LANES, last - start)
        for j in range(k):
            for c in range(LANES):
                parts[j, c] = 0.0
                found[j, c] = 0.0
            for c in range(size):
                parts[j, c] = atoms[j, start + c]
        _turn(X, top, centre, terms[start : start + size], rows)
        for i in range(b):
            for s in range(indptr[i], indptr[i + 1]):
                j, entry = places[s], entries[s]
                for c in range(LANES):
                    rows[i, c] -= entry * parts[j, c]
            for s in range(indptr[i], indptr[i + 1]):
                j, entry = places[s], entries[s]
                for c in range(LANES):
                    found[j, c] += entry * rows[i, c]
            for c in range(LANES):
                squares += rows[i, c] * rows[i, c]
        for j in range(k):
            for c in range(size):
                sums[j, start + c] = found[j, c]
    return squares


@kernel
def _turn(X, top, centre, terms, rows):
    """Copy columns of X, with their centre, to `rows` (b, LANES), row by row, and 0 beside them."""
    size = terms.shape[0]
    for start in range(0, LANES, _TURNED):
        for i in range(rows.shape[0]):
            for c in range(start, start + _TURNED):
                rows[i, c] = X[top + i, terms[c]] + centre[terms[c]] if c < size else 0.0
