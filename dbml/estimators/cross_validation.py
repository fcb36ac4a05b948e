"""Cross-validation of a whole path of penalties from the moments of one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from dbml.errors import ExhaustedMemory, InvalidData
from dbml.estimators.coordinate_descent import Elastic, Goal, Quadratic
from dbml.estimators.elastic_net import kept_if_it_fits, solve_penalised
from dbml.estimators.folds import Folds, Held
from dbml.estimators.gram_step import GramStep, Moments
from dbml.estimators.moment_steps import ResidualStep
from dbml.estimators.quadratic import gram_fits
from dbml.estimators.working_set import WORKING_SETS, Columns, solve_columns
from dbml.passes.block import Floats
from dbml.passes.data import Data
from dbml.passes.plan import ExpectedPasses

_FOLDED = ExpectedPasses("1", "second moments of the folds serve all penalties")

# Coefficients and intercept at the centre for a penalty and a start, with duality gap and sweeps.
Solve = Callable[[Elastic, Floats], "Model"]


@dataclass(frozen=True)
class Model:
    """A solution: coefficients, intercept at the centre, duality gap (not divided by the rows), sweeps."""

    coef: Floats
    intercept: float
    gap: float
    n_iter: int


@dataclass(frozen=True)
class Trained:
    """Some rows to train on, and the rows that were held out.

    Attributes
    ----------
    weight, yy : float
        Sum of weights and of squares of the target of the training rows.
    xy : ndarray of shape (n_terms,)
        ``X'y`` of the training rows.
    solve : callable
        Solves for a penalty from a start.
    held_weight : float
        Sum of weights of the rows held out.
    errors : callable
        Returns the sum of squared errors of models on the rows held out.
    """

    weight: float
    yy: float
    xy: Floats
    solve: Solve
    held_weight: float
    errors: Callable[[list[Model]], Floats]


@dataclass(frozen=True)
class Descending:
    """How each problem is solved, and whether every penalty has an l1 part, without which no column is left out."""

    fit_intercept: bool
    tol: float
    max_iter: int
    sparse: bool


@contextmanager
def trainings(data: Data, folds: Folds, how: Descending) -> Iterator[Iterator[Trained]]:
    """Open an iterator of the training on all rows, then that without each fold; decides where moments come from.

    From Gram matrices all of them take one pass. Where these do not fit in memory, each problem reads its columns.
    """
    p = data.schema.encoding.n_terms
    n = folds.n_folds
    if gram_fits(data, n):
        reason = f"{p:,} terms, {n} folds: one pass for {n} Gram matrices serves all penalties and folds"
        data.decide_solver("coordinate descent on Gram matrices", reason, _FOLDED)
        yield _from_grams(data, folds, how)
        return
    if not how.sparse:
        raise ExhaustedMemory(
            f"penalties without an l1 part (an alpha or l1_ratio of 0) need the Gram matrices of {p:,} terms and {n} "
            "folds, more than memory_limit leaves; raise memory_limit, or leave the 0 out"
        )
    reason = f"{p:,} terms, {n} folds: their Gram matrices do not fit in memory_limit"
    data.decide_solver("coordinate descent on working sets of columns", reason, WORKING_SETS)
    with kept_if_it_fits(data) as kept:
        yield _from_columns(kept, folds, how)


def _from_grams(data: Data, folds: Folds, how: Descending) -> Iterator[Trained]:
    encoding = data.schema.encoding
    centre = np.array(encoding.centre())
    (state,) = data.fold(GramStep(encoding.n_terms, folds), purpose="gram of folds")
    check_folds(state["count"], folds)

    def trained(moments: Moments, held: Moments | None) -> Trained:
        used = moments if how.fit_intercept else moments.about_zero(centre)
        problem = Quadratic(used.gram, used.xy, used.yy)

        def solve(penalty: Elastic, start: Floats) -> Model:
            found = solve_penalised(problem, penalty, start, how.tol, how.max_iter)
            intercept = moments.centred_intercept(found.w, centre, how.fit_intercept)
            return Model(found.w, intercept, found.gap, found.n_iter)

        def errors(models: list[Model]) -> Floats:
            return np.array([held.error_of(m.coef, m.intercept) if held else 0.0 for m in models])

        return Trained(moments.weight, used.yy, used.xy, solve, held.weight if held else 0.0, errors)

    yield trained(Moments.of(state), None)
    for fold in range(folds.n_folds):
        yield trained(Moments.without(state, fold), Moments.of(state, fold))


def _from_columns(data: Data, folds: Folds, how: Descending) -> Iterator[Trained]:
    whole = Columns(data, how.fit_intercept)

    def trained(columns: Columns, fold: int) -> Trained:
        def solve(penalty: Elastic, start: Floats) -> Model:
            found = solve_columns(columns, penalty, start, Goal(how.tol, columns.yy), how.max_iter)
            return Model(found.coef, columns.intercept(found.coef), found.gap, found.n_iter)

        def errors(models: list[Model]) -> Floats:
            kept = [ResidualStep(m.coef, m.intercept, held=Held(folds, fold, inside=True)) for m in models]
            return np.array([state["sums"][2] for state in data.fold(*kept, purpose="error of a fold")])

        held_weight = whole.weight - columns.weight
        return Trained(columns.weight, columns.yy, columns.xy, solve, held_weight, errors)

    yield trained(whole, -1)
    for fold in range(folds.n_folds):
        yield trained(Columns(data, how.fit_intercept, Held(folds, fold)), fold)


def check_folds(count: np.ndarray, folds: Folds) -> None:
    """Raise `InvalidData` where there are fewer rows than folds, or one fold has them all."""
    rows = int(count.sum())
    if rows < folds.n_folds or np.count_nonzero(count) < 2:
        raise InvalidData(
            f"cross-validation with cv={folds.n_folds} needs at least {folds.n_folds} rows of which not all are in one "
            f"fold; got n_samples={rows}"
        )


def alpha_grid(xy: Floats, weight: float, l1_ratio: float, eps: float, n_alphas: int, positive: bool) -> Floats:
    """Return `n_alphas` weights of the penalty from the least that makes all coefficients 0, down to `eps` times it.

    Where coefficients must be `positive`, terms that would have a negative one are 0 for any weight.
    """
    largest = float((xy if positive else np.abs(xy)).max(initial=0.0)) / (weight * l1_ratio)
    if largest <= np.finfo(float).resolution:
        return np.full(n_alphas, np.finfo(float).resolution)
    return np.geomspace(largest, largest * eps, num=n_alphas)
