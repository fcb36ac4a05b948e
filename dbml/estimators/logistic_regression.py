"""Logistic regression, binary and multinomial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from dbml_kernels.exponential import logistic_rows
from dbml_kernels.softmax import softmax_rows
from dbml_sql.forms import Link

from dbml.errors import InvalidParameter
from dbml.estimators.class_weight import CLASS_WEIGHT_OPTIONS, CLASS_WEIGHT_RULE, class_weights
from dbml.estimators.classifier import ProbabilisticClassifier
from dbml.estimators.jobs import JOBS_RULE
from dbml.estimators.linear_classifier import LinearClassifier
from dbml.estimators.losses import LOGISTIC
from dbml.estimators.penalties import Penalty, elastic_net
from dbml.estimators.random_state import RANDOM_STATE_RULE
from dbml.estimators.solvers.loss_step import RowReading
from dbml.estimators.solvers.minimise import training_sample
from dbml.estimators.solvers.objective import Objective, SoftmaxObjective
from dbml.estimators.solvers.training import Problem, train
from dbml.params import Boolean, Integer, Options, Real, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data


class LogisticRegression(LinearClassifier, ProbabilisticClassifier):
    """Logistic regression: the probability of a class is the logistic (or softmax) function of a linear predictor.

    Minimises ``C * sum of the log losses + (1 - l1_ratio) / 2 |w|^2 + l1_ratio |w|_1`` over coefficients w and a free
    intercept, for two classes one w, else one per class together (multinomial).

    Parameters
    ----------
    penalty : {"deprecated", None, "l2", "l1", "elasticnet"}, default="deprecated"
        As in older scikit-learn: None is ``C=inf``, "l2" is ``l1_ratio=0``, "l1" is ``l1_ratio=1``.
    C : float, default=1.0
        Inverse strength of the penalty; ``inf`` for none.
    l1_ratio : float in [0, 1], default=0.0
        Share of l1 in the penalty. With l1, coefficients of useless terms are exactly 0.
    fit_intercept : bool, default=True
        Without, the predictor is 0 where all columns are 0.
    class_weight : dict or "balanced", optional
        Factor on the weight of each class; "balanced" makes all classes weigh the same.
    solver : {"auto", "newton", "lbfgs", "proximal-newton"}, default="auto"
        "newton" up to 1,000 parameters (2,500 where all rows fit in memory and are mostly zeros), "lbfgs" beyond
        (preconditioned by the Hessian of a sample where that is cheap),
        "proximal-newton" with l1.
    tol : float, default=1e-4
        Stops where the objective can fall by at most ``tol ** 2`` of itself ("lbfgs": where the largest derivative of
        the mean loss, in units of the spread of its term, is at most `tol`, and the next step promises at most `tol`
        of the objective).
    max_iter : int, default=100
        Most steps of the solver over all rows.
    warm_start : bool, default=False
        Start from the coefficients of the last `fit` instead of a sample.
    n_jobs : int, optional
        Most threads of the training; None or -1 for all. The model is the same for any.
    random_state : int, RandomState or None, default=None
        There because scikit-learn's class has it: nothing is drawn here, and the model is the same for any.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in ascending order.
    coef_ : ndarray of shape (1, n_terms) or (n_classes, n_terms)
        Coefficients of the terms (`terms_`).
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts in the units of the columns.
    centred_intercept_ : ndarray of the same shape
        Intercepts over centred terms, which scoring uses.
    n_iter_ : ndarray of shape (1,)
        Steps of the solver over all rows.

    Notes
    -----
    Passes: a sample is solved in memory, then Newton takes 1 to 3 passes over all rows (each gives loss, gradient and
    Hessian; the sample says what the step leaves over); L-BFGS some dozens, over blocks kept in memory or spilled. Cost
    of a pass: n p^2 / 2 for p dense terms.
    Memory does not grow with the rows. A missing value takes the mean of its column, and a flag term marks it.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import LogisticRegression
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> LogisticRegression().fit(X, [0, 0, 1, 1]).predict([[0.2], [2.8]])
    array([0, 1])
    """

    model_types = ("logistic_reg",)
    choosing_options = ("l1_reg", "l2_reg")
    rules: ClassVar[Mapping[str, Rule]] = {
        "penalty": Options(("deprecated", None, "l2", "l1", "elasticnet")),
        "C": Real(gt=0, infinite=True),
        "l1_ratio": Real(ge=0, le=1),
        "fit_intercept": Boolean(),
        "class_weight": CLASS_WEIGHT_RULE,
        "solver": Options(("auto", "newton", "lbfgs", "proximal-newton")),
        "tol": Real(gt=0),
        "max_iter": Integer(ge=1),
        "warm_start": Boolean(),
        "n_jobs": JOBS_RULE,
        "random_state": RANDOM_STATE_RULE,
    }
    sql_options: ClassVar = {
        "max_iterations": lambda value: {"max_iter": value},
        "min_rel_progress": lambda value: {"tol": float(value) ** 0.5},
        **CLASS_WEIGHT_OPTIONS,
    }

    def __init__(
        self,
        penalty: str | None = "deprecated",
        *,
        C: float = 1.0,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        class_weight: dict[Any, float] | str | None = None,
        solver: str = "auto",
        tol: float = 1e-4,
        max_iter: int = 100,
        warm_start: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.penalty = penalty
        self.C = C
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Return an estimator for the options of a model statement; ``l1_reg`` and ``l2_reg`` make C and l1_ratio."""
        rest = {name: value for name, value in options.items() if name not in ("l1_reg", "l2_reg")}
        if len(rest) == len(options):
            return super().from_options(rest)
        for name in ("c", "l1_ratio", "penalty"):
            if name in rest:
                raise InvalidParameter(f"{cls.__name__}: options l1_reg and l2_reg say what {name!r} says; give one")
        strengths = [options.get(name, 0.0) for name in ("l1_reg", "l2_reg")]
        for name, value in zip(("l1_reg", "l2_reg"), strengths, strict=True):
            if not Real(ge=0).allows(value):
                raise InvalidParameter(f"{cls.__name__}: {name} must be {Real(ge=0).describe()}; got {value!r}")
        total = float(sum(strengths))
        made = super().from_options(rest)
        ratio = float(strengths[0]) / total if total else 0.0
        return made.set_params(C=1.0 / total if total else float("inf"), l1_ratio=ratio)

    def _check_params(self) -> None:
        if self.solver != "auto" and (self._penalty().l1 > 0) != (self.solver == "proximal-newton"):
            wanted = "'proximal-newton'" if self._penalty().l1 > 0 else "'newton' or 'lbfgs'"
            raise InvalidParameter(
                f"{type(self).__name__}: solver must be {wanted} or 'auto' for this penalty; got {self.solver!r}"
            )

    def _penalty(self) -> Penalty:
        if self.penalty is None:
            return Penalty()
        ratio = {"l2": 0.0, "l1": 1.0}.get(self.penalty, self.l1_ratio)
        return elastic_net(self.C, ratio)

    def _fit(self, data: Data) -> None:
        name, n_terms = type(self).__name__, data.schema.encoding.n_terms
        n_classes = len(data.schema.classes)
        sample = training_sample(data)
        weights = class_weights(name, self.class_weight, data, sample.weight is not None)
        centre = np.array(data.schema.encoding.centre())
        reading = RowReading(1 if n_classes == 2 else None, weights)
        kind, outputs = (Objective, 1) if n_classes == 2 else (SoftmaxObjective, n_classes)
        objective = kind(
            LOGISTIC, self._penalty(), n_terms, centre, self.fit_intercept, reading, owner=name, n_outputs=outputs
        )

        problem = Problem(
            [[objective]],
            [self._start(objective, sample)],
            lambda thetas: self._fitted(data, objective, thetas[0]),
            self.solver,
            self.tol,
            self.max_iter,
        )
        train(self, data, sample, problem, lambda steps: np.array([steps]))

    def _start(self, objective: Objective, sample: Block) -> Floats:
        """Return the parameters of the last fit where they are wanted, else log odds of the classes and no terms."""
        shape = (objective.n_outputs, objective.n_terms)
        if self.warm_start and getattr(self, "coef_", np.empty(0)).shape == shape:
            intercept = self.intercept_ + self.coef_ @ objective.centre
            return objective.theta(self.coef_, intercept)
        y, weight = objective.reading.target(sample), objective.reading.weight(sample)
        if objective.n_outputs == 1:
            totals = np.array([weight[y < 0].sum(), weight[y > 0].sum()]) + 0.5
            return objective.theta(np.zeros(shape), np.log(totals[1:] / totals[0]))
        logs = np.log(np.bincount(y.astype(np.intp), weight, objective.n_outputs) + 0.5)
        return objective.theta(np.zeros(shape), logs - logs.mean())

    def _fitted(self, data: Data, objective: Objective, theta: Floats) -> dict[str, object]:
        coef, centred, _ = objective.split(theta)
        if objective.n_outputs > 1:  # what is common to all classes changes no probability: it is fixed at 0
            if not objective.penalty.l1 and not objective.penalty.l2:
                coef = coef - coef.mean(axis=0)
            centred = centred - centred.mean() if self.fit_intercept else coef @ objective.centre
        return self._linear(data.schema, coef, centred, self.fit_intercept)

    def _proba_block(self, block: Block) -> Floats:
        eta = self._decision_block(block)
        if eta.ndim == 1:
            proba = np.empty((len(eta), 2))
            for sign, column in ((-1.0, 0), (1.0, 1)):
                out = np.empty(len(eta))
                logistic_rows(sign * eta, out)
                proba[:, column] = out
            return proba
        by_class = np.ascontiguousarray(eta.T)
        softmax_rows(by_class, by_class)
        return np.ascontiguousarray(by_class.T)

    def _link(self) -> Link:
        return "logistic" if len(self.coef_) == 1 else "softmax"
