"""Linear support vector machines: LinearSVC and LinearSVR, solved in the primal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from dbml.errors import InvalidParameter
from dbml.estimators.bigquery_options import inverse_penalty
from dbml.estimators.class_weight import (
    CLASS_WEIGHT_OPTIONS,
    CLASS_WEIGHT_RULE,
    class_weights,
    weights_against_the_rest,
)
from dbml.estimators.linear_classifier import LinearClassifier
from dbml.estimators.linear_model import LinearRegressor
from dbml.estimators.losses import (
    SQUARED_HINGE,
    Loss,
    epsilon_insensitive,
    hinge,
    squared_epsilon_insensitive,
)
from dbml.estimators.penalties import Penalty
from dbml.estimators.random_state import RANDOM_STATE_RULE
from dbml.estimators.solvers.loss_step import RowReading, weighted_median
from dbml.estimators.solvers.minimise import training_sample
from dbml.estimators.solvers.objective import Objective
from dbml.estimators.solvers.training import Problem, train
from dbml.params import Boolean, Integer, Options, Real, Rule
from dbml.passes.block import Floats
from dbml.passes.data import Data

# Of a corner, in units of the margin (of the spread of y). The first spans every row where all coefficients are 0.
_WIDTHS = (4.0, 1.5, 0.5, 0.15, 0.05, 0.015, 0.005)


def svm_penalty(C: float, penalty: str, fit_intercept: bool, intercept_scaling: float) -> Penalty:
    """Return liblinear's penalty: the intercept is the coefficient of a term that is always `intercept_scaling`."""
    if penalty == "l1":
        return Penalty(l1=1.0 / C, intercept_l1=fit_intercept / (C * intercept_scaling), per_sum=True)
    return Penalty(l2=1.0 / C, intercept_l2=fit_intercept / (C * intercept_scaling**2), per_sum=True)


