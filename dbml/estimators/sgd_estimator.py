"""What SGDClassifier and SGDRegressor share: epochs over shuffled passes, `partial_fit`, state to go on from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from dbml.errors import InvalidParameter
from dbml.estimators.base import Estimator
from dbml.estimators.bigquery_options import early_stop_of_epochs
from dbml.estimators.random_state import RANDOM_STATE_RULE, seed_of
from dbml.estimators.solvers.descent import (
    Epochs,
    SgdDescent,
    default_rates,
    epochs_at_most,
    held_out_score,
    mean_squared_norm,
    optimal_start,
)
from dbml.estimators.solvers.loss_step import RowReading
from dbml.estimators.solvers.sgd import Coordinates, Schedule, Validation, first_state
from dbml.params import Boolean, Either, Integer, Options, Real, Rule
from dbml.passes.block import Floats
from dbml.passes.data import Data
from dbml.passes.schema import Schema
from dbml.passes.step import State

_SAMPLE_ROWS = 10_000


class SgdEstimator(Estimator):
    """What both estimators share: epochs over shuffled passes, and `partial_fit` on what one call brings.

    Attributes
    ----------
    t_ : float
        1 + rows seen.
    n_iter_ : int
        Epochs of the last `fit`.
    iterate_ : ndarray of shape (2, n_outputs, n_terms + 1)
        Iterate and average in standardised coordinates, intercept last: from here `partial_fit` goes on.
    coordinates_ : ndarray of shape (2, n_terms)
        Offset and inverse spread of the terms.
    progress_ : ndarray of shape (2,)
        Rows seen and runs averaged.
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "penalty": Options(("l2", "l1", "elasticnet", None)),
        "alpha": Real(ge=0),
        "l1_ratio": Real(ge=0, le=1),
        "fit_intercept": Boolean(),
        "max_iter": Integer(ge=1),
        "tol": Either((Options((None,)), Real(ge=0))),
        "shuffle": Boolean(),
        "epsilon": Real(ge=0),
        "random_state": RANDOM_STATE_RULE,
        "learning_rate": Options(("auto", "constant", "optimal", "invscaling", "adaptive")),
        "eta0": Real(gt=0),
        "power_t": Real(),
        "early_stopping": Boolean(),
        "validation_fraction": Real(gt=0, lt=1),
        "n_iter_no_change": Integer(ge=1),
        "warm_start": Boolean(),
        "average": Either((Boolean(), Integer(ge=0))),
    }
    sql_options: ClassVar[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
        "l2_reg": lambda value: {"alpha": value, "penalty": "l2"},
        "l1_reg": lambda value: {"alpha": value, "penalty": "l1"},
        "max_iterations": lambda value: {"max_iter": value},
        "min_rel_progress": lambda value: {"tol": value},
        "early_stop": early_stop_of_epochs,
    }

    loss: str
    penalty: str | None
    alpha: float
    l1_ratio: float
    fit_intercept: bool
    max_iter: int
    tol: float | None
    shuffle: bool
    epsilon: float
    random_state: Any
    learning_rate: str
    eta0: float
    power_t: float
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    warm_start: bool
    average: bool | int

    n_iter_: int
    t_: float
    iterate_: Floats
    coordinates_: Floats
    progress_: Floats

    def _outputs(self, schema: Schema) -> int:
        return 1

    def _reading(self, data: Data) -> RowReading:
        return RowReading()

    def _attributes(self, data: Data, coef: Floats, centred: Floats) -> dict[str, Any]:
        raise NotImplementedError

    def _check_params(self) -> None:
        if self.learning_rate == "optimal" and self.alpha == 0:
            raise InvalidParameter(f"{type(self).__name__}: alpha must be > 0 for learning_rate='optimal'; got 0")

    @property
    def _goes_on(self) -> bool:
        """Whether `fit` continues with the iterate there is, in the encoding that it belongs to."""
        return self.warm_start and "iterate_" in vars(self)

    def _fit(self, data: Data) -> None:
        state, descent = self._prepared(data, self._goes_on)
        seed = seed_of(self.random_state)
        validation = Validation(self.validation_fraction, seed) if self.early_stopping else None
        score = None
        if validation is not None:
            score = lambda data, coef, intercept: held_out_score(  # noqa: E731
                data, coef, intercept, descent.reading, validation, self.task == "classification"
            )
        epochs = Epochs(
            self.max_iter,
            self.tol,
            self.n_iter_no_change,
            self.shuffle,
            seed,
            validation,
            score,
            score is None and self.task == "regression",
        )
        if self.max_iter > 2:
            with data.materialise() as kept:
                state, self.n_iter_ = descent.run(kept, state, epochs)
                data.plan = kept.plan
        else:
            state, self.n_iter_ = descent.run(data, state, epochs)
        vars(self).update(self._fitted(data, descent, state))

    def _partial(self, data: Data) -> None:
        state, descent = self._prepared(data, "iterate_" in vars(self))
        epochs = Epochs(1, None, 1, False, 0, None, None)
        state, loss = descent.epoch(data, state, 0, epochs)
        self._iteration(1, loss=loss)
        vars(self).update(self._fitted(data, descent, state), n_iter_=1)

    def _prepared(self, data: Data, go_on: bool) -> tuple[State, SgdDescent]:
        """Return the state to start from and the descent, in the coordinates of the last call if it goes on."""
        encoding, statistics = data.schema.encoding, data.statistics
        k, n_terms = self._outputs(data.schema), encoding.n_terms
        y = data.sample(_SAMPLE_ROWS, seed=0).y if self.task == "regression" else None
        go_on = go_on and getattr(self, "iterate_", np.empty(0)).shape == (2, k, n_terms + 1)
        if go_on:
            offset, inverse = self.coordinates_
            coordinates = Coordinates(offset, inverse, float(self.fit_intercept))
        else:
            centre = np.array(encoding.centre())
            coordinates = Coordinates.of(
                statistics.mean, statistics.scale, centre, encoding.n_dense, self.fit_intercept
            )
        state = self._restored() if go_on else self._first(k, n_terms, y)
        schedule = self._schedule(mean_squared_norm(coordinates, statistics), y)
        data.decide_solver(
            "sgd", f"learning rates: {self.learning_rate}, standardised terms", epochs_at_most(self.max_iter)
        )

        def report(number: int, loss: float, state: State) -> None:
            self._iteration(number, loss=loss)
            self._keep(**self._fitted(data, descent, state), n_iter_=number)

        descent = SgdDescent(coordinates, schedule, self._reading(data), report, type(self).__name__)
        return state, descent

    def _first(self, k: int, n_terms: int, y: Floats | None) -> State:
        state = first_state(k, n_terms)
        if y is not None and len(y) and self.fit_intercept:
            state["intercept"][:] = state["average_intercept"][:] = y.mean()
        return state

    def _restored(self) -> State:
        iterate, average = self.iterate_
        return {
            "coef": iterate[:, :-1].copy(),
            "intercept": iterate[:, -1].copy(),
            "average": average[:, :-1].copy(),
            "average_intercept": average[:, -1].copy(),
            "totals": np.concatenate([np.zeros(2), self.progress_]),
        }

    def _schedule(self, squared_norm: float, y: Floats | None) -> Schedule:
        spread = float(y.std()) or 1.0 if y is not None and len(y) else 1.0
        base, power = self.eta0, self.power_t
        if self.learning_rate == "auto":
            base, power = default_rates(self.loss, self.epsilon, squared_norm, spread)
        elif self.learning_rate == "optimal":
            base, power = optimal_start(self.loss, self.epsilon, self.alpha), self.alpha
        l1_ratio = {"l2": 0.0, "l1": 1.0}.get(self.penalty or "l2", self.l1_ratio)
        alpha = 0.0 if self.penalty is None else self.alpha
        averaging_from = np.inf if self.average is False or self.average == 0 else float(int(self.average)) - 1.0
        return Schedule(self.loss, self.epsilon, self.learning_rate, base, power, alpha, l1_ratio, averaging_from)

    def _fitted(self, data: Data, descent: SgdDescent, state: State) -> dict[str, Any]:
        """Return the fitted attributes of a state."""
        coef, centred = descent.model(state)
        iterate = np.column_stack([state["coef"], state["intercept"]])
        average = np.column_stack([state["average"], state["average_intercept"]])
        return {
            **self._attributes(data, coef, centred),
            "iterate_": np.array([iterate, average]),
            "coordinates_": np.array([descent.coordinates.offset, descent.coordinates.inverse]),
            "progress_": state["totals"][2:].copy(),
            "t_": 1.0 + float(state["totals"][2]),
        }
