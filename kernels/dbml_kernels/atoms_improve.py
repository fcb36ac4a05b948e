"""Atoms of a dictionary, each improved once, the others fixed: ``d_j += (b_j - a_j D) / a_jj``, within length 1.

Block coordinate descent of Mairal, Bach, Ponce & Sapiro 2010 on means ``A`` (k, k) of codes and ``B`` (k, p) of codes
and rows. Atoms are taken in panels: what the others leave of a panel is gone through tile by tile of the features, so
that all atoms of a tile stay near; within the panel each change is passed on at once.
"""

from __future__ import annotations

from dbml_kernels.jit import kernel

PANEL = 16
_TILE = 256


@kernel
def atoms_improve(atoms, moments, data, outside, positive, unused, left):
    """Improve `atoms` (k, p) in place; return the squared length of all changes.

    moments (k, k), data (k, p), outside (k,) squared length of the atoms in other features, unused (k,) bool of atoms
    that stay as they are, left (PANEL, p) scratch.
    """
    k = atoms.shape[0]
    moved = 0.0
    for first in range(0, k, PANEL):
        last = min(first + PANEL, k)
        _leave(atoms, moments, data, first, last, left)
        for j in range(first, last):
            if not unused[j]:
                moved += _replace(atoms[j], moments[j, j], max(0.0, 1.0 - outside[j]), positive, left[j - first])
                for later in range(j + 1, last):
                    _take(left[later - first], moments[later, j], left[j - first])
    return moved


@kernel
def _leave(atoms, moments, data, first, last, left):
    """Set ``left = data - moments atoms`` for a panel."""
    k, p = atoms.shape
    for start in range(0, p, _TILE):
        stop = min(start + _TILE, p)
        for j in range(first, last):
            row = left[j - first]
            for c in range(start, stop):
                row[c] = data[j, c]
            for m in range(k):
                share = moments[j, m]
                if share != 0.0:
                    _take(row[start:stop], share, atoms[m, start:stop])


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