class LinearSVC(LinearClassifier):
    """Linear support vector classifier, one against the rest for more than two classes.

    Minimises ``C * sum loss + |w|^2 / 2`` (or ``|w|_1``), as scikit-learn does with liblinear: the intercept is
    penalised too, by ``(b / intercept_scaling)^2 / 2``, in the units of the columns.

    Parameters
    ----------
    penalty : {"l2", "l1"}, default="l2"
        Penalty on the coefficients; "l1" makes those of useless terms exactly 0 (with "squared_hinge").
    loss : {"squared_hinge", "hinge"}, default="squared_hinge"
        Loss of a margin below 1.
    tol : float, default=1e-4
        Stops where the objective can fall by at most ``tol ** 2`` of itself.
    C : float, default=1.0
        Inverse strength of the penalty.
    fit_intercept : bool, default=True
        Whether there is an intercept.
    intercept_scaling : float, default=1.0
        The larger, the less the intercept is penalised: raise it where columns are far from 0.
    class_weight : dict or "balanced", optional
        Factor on the weight of each class; with more than two classes, where it is the one against the rest (the rest
        weighs 1, as in liblinear).
    max_iter : int, default=1000
        Most steps of the solver over all rows.
    random_state : int, RandomState or None, default=None
        There because scikit-learn's class has it: nothing is drawn here, and the model is the same for any.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in ascending order.
    coef_ : ndarray of shape (1, n_terms) or (n_classes, n_terms)
        Coefficients of the terms (`terms_`).
    intercept_, centred_intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts in the units of the columns, and over centred terms.
    n_iter_ : int
        Steps of the solver over all rows.

    Notes
    -----
    Newton's method on the rows inside the margin: a sample, then a few passes over all rows, n p^2 / 2 each for p dense
    terms, shared by all classes (L-BFGS beyond 1,000 terms). "hinge" has a corner, which is rounded over ever smaller
    widths down to 0.005 margins: the objective is then at most 0.0007 a row above the least. A missing value takes the
    mean of its column, and a flag term marks it. Unlike in scikit-learn there is no ``dual``: memory does not grow with
    the rows.

    Examples
    --------
    >>> from dbml import LinearSVC
    >>> LinearSVC().fit([[0.0], [1.0], [2.0], [3.0]], ["a", "a", "b", "b"]).predict([[0.5], [2.5]])
    array(['a', 'b'], dtype='<U1')
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "penalty": Options(("l2", "l1")),
        "loss": Options(("squared_hinge", "hinge")),
        "tol": Real(gt=0),
        "C": Real(gt=0),
        "fit_intercept": Boolean(),
        "intercept_scaling": Real(gt=0),
        "class_weight": CLASS_WEIGHT_RULE,
        "max_iter": Integer(ge=1),
        "random_state": RANDOM_STATE_RULE,
    }
    sql_options: ClassVar[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
        "l2_reg": inverse_penalty("l2_reg", "l2"),
        "l1_reg": inverse_penalty("l1_reg", "l1"),
        "max_iterations": lambda value: {"max_iter": value},
        **CLASS_WEIGHT_OPTIONS,
    }

    n_iter_: int

    def __init__(
        self,
        penalty: str = "l2",
        loss: str = "squared_hinge",
        *,
        tol: float = 1e-4,
        C: float = 1.0,
        fit_intercept: bool = True,
        intercept_scaling: float = 1.0,
        class_weight: dict[Any, float] | str | None = None,
        max_iter: int = 1000,
        random_state: Any = None,
    ) -> None:
        self.penalty = penalty
        self.loss = loss
        self.tol = tol
        self.C = C
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.random_state = random_state

    def _check_params(self) -> None:
        if self.penalty == "l1" and self.loss == "hinge":
            raise InvalidParameter(f"{type(self).__name__}: penalty='l1' needs loss='squared_hinge'; got loss='hinge'")

    def _fit(self, data: Data) -> None:
        name, encoding = type(self).__name__, data.schema.encoding
        target = data.schema.target
        assert target is not None and target.classes is not None
        sample = training_sample(data)
        weights = class_weights(name, self.class_weight, data, sample.weight is not None)
        penalty = svm_penalty(self.C, self.penalty, self.fit_intercept, self.intercept_scaling)
        centre = np.array(encoding.centre())
        if len(target.classes) == 2:
            readings = [RowReading(1, weights)]
        else:
            readings = [RowReading(k, weights_against_the_rest(weights, k)) for k in range(len(target.classes))]
        losses = [SQUARED_HINGE] if self.loss == "squared_hinge" else [hinge(width) for width in _WIDTHS]
        stages = [
            [
                Objective(loss, penalty, encoding.n_terms, centre, self.fit_intercept, reading, owner=name)
                for reading in readings
            ]
            for loss in losses
        ]
        objective = stages[-1][0]
        start = objective.theta(np.zeros(encoding.n_terms), np.zeros(1))

        def fitted(thetas: list[Floats]) -> dict[str, Any]:
            rows = [objective.split(theta) for theta in thetas]
            coef, centred = np.concatenate([r[0] for r in rows]), np.concatenate([r[1] for r in rows])
            return self._linear(data.schema, coef, centred, self.fit_intercept)

        problem = Problem(stages, [start for _ in readings], fitted, "auto", self.tol, self.max_iter)
        train(self, data, sample, problem)


class LinearSVR(LinearRegressor):
    """Linear support vector regression: errors up to `epsilon` are free.

    Minimises ``C * sum loss + |w|^2 / 2``, with the intercept penalised as in `LinearSVC`.

    Parameters
    ----------
    epsilon : float, default=0.0
        Errors up to here cost nothing, in the units of the target.
    tol : float, default=1e-4
        Stops where the objective can fall by at most ``tol ** 2`` of itself.
    C : float, default=1.0
        Inverse strength of the penalty.
    loss : {"epsilon_insensitive", "squared_epsilon_insensitive"}, default="epsilon_insensitive"
        ``max(0, |error| - epsilon)`` or its square.
    fit_intercept : bool, default=True
        Whether there is an intercept.
    intercept_scaling : float, default=1.0
        The larger, the less the intercept is penalised.
    max_iter : int, default=1000
        Most steps of the solver over all rows.
    random_state : int, RandomState or None, default=None
        There because scikit-learn's class has it: nothing is drawn here, and the model is the same for any.

    Attributes
    ----------
    coef_ : ndarray of shape (n_terms,)
        Coefficients of the terms (`terms_`).
    intercept_, centred_intercept_ : float
        Intercept in the units of the columns, and over centred terms.
    n_iter_ : int
        Steps of the solver over all rows.

    Notes
    -----
    Solved as `LinearSVC` is; the corners of "epsilon_insensitive" are rounded over widths down to 0.005 times the
    spread of the target.

    Examples
    --------
    >>> from dbml import LinearSVR
    >>> model = LinearSVR(C=100.0).fit([[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0])
    >>> model.predict([[4.0]]).round(1)
    array([9.])
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "epsilon": Real(ge=0),
        "tol": Real(gt=0),
        "C": Real(gt=0),
        "loss": Options(("epsilon_insensitive", "squared_epsilon_insensitive")),
        "fit_intercept": Boolean(),
        "intercept_scaling": Real(gt=0),
        "max_iter": Integer(ge=1),
        "random_state": RANDOM_STATE_RULE,
    }
    sql_options: ClassVar[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
        "l2_reg": inverse_penalty("l2_reg"),
        "max_iterations": lambda value: {"max_iter": value},
    }

    n_iter_: int

    def __init__(
        self,
        *,
        epsilon: float = 0.0,
        tol: float = 1e-4,
        C: float = 1.0,
        loss: str = "epsilon_insensitive",
        fit_intercept: bool = True,
        intercept_scaling: float = 1.0,
        max_iter: int = 1000,
        random_state: Any = None,
    ) -> None:
        self.epsilon = epsilon
        self.tol = tol
        self.C = C
        self.loss = loss
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.max_iter = max_iter
        self.random_state = random_state

    def _losses(self, spread: float) -> Sequence[Loss]:
        if self.loss == "squared_epsilon_insensitive":
            return [squared_epsilon_insensitive(self.epsilon)]
        return [epsilon_insensitive(self.epsilon, width * spread) for width in _WIDTHS]

    def _fit(self, data: Data) -> None:
        name, encoding = type(self).__name__, data.schema.encoding
        penalty = svm_penalty(self.C, "l2", self.fit_intercept, self.intercept_scaling)
        sample = training_sample(data)
        y, weight = RowReading().target(sample), RowReading().weight(sample)
        middle = weighted_median(y, weight)
        spread = float(np.sqrt(weight @ (y - middle) ** 2 / max(float(weight.sum()), 1e-300))) or 1.0
        centre = np.array(encoding.centre())
        stages = [
            [Objective(loss, penalty, encoding.n_terms, centre, self.fit_intercept, owner=name)]
            for loss in self._losses(spread)
        ]
        objective = stages[-1][0]
        start = objective.theta(np.zeros(encoding.n_terms), np.array([middle]))

        def fitted(thetas: list[Floats]) -> dict[str, Any]:
            coef, centred, _ = objective.split(thetas[0])
            return self._linear(data.schema, coef[0], float(centred[0]), self.fit_intercept)

        train(self, data, sample, Problem(stages, [start], fitted, "auto", self.tol, self.max_iter))
