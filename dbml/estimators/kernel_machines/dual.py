"""The dual problem of a support vector machine over rows in memory: working sets, shrinking, kernel rows on all cores.

A working set of some hundred rows is solved to the end by `dbml_kernels.smo`, then all rows are told, and the worst
violators join the next set. So a step of the solver costs the set, not the table, and kernel rows come in batches.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from dbml_kernels.kernel_rows import TILE, expansion_add, kernel_rows, square_gather
from dbml_kernels.smo import smo_solve
from numpy.typing import NDArray

from dbml.estimators.kernel_machines.kernel_function import KernelFunction, Singles
from dbml.estimators.kernel_machines.row_cache import RowCache, Slots
from dbml.passes.block import Floats
from dbml.passes.engine import Crew

_SET = 512  # rows of a working set
_INNER = 0.1  # of the violation: a working set is solved that far
_SHRINK_FROM = 0.1  # of the rows: fewer are not worth moving the others
_PIECE_WORK = 1 << 17  # kernel values below which a second core is not asked


class DualProblem(NamedTuple):
    """Variables in layers over the rows: one of a classifier, two (errors above and below) of a regressor.

    ``minimise b' K b / 2 - sum offset sign a``, where ``b = sum over layers of sign a`` sums to 0 and
    ``0 <= a <= bound``.

    Attributes
    ----------
    sign, offset, bound : ndarray of shape (layers, n_rows)
    """

    sign: Floats
    offset: Floats
    bound: Floats

    def of(self, rows: Slots | NDArray[np.bool_]) -> DualProblem:
        """Return the problem of some of the rows."""
        return DualProblem(*(np.ascontiguousarray(array[:, rows]) for array in self))


class DualSolution(NamedTuple):
    """Where the solver stopped.

    Attributes
    ----------
    coef : ndarray of shape (n_rows,)
        Weights of the rows, ``b``; 0 for those that are no support vectors.
    intercept : float
    objective : float
        Of the dual, which is minimised.
    steps : int
    gap : float
        Violation of the optimum.
    converged : bool
    """

    coef: Floats
    intercept: float
    objective: float
    steps: int
    gap: float
    converged: bool


class Limits(NamedTuple):
    """When to stop, and what may be used.

    Attributes
    ----------
    tol : float
    max_iter : int
        Most steps, -1 for no limit.
    cache_bytes : int
    shrinking : bool
    """

    tol: float
    max_iter: int
    cache_bytes: int
    shrinking: bool


class _Scores(NamedTuple):
    """By row: the largest ``offset - f`` of variables that may grow, the smallest of those that may fall."""

    up: Floats
    low: Floats

    @property
    def gap(self) -> float:
        return float(self.up.max(initial=-np.inf) - self.low.min(initial=np.inf))


class DualSolver:
    """Solves one problem.

    Parameters
    ----------
    XT : ndarray of shape (n_terms, n_rows), float32
    kernel : KernelFunction
    problem : DualProblem
    limits : Limits
    crew : Crew or None
        Shares the columns of kernel rows out; None: this thread does all.
    report : callable
        Called after each working set with the steps so far and the violation.
    """

    def __init__(
        self,
        XT: Singles,
        kernel: KernelFunction,
        problem: DualProblem,
        limits: Limits,
        crew: Crew | None = None,
        report: Callable[[int, float], None] = lambda steps, gap: None,
    ) -> None:
        self.all_XT, self.kernel, self.all_problem = XT, kernel, problem
        self.limits, self.crew, self.report = limits, crew, report
        n = XT.shape[1]
        held = max(2, min(n, limits.cache_bytes // (4 * max(n, 1))))
        self.set_size = min(_SET, held)
        self.cache = RowCache(limits.cache_bytes, n, self.set_size)
        self.all_alpha = np.zeros_like(problem.sign)
        self.steps = self.computed = 0  # steps, and kernel rows since rows were last left out
        self._begin(np.arange(n), XT, np.zeros(n))

    def _begin(self, active: Slots, XT: Singles, f: Floats) -> None:
        """Go on with some rows: their terms and their f."""
        self.active, self.XT, self.f = active, XT, f
        self.problem = self.all_problem.of(active)
        self.alpha = np.ascontiguousarray(self.all_alpha[:, active])
        self.working = np.empty(0, np.int64)
        n = len(active)
        pieces = 1 if self.crew is None or n * self.set_size < _PIECE_WORK else self.crew.size
        edges = np.linspace(0, n, pieces + 1).astype(np.int64) // TILE * TILE
        edges[-1] = n
        self.pieces = [(int(a), int(b)) for a, b in pairwise(edges) if b > a]

    def solve(self) -> DualSolution:
        """Run to the tolerance, or to the last step allowed."""
        most = self.limits.max_iter if self.limits.max_iter >= 0 else np.iinfo(np.int64).max
        while True:
            scores = self._scores()
            gap = scores.gap
            whole = len(self.active) == len(self.all_alpha[0])
            if gap < self.limits.tol and not whole:
                self._restore()
            elif not gap >= self.limits.tol or self.steps >= most:
                break
            elif not self._shrinks() or not self._shrink(scores):
                self._improve(scores, gap, most - self.steps)
                self.report(self.steps, gap)
        if not whole:
            self._restore()
        return self._solution()

    def _shrinks(self) -> bool:
        """Whether to look for rows to leave out: once they have cost what it takes to bring them back."""
        if not self.limits.shrinking or self.computed < max(int((self.alpha > 0.0).sum()), 2 * self.set_size):
            return False
        self.computed = 0
        return True

    # working sets ----------------------------------------------------------------------------------------------

    def _scores(self) -> _Scores:
        """Return the scores of all active rows."""
        sign, offset, bound = self.problem
        v = offset - self.f
        grows = np.where(sign > 0.0, self.alpha < bound, self.alpha > 0.0)
        falls = np.where(sign > 0.0, self.alpha > 0.0, self.alpha < bound)
        return _Scores(np.where(grows, v, -np.inf).max(axis=0), np.where(falls, v, np.inf).min(axis=0))

    def _choose(self, scores: _Scores) -> Slots:
        """Return the rows of the next working set: the newer half of the last one and the worst violators."""
        kept = self.working[-(self.set_size // 2) :]
        up, low = scores.up.copy(), scores.low.copy()
        highest, lowest = up.max(), low.min()
        up[kept], low[kept] = -np.inf, np.inf
        room = self.set_size - len(kept)
        first = _largest(up, (room + 1) // 2)
        first = first[up[first] > lowest]
        low[first] = np.inf
        second = _largest(-low, room - len(first))
        second = second[low[second] < highest]
        return np.concatenate([kept, first, second])

    def _improve(self, scores: _Scores, gap: float, most: int) -> None:
        """Solve the next working set, and tell all rows."""
        self.working = rows = self._choose(scores)
        slots = self.cache.slots(rows, self._compute)
        K = np.empty((len(rows), len(rows)), np.float32)
        square_gather(self.cache.rows, slots, rows, K)
        sign, offset, bound = self.problem.of(rows)
        before = np.ascontiguousarray(self.alpha[:, rows])
        alpha, f = before.copy(), self.f[rows]
        tol = max(0.5 * self.limits.tol, _INNER * gap)
        self.steps += smo_solve(K, sign, offset, bound, tol, int(most), alpha, f)
        self.alpha[:, rows] = alpha
        delta = (sign * (alpha - before)).sum(axis=0)
        moved = np.flatnonzero(delta)
        self._add(slots[moved], delta[moved])

    # kernel rows -----------------------------------------------------------------------------------------------

    def _compute(self, rows: Slots, slots: Slots) -> None:
        """Compute the kernel rows of some active rows into slots of the cache."""
        self.computed += len(rows)
        self._rows(np.ascontiguousarray(self.XT[:, rows].T), self.XT, self.pieces, slots, self.cache.rows)

    def _rows(self, V: Singles, XT: Singles, pieces: list[tuple[int, int]], slots: Slots, out: Singles) -> None:
        k = self.kernel
        gamma, coef0 = np.float32(k.gamma), np.float32(k.coef0)

        def piece(columns: tuple[int, int]) -> None:
            sums = np.empty(TILE, np.float32)
            kernel_rows(k.code, gamma, coef0, k.degree, V, XT, *columns, sums, slots, out)

        self._each(piece, pieces, "kernel rows")

    def _add(self, slots: Slots, delta: Floats) -> None:
        def piece(columns: tuple[int, int]) -> None:
            expansion_add(self.cache.rows, slots, delta, *columns, self.f)

        self._each(piece, self.pieces, "expansion")

    def _each(self, function: Callable[[tuple[int, int]], None], pieces: list[tuple[int, int]], kind: str) -> None:
        if self.crew is None or len(pieces) == 1:
            for item in pieces:
                function(item)
        else:
            self.crew.each(function, pieces, kind)

    # shrinking -------------------------------------------------------------------------------------------------

    def _shrink(self, scores: _Scores) -> bool:
        """Leave out rows whose variables all lie at bounds that no other variable could move them from."""
        highest, lowest = scores.up.max(), scores.low.min()
        kept = (scores.up > lowest) & np.isfinite(scores.up) | (scores.low < highest) & np.isfinite(scores.low)
        if kept.sum() > (1.0 - _SHRINK_FROM) * len(kept) or kept.sum() < 2:
            return False
        self._store()
        self.cache.keep(kept)
        rows = np.flatnonzero(kept)
        self._begin(self.active[rows], np.ascontiguousarray(self.XT[:, rows]), self.f[rows])
        return True

    def _store(self) -> None:
        self.all_alpha[:, self.active] = self.alpha

    def _restore(self) -> None:
        """Take all rows in again: their f is summed over the support vectors anew."""
        self._store()
        coef = (self.all_problem.sign * self.all_alpha).sum(axis=0)
        n = len(coef)
        f = np.zeros(n)
        f[self.active] = self.f
        outside = np.ones(n, bool)
        outside[self.active] = False
        missing = np.flatnonzero(outside)
        used = np.flatnonzero(coef)
        XT, width = np.ascontiguousarray(self.all_XT[:, missing]), len(missing)
        edges = [(start, min(start + 4096, width)) for start in range(0, width, 4096)]
        found = np.zeros(width)
        held = max(1, self.cache._flat.size // max(width, 1))
        self.cache.resize(n)
        for start in range(0, len(used), held):
            part = used[start : start + held]
            out = self.cache._flat[: len(part) * width].reshape(len(part), width)
            slots = np.arange(len(part))
            self._rows(np.ascontiguousarray(self.all_XT[:, part].T), XT, edges, slots, out)
            expansion_add(out, slots, coef[part], 0, width, found)
        f[missing] = found
        self._begin(np.arange(n), self.all_XT, f)

    def _solution(self) -> DualSolution:
        self._store()
        sign, offset, bound = self.problem
        coef = (sign * self.alpha).sum(axis=0)
        scores = self._scores()
        free = (self.alpha > 0.0) & (self.alpha < bound)
        if free.any():
            intercept = float((offset - self.f)[free].mean())
        else:
            ends = [end for end in (scores.up.max(), scores.low.min()) if np.isfinite(end)]
            intercept = float(np.mean(ends)) if ends else 0.0
        objective = float(0.5 * coef @ self.f - (offset * sign * self.alpha).sum())
        gap = scores.gap
        return DualSolution(coef, intercept, objective, self.steps, gap, not gap >= self.limits.tol)


def _largest(values: Floats, n: int) -> Slots:
    """Return the places of the `n` largest values, largest first; ties by place."""
    if n <= 0:
        return np.empty(0, np.int64)
    if n < len(values):
        threshold = np.partition(values, len(values) - n)[len(values) - n]
        places = np.flatnonzero(values >= threshold)
    else:
        places = np.arange(len(values))
    return places[np.argsort(-values[places], kind="stable")][:n]
