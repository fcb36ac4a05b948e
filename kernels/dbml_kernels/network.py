"""A feed-forward network over blocks: rows into tiles, forward, backward.

``a_0`` = standardised dense terms and embeddings, ``a_{l+1} = f(b_l + a_l W_l)``; sparse terms without an embedding add
rows of a table to ``b_0 + a_0 W_0``, which is a row of ``W_0`` for each, never a one-hot vector. Backward:
``dW_l = a_l' d_l``, ``d_{l-1} = (d_l W_l') f'``.

All numbers of one kind lie in one flat array, rows of matrices padded to `STEP` columns with zeros.

Source: Rumelhart, Hinton & Williams 1986, learning representations by back-propagating errors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dbml_kernels.jit import kernel
from dbml_kernels.matrix_tile import product_add
from dbml_kernels.network_activation import activation_rows, activation_slopes, units_drop

TILE = 256  # rows of a tile: its activations stay in the cache
STEP = 4  # widths are padded to it: the narrowest tile of a product

# Columns of `Layout.layers`.
N_IN, N_OUT, IN, OUT, WEIGHTS, BIASES, TURNED, INPUT, DELTA = 0, 1, 2, 3, 4, 5, 6, 7, 8


class Layout(NamedTuple):
    """Where everything lies.

    Attributes
    ----------
    layers : ndarray of shape (n_layers + 1, 9), int64
        Of each layer: width of input and output, the same padded, the first of its weights and biases among the
        parameters, and in the workspace of its transposed weights, its input tile and the derivatives of its outputs.
        A last layer of one output is not padded.
        The last row has only the outputs (as the input tile of a layer after the last) and, as derivatives, room for
        those of embeddings.
    offset, inverse : ndarray of shape (n_dense,), float64
        A dense term enters as ``(x + offset) inverse``.
    table, width, into : ndarray of shape (n_sparse,), int64
        Of each sparse term: where its row of the table begins among the parameters, the numbers in it, and the column
        of the input tile that they are added to, -1 for the outputs of the first layer.
    factor : ndarray of shape (n_sparse,), float64
        What a value is multiplied by.
    activation : int
        Of the hidden layers.
    """

    layers: np.ndarray
    offset: np.ndarray
    inverse: np.ndarray
    table: np.ndarray
    width: np.ndarray
    into: np.ndarray
    factor: np.ndarray
    activation: int


class Drop(NamedTuple):
    """Which units of a tile are left out: a share, by the numbers of the rows, the first of which is `first`."""

    share: float
    first: np.int64
    seed: np.int64


@kernel
def input_fill(layout, x, n, chosen, first, rows, sparse, params, work):
    """Write the standardised dense terms and the embeddings of rows to the input tile; x (n * d,) column-major.

    Row i of the tile is row ``chosen[first + i]`` of the block; `sparse` is (indptr, indices, values).
    """
    layers, d = layout.layers, layout.offset.shape[0]
    at, width = layers[0, INPUT], layers[0, IN]
    begin, together = chosen[first], chosen[first + rows - 1] - chosen[first] == rows - 1
    for j in range(d):
        offset, inverse = layout.offset[j], layout.inverse[j]
        if together:
            column = x[j * n + begin : j * n + begin + rows]
            for i in range(rows):
                work[at + i * width + j] = (column[i] + offset) * inverse
        else:
            for i in range(rows):
                work[at + i * width + j] = (x[j * n + chosen[first + i]] + offset) * inverse
    begin = (d + STEP - 1) // STEP * STEP
    if begin == width:
        return
    indptr, indices, values = sparse
    for i in range(rows):
        row = work[at + i * width : at + i * width + width]
        row[begin:] = 0
        r = chosen[first + i]
        for e in range(indptr[r], indptr[r + 1]):
            t = indices[e] - d
            if layout.into[t] >= 0:
                value = values[e] * layout.factor[t]
                for c in range(layout.width[t]):
                    row[layout.into[t] + c] += value * params[layout.table[t] + c]


@kernel
def layer_forward(layers, k, rows, params, work):
    """Write the outputs of a layer of dense inputs, without an activation."""
    width, out, begin, at = layers[k, IN], layers[k, OUT], layers[k, INPUT], layers[k + 1, INPUT]
    bias = params[layers[k, BIASES] : layers[k, BIASES] + out]
    if out == 1:
        weights = params[layers[k, WEIGHTS] : layers[k, WEIGHTS] + width]
        for i in range(rows):
            row, total = work[begin + i * width : begin + i * width + width], bias[0]
            for j in range(width):
                total += row[j] * weights[j]
            work[at + i] = total
        return
    whole = (rows + STEP - 1) // STEP * STEP
    for i in range(whole):
        row = work[at + i * out : at + i * out + out]
        for j in range(out):
            row[j] = bias[j]
    product_add(
        work, begin, width, np.int64(1), params, layers[k, WEIGHTS], out, work, at, out, whole, layers[k, N_IN], out,
    )  # fmt: skip


@kernel
def sparse_forward(layout, chosen, first, rows, sparse, params, work):
    """Add the rows of the table of sparse terms without an embedding to the outputs of the first layer."""
    out, at, d = layout.layers[0, OUT], layout.layers[1, INPUT], layout.offset.shape[0]
    indptr, indices, values = sparse
    for i in range(rows):
        r, row = chosen[first + i], work[at + i * out : at + i * out + out]
        for e in range(indptr[r], indptr[r + 1]):
            t = indices[e] - d
            if layout.into[t] < 0:
                value, start = values[e] * layout.factor[t], layout.table[t]
                for c in range(out):
                    row[c] += value * params[start + c]


@kernel
def network_forward(layout, chosen, first, rows, sparse, params, work, drop):
    """Fill the input tile of every layer from that of the first; the outputs are left without an activation."""
    layers = layout.layers
    last = layers.shape[0] - 2
    for k in range(last + 1):
        layer_forward(layers, k, rows, params, work)
        if k == 0 and layout.table.shape[0] > 0:
            sparse_forward(layout, chosen, first, rows, sparse, params, work)
        if k < last:
            at, n, out = layers[k + 1, INPUT], layers[k, N_OUT], layers[k, OUT]
            activation_rows(layout.activation, work, at, rows, n, out)
            if drop.share > 0.0:
                units_drop(work, at, rows, n, out, drop.share, drop.first, drop.seed + k)


@kernel
def weights_turn(layout, params, work):
    """Copy the weights that derivatives go back through, transposed: all but those of the dense inputs."""
    layers = layout.layers
    for k in range(layers.shape[0] - 1):
        begin = 0 if k > 0 else (layout.offset.shape[0] + STEP - 1) // STEP * STEP
        if k > 0 and layers[k, OUT] == 1:
            continue
        width, out = layers[k, IN] - begin, layers[k, OUT]
        for i in range(width):
            start = layers[k, WEIGHTS] + (begin + i) * out
            for j in range(out):
                work[layers[k, TURNED] + j * width + i] = params[start + j]


@kernel
def network_backward(layout, chosen, first, rows, sparse, params, work, drop, gradient, marked, touched, n_touched):
    """Add the derivatives of rows, from those of the outputs; return how many sparse terms the batch has touched.

    `marked` (n_sparse,) uint8 says which, `touched` (n_sparse,) int32 lists them.
    """
    layers = layout.layers
    whole = (rows + STEP - 1) // STEP * STEP
    for k in range(layers.shape[0] - 2, -1, -1):
        width, out, at, delta = layers[k, IN], layers[k, OUT], layers[k, INPUT], layers[k, DELTA]
        if out == 1:
            single_backward(layers, k, rows, params, work, gradient)
        else:
            product_add(
                work, at, np.int64(1), width, work, delta, out, gradient, layers[k, WEIGHTS], out, width, rows, out,
            )  # fmt: skip
            rows_sum(work, delta, rows, out, gradient, layers[k, BIASES])
        if k > 0:
            back = layers[k - 1, DELTA]
            if out > 1:
                work[back : back + whole * width] = 0
                product_add(
                    work, delta, out, np.int64(1), work, layers[k, TURNED], width, work, back, width,
                    whole, layers[k, N_OUT], width,
                )  # fmt: skip
            n = layers[k, N_IN]
            if drop.share > 0.0:
                # The derivative is that of what the unit was before: where it was dropped, nothing comes back.
                units_drop(work, back, rows, n, width, drop.share, drop.first, drop.seed + k - 1)
                kept = work.dtype.type(1.0 - drop.share)
                for i in range(rows * width):
                    work[at + i] *= kept
            activation_slopes(layout.activation, work, at, work, back, rows, n, width)
    if layout.table.shape[0] == 0:
        return n_touched
    return sparse_backward(layout, chosen, first, rows, sparse, params, work, gradient, marked, touched, n_touched)


@kernel
def rows_sum(work, at, rows, width, sums, to):
    """Add the rows of a matrix in the workspace to ``sums[to …]``."""
    total = sums[to : to + width]
    four = rows // 4 * 4
    for i in range(0, four, 4):
        tile = work[at + i * width : at + (i + 4) * width]
        for j in range(width):
            total[j] += (tile[j] + tile[j + width]) + (tile[j + 2 * width] + tile[j + 3 * width])
    for i in range(four, rows):
        for j in range(width):
            total[j] += work[at + i * width + j]


@kernel
def single_backward(layers, k, rows, params, work, gradient):
    """Add the derivatives of a layer of one output, and write those of its inputs if they are a layer's outputs."""
    width, at, start = layers[k, IN], layers[k, INPUT], layers[k, WEIGHTS]
    slopes = work[layers[k, DELTA] : layers[k, DELTA] + rows]
    sums, weights = gradient[start : start + width], params[start : start + width]
    total, four = slopes[0] - slopes[0], rows // 4 * 4
    for i in range(0, four, 4):
        s, t, u, v = slopes[i], slopes[i + 1], slopes[i + 2], slopes[i + 3]
        total += (s + t) + (u + v)
        tile = work[at + i * width : at + (i + 4) * width]
        for j in range(width):
            sums[j] += s * tile[j] + t * tile[j + width] + u * tile[j + 2 * width] + v * tile[j + 3 * width]
    for i in range(four, rows):
        total += slopes[i]
        for j in range(width):
            sums[j] += slopes[i] * work[at + i * width + j]
    gradient[layers[k, BIASES]] += total
    if k > 0:
        back = layers[k - 1, DELTA]
        for i in range(rows):
            slope, row = slopes[i], work[back + i * width : back + i * width + width]
            for j in range(width):
                row[j] = slope * weights[j]


