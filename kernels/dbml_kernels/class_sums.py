"""Sums of every term by class: what naive Bayes on counts, on 0/1 values and on sparse terms needs of the rows.

``sums[c, j] = sum_{i: y_i = c} w_i x_ij``, or of ``1[x_ij > thresholds[j]]`` where there are thresholds. X is the flat
memory of a column-major (n, d) matrix, S compressed rows with term numbers from d on; y holds class numbers.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel

CODE_ZERO = 1 << 32  # what a column of codes holds for code 0; 0 is a missing code


@kernel
def class_weight_add(y, w, weighted, weight):
    """``weight[c] += sum_{i: y_i = c} w_i``; y, w (n,), weight (k,)."""
    for i in range(y.shape[0]):
        weight[np.int64(y[i])] += w[i] if weighted else 1.0


@kernel
def class_sums_add(x, n, d, y, w, weighted, thresholds, sums, lowest):
    """Add n dense rows, and lower `lowest` to the least value of each term.

    Shapes: sums (k, >= d), lowest (>= d,), thresholds (>= d,) or (0,).
    """
    binary = thresholds.shape[0] > 0
    for j in range(d):
        column = x[j * n : (j + 1) * n]
        least = lowest[j]
        for i in range(n):
            value = column[i]
            least = min(least, value)
            if binary:
                value = 1.0 if value > thresholds[j] else 0.0
            sums[np.int64(y[i]), j] += w[i] * value if weighted else value
        lowest[j] = least


@kernel
def class_sums_add_sparse(indptr, indices, values, y, w, weighted, thresholds, first, sums, lowest):
    """Add sparse rows, and lower `lowest` to the least value; term t is column ``t - first``.

    Shapes: sums (k, p), lowest (p,), thresholds (p,) or (0,).
    """
    binary = thresholds.shape[0] > 0
    for i in range(y.shape[0]):
        c, factor = np.int64(y[i]), w[i] if weighted else 1.0
        for e in range(indptr[i], indptr[i + 1]):
            value, j = values[e], indices[e] - first
            lowest[j] = min(lowest[j], value)
            if binary:
                value = 1.0 if value > thresholds[j] else 0.0
            sums[c, j] += factor * value


@kernel
def code_slot(value, first, n_codes, null_slot):
    """Return the slot of a code, or of a missing one; -1 where it has none."""
    if value == 0.0:
        return null_slot
    code = np.int64(value) - CODE_ZERO
    return first + code if code >= 0 and code < n_codes else np.int64(-1)


@kernel
def class_codes_add(x, n, columns, slots, n_codes, null_slots, y, w, weighted, counts):
    """Count the codes of columns by class: ``counts[c, slots[f] + code] += w``.

    A column holds ``CODE_ZERO + code``, and 0 where the code is missing, which is counted at ``null_slots[f]`` unless
    that is below 0. A code that is not in ``[0, n_codes[f])`` is not counted.
    Shapes: columns, slots, n_codes, null_slots (n_features,); counts (k, n_slots).
    """
    for f in range(columns.shape[0]):
        column = x[columns[f] * n : (columns[f] + 1) * n]
        for i in range(n):
            slot = code_slot(column[i], slots[f], n_codes[f], null_slots[f])
            if slot >= 0:
                counts[np.int64(y[i]), slot] += w[i] if weighted else 1.0


@kernel
def code_weights_add(x, n, columns, slots, n_codes, null_slots, table, out):
    """``out_i += sum_f table[slot of the code of row i in column f]``, 0 for codes that have none; out (n,)."""
    for f in range(columns.shape[0]):
        column = x[columns[f] * n : (columns[f] + 1) * n]
        for i in range(n):
            slot = code_slot(column[i], slots[f], n_codes[f], null_slots[f])
            if slot >= 0:
                out[i] += table[slot]
