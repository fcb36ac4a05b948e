"""Sums over rows that a linear machine over values of a kernel is trained by: loss, gradient, Hessian.

With the values k of a row at the landmarks the predictor is ``c . k + b``, and its gradient a sum of ``r k``. Hessians
are of features ``f = N k``: sums of ``h f f'`` in single precision keep the digits of the small ones, which sums of
``h k k'`` would lose. Rows of no curvature cost nothing there.

Values come from rows (`landmark_values.values_fill`), or are given, where `given` has as many rows as there are.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel
from dbml_kernels.landmark_values import values_fill
from dbml_kernels.losses import HINGE, epsilon_insensitive, hinge
from dbml_kernels.matrix_tile import PANEL, panel_add

TILE_BYTES = 1 << 18  # of the values of a tile of the first kernel: they stay in the second cache
HESSIAN_ROWS = 256  # of a tile of the second: sums of so many rows are added to doubles
_DEPTH = 256  # terms of a product at a time: its panel stays in the first cache


@kernel
def landmark_loss_add(landmarks, x, n, chosen, given, coef, intercept, losses, y, weight, sums, gradient, curvature):
    """Add loss and gradient of rows, write their curvature.

    x (n * d,) column-major, chosen (r,) the rows, given (r or 0, M) float32; by machine: coef (q, M), intercept (q,),
    losses (q, 3) the code (HINGE, else EPSILON_INSENSITIVE), epsilon and the width of the corner, y, weight, curvature
    (q, r), sums (q, 2) weight and loss, gradient (q, M + 1), whose last is that of the intercept.
    """
    width, n_machines = coef.shape[1], coef.shape[0]
    rows = max(32, TILE_BYTES // (4 * width) // 4 * 4)
    values, turned = np.empty((rows, width), np.float32), np.empty(rows * landmarks.panels.shape[1], np.float32)
    eta, slope = np.empty(rows), np.empty(rows)
    used = np.empty(rows, np.int64)
    for start in range(0, chosen.shape[0], rows):
        stop = min(start + rows, chosen.shape[0])
        count = stop - start
        if given.shape[0]:
            tile = given[start:stop]
        else:
            values_fill(landmarks, x, n, chosen[start:stop], turned, values)
            tile = values
        for q in range(n_machines):
            own = coef[q]
            for i in range(count):
                line, total = tile[i], 0.0
                for j in range(width):
                    total += own[j] * line[j]
                eta[i] = total + intercept[q]
            w, found = weight[q, start:stop], curvature[q, start:stop]
            target, epsilon, corner = y[q, start:stop], losses[q, 1], losses[q, 2]
            if losses[q, 0] == HINGE:
                sums[q, 1] += hinge(corner, eta[:count], target, w, slope[:count], found)
            else:
                sums[q, 1] += epsilon_insensitive(epsilon, corner, eta[:count], target, w, slope[:count], found)
            m = 0
            for i in range(count):
                sums[q, 0] += w[i]
                gradient[q, width] += slope[i]
                if slope[i] != 0.0:
                    used[m] = i
                    m += 1
            _lines_add(tile, used[:m], slope, gradient[q])


@kernel
def _lines_add(tile, used, slope, out):
    """``out[:M] += sum over used i of slope[i] tile[i]``, four rows at a time."""
    width = tile.shape[1]
    whole = used.shape[0] - used.shape[0] % 4
    for u in range(0, whole, 4):
        i0, i1, i2, i3 = used[u], used[u + 1], used[u + 2], used[u + 3]
        s0, s1, s2, s3 = slope[i0], slope[i1], slope[i2], slope[i3]
        t0, t1, t2, t3 = tile[i0], tile[i1], tile[i2], tile[i3]
        for j in range(width):
            out[j] += (s0 * t0[j] + s1 * t1[j]) + (s2 * t2[j] + s3 * t3[j])
    for u in range(whole, used.shape[0]):
        i = used[u]
        s, t = slope[i], tile[i]
        for j in range(width):
            out[j] += s * t[j]


@kernel
def landmark_hessian_add(landmarks, x, n, chosen, given, turn, curvature, gram):
    """``gram += [1 z f]' diag(curvature) [1 z f]`` (lower triangle, without the column of z) of features of rows.

    chosen (r,) the rows, of positive curvature; given (r or 0, M) float32; turn (Q, M, PANEL) float32:
    ``turn[q, j, c] = N[PANEL q + c, j]``; curvature (r,), gram (m, m) with ``m - 2`` features.
    """
    n_panels, width, _ = turn.shape
    rows = HESSIAN_ROWS
    values, turned = np.empty((rows, width), np.float32), np.empty(rows * landmarks.panels.shape[1], np.float32)
    features, all_turns = np.empty(n_panels * rows * PANEL, np.float32), turn.reshape(n_panels * width * PANEL)
    block, root = np.empty(PANEL * PANEL, np.float32), np.empty(rows, np.float32)
    for start in range(0, chosen.shape[0], rows):
        stop = min(start + rows, chosen.shape[0])
        count = stop - start
        if given.shape[0]:
            values[:count] = given[start:stop]
        else:
            values_fill(landmarks, x, n, chosen[start:stop], turned, values)
        values[count:] = np.float32(0.0)
        for i in range(count):
            root[i] = np.sqrt(curvature[start + i])
            gram[0, 0] += curvature[start + i]
            line = values[i]
            for j in range(width):
                line[j] *= root[i]
        features[:] = np.float32(0.0)
        flat = values.reshape(rows * width)
        for first in range(0, width, _DEPTH):
            depth = min(_DEPTH, width - first)
            for q in range(n_panels):
                panel_add(
                    flat, first, width, 1, all_turns, (q * width + first) * PANEL, PANEL,
                    features, q * rows * PANEL, PANEL, rows, depth,
                )  # fmt: skip
        _triangle_add(features, rows, n_panels, root[:count], block, gram)


@kernel
def _triangle_add(features, rows, n_panels, root, block, gram):
    """Add products of features with each other, and with the roots of the weights; features (n_panels, rows, PANEL)."""
    m = gram.shape[0] - 2
    size = rows * PANEL
    for q in range(n_panels):
        high = min(PANEL, m - q * PANEL)
        for c in range(high):
            total = 0.0
            for i in range(root.shape[0]):
                total += root[i] * features[q * size + i * PANEL + c]
            gram[2 + q * PANEL + c, 0] += total
        for p in range(q + 1):
            block[:] = np.float32(0.0)
            panel_add(features, q * size, 1, PANEL, features, p * size, PANEL, block, 0, PANEL, PANEL, rows)
            for r in range(high):
                j = q * PANEL + r
                for c in range(min(PANEL, j - p * PANEL + 1)):
                    gram[2 + j, 2 + p * PANEL + c] += block[r * PANEL + c]
