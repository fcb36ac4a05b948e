"""Values of the radial kernel between rows and landmarks, in single precision, tile by tile.

``exp(-gamma |x - v|^2)`` from ``|x|^2 + |v|^2 - 2 x . v``: a product costs half of what differences do. While
``gamma |x|^2`` is some tens at most, the digits that cancel do not matter.

Landmarks lie in panels of `PANEL`: ``panels[q, k, c]`` is term k of landmark ``PANEL q + c``, zeros beyond the last. So
rows of values are M long, a multiple of `PANEL`; what stands beyond the last landmark is not used.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dbml_kernels.exponential import exponential_single
from dbml_kernels.jit import kernel
from dbml_kernels.matrix_tile import PANEL, panel_add

_F = np.float32


class Landmarks(NamedTuple):
    """What rows are compared with.

    Attributes
    ----------
    gamma : float32
    panels : ndarray of shape (M / PANEL, n_terms, PANEL), float32
    squares : ndarray of shape (M,), float32
        ``|v|^2``.
    """

    gamma: np.float32
    panels: np.ndarray
    squares: np.ndarray


@kernel
def values_fill(landmarks, x, n, chosen, turned, values):
    """``values[i, j] = K(row chosen[i], landmark j)``; x (n * d,) column-major, values (rows, M) float32.

    `turned` (d * rows,) float32 is scratch; rows is a multiple of 4, of which the first ``len(chosen)`` are filled.
    """
    gamma, panels, squares = landmarks
    n_panels, d, _ = panels.shape
    rows, width = values.shape
    own = np.zeros(rows, np.float32)
    for k in range(d):
        line = turned[k * rows : (k + 1) * rows]
        for i in range(chosen.shape[0]):
            line[i] = x[k * n + chosen[i]]
            own[i] += line[i] * line[i]
        for i in range(chosen.shape[0], rows):
            line[i] = _F(0.0)
    values[:, :] = _F(0.0)
    flat, all_panels = values.reshape(rows * width), panels.reshape(n_panels * d * PANEL)
    for q in range(n_panels):
        panel_add(turned, 0, 1, rows, all_panels, q * d * PANEL, PANEL, flat, q * PANEL, width, rows, d)
    twice = _F(2.0) * gamma
    for i in range(chosen.shape[0]):
        line, first = values[i], -gamma * own[i]
        for j in range(width):
            line[j] = exponential_single(min(first - gamma * squares[j] + twice * line[j], _F(0.0)))
