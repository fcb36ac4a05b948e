"""The training of a linear estimator by `minimise`: progress, the best model so far, fitted attributes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dbml.estimators.base import Estimator
from dbml.estimators.solvers.minimise import Settings, minimise
from dbml.estimators.solvers.objective import Evaluation, Objective
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data


class Problem(NamedTuple):
    """What to minimise, and how the minimum becomes a model.

    Attributes
    ----------
    stages : sequence of sequences of Objective
        One objective per output; more than one stage where a loss is approached by smoother ones, the last stage is
        what is wanted.
    starts : sequence of ndarray
        First parameters of each output.
    fitted : callable
        From the parameters of each output to the fitted attributes.
    solver : str
    tol : float
    max_iter : int
    """

    stages: Sequence[Sequence[Objective]]
    starts: Sequence[Floats]
    fitted: Callable[[list[Floats]], dict[str, Any]]
    solver: str
    tol: float
    max_iter: int


def train(
    estimator: Estimator, data: Data, sample: Block, problem: Problem, n_iter: Callable[[int], Any] = int
) -> None:
    """Fit `estimator`: set its fitted attributes and `n_iter_`, the steps of the solver over all rows.

    `sample` is that of `training_sample`.
    """

    def report(number: int, best: list[Evaluation]) -> None:
        largest = max(float(np.abs(e.gradient).max(initial=0.0)) for e in best)
        estimator._iteration(number, loss=sum(e.value for e in best) / len(best), gradient=largest)
        estimator._keep(**problem.fitted([e.theta for e in best]), n_iter_=n_iter(number))

    settings = Settings(problem.solver, problem.tol, problem.max_iter, type(estimator).__name__, report)
    solutions = minimise(data, sample, problem.stages, problem.starts, settings)
    steps = max(1, *(s.iterations for s in solutions))
    vars(estimator).update(problem.fitted([s.theta for s in solutions]), n_iter_=n_iter(steps))
