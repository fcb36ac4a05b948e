"""Expectation and maximisation over nested samples in memory, then over all rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dbml.errors import ExhaustedMemory, InvalidData
from dbml.estimators.clusters.centres import Centres
from dbml.estimators.clusters.lloyd import descend
from dbml.estimators.clusters.rows import Rows
from dbml.estimators.clusters.start import at_random, plus_plus
from dbml.estimators.clusters.training import nested
from dbml.estimators.mixtures.components import Components, Kind, MixtureStep, NearestStep, is_diagonal, maximised
from dbml.passes.block import Floats
from dbml.passes.data import Data
from dbml.passes.memory import memory_budget
from dbml.passes.step import State, Step

_LLOYD = 300  # iterations of k-means that a mixture starts from at most

Fold = Callable[[Step], State]


@dataclass(frozen=True)
class Search:
    """What is searched for, and how.

    Attributes
    ----------
    owner : str
        Class that errors name.
    k : int
        Components.
    kind : {"full", "tied", "diag", "spherical"}
    init : {"kmeans", "k-means++", "random_from_data"}
    means : ndarray of shape (k, n_terms) or None
        Means to start from, about the centre of the encoding.
    n_init, max_iter, seed : int
    tol, reg_covar : float
    """

    owner: str
    k: int
    kind: Kind
    init: str
    means: Any
    n_init: int
    max_iter: int
    seed: int
    tol: float
    reg_covar: float


@dataclass(frozen=True)
class Mixture:
    """Components with their covariances, the mean log likelihood that led to them, and the iterations."""

    components: Components
    covariances: Floats
    likelihood: float
    n_iter: int
    converged: bool


Report = Callable[[int, Mixture], None]


def check_memory(owner: str, data: Data, k: int, kind: Kind) -> None:
    """Raise `ExhaustedMemory` where the moments of the components do not fit, one state for each of 8 blocks."""
    n_terms = data.schema.encoding.n_terms
    size = 8 * k * (2 * n_terms + 1 if is_diagonal(kind) else (n_terms + 2) ** 2)
    if 8 * size > max(memory_budget().blocks, 1 << 24):
        raise ExhaustedMemory(
            f"{owner}: the moments of {k:,} components of {n_terms:,} terms take {size:,} bytes per block in flight, "
            "more than memory_limit leaves; raise memory_limit, pool levels with max_levels, or use "
            "covariance_type='diag'"
        )


def find_mixture(data: Data, rows: Rows, search: Search, report: Report) -> Mixture:
    """Return the most likely of the mixtures that the starts lead to on rows in memory, taken on over all rows.

    Raises
    ------
    InvalidData
        Fewer rows than components.
    """
    if rows.whole and rows.n_rows < max(search.k, 2):
        raise InvalidData(
            f"{search.owner}: n_components={search.k} must be at most the number of rows of {data.plan.source}, which "
            f"must be at least 2; got n_samples={rows.n_rows}"
        )
    levels = nested(rows, search.k)
    best: Mixture | None = None
    for number in range(search.n_init):
        found = _start(levels[0], search, search.seed + 1_000 * number)
        for level in levels:
            found = climb(_in_memory(level), found, search, None)
        if best is None or found.likelihood > best.likelihood:
            best = found
    assert best is not None, "there is a start"
    if rows.whole:
        report(best.n_iter, best)
        return best
    return climb(lambda step: data.fold(step, purpose="expectation, maximisation")[0], best, search, report)


def _in_memory(rows: Rows) -> Fold:
    return lambda step: rows.fold(step)[0]


def _start(rows: Rows, search: Search, seed: int) -> Mixture:
    """Return the mixture of rows that belong to the nearest of some centres."""
    n_dense = rows.parts[0].X.shape[1]
    like = Centres(np.zeros((0, rows.n_terms)), n_dense)
    if search.means is not None:
        points = search.means
    elif search.init == "random_from_data":
        points = at_random(lambda step, purpose: rows.fold(step)[0], search.k, like, seed)
    else:
        points = plus_plus(rows, search.k, seed)
    centres = like.at(np.resize(points, (search.k, rows.n_terms)))
    if search.means is None and search.init == "kmeans":
        centres = descend(rows, centres, 0.0, _LLOYD, seed, exact=False).centres
    state = _in_memory(rows)(NearestStep(centres, search.kind))
    components, covariances = maximised(state, centres.points, search.kind, search.reg_covar, search.owner)
    if search.means is not None:
        components = Components(search.kind, components.weights, search.means, components.roots)
    return Mixture(components, covariances, -np.inf, 0, False)


def climb(fold: Fold, start: Mixture, search: Search, report: Report | None) -> Mixture:
    """Iterate until the mean log likelihood rises by less than `tol`."""
    components, covariances, before, n_iter = start.components, start.covariances, -np.inf, 0
    converged = False
    for n_iter in range(1, search.max_iter + 1):
        state = fold(MixtureStep(components))
        weight, total = state["likelihood"]
        likelihood = float(total / weight)
        components, covariances = maximised(state, components.means, search.kind, search.reg_covar, search.owner)
        converged = abs(likelihood - before) < search.tol
        before = likelihood
        if report is not None:
            report(n_iter, Mixture(components, covariances, likelihood, n_iter, converged))
        if converged:
            break
    return Mixture(components, covariances, before, n_iter, converged)
