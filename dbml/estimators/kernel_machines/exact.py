"""Exact kernel machines: all rows in memory, the dual of each problem solved."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dbml.errors import ConvergenceWarning, InvalidData
from dbml.estimators.design import dense_rows, squared_transposed, transposed
from dbml.estimators.kernel_machines.dual import DualProblem, DualSolution, DualSolver, Limits
from dbml.estimators.kernel_machines.kernel_function import KernelFunction, Singles, Vectors
from dbml.estimators.kernel_machines.landmarks import rows_as_block
from dbml.estimators.kernel_machines.platt import fit_sigmoid
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.engine import current
from dbml.passes.step import State

N_FOLDS = 5  # whose decisions probabilities are learned from


class TrainingRows(NamedTuple):
    """Rows in memory, those of positive weight.

    Attributes
    ----------
    X : ndarray of shape (n, n_terms)
        Centred terms.
    y, weight : ndarray of shape (n,)
    position : ndarray of shape (n,), int64
        Places in the source.
    spread : State
        Of a `SpreadStep`.
    """

    X: Floats
    y: Floats
    weight: Floats
    position: NDArray[np.int64]
    spread: State


def read_rows(data: Data, owner: str) -> TrainingRows:
    """Read all rows.

    Raises
    ------
    InvalidData
        There are none of positive weight.
    """
    n_terms = data.schema.encoding.n_terms
    parts = list(data.map(lambda block: _copied(block, n_terms), purpose="rows"))
    if not sum(len(part[0]) for part in parts):
        raise InvalidData(f"{owner}: {data.plan.source} has no rows of positive weight to learn from")
    X, y, weight, position = (np.concatenate([part[i] for part in parts]) for i in range(4))
    spread = {name: np.sum([part[4][name] for part in parts], axis=0) for name in parts[0][4]}
    return TrainingRows(X, y, weight, position, spread)


def _copied(block: Block, n_terms: int) -> tuple[Floats, Floats, Floats, NDArray[np.int64], State]:
    X = dense_rows(block, n_terms)
    assert block.y is not None
    weight = np.ones(block.n_rows) if block.weight is None else np.array(block.weight)
    used = np.flatnonzero(weight > 0.0)
    spread = {
        "sums": transposed(block, weight, n_terms),
        "squares": squared_transposed(block, weight, n_terms),
        "weight": np.array([weight.sum()]),
    }
    return X[used], block.y[used].copy(), weight[used], block.start + used, spread


class Task(NamedTuple):
    """A problem over some of the rows.

    Attributes
    ----------
    rows : ndarray of int
    problem : DualProblem
    """

    rows: NDArray[np.intp]
    problem: DualProblem

    def without(self, held: NDArray[np.bool_]) -> Task:
        """Return the task of the rows that are not held out; `held` is by row of the task."""
        return Task(self.rows[~held], self.problem.of(~held))


def class_task(rows: NDArray[np.intp], first: NDArray[np.bool_], bound: Floats) -> Task:
    """Return the task of telling two classes apart; `first` whether each row is of the class that is positive."""
    sign = np.where(first, 1.0, -1.0)[None]
    return Task(rows, DualProblem(sign, sign.copy(), bound[None].copy()))


def regression_task(y: Floats, epsilon: float, bound: Floats) -> Task:
    """Return the task of staying within `epsilon` of the target."""
    ones = np.ones(len(y))
    problem = DualProblem(np.array([ones, -ones]), np.array([y - epsilon, y + epsilon]), np.array([bound, bound]))
    return Task(np.arange(len(y)), problem)


Report = Callable[[int, float], None]


def solve_tasks(
    X: Floats, kernel: KernelFunction, tasks: Sequence[Task], limits: Limits, owner: str, report: Report
) -> list[DualSolution]:
    """Solve each task; X (n, n_terms) are the rows as the kernel sees them.

    Several tasks are shared out among the cores, a single one shares its kernel rows out.

    Warns
    -----
    ConvergenceWarning
        `max_iter` steps were not enough.
    """
    XT = np.ascontiguousarray(X.T, dtype=np.float32)
    engine = current()

    def of(rows: NDArray[np.intp]) -> Singles:
        return XT if len(rows) == XT.shape[1] else np.ascontiguousarray(XT[:, rows])

    if len(tasks) == 1:
        crew = engine.crew(64)
        try:
            task = tasks[0]
            solved = [DualSolver(of(task.rows), kernel, task.problem, limits, crew, report).solve()]
        finally:
            crew.close()
    else:
        crew = engine.crew(len(tasks))
        shared = limits._replace(cache_bytes=limits.cache_bytes // crew.size)

        def solve(task: Task) -> DualSolution:
            return DualSolver(of(task.rows), kernel, task.problem, shared).solve()

        try:
            solved = crew.each(solve, tasks, "dual problems")
        finally:
            crew.close()
        report(sum(one.steps for one in solved), max(one.gap for one in solved))
    _warn(solved, limits, owner)
    return solved


def _warn(solved: Sequence[DualSolution], limits: Limits, owner: str) -> None:
    missed = [one for one in solved if not one.converged]
    if missed:
        message = (
            f"{owner}: the solver stopped after {max(one.steps for one in missed):,} steps before it reached "
            f"tol={limits.tol:g} (it is at {max(one.gap for one in missed):.3g}); raise max_iter, or scale the columns"
        )
        warnings.warn(message, ConvergenceWarning, stacklevel=7)


def gathered(tasks: Sequence[Task], solved: Sequence[DualSolution]) -> tuple[NDArray[np.intp], Floats]:
    """Return the rows that are a support vector of any task, and their weights, shape (n_tasks, n_vectors)."""
    owned = [np.flatnonzero(one.coef) for one in solved]
    used = np.unique(np.concatenate([task.rows[own] for task, own in zip(tasks, owned, strict=True)]))
    weights = np.zeros((len(tasks), len(used)))
    for row, task, own, one in zip(weights, tasks, owned, solved, strict=True):
        row[np.searchsorted(used, task.rows[own])] = one.coef[own]
    return used, weights


def held_out_sigmoids(
    X: Floats, kernel: KernelFunction, tasks: Sequence[Task], weight: Floats, limits: Limits, seed: int, owner: str
) -> list[tuple[float, float]]:
    """Return A and B of Platt's curve for each task of two classes, from decisions on rows held out of five folds."""
    random = np.random.RandomState(seed)
    folds, parts, owners = [], [], []
    for number, task in enumerate(tasks):
        fold = random.permutation(len(task.rows)) % N_FOLDS
        folds.append(fold)
        for k in range(N_FOLDS):
            part = task.without(fold == k)
            if len(np.unique(part.problem.sign)) == 2:
                parts.append(part)
                owners.append((number, k))
    solved = solve_tasks(X, kernel, parts, limits, owner, lambda steps, gap: None) if parts else []
    decisions = [_constant(task, fold) for task, fold in zip(tasks, folds, strict=True)]
    for (number, k), part, one in zip(owners, parts, solved, strict=True):
        used = np.flatnonzero(one.coef)
        vectors = Vectors(X[part.rows[used]], np.zeros(X.shape[1]), kernel)
        held = np.flatnonzero(folds[number] == k)
        block = rows_as_block(X[tasks[number].rows[held]])
        decisions[number][held] = vectors.expand(block, one.coef[used][None])[:, 0] + one.intercept
    return [
        fit_sigmoid(decision, task.problem.sign[0] > 0.0, weight[task.rows])
        for decision, task in zip(decisions, tasks, strict=True)
    ]


def _constant(task: Task, fold: NDArray[np.intp]) -> Floats:
    """Return the decision where the rows outside of a fold are all of one class: that class; 0 for no rows."""
    decision = np.zeros(len(fold))
    for k in range(N_FOLDS):
        signs = task.problem.sign[0, fold != k]
        if len(signs):
            decision[fold == k] = np.sign(signs.sum())
    return decision