@kernel
def sparse_backward(layout, chosen, first, rows, sparse, params, work, gradient, marked, touched, n_touched):
    """Add the derivatives of the rows of tables: embeddings, and rows of the first layer; see `network_backward`."""
    layers, d = layout.layers, layout.offset.shape[0]
    begin = (d + STEP - 1) // STEP * STEP
    width, out, delta = layers[0, IN] - begin, layers[0, OUT], layers[0, DELTA]
    back = layers[layers.shape[0] - 1, DELTA]
    whole = (rows + STEP - 1) // STEP * STEP
    if width > 0:
        work[back : back + whole * width] = 0
        product_add(
            work, delta, out, np.int64(1), work, layers[0, TURNED], width, work, back, width,
            whole, layers[0, N_OUT], width,
        )  # fmt: skip
    indptr, indices, values = sparse
    for i in range(rows):
        r = chosen[first + i]
        for e in range(indptr[r], indptr[r + 1]):
            t = indices[e] - d
            if marked[t] == 0:
                marked[t] = 1
                touched[n_touched] = t
                n_touched += 1
            slope = delta + i * out if layout.into[t] < 0 else back + i * width + layout.into[t] - begin
            value, start = values[e] * layout.factor[t], layout.table[t]
            for c in range(layout.width[t]):
                gradient[start + c] += value * work[slope + c]
    return n_touched
