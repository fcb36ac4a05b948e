"""What support vector machines share: kernel parameters, the choice of a solver, stored vectors, prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dbml.errors import ExhaustedMemory
from dbml.estimators.base import Estimator
from dbml.estimators.design import times
from dbml.estimators.kernel_machines.dual import Limits
from dbml.estimators.kernel_machines.kernel_function import KernelFunction, Vectors
from dbml.estimators.kernel_machines.landmarks import NystroemFeatures, principal_normalization
from dbml.estimators.kernel_machines.row_steps import HashedDrawStep, SpreadStep, term_scales, total_variance
from dbml.estimators.kernel_machines.streamed import IN_FLIGHT, drawn_landmarks
from dbml.estimators.random_state import RANDOM_STATE_RULE, seed_of
from dbml.estimators.row_counts import pass_rows
from dbml.params import Boolean, Either, Integer, Options, Real, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.memory import memory_budget
from dbml.passes.plan import ExpectedPasses
from dbml.passes.plan_text import size_text
from dbml.passes.step import State

EXACT_ROWS = 50_000  # up to here the exact dual is solved within a minute or so on two cores
_ROW_BYTES = 12  # of a term of a row in memory: doubles, and single precision for the kernel
_UNEVEN = 1e3
_LANDMARKS_PER_ROOT, _LEAST_LANDMARKS, _MOST_LANDMARKS = 2.5, 500, 2_000

_PASSES = {
    "exact": ExpectedPasses("1", "the rows are few: they are read once and solved in memory"),
    "nystroem": ExpectedPasses("2 or more", "the first one draws the landmarks, the others train the linear machine"),
    "primal": ExpectedPasses("2 or more", "they train a linear machine, which starts from the minimum of a sample"),
}

KERNEL_RULES: Mapping[str, Rule] = {
    "C": Real(gt=0),
    "kernel": Options(("linear", "poly", "rbf", "sigmoid")),
    "degree": Integer(ge=0),
    "gamma": Either((Options(("scale", "auto")), Real(ge=0))),
    "coef0": Real(),
    "shrinking": Boolean(),
    "tol": Real(gt=0),
    "cache_size": Real(gt=0),
    "max_iter": Integer(ge=-1),
    "solver": Options(("auto", "exact", "nystroem")),
    "n_components": Either((Options((None,)), Integer(ge=1))),
    "random_state": RANDOM_STATE_RULE,
}


def resolved_gamma(gamma: Any, spread: State, centre: Floats) -> float:
    """Return gamma as a number: "scale" is ``1 / (n_terms * variance of all entries)``, "auto" ``1 / n_terms``."""
    if gamma == "scale":
        variance = total_variance(spread, centre)
        return 1.0 / (len(centre) * variance) if variance > 0.0 else 1.0
    return 1.0 / max(1, len(centre)) if gamma == "auto" else float(gamma)


def tell_scales(data: Data, spread: State) -> None:
    """Write into the plan that some columns weigh nothing beside others in the kernel, where that is so."""
    scales = term_scales(spread)[: data.schema.encoding.n_dense]
    scales = scales[scales > 0.0]
    if len(scales) and scales.max() > _UNEVEN * scales.min():
        text = f"their spreads go from {scales.min():.3g} to {scales.max():.3g}: the kernel hardly sees the small ones"
        data.plan = data.plan.decide("scales", "as they are; standardise the columns", text)


def landmark_count(data: Data, n_machines: int) -> tuple[int, str]:
    """Return how many landmarks to draw, and why.

    In proportion to the root of the rows they approach the exact machine as fast as more rows do (Rudi, Camoriano &
    Rosasco 2015, less is more: Nystroem computational regularization). Each machine solves for Hessians of them, which
    takes the cube of their number.
    """
    n_rows, budget = pass_rows(data)[0], memory_budget().blocks
    by_rows = max(_LEAST_LANDMARKS, int(_LANDMARKS_PER_ROOT * math.sqrt(n_rows)))
    by_time = max(_LEAST_LANDMARKS, int(_MOST_LANDMARKS / n_machines ** (1 / 3)))
    by_memory = int(math.sqrt(budget / (IN_FLIGHT * 8)))
    return min(
        (by_rows, f"{_LANDMARKS_PER_ROOT:g} times the root of {n_rows:,} rows, at least {_LEAST_LANDMARKS:,}"),
        (by_time, "more take long" + (f" for {n_machines:,} pairs of classes" if n_machines > 1 else "")),
        (by_memory, f"{size_text(budget)} of memory_limit are for their Hessians"),
    )


class KernelModel(Estimator):
    """Base of support vector machines with a kernel.

    `_outputs_block` gives the decisions: one per pair of classes, or the prediction of a regressor.
    """

    C: float
    kernel: str
    degree: int
    gamma: Any
    coef0: float
    shrinking: bool
    tol: float
    cache_size: float
    max_iter: int
    solver: str
    n_components: int | None
    random_state: Any

    solver_: str
    gamma_: float
    intercept_: Any
    coef_: Floats
    centred_intercept_: Any
    support_vectors_: Floats
    landmarks_: Floats
    landmark_coef_: Floats
    fit_status_: int

    _solver_text: tuple[str, str]
    _landmarks: tuple[int, str]  # how many are wanted, and why

    # training --------------------------------------------------------------------------------------------------

    def _choose(self, data: Data, n_machines: int = 1) -> str:
        """Return "exact", "nystroem" or "primal", and write the choice with its reason into the plan."""
        n_rows, _ = pass_rows(data)
        needed = _ROW_BYTES * n_rows * data.schema.encoding.n_terms
        room = memory_budget().kept // 2
        if self.solver == "exact" and needed > room:
            raise ExhaustedMemory(
                f"{type(self).__name__}: solver='exact' keeps all rows, about {size_text(needed)}, and "
                f"{size_text(room)} of memory_limit are for them. Raise memory_limit, or choose solver='nystroem'"
            )
        if self.solver != "auto":
            reason = "as asked for"
            choice = self.solver
        elif n_rows > EXACT_ROWS:
            choice, reason = "nystroem", f"{n_rows:,} rows: the exact dual takes too long beyond {EXACT_ROWS:,}"
        elif needed > room:
            choice, reason = "nystroem", f"rows would take {size_text(needed)}, {size_text(room)} are for them"
        else:
            choice, reason = "exact", f"{n_rows:,} rows: few enough for the dual over all of them"
        if choice == "nystroem" and self.kernel == "linear":
            choice = "primal"
        self._landmarks = (
            landmark_count(data, n_machines) if self.n_components is None else (self.n_components, "as asked for")
        )
        texts = {
            "exact": "exact (sequential minimal optimisation)",
            "nystroem": f"nystroem ({self._landmarks[0]:,} landmarks, then a linear support vector machine)",
            "primal": "primal (a linear support vector machine over the terms)",
        }
        self._solver_text = texts[choice], reason
        data.decide_solver(texts[choice], reason, _PASSES[choice])
        return choice

    def _forget(self) -> None:
        """Leave out what an earlier fit by another solver has left."""
        for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
            if name != "training_":
                delattr(self, name)

    def _tell_solver(self, data: Data) -> None:
        """Write the choice into the plan again, beside that of the linear solver which it is built on."""
        inner = next((d for d in data.plan.decisions if d.subject == "solver"), None)
        if inner is not None and (inner.choice, inner.reason) != self._solver_text:
            data.plan = data.plan.decide("linear solver", inner.choice, inner.reason)
        data.plan = data.plan.decide("solver", *self._solver_text)

    def _report_gap(self, steps: int, gap: float) -> None:
        self._iteration(steps, gap=gap)

    def _landmark_features(self, data: Data) -> NystroemFeatures:
        """Draw landmarks in one pass, which also tells gamma, and return their features."""
        n_terms, centre = data.schema.encoding.n_terms, np.array(data.schema.encoding.centre())
        wanted, why = self._landmarks
        draw = HashedDrawStep(wanted, centre, seed_of(self.random_state))
        spread, drawn = data.fold(SpreadStep(n_terms), draw, purpose="landmarks")
        kernel = self._make_kernel(data, spread)
        landmarks = drawn_landmarks(drawn, kernel, centre, type(self).__name__)
        features = NystroemFeatures(landmarks, principal_normalization(landmarks))
        found = "" if len(landmarks.rows) == wanted else f"; there are {len(landmarks.rows):,} different rows"
        reason = f"{why}{found}; rows drawn at random, which span {features.n_out:,} dimensions"
        data.plan = data.plan.decide("landmarks", f"{len(landmarks.rows):,}", reason)
        return features

    def _set_landmarks(self, data: Data, features: NystroemFeatures, coef: Floats, intercept: Floats) -> None:
        """Store landmarks in the units of the columns, with the weights that coefficients of features are."""
        centre = np.array(data.schema.encoding.centre())
        vectors = features.landmarks
        self.landmarks_ = vectors.rows - vectors.origin + centre
        self.landmark_coef_, self.intercept_ = coef @ features.normalization, intercept

    def _limits(self) -> Limits:
        room = memory_budget().kept // 2
        return Limits(self.tol, int(self.max_iter), int(min(self.cache_size * 1e6, room)), bool(self.shrinking))

    def _make_kernel(self, data: Data, spread: State) -> KernelFunction:
        """Return the kernel, of a gamma that the spread of the terms gives."""
        centre = np.array(data.schema.encoding.centre())
        self.gamma_ = resolved_gamma(self.gamma, spread, centre)
        tell_scales(data, spread)
        return KernelFunction(self.kernel, self.gamma_, float(self.coef0), int(self.degree))

    # prediction ------------------------------------------------------------------------------------------------

    def _vectors(self, rows: Floats) -> Vectors:
        """Return vectors in the units of the columns as the kernel sees them."""
        kernel = KernelFunction(self.kernel, self.gamma_, float(self.coef0), int(self.degree))
        centre = np.array(self.schema_.encoding.centre())
        origin = kernel.origin(centre)
        return Vectors(rows - centre + origin, origin, kernel)

    def _weights(self) -> Floats:
        """Return the weight of each support vector in each output, shape (n_outputs, n_vectors)."""
        raise NotImplementedError

    def _outputs_block(self, block: Block) -> Floats:
        """Return the outputs for the rows of a block, shape (n, n_outputs)."""
        if self.kernel == "linear":
            rows = zip(np.atleast_2d(self.coef_), np.atleast_1d(self.centred_intercept_), strict=True)
            return np.column_stack([times(block, row, float(c)) for row, c in rows])
        if self.solver_ == "nystroem":
            vectors, weights = self._vectors(self.landmarks_), np.atleast_2d(self.landmark_coef_)
        else:
            vectors, weights = self._vectors(self.support_vectors_), self._weights()
        return vectors.expand(block, weights) + np.atleast_1d(self.intercept_)
