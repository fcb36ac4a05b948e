"""The lasso with its penalty chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dbml.estimators.elastic_net_cv import PATH, CrossValidated
from dbml.estimators.jobs import JOBS_RULE
from dbml.params import Rule


class LassoCV(CrossValidated):
    """`Lasso` with the penalty of least error in cross-validation; all penalties and folds from one pass.

    Parameters
    ----------
    eps : float, default=1e-3
        Smallest over largest weight of the penalty, where `alphas` is a number.
    alphas : int or list of float, default=100
        Weights of the penalty to try, or how many.
    fit_intercept : bool, default=True
        Whether there is an intercept.
    max_iter : int, default=1000
        Most sweeps for one penalty.
    tol : float, default=1e-4
        The duality gap at the end is at most `tol` times the sum of squares of the target.
    cv : int, iterable of (train, test) or splitter, default=None
        Number of folds by a hash of the row's position (None: 5), or the row positions of each split, or a splitter
        such as `KFold`. Test parts must hold every row once, and train parts the others.
    positive : bool, default=False
        Only coefficients that are not negative.
    random_state : int, optional
        Seed of the folds.
    n_jobs : int, optional
        Most threads of the training; None or -1 for all. The model is the same for any.

    Attributes
    ----------
    alpha_ : float
        The best weight of the penalty.
    alphas_ : ndarray of shape (n_alphas,)
        Weights that were tried, descending.
    mse_path_ : ndarray of shape (n_alphas, n_folds)
        Mean squared error on each fold; NaN where a fold has no rows.
    best_score_ : float
        Negative mean squared error of the best penalty over the folds.
    coef_, intercept_, dual_gap_, n_iter_
        As in `Lasso`, of the model of all rows.

    Notes
    -----
    Passes and memory are those of `ElasticNetCV`.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import LassoCV
    >>> X = np.arange(40.0).reshape(20, 2) % 7
    >>> model = LassoCV(cv=3).fit(X, X @ [1.0, 0.0])
    >>> model.coef_.round(2)
    array([1., 0.])
    """

    rules: ClassVar[Mapping[str, Rule]] = {**PATH, "n_jobs": JOBS_RULE}

    def __init__(
        self,
        *,
        eps: float = 1e-3,
        alphas: int | Sequence[float] = 100,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-4,
        cv: Any = None,
        positive: bool = False,
        random_state: int | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.cv = cv
        self.positive = positive
        self.random_state = random_state
        self.n_jobs = n_jobs
