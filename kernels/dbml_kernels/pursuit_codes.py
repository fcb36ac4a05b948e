"""Orthogonal matching pursuit: the atom that fits what is left best, then least squares over all atoms chosen so far.

Only ``gram = D D'`` (k, k) and ``projection = x D'`` (n, k) are read; the least squares of a row is a Cholesky factor
that grows by a row an atom.

Rubinstein, Zibulevsky & Elad 2008, Batch-OMP.
"""

from __future__ import annotations

from dbml_kernels.jit import kernel

_ALIKE = 1e-12  # squared share of a new atom that the chosen ones do not span, from which it counts


@kernel(exact=True)
def pursuit_codes(gram, projection, n_nonzero, codes, left, factor, chosen, solved):
    """Write the codes of all rows, at most `n_nonzero` entries each, to `codes` (n, k).

    left (k,), factor (n_nonzero, n_nonzero), chosen (n_nonzero,) intp and solved (n_nonzero,) are scratch.
    """
    n, k = codes.shape
    for i in range(n):
        for j in range(k):
            codes[i, j] = 0.0
            left[j] = projection[i, j]
        count = 0
        while count < n_nonzero:
            best, size = -1, 0.0
            for j in range(k):
                # Of an atom that is chosen nothing is left but rounding errors.
                taken = False
                for s in range(count):
                    taken = taken or chosen[s] == j
                if not taken and left[j] * left[j] > size:
                    best, size = j, left[j] * left[j]
            if best < 0 or size <= 1e-30 * projection[i, best] * projection[i, best]:
                break
            if not _extend(gram, factor, chosen, best, count):
                break
            chosen[count] = best
            count += 1
            _solve(factor, projection[i], chosen, count, solved)
            for j in range(k):
                left[j] = projection[i, j]
            for s in range(count):
                for j in range(k):
                    left[j] -= solved[s] * gram[chosen[s], j]
        for s in range(count):
            codes[i, chosen[s]] = solved[s]


@kernel(exact=True)
def _extend(gram, factor, chosen, atom, count):
    """Add an atom to the Cholesky factor of the chosen ones; False where they span it."""
    rest = gram[atom, atom]
    for s in range(count):
        value = gram[atom, chosen[s]]
        for t in range(s):
            value -= factor[count, t] * factor[s, t]
        factor[count, s] = value / factor[s, s]
        rest -= factor[count, s] * factor[count, s]
    if rest <= _ALIKE * gram[atom, atom]:
        return False
    factor[count, count] = rest**0.5
    return True


@kernel(exact=True)
def _solve(factor, projection, chosen, count, solved):
    for s in range(count):
        value = projection[chosen[s]]
        for t in range(s):
            value -= factor[s, t] * solved[t]
        solved[s] = value / factor[s, s]
    for s in range(count - 1, -1, -1):
        value = solved[s]
        for t in range(s + 1, count):
            value -= factor[t, s] * solved[t]
        solved[s] = value / factor[s, s]
