"""Steps of Adam and of gradient descent with momentum, and the loop over the batches of a block.

Adam: ``m = b1 m + (1 - b1) g``, ``v = b2 v + (1 - b2) g^2``, ``p -= r sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + e)``.
Momentum: ``u = mu u - r g``, ``p += u`` or, with Nesterov's look ahead, ``p += mu u - r g``.

Rows of tables (sparse terms) move only with the batches that have them; what the batches between would have done to
the moments is made up for then.

Source: Kingma & Ba 2015, Adam; Sutskever et al. 2013, on the importance of initialization and momentum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dbml_kernels.jit import kernel
from dbml_kernels.network import (
    DELTA,
    INPUT,
    N_OUT,
    OUT,
    TILE,
    Drop,
    input_fill,
    network_backward,
    network_forward,
    weights_turn,
)
from dbml_kernels.network_activation import loss_slopes_rows

ADAM, MOMENTUM, NESTEROV = 0, 1, 2

# Entries of `Training.counts` and `Training.sums`.
FILLED, STEPS, TOUCHED, ROWS = 0, 1, 2, 3
BATCH_WEIGHT, LOSS, WEIGHT, BATCHES = 0, 1, 2, 3


class Training(NamedTuple):
    """What a training changes.

    Attributes
    ----------
    params, first, second, gradient : ndarray of shape (n_params,)
        Weights, biases and tables; their moments (first: the velocity of momentum); the sums of a batch that is not
        full yet. One type: float32 or float64, as is the workspace.
    seen : ndarray of shape (n_sparse,), int64
        Number of the last step that moved the row of a term.
    marked, touched : ndarray of shape (n_sparse,), uint8 and int32
        Sparse terms of the batch.
    counts : ndarray of shape (4,), int64
        Rows in the batch, steps made, terms touched in the batch, rows seen.
    sums : ndarray of shape (4,), float64
        Weight of the batch; loss, weight and batches of the epoch.
    """

    params: np.ndarray
    first: np.ndarray
    second: np.ndarray
    gradient: np.ndarray
    seen: np.ndarray
    marked: np.ndarray
    touched: np.ndarray
    counts: np.ndarray
    sums: np.ndarray


class Rule(NamedTuple):
    """How steps are made.

    Attributes
    ----------
    kind : int
        ADAM, MOMENTUM or NESTEROV.
    rate, alpha : float
        Learning rate; strength of the penalty, by the weight of a batch.
    beta_1, beta_2, epsilon : float
        Of Adam; `beta_1` is the momentum of the others.
    batch : int
        Rows of a batch.
    loss : int
        See `loss_slopes_rows`.
    n_weights, n_dense : int
        The first parameters are weights, with a penalty, then come biases, then tables.
    dropout, seed : float, int
        Share of the hidden units that is left out of each row, and what decides which.
    """

    kind: int
    rate: float
    alpha: float
    beta_1: float
    beta_2: float
    epsilon: float
    batch: int
    loss: int
    n_weights: int
    n_dense: int
    dropout: float
    seed: int


@kernel
def adam_run(params, first, second, gradient, start, stop, numbers):
    """One step of the parameters ``start … stop - 1``; `numbers` are of their type, see `step_numbers`."""
    alpha, scale, b1, c1 = numbers[0], numbers[1], numbers[2], numbers[3]
    b2, c2, rate, epsilon = numbers[4], numbers[5], numbers[6], numbers[7]
    for i in range(start, stop):
        g = (gradient[i] + alpha * params[i]) * scale
        m = b1 * first[i] + c1 * g
        v = b2 * second[i] + c2 * g * g
        first[i], second[i] = m, v
        params[i] -= rate * m / (np.sqrt(v) + epsilon)
        gradient[i] = 0


@kernel
def momentum_run(params, first, gradient, start, stop, nesterov, numbers):
    """One step of the parameters ``start … stop - 1`` by momentum."""
    alpha, scale, b1, rate = numbers[0], numbers[1], numbers[2], numbers[6]
    for i in range(start, stop):
        g = (gradient[i] + alpha * params[i]) * scale
        u = b1 * first[i] - rate * g
        first[i] = u
        params[i] += b1 * u - rate * g if nesterov else u
        gradient[i] = 0


@kernel
def step_run(rule, training, start, stop, numbers):
    """One step of some parameters by the rule."""
    t = training
    if rule.kind == ADAM:
        adam_run(t.params, t.first, t.second, t.gradient, start, stop, numbers)
    else:
        momentum_run(t.params, t.first, t.gradient, start, stop, rule.kind == NESTEROV, numbers)


@kernel
def network_update(layout, rule, training, numbers):
    """Move the parameters by the batch, and begin another; `numbers` (8,) is room for constants of their type."""
    counts, sums = training.counts, training.sums
    counts[STEPS] += 1
    step = counts[STEPS]
    numbers[0], numbers[1] = rule.alpha, 1.0 / sums[BATCH_WEIGHT]
    numbers[2], numbers[3] = rule.beta_1, 1.0 - rule.beta_1
    numbers[4], numbers[5] = rule.beta_2, 1.0 - rule.beta_2
    numbers[6], numbers[7] = rule.rate, rule.epsilon
    if rule.kind == ADAM:
        numbers[6] = rule.rate * np.sqrt(1.0 - rule.beta_2**step) / (1.0 - rule.beta_1**step)
    step_run(rule, training, np.int64(0), rule.n_weights, numbers)
    numbers[0] = 0
    step_run(rule, training, rule.n_weights, rule.n_dense, numbers)
    for k in range(counts[TOUCHED]):
        t = training.touched[k]
        missed = step - 1 - training.seen[t]
        start, stop = layout.table[t], layout.table[t] + layout.width[t]
        if missed > 0:
            decay, second = rule.beta_1**missed, rule.beta_2**missed
            for i in range(start, stop):
                training.first[i] *= decay
                training.second[i] *= second
        numbers[0] = rule.alpha * (missed + 1)
        step_run(rule, training, start, stop, numbers)
        training.seen[t] = step
        training.marked[t] = 0
    counts[FILLED] = counts[TOUCHED] = 0
    sums[WEIGHT] += sums[BATCH_WEIGHT]
    sums[BATCH_WEIGHT] = 0.0
    sums[BATCHES] += 1.0


@kernel
def network_block(layout, rule, x, n, sparse, y, w, chosen, training, work, numbers):
    """Go through the `chosen` rows of a block, and make a step whenever a batch is full.

    Shapes: x (n * n_dense,) column-major, y and w (n,), `chosen` numbers of rows, ascending; work and numbers are room.
    """
    layers, counts, sums = layout.layers, training.counts, training.sums
    last = layers.shape[0] - 2
    first = np.int64(0)
    weights_turn(layout, training.params, work)
    while first < chosen.shape[0]:
        rows = min(TILE, rule.batch - counts[FILLED], chosen.shape[0] - first)
        input_fill(layout, x, n, chosen, first, rows, sparse, training.params, work)
        drop = Drop(rule.dropout, counts[ROWS], rule.seed)
        network_forward(layout, chosen, first, rows, sparse, training.params, work, drop)
        sums[LOSS] += loss_slopes_rows(
            rule.loss, work, layers[last + 1, INPUT], y, w, first, chosen, rows, layers[last, N_OUT],
            layers[last, OUT], work, layers[last, DELTA],
        )  # fmt: skip
        counts[TOUCHED] = network_backward(
            layout, chosen, first, rows, sparse, training.params, work, drop, training.gradient, training.marked,
            training.touched, counts[TOUCHED],
        )  # fmt: skip
        for i in range(first, first + rows):
            sums[BATCH_WEIGHT] += w[chosen[i]]
        counts[ROWS] += rows
        counts[FILLED] += rows
        first += rows
        if counts[FILLED] == rule.batch:
            network_update(layout, rule, training, numbers)
            weights_turn(layout, training.params, work)


@kernel
def network_rows(layout, x, n, sparse, chosen, params, work, out):
    """Write the outputs of the `chosen` rows of a block, without an activation; out (chosen, n_outputs), float64."""
    layers = layout.layers
    last = layers.shape[0] - 2
    at, width = layers[last + 1, INPUT], layers[last, OUT]
    for first in range(0, chosen.shape[0], TILE):
        rows = min(TILE, chosen.shape[0] - first)
        input_fill(layout, x, n, chosen, first, rows, sparse, params, work)
        network_forward(layout, chosen, first, rows, sparse, params, work, Drop(0.0, np.int64(0), np.int64(0)))
        for i in range(rows):
            for j in range(layers[last, N_OUT]):
                out[first + i, j] = work[at + i * width + j]
