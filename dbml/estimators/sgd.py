"""Linear models by stochastic gradient descent: SGDClassifier and SGDRegressor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from dbml_kernels.exponential import logistic_rows
from dbml_sql.forms import Link

from dbml.estimators.batches import check_batches, schema_of_batches
from dbml.estimators.class_weight import CLASS_WEIGHT_OPTIONS, CLASS_WEIGHT_RULE, class_weights
from dbml.estimators.classifier import SometimesProbabilistic
from dbml.estimators.jobs import JOBS_RULE
from dbml.estimators.linear_classifier import LinearClassifier
from dbml.estimators.linear_model import LinearRegressor
from dbml.estimators.sgd_estimator import SgdEstimator
from dbml.estimators.solvers.loss_step import RowReading
from dbml.estimators.solvers.sgd import LOSSES
from dbml.params import Options, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.dispatch import readable_again
from dbml.passes.schema import Schema


class SGDClassifier(LinearClassifier, SometimesProbabilistic, SgdEstimator):
    """Linear classifier by averaged stochastic gradient descent, one against the rest for more than two classes.

    Minimises ``mean loss + alpha (l1_ratio |w|_1 + (1 - l1_ratio) |w|^2 / 2)``, scikit-learn's objective. Two things
    are different, so that it works on tables as they are: terms are standardised inside (the penalty is still on the
    coefficients of the columns), and steps are implicit and averaged, which makes the learning rate uncritical.

    Parameters
    ----------
    loss : {"hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron", "squared_error", "huber", \
"epsilon_insensitive", "squared_epsilon_insensitive"}, default="hinge"
        "hinge" is a support vector machine, "log_loss" logistic regression; there is `predict_proba` with "log_loss"
        and "modified_huber". The last four are those of regression, on classes -1 and 1.
    penalty : {"l2", "l1", "elasticnet", None}, default="l2"
        Penalty on the coefficients. With l1, those of useless terms are exactly 0 after `fit`, near 0 after
        `partial_fit`.
    alpha : float, default=0.0001
        Its strength.
    l1_ratio : float, default=0.15
        Share of l1 in "elasticnet".
    fit_intercept : bool, default=True
        Whether there is an intercept.
    max_iter : int, default=1000
        Most epochs.
    tol : float or None, default=1e-3
        Stops where the mean loss of an epoch was not lower by this much for `n_iter_no_change` epochs; None: never.
    shuffle : bool, default=True
        Rows in another random order every epoch; in the order of the table where its rows are not clustered.
    epsilon : float, default=0.1
        Parameter of the losses of regression.
    random_state : int, RandomState or None, default=None
        Seed of the order; None is 0.
    learning_rate : {"auto", "constant", "optimal", "invscaling", "adaptive"}, default="auto"
        "auto" needs no tuning; the others are scikit-learn's, for standardised terms.
    eta0, power_t : float, default=0.01, 0.5
        Parameters of "constant", "adaptive" and "invscaling".
    early_stopping : bool, default=False
        Judge by the accuracy on held out rows instead of the loss; a pass more per epoch.
    validation_fraction : float, default=0.1
        Share of the rows held out for it, chosen by a hash of their values.
    n_iter_no_change : int, default=5
        Epochs without improvement before the end.
    class_weight : dict or "balanced", optional
        Factor on the weight of each class; with more than two classes, where it is the one against the rest (the rest
        weighs 1, as in scikit-learn).
    warm_start : bool, default=False
        `fit` goes on from the last one, by its encoding.
    average : bool or int, default=True
        Whether coefficients are averaged over the rows seen, later ones weighing more; from that row on for an integer.
    n_jobs : int, optional
        Most threads of the training; None or -1 for all. The model is the same for any.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in ascending order.
    coef_, intercept_, centred_intercept_ : ndarray
        As in `LogisticRegression`.
    n_iter_ : int
        Epochs of the last `fit`.
    t_ : float
        1 + rows seen.

    Notes
    -----
    A pass per epoch, over blocks kept in memory or spilled, and one more with l1, which tells what is exactly 0; n p
    per pass and output; memory does not grow with the rows. A missing value takes the mean of its column, and a flag
    term marks it.

    Examples
    --------
    >>> from dbml import SGDClassifier
    >>> X = [[0.0], [1.0], [2.0], [3.0]] * 10
    >>> SGDClassifier().fit(X, ["a", "a", "b", "b"] * 10).predict([[0.5], [2.5]])
    array(['a', 'b'], dtype='<U1')
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        **SgdEstimator.rules,
        "loss": Options(tuple(LOSSES)),
        "class_weight": CLASS_WEIGHT_RULE,
        "n_jobs": JOBS_RULE,
    }
    sql_options: ClassVar[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
        **SgdEstimator.sql_options,
        **CLASS_WEIGHT_OPTIONS,
    }

    def __init__(
        self,
        loss: str = "hinge",
        *,
        penalty: str | None = "l2",
        alpha: float = 0.0001,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        epsilon: float = 0.1,
        random_state: Any = None,
        learning_rate: str = "auto",
        eta0: float = 0.01,
        power_t: float = 0.5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: dict[Any, float] | str | None = None,
        warm_start: bool = False,
        average: bool | int = True,
        n_jobs: int | None = None,
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.epsilon = epsilon
        self.random_state = random_state
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.average = average
        self.n_jobs = n_jobs

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        classes: Any = None,
        sample_weight: Any = None,
        *,
        con: Any = None,
        options: dict[str, Any] | None = None,
    ) -> Self:
        """Go through the rows of X once, in their order, and learn from them.

        Parameters
        ----------
        X, y, sample_weight, con, options
            As in `fit`. Encoding and spreads of the terms are those of the first call.
        classes : array, optional
            All labels there will be; needed in the first call where its rows may not have them all.
        """
        check_batches(self)
        X = readable_again(X)
        schema = schema_of_batches(self, X, y, classes, sample_weight, con, options)
        return self._train_on(X, y, sample_weight, con, None, schema, self._partial)

    def _outputs(self, schema: Schema) -> int:
        n_classes = len(schema.classes)
        return 1 if n_classes == 2 else n_classes

    def _reading(self, data: Data) -> RowReading:
        name = type(self).__name__
        weighted = data.sample(1, 0).weight is not None if self.class_weight == "balanced" else False
        weights = class_weights(name, self.class_weight, data, weighted)
        if self._outputs(data.schema) == 1:
            return RowReading(1, weights)
        return RowReading(own_weight=weights)

    def _attributes(self, data: Data, coef: Floats, centred: Floats) -> dict[str, Any]:
        return self._linear(data.schema, coef, centred, self.fit_intercept)

    def _proba_needs(self) -> str:
        if self.loss in ("log_loss", "modified_huber"):
            return ""
        return f"loss='log_loss' or 'modified_huber'; got loss={self.loss!r}"

    def _proba_block(self, block: Block) -> Floats:
        """Return the logistic of the decision, or its clipped half; with more than two classes normalised."""
        eta = self._decision_block(block)
        flat = np.ascontiguousarray(eta.ravel())
        high = np.empty_like(flat)
        if self.loss == "log_loss":
            logistic_rows(flat, high)
        else:
            np.clip((flat + 1.0) / 2.0, 0.0, 1.0, out=high)
        if eta.ndim == 1:
            return np.column_stack([1.0 - high, high])
        proba = high.reshape(eta.shape)
        total = proba.sum(axis=1, keepdims=True)
        return np.where(total > 0.0, proba / np.where(total > 0.0, total, 1.0), 1.0 / eta.shape[1])

    def _link(self) -> Link:
        # The clipped halves of modified_huber are no form's.
        if self.loss != "log_loss":
            return "margin"
        return "logistic" if len(self.coef_) == 1 else "one_vs_rest"


