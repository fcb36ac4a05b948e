"""Atoms of a dictionary, each improved once, the others fixed: ``d_j += (b_j - a_j D) / a_jj``, within length 1.

Block coordinate descent of Mairal, Bach, Ponce & Sapiro 2010 on means ``A`` (k, k) of codes and ``B`` (k, p) of codes
and rows. Atoms are taken in panels: what the others leave of a panel is a product of matrices; within the panel each
change is passed on at once.
"""

from __future__ import annotations

from dbml_kernels.jit import kernel
from dbml_kernels.matrix_tile import product_add

_PANEL = 16  # atoms of a panel; a multiple of the rows of a tile


@kernel
def panel_improve(atoms, moments, first, last, outside, positive, unused, left):
    """Improve atoms ``first`` to ``last`` of `atoms` (k, p) in place; return the squared length of all changes.

    left (last - first, p) holds ``B - A D`` of these atoms, and is overwritten. moments (k, k), outside (k,) squared
    length of the atoms in other features, unused (k,) bool of atoms that stay as they are.
    """
    moved = 0.0
    for j in range(first, last):
        if not unused[j]:
            moved += _replace(atoms[j], moments[j, j], max(0.0, 1.0 - outside[j]), positive, left[j - first])
            for later in range(j + 1, last):
                _take(left[later - first], moments[later, j], left[j - first])
    return moved


@kernel
def gradient_improve(atoms, gradient, moments, less, lengths, positive, unused, changes):
    """Improve atoms in some features from ``gradient = B - A D``; return the squared length of all changes.

    atoms, gradient, changes (k, p) and less = ``-A`` (k, k), with k and p padded by zeros to multiples of 4 (`unused`
    says which atoms are none). lengths (k,), squares of whole atoms, are brought up to date, the gradient is not:
    it falls by ``A changes``.
    """
    k, p = atoms.shape
    flat = changes.reshape(k * p)
    moved = 0.0
    for first in range(0, k, _PANEL):
        last = min(first + _PANEL, k)
        left = changes[first:last]
        left[:] = gradient[first:last]
        product_add(less.reshape(k * k), first * k, k, 1, flat, 0, p, flat, first * p, p, last - first, first, p)
        for j in range(first, last):
            lengths[j] = max(0.0, lengths[j] - _length(atoms[j]))
        moved += panel_improve(atoms, moments, first, last, lengths, positive, unused, left)
        for j in range(first, last):
            lengths[j] += _length(atoms[j])
            if unused[j]:
                left[j - first] = 0.0
    return moved


@kernel
def _length(atom):
    length = 0.0
    for c in range(atom.shape[0]):
        length += atom[c] * atom[c]
    return length


@kernel
def _take(row, share, atom):
    for c in range(row.shape[0]):
        row[c] -= share * atom[c]


@kernel
def _replace(atom, curvature, room, positive, left):
    """Improve an atom; `left` becomes its change. Returns the squared length of the change."""
    length = 0.0
    for c in range(atom.shape[0]):
        value = atom[c] + left[c] / curvature
        if positive:
            value = max(value, 0.0)
        left[c] = value
        length += value * value
    scale = (room / length) ** 0.5 if length > room else 1.0
    moved = 0.0
    for c in range(atom.shape[0]):
        value = left[c] * scale
        left[c] = value - atom[c]
        atom[c] = value
        moved += left[c] * left[c]
    return moved
