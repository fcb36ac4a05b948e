"""Least squares with an l2 penalty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dbml.estimators.linear_model import QuadraticRegressor, strategy_solver
from dbml.estimators.quadratic import Solved
from dbml.estimators.random_state import RANDOM_STATE_RULE
from dbml.params import Boolean, Either, Integer, Options, Real, Rule
from dbml.passes.data import Data


class Ridge(QuadraticRegressor):
    """Least squares with an l2 penalty.

    Minimises ``sum w (y - b - x . coef)^2 + alpha |coef|^2``.

    Parameters
    ----------
    alpha : float, default=1.0
        Weight of the penalty; 0 is `LinearRegression`.
    fit_intercept : bool, default=True
        Whether there is an intercept (without a penalty on it).
    max_iter : int, optional
        Most passes of ``solver='sparse_cg'``; None: as many as it needs, at most 1,000 or the number of terms.
    tol : float, default=1e-4
        Tolerance of ``solver='sparse_cg'``.
    solver : {"auto", "cholesky", "svd", "sparse_cg"}, default="auto"
        See `LinearRegression`.
    positive : bool, default=False
        Only coefficients that are not negative.
    random_state : int, RandomState or None, default=None
        There because scikit-learn's class has it: nothing is drawn here, and the model is the same for any.

    Attributes
    ----------
    coef_ : ndarray of shape (n_terms,)
        Coefficient of each term (`terms_` names them).
    intercept_ : float
        Prediction where every term is 0.
    n_iter_ : int
        Passes of ``sparse_cg``; 1 for the others.
    solver_ : str
        The solver that was used.

    Notes
    -----
    One pass, ``n p^2 / 2`` multiplications and ``8 p^2`` bytes for p terms. A NULL takes the mean of its column, and a
    term of its own marks it.

    Examples
    --------
    >>> from dbml import Ridge
    >>> model = Ridge(alpha=1.0).fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0])
    >>> model.coef_.round(4)
    array([0.6667])
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "alpha": Real(ge=0.0),
        "fit_intercept": Boolean(),
        "max_iter": Either((Integer(ge=1), Options((None,)))),
        "tol": Real(ge=0.0),
        "solver": Options(("auto", "cholesky", "svd", "sparse_cg")),
        "positive": Boolean(),
        "random_state": RANDOM_STATE_RULE,
    }
    sql_options: ClassVar = {
        "l2_reg": lambda value: {"alpha": value},
        "optimize_strategy": strategy_solver,
        "max_iterations": lambda value: {"max_iter": value},
        "min_rel_progress": lambda value: {"tol": value},
    }

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        max_iter: int | None = None,
        tol: float = 1e-4,
        solver: str = "auto",
        positive: bool = False,
        random_state: Any = None,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.solver = solver
        self.positive = positive
        self.random_state = random_state

    def _fit(self, data: Data) -> None:
        self._solve(data, float(self.alpha), self.max_iter)

    def _about(self, solved: Solved) -> dict[str, Any]:
        return {"n_iter_": solved.n_iter or 1}
