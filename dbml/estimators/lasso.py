"""Least squares with an l1 penalty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from dbml.estimators.elastic_net import CYCLES, CoordinateDescent
from dbml.params import Boolean, Either, Options, Real, Rule


class Lasso(CoordinateDescent):
    """Least squares with an l1 penalty: most coefficients become exactly 0.

    Minimises ``1 / (2 n) sum w (y - b - x . coef)^2 + alpha |coef|_1`` with ``n = sum w``.

    Parameters
    ----------
    alpha : float, default=1.0
        Weight of the penalty.
    fit_intercept : bool, default=True
        Whether there is an intercept (without a penalty on it).
    precompute : {"auto"} or bool, default="auto"
        True: one pass for the Gram matrix of all terms, then no more. False: passes over a working set of columns,
        for designs of many columns. ``"auto"`` takes what costs less. With ``alpha=0`` no column can be left out: then
        it is the Gram matrix.
    max_iter : int, default=1000
        Most sweeps over the coordinates.
    tol : float, default=1e-4
        The duality gap at the end is at most `tol` times the sum of squares of the target.
    warm_start : bool, default=False
        Start from the coefficients of the last fit.
    positive : bool, default=False
        Only coefficients that are not negative.
    random_state : int, optional
        Seed of ``selection='random'``.
    selection : {"cyclic", "random"}, default="cyclic"
        Order of the coordinates in a sweep.

    Attributes
    ----------
    coef_ : ndarray of shape (n_terms,)
        Coefficient of each term (`terms_` names them).
    intercept_ : float
        Prediction where every term is 0.
    dual_gap_ : float
        Duality gap at the end, on the scale of the objective.
    n_iter_ : int
        Sweeps.

    Notes
    -----
    Passes and memory are those of `ElasticNet`. A NULL takes the mean of its column, and a term of its own marks it.

    Examples
    --------
    >>> from dbml import Lasso
    >>> model = Lasso(alpha=0.1).fit([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]], [0.0, 1.0, 2.0])
    >>> model.coef_.round(4)
    array([0.85, 0.  ])
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "alpha": Real(ge=0.0),
        "precompute": Either((Boolean(), Options(("auto",)))),
        "warm_start": Boolean(),
        **CYCLES,
    }
    sql_options: ClassVar = {
        "l1_reg": lambda value: {"alpha": value},
        "max_iterations": lambda value: {"max_iter": value},
        "min_rel_progress": lambda value: {"tol": value},
    }

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        precompute: bool | str = "auto",
        max_iter: int = 1000,
        tol: float = 1e-4,
        warm_start: bool = False,
        positive: bool = False,
        random_state: int | None = None,
        selection: str = "cyclic",
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.precompute = precompute
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.positive = positive
        self.random_state = random_state
        self.selection = selection
