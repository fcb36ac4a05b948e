"""SVR: support vector regression with a kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from dbml_sql.forms import LinearForm
from numpy.typing import NDArray

from dbml.estimators.kernel_machines.exact import read_rows, regression_task, solve_tasks
from dbml.estimators.kernel_machines.kernel_model import KERNEL_RULES, KernelModel
from dbml.estimators.kernel_machines.over_features import train_over_features
from dbml.estimators.kernel_machines.streamed import Machines, machine_sample, train_over_terms
from dbml.estimators.linear_model import raw_intercept
from dbml.estimators.losses import epsilon_insensitive
from dbml.estimators.regressor import Regressor
from dbml.estimators.solvers.loss_step import RowReading, weighted_median
from dbml.params import Real, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data

# Of the rounded corners, in spreads of the target; see SVC.
_WIDTHS, _LINEAR_WIDTHS = (1.5, 0.5, 0.1), (1.5, 0.5, 0.15, 0.05, 0.015)


class SVR(KernelModel, Regressor):
    """Support vector regression with a kernel: errors up to `epsilon` are free.

    Minimises ``C * sum max(0, |error| - epsilon) + |w|^2 / 2`` in the space of the kernel, as scikit-learn does.

    Parameters
    ----------
    C : float, default=1.0
        Inverse strength of the penalty; in the units of the target. Weights of rows multiply it.
    epsilon : float, default=0.1
        Errors up to here cost nothing, in the units of the target.
    kernel, degree, gamma, coef0, shrinking, cache_size, max_iter, solver, n_components, random_state
        As in `SVC`.
    tol : float, default=1e-3
        Stops where no pair of rows violates the optimum by more, in the units of the target.

    Attributes
    ----------
    solver_ : str
        "exact", "nystroem", or "primal" for a linear kernel over passes.
    gamma_ : float
        The value of gamma.
    support_, support_vectors_, n_support_ : ndarray of shape (n_vectors,), (n_vectors, n_terms), (1,)
        Of the exact solver: positions of the support vectors in the source, the vectors, and how many there are.
    dual_coef_ : ndarray of shape (1, n_vectors)
        Weights of the support vectors.
    landmarks_, landmark_coef_ : ndarray of shape (m, n_terms), (1, m)
        Of "nystroem": the landmarks, and their weights.
    intercept_ : ndarray of shape (1,)
    coef_, centred_intercept_ : ndarray of shape (1, n_terms), (1,)
        Of a linear kernel: coefficients of the terms, and the intercept over centred terms.
    n_iter_ : int
        Steps of the solver.
    fit_status_ : int
        0, or 1 where the solver stopped early.

    Notes
    -----
    As `SVC`; beyond the rows of the exact solver the corners of the loss are rounded over a tenth of the spread of the
    target.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import SVR
    >>> X = np.linspace(0.0, 6.0, 50).reshape(-1, 1)
    >>> SVR(C=10.0, epsilon=0.01).fit(X, np.sin(X[:, 0])).predict([[1.5], [4.5]]).round(1)
    array([ 1., -1.])
    """

    rules: ClassVar[Mapping[str, Rule]] = {**KERNEL_RULES, "epsilon": Real(ge=0)}
    sql_options: ClassVar[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
        "max_iterations": lambda value: {"max_iter": value},
    }

    support_: NDArray[np.int32]
    n_support_: NDArray[np.int32]
    dual_coef_: Floats
    n_iter_: int

    def __init__(
        self,
        *,
        kernel: str = "rbf",
        degree: int = 3,
        gamma: str | float = "scale",
        coef0: float = 0.0,
        tol: float = 1e-3,
        C: float = 1.0,
        epsilon: float = 0.1,
        shrinking: bool = True,
        cache_size: float = 200,
        max_iter: int = -1,
        solver: str = "auto",
        n_components: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.degree = degree
        self.gamma = gamma
        self.coef0 = coef0
        self.tol = tol
        self.C = C
        self.epsilon = epsilon
        self.shrinking = shrinking
        self.cache_size = cache_size
        self.max_iter = max_iter
        self.solver = solver
        self.n_components = n_components
        self.random_state = random_state

    # training --------------------------------------------------------------------------------------------------

    def _fit(self, data: Data) -> None:
        self._forget()
        self.solver_ = self._choose(data)
        if self.solver_ == "exact":
            self._fit_exact(data)
        else:
            self._fit_streamed(data)
        self._tell_solver(data)

    def _fit_exact(self, data: Data) -> None:
        name = type(self).__name__
        rows = read_rows(data, name)
        kernel = self._make_kernel(data, rows.spread)
        centre = np.array(data.schema.encoding.centre())
        seen = rows.X + kernel.origin(centre) if kernel.moves else rows.X
        middle = weighted_median(rows.y, rows.weight)
        task = regression_task(rows.y - middle, self.epsilon, self.C * rows.weight)
        (one,) = solve_tasks(seen, kernel, [task], self._limits(), name, self._report_gap)
        used = np.flatnonzero(one.coef)
        self.support_, self.n_support_ = rows.position[used].astype(np.int32), np.array([len(used)], np.int32)
        self.support_vectors_, self.dual_coef_ = rows.X[used] + centre, one.coef[used][None]
        self.n_iter_, self.fit_status_ = max(1, one.steps), int(not one.converged)
        intercept = np.array([one.intercept + middle])
        if self.kernel == "linear":
            self._set_linear(data, self.dual_coef_ @ rows.X[used], intercept)
        else:
            self.intercept_ = intercept

    def _fit_streamed(self, data: Data) -> None:
        features = None if self.solver_ == "primal" else self._landmark_features(data)
        sample = machine_sample(data, 1)
        y, weight = RowReading().target(sample), RowReading().weight(sample)
        middle = weighted_median(y, weight)
        spread = float(np.sqrt(weight @ (y - middle) ** 2 / max(float(weight.sum()), 1e-300))) or 1.0
        widths = _LINEAR_WIDTHS if features is None else _WIDTHS
        losses = [epsilon_insensitive(self.epsilon, width * spread) for width in widths]
        machines = Machines(losses, [RowReading()], self.C, middle)
        if features is None:
            solved = train_over_terms(self, data, machines)
        else:
            solved = train_over_features(self, data, features, machines)
        self.n_iter_, self.fit_status_ = solved.steps[0], int(not solved.converged)
        if features is None:
            self._set_linear(data, solved.coef, solved.intercept)
        else:
            self._set_landmarks(data, features, solved.coef, solved.intercept)

    def _set_linear(self, data: Data, coef: Floats, centred: Floats) -> None:
        self.coef_, self.centred_intercept_ = coef, centred
        self.intercept_ = np.asarray(raw_intercept(data.schema, coef, centred))

    # prediction ------------------------------------------------------------------------------------------------

    def _weights(self) -> Floats:
        return self.dual_coef_

    def _predict_block(self, block: Block) -> Floats:
        return self._outputs_block(block)[:, 0]

    def form(self) -> LinearForm | None:
        """Return the machine of a linear kernel as a form for SQL; None for other kernels."""
        self._check_fitted()
        if self.kernel != "linear":
            return None
        return LinearForm((tuple(self.coef_[0].tolist()),), (float(self.centred_intercept_[0]),), "identity")
