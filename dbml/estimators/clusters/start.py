"""Where centres start: k-means++, k-means||, rows at random."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dbml.estimators.clusters.centres import Centres, CentreStep, WeightedDrawStep
from dbml.estimators.clusters.rows import Rows
from dbml.estimators.design import dense_rows
from dbml.passes.block import Block, Floats
from dbml.passes.step import State, Step

Fold = Callable[[Step, str], State]

_ROUNDS = 5  # of k-means||
_OVERSAMPLING = 2  # rows drawn in a round for each centre


def plus_plus(rows: Rows, k: int, seed: int) -> Floats:
    """Return rows chosen by greedy k-means++: each the best of a few, drawn in proportion to the squared distance.

    Arthur & Vassilvitskii 2007. Fewer than k where there are fewer different rows. Cost: k log k passes over `rows`.
    """
    generator = np.random.default_rng(seed)
    weight = rows.weights()
    trials = 2 + int(np.log(k))
    points = rows_at(rows, _drawn_index(generator, weight, 1))
    like = Centres(points, rows.parts[0].X.shape[1])
    closest = _squares(rows, like)[0]
    while len(points) < k:
        mass = weight * closest
        if not mass.any():
            break
        candidates = rows_at(rows, _drawn_index(generator, mass, trials))
        squares = np.minimum(_squares(rows, like.at(candidates)), closest)
        best = int(np.argmin(squares @ weight))
        closest = squares[best]
        points = np.vstack([points, candidates[best]])
    return points


def _drawn_index(generator: np.random.Generator, mass: Floats, n: int) -> np.ndarray:
    """Return the numbers of `n` rows drawn in proportion to `mass`; never one of mass 0."""
    total = np.cumsum(mass)
    index = np.searchsorted(total, generator.random(n) * total[-1], side="right")
    return np.minimum(index, np.flatnonzero(mass)[-1])


def _squares(rows: Rows, centres: Centres) -> Floats:
    return np.concatenate([centres.squares_to(part) for part in rows.parts], axis=1)


def rows_at(rows: Rows, index: np.ndarray) -> Floats:
    """Return some rows with all their terms."""
    starts = np.array([part.start for part in rows.parts])
    points = np.zeros((len(index), rows.n_terms))
    for place, (i, number) in enumerate(zip(index, np.searchsorted(starts, index, side="right") - 1, strict=True)):
        row = i - starts[number]
        points[place] = dense_rows(rows.parts[number], rows.n_terms, slice(row, row + 1))[0]
    return points


def at_random(fold: Fold, k: int, like: Centres, seed: int) -> Floats:
    """Return k rows drawn in proportion to their weight: one pass."""
    none = like.at(np.zeros((0, like.points.shape[1])))
    return WeightedDrawStep.drawn(fold(WeightedDrawStep(none, k, seed), "rows to start from"))


def scalable(fold: Fold, k: int, like: Centres, seed: int) -> Floats:
    """Return centres by k-means||: rounds that draw 2 k rows each, then k-means++ on these, weighted.

    Bahmani et al. 2012. Seven passes.
    """
    points = at_random(fold, 1, like, seed)
    for number in range(1, _ROUNDS + 1):
        state = fold(WeightedDrawStep(like.at(points), _OVERSAMPLING * k, seed + number), "k-means||")
        points = np.vstack([points, WeightedDrawStep.drawn(state)])
    weight = fold(CentreStep(like.at(points)), "k-means||")["totals"][0]
    used = weight > 0.0
    block = Block(np.asfortranarray(points[used]), None, None, weight[used], 0)
    return plus_plus(Rows([block], points.shape[1], False), k, seed)
