"""What a Newton step leaves over, measured on a sample: so that one pass over all rows can be enough.

The gradient after a step s is ``g + H s + r``. The first two are known from the pass over all rows and cancel; r, of
third order in s, is small, and its mean over a sample is precise enough for a second step without a second pass.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dbml.estimators.solvers.held_rows import HeldRows
from dbml.estimators.solvers.objective import Evaluation, Objective, Request
from dbml.passes.block import Block, Floats

# Of the linear predictor, by one term: what a longer step does to rows the sample lacks is not known from the sample.
_LONGEST = 0.25

Remainder = Callable[[Evaluation, Floats], Floats | None]


def sample_remainder(objective: Objective, rows: HeldRows) -> Remainder:
    """Return the function from an evaluation over all rows and a step to the remainder r, shape (n_parameters,).

    The function returns None where the sample cannot tell: a step of a term whose values it lacks, or a long one.
    """
    reach = _reach(rows.block, objective.n_terms)

    def evaluate(theta: Floats, hessian: bool) -> Evaluation:
        request = Request(theta, hessian)
        return objective.evaluate(request, rows.fold(objective.step(request))[0])

    def remainder(at: Evaluation, step: Floats) -> Floats | None:
        before, after = objective.split(at.theta), objective.split(at.theta + step)
        moved = np.abs(after[0] - before[0])
        unseen = bool(moved[:, reach == 0.0].any())
        if unseen or (moved * reach).max(initial=0.0) > _LONGEST or np.abs(after[1] - before[1]).max() > _LONGEST:
            return None
        here, there = evaluate(at.theta, True), evaluate(at.theta + step, False)
        if here.hessian is None or not np.isfinite(there.value):
            return None
        return there.gradient - here.gradient - here.hessian @ step

    return remainder


def _reach(block: Block, n_terms: int) -> Floats:
    """Return the largest absolute value of each term, shape (n_terms,)."""
    reach = np.zeros(n_terms)
    d = block.X.shape[1]
    for j in range(d):
        column = block.X[:, j]
        reach[j] = max(column.max(initial=0.0), -column.min(initial=0.0))
    if block.sparse is not None:
        np.maximum.at(reach, block.sparse.indices, np.abs(block.sparse.values))
    return reach