class SGDRegressor(LinearRegressor, SgdEstimator):
    """Linear regressor by averaged stochastic gradient descent; see `SGDClassifier` for what is different.

    Parameters
    ----------
    loss : {"squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"}, default="squared_error"
        Loss of a prediction.
    penalty, alpha, l1_ratio, fit_intercept, max_iter, tol, shuffle, random_state, learning_rate, eta0, power_t, \
early_stopping, validation_fraction, n_iter_no_change, warm_start, average
        As in `SGDClassifier`; `tol` is a share of the loss, early stopping judges by R².
    epsilon : float, default=0.1
        Where "huber" turns linear, and what the epsilon-insensitive losses leave free; in the units of the target.

    Attributes
    ----------
    coef_ : ndarray of shape (n_terms,)
        Coefficients of the terms (`terms_`).
    intercept_, centred_intercept_ : float
        Intercept in the units of the columns, and over centred terms.
    n_iter_, t_
        As in `SGDClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import SGDRegressor
    >>> X = np.linspace(0.0, 1.0, 500)[:, None]
    >>> SGDRegressor(alpha=0.0).fit(X, 1000.0 * X[:, 0]).predict([[0.5]]).round()
    array([500.])
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        **SgdEstimator.rules,
        "loss": Options(("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive")),
    }

    def __init__(
        self,
        loss: str = "squared_error",
        *,
        penalty: str | None = "l2",
        alpha: float = 0.0001,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        epsilon: float = 0.1,
        random_state: Any = None,
        learning_rate: str = "auto",
        eta0: float = 0.01,
        power_t: float = 0.25,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        average: bool | int = True,
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.epsilon = epsilon
        self.random_state = random_state
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.average = average

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        con: Any = None,
        options: dict[str, Any] | None = None,
    ) -> Self:
        """Go through the rows of X once, in their order, and learn from them; see `SGDClassifier.partial_fit`."""
        check_batches(self)
        return self._train_on(X, y, sample_weight, con, options, vars(self).get("schema_"), self._partial)

    def _attributes(self, data: Data, coef: Floats, centred: Floats) -> dict[str, Any]:
        return self._linear(data.schema, coef[0], float(centred[0]), self.fit_intercept)
