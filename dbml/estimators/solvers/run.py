"""Runs solvers over a source of passes: each pass serves all that wait for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from dbml.estimators.solvers.newton import Solution, Solver
from dbml.estimators.solvers.objective import Evaluation, Objective
from dbml.passes.step import State, Step


class Source(Protocol):
    """Rows that steps can be folded over."""

    def fold(self, *steps: Step, purpose: str) -> tuple[State, ...]:
        """Return the final state of each step."""


Report = Callable[[int, list[Evaluation]], None]


def run(
    source: Source, objectives: Sequence[Objective], solvers: Sequence[Solver], purpose: str, report: Report
) -> list[Solution]:
    """Run solvers to their end, every pass over the rows serving all that still wait for one."""
    requests = {i: next(solver) for i, solver in enumerate(solvers)}
    best: dict[int, Evaluation] = {}
    solutions: dict[int, Solution] = {}
    number = 0
    while requests:
        number += 1
        steps = [objectives[i].step(request) for i, request in requests.items()]
        states = source.fold(*steps, purpose=f"{purpose} pass {number}")
        evaluations = {
            i: objectives[i].evaluate(request, state)
            for (i, request), state in zip(requests.items(), states, strict=True)
        }
        for i, evaluation in evaluations.items():
            if i not in best or evaluation.value <= best[i].value:
                best[i] = evaluation
        report(number, [best[i] for i in sorted(best)])
        for i, evaluation in evaluations.items():
            try:
                requests[i] = solvers[i].send(evaluation)
            except StopIteration as end:
                solutions[i] = end.value
                del requests[i]
    return [solutions[i] for i in range(len(solvers))]
