"""Ordinary least squares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dbml.errors import InvalidParameter
from dbml.estimators.jobs import JOBS_RULE
from dbml.estimators.linear_model import QuadraticRegressor, strategy_solver
from dbml.estimators.quadratic import Solved
from dbml.params import Boolean, Options, Real, Rule
from dbml.passes.data import Data


class LinearRegression(QuadraticRegressor):
    """Least squares without a penalty.

    Minimises ``sum w (y - b - x . coef)^2``; where terms are collinear, the solution of smallest norm.

    Parameters
    ----------
    fit_intercept : bool, default=True
        Whether there is an intercept.
    tol : float, default=1e-6
        Tolerance of ``solver='sparse_cg'``.
    positive : bool, default=False
        Only coefficients that are not negative.
    solver : {"auto", "cholesky", "svd", "sparse_cg"}, default="auto"
        ``cholesky``: one pass for the Gram matrix. ``svd``: all rows in memory, for fewer rows than terms; more than
        3,000 rows, and more than terms, are solved by ``cholesky``, which finds the same coefficients.
        ``sparse_cg``: conjugate gradients, a pass each, for designs of many thousand terms.
    n_jobs : int, optional
        Most threads of the training; None or -1 for all. The model is the same for any.

    Attributes
    ----------
    coef_ : ndarray of shape (n_terms,)
        Coefficient of each term (`terms_` names them).
    intercept_ : float
        Prediction where every term is 0.
    rank_ : int or None
        Rank of the centred design, where the solver knows it.
    singular_ : ndarray of shape (min(n_rows, n_terms),) or None
        Singular values of the centred design, in descending order, where the solver knows its second moments and there
        are at most 1,000 terms. They are roots of eigenvalues: smaller ones than 1e-8 of the largest are noise.
    solver_ : str
        The solver that was used.

    Notes
    -----
    One pass, ``n p^2 / 2`` multiplications and ``8 p^2`` bytes for p terms; a second pass where terms are nearly
    collinear. A NULL takes the mean of its column, and a term of its own marks it.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import LinearRegression
    >>> X = np.array([[1.0, 1.0], [1.0, 2.0], [2.0, 2.0], [2.0, 3.0]])
    >>> model = LinearRegression().fit(X, X @ [1.0, 2.0] + 3.0)
    >>> model.coef_.round(6), round(model.intercept_, 6)
    (array([1., 2.]), 3.0)
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "fit_intercept": Boolean(),
        "tol": Real(ge=0.0),
        "positive": Boolean(),
        "solver": Options(("auto", "cholesky", "svd", "sparse_cg")),
        "n_jobs": JOBS_RULE,
    }
    model_types = ("linear_reg",)
    sql_options: ClassVar = {"optimize_strategy": strategy_solver}
    choosing_options = ("l1_reg", "l2_reg")

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        tol: float = 1e-6,
        positive: bool = False,
        solver: str = "auto",
        n_jobs: int | None = None,
    ) -> None:
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.positive = positive
        self.solver = solver
        self.n_jobs = n_jobs

    def _fit(self, data: Data) -> None:
        self._solve(data, 0.0, None)

    def _about(self, solved: Solved) -> dict[str, Any]:
        return {"rank_": solved.rank, "singular_": solved.singular}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Any:
        """Return least squares, or `Ridge`, `Lasso` or `ElasticNet` as ``l2_reg`` and ``l1_reg`` ask for.

        One of them alone is the `alpha` of its class; both are the two parts of the penalty of `ElasticNet`.
        """
        from dbml.estimators.elastic_net import ElasticNet
        from dbml.estimators.lasso import Lasso
        from dbml.estimators.ridge import Ridge

        given = dict(options)
        l1, l2 = _penalty(given, "l1_reg"), _penalty(given, "l2_reg")
        if l1 > 0.0 and l2 > 0.0:
            return ElasticNet.from_options({"alpha": l1 + l2, "l1_ratio": l1 / (l1 + l2), **given})
        if l1 > 0.0:
            return Lasso.from_options({"alpha": l1, **given})
        if l2 > 0.0:
            return Ridge.from_options({"alpha": l2, **given})
        return super().from_options(given)


def _penalty(options: dict[str, Any], name: str) -> float:
    value = options.pop(name, 0.0)
    rule = Real(ge=0.0)
    try:
        value = float(value)
    except (TypeError, ValueError):
        raise InvalidParameter(f"LinearRegression: {name} must be {rule.describe()}; got {value!r}") from None
    if not rule.allows(value):
        raise InvalidParameter(f"LinearRegression: {name} must be {rule.describe()}; got {value!r}")
    return value
