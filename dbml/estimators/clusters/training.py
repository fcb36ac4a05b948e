"""k-means as a whole: rows into memory, starts, nested samples, all rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dbml.errors import ConvergenceWarning, ExhaustedMemory, InvalidData
from dbml.estimators.clusters.centres import Centres, WeightedDrawStep
from dbml.estimators.clusters.lloyd import CentresSeen, Ends, Report, descend, mean_variance, refine
from dbml.estimators.clusters.rows import Rows
from dbml.estimators.clusters.start import at_random, plus_plus, scalable
from dbml.passes.block import Floats
from dbml.passes.data import Data
from dbml.passes.memory import memory_budget
from dbml.passes.step import State, Step

_FIRST_ROWS, _ROWS_OF_A_CENTRE, _GROWTH = 16_384, 64, 4  # of nested samples
_SAMPLE_ROWS, _SAMPLE_OF_A_CENTRE = 65_536, 2_048  # of the largest: sums of squares from there are 1 / 2048 too large
_CLOSE, _SAME = 0.01, 1e-6  # relative differences of the sums of squares of starts, on a sample


@dataclass(frozen=True)
class Search:
    """What is searched for, and how.

    Attributes
    ----------
    owner : str
        Class that errors name.
    k : int
        Centres.
    init : str or array of shape (k, n_terms)
        Where they start.
    n_init : int
        Starts.
    max_iter : int
        Most iterations, and most passes over all rows.
    tol : float
        Relative to the mean variance of the terms; over all rows also to the sum of squares.
    seed : int
    """

    owner: str
    k: int
    init: Any
    n_init: int
    max_iter: int
    tol: float
    seed: int


def check_memory(owner: str, data: Data, k: int) -> None:
    """Raise `ExhaustedMemory` where the sums of the centres do not fit: a state for each of 8 blocks in flight."""
    n_terms = data.schema.encoding.n_terms
    if 8 * 8 * k * n_terms > max(memory_budget().blocks, 1 << 24):
        raise ExhaustedMemory(
            f"{owner}: the sums of {k:,} centres of {n_terms:,} terms take {8 * k * n_terms:,} bytes per block in "
            "flight, more than memory_limit leaves; raise memory_limit, or pool levels with max_levels"
        )


def scales(data: Data) -> Floats:
    """Return what the numbers among the dense terms are divided by so that their variance is 1, and 1 for flags."""
    encoding = data.schema.encoding
    scale = data.statistics.scale[: encoding.n_dense].copy()
    place = 0
    for feature in encoding.features:
        place += len(feature.dense_terms)
        if feature.flag:
            scale[place - 1] = 1.0
    return scale


def coordinates(data: Data, standardised: bool) -> Centres:
    """Return no centres, in the coordinates of the terms, or of standardised ones."""
    encoding = data.schema.encoding
    inverse = 1.0 / scales(data) if standardised else None
    return Centres(np.zeros((0, encoding.n_terms)), encoding.n_dense, inverse)


def find_centres(data: Data, rows: Rows, like: Centres, search: Search, report: Report) -> CentresSeen:
    """Return the best centres that the starts lead to, with what a look at all rows from there gave.

    Parameters
    ----------
    data : Data
    rows : Rows
        All rows, or a sample.
    like : Centres
        Any centres, in the coordinates of `rows`.
    search : Search
    report : callable
        Called with the number, centres, state and shift of each look at all rows.
    """
    check_rows(rows, search.owner, search.k, data.plan.source)
    tol = search.tol * mean_variance(rows)
    # centres that are given lead where Lloyd's algorithm leads from there, as far as memory allows
    given = rows.whole and not isinstance(search.init, str)
    levels = [rows] if given else nested(rows, search.k, search.seed)
    starts = [starting_centres(data, levels[0], like, search, number) for number in range(search.n_init)]
    if rows.whole:
        best = min((_in_memory(levels, start, search, tol) for start in starts), key=lambda descent: descent.inertia)
        best = replace(best, centres=like.at(best.centres.points))
        report(best.n_iter, best.centres, best.state, best.shift)
    else:
        ends = [_on_samples(levels, start, search, tol) for start in starts]
        kept = [like.at(end.centres.points) for end in _competitors(ends)]
        best = refine(data, rows, kept, Ends(tol, search.tol), search.max_iter, search.seed, report)
    return best


def sample_size(k: int) -> int:
    """Return the rows of a sample for `k` centres that passes over all rows correct."""
    return max(_SAMPLE_ROWS, _SAMPLE_OF_A_CENTRE * k)


def check_rows(rows: Rows, owner: str, k: int, source: str) -> None:
    """Raise `InvalidData` where all rows are in memory and fewer than the centres."""
    if rows.whole and rows.n_rows < k:
        raise InvalidData(
            f"{owner}: n_clusters={k} must be at most the number of rows of {source}; got n_samples={rows.n_rows}"
        )


def warn_of_duplicates(owner: str, source: str, weight: Floats) -> None:
    """Warn where some centres have no rows: there are fewer different rows than centres."""
    used = int((weight > 0.0).sum())
    if used < len(weight):
        message = (
            f"{owner}: {source} has only {used:,} groups of different rows, n_clusters={len(weight)} asks for more; "
            "the other centroids lie on some of them, without rows. Lower n_clusters"
        )
        warnings.warn(message, ConvergenceWarning, stacklevel=6)


def _in_memory(levels: list[Rows], start: Centres, search: Search, tol: float) -> CentresSeen:
    centres = _on_samples(levels[:-1], start, search, tol).centres if levels[1:] else start
    return descend(levels[-1], centres, tol, search.max_iter, search.seed, exact=True)


def _on_samples(levels: list[Rows], start: Centres, search: Search, tol: float) -> CentresSeen:
    centres = start
    for rows in levels:
        found = descend(rows, centres, tol, search.max_iter, search.seed, exact=False)
        centres = found.centres
    return found


def _competitors(ends: list[CentresSeen]) -> list[CentresSeen]:
    """Return the ends on a sample that may be the best on all rows, each optimum once, the best first."""
    ordered = sorted(ends, key=lambda end: end.inertia)
    kept = ordered[:1]
    for end in ordered[1:]:
        near = end.inertia <= ordered[0].inertia * (1.0 + _CLOSE)
        if near and end.inertia > kept[-1].inertia * (1.0 + _SAME):
            kept.append(end)
    return kept


def nested(rows: Rows, k: int, seed: int = 0) -> list[Rows]:
    """Return samples for `k` groups, each four times as large as the one before, that end in `rows`."""
    size = max(_FIRST_ROWS, _ROWS_OF_A_CENTRE * k)
    levels: list[Rows] = []
    while size * _GROWTH // 2 < rows.n_rows:
        levels.append(rows.drawn(size, seed + len(levels)))
        size *= _GROWTH
    return [*levels, rows]


def starting_centres(data: Data, rows: Rows, like: Centres, search: Search, number: int) -> Centres:
    """Return the centres of one start, in the coordinates of `rows`."""
    seed, k = search.seed + 1_000 * number, search.k
    if not isinstance(search.init, str):
        return like.at(search.init).plain()

    def in_memory(step: Step, purpose: str) -> State:
        return rows.fold(step)[0]

    def over_all(step: Step, purpose: str) -> State:
        return data.fold(step, purpose=purpose)[0]

    if search.init == "k-means||":
        fold, near = (in_memory, like.plain()) if rows.whole else (over_all, like)
        points = scalable(fold, k, near, seed)
    elif search.init == "random":
        points = at_random(in_memory, k, like.plain(), seed)
    else:
        points = plus_plus(rows, k, seed)
    if len(points) < k and not rows.whole:  # the sample lacks rows that all rows may have
        more = over_all(WeightedDrawStep(like.at(points), k - len(points), seed), "rows to start from")
        points = np.vstack([points, WeightedDrawStep.drawn(more)])
    points = np.resize(points, (k, points.shape[1]))  # fewer different rows than centres: some lie on others
    return like.at(points).plain()
