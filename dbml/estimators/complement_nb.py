"""Complement naive Bayes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from dbml.estimators.discrete_bayes import CountNB, DiscreteNB
from dbml.estimators.naive_bayes import logs
from dbml.params import Boolean, Rule
from dbml.passes.block import Floats


class ComplementNB(CountNB):
    """Naive Bayes on counts that asks how badly a row fits all other classes: better where classes differ in size.

    Parameters
    ----------
    alpha : float or array of shape (n_terms,), default=1.0
        Added to every count (Laplace smoothing).
    force_alpha : bool, default=True
        Without, alpha is at least 1e-10.
    fit_prior : bool, default=True
        Whether `class_log_prior_` is of the shares of the rows, or the same for all classes. Predictions do not use it.
    class_prior : array of shape (n_classes,), optional
        Probabilities of the classes instead, for `class_log_prior_`.
    norm : bool, default=False
        Whether the weights of a class are divided by their sum, so that classes of dependent words do not dominate.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in ascending order.
    class_count_, class_log_prior_ : ndarray of shape (n_classes,)
        Weight of the rows of each class, and the logarithm of its probability.
    feature_count_, feature_log_prob_ : ndarray of shape (n_classes, n_terms)
        Sum of each term (`terms_`) in each class, and its weight.
    feature_all_ : ndarray of shape (n_terms,)
        Sum of each term in all classes.
    coef_, intercept_ : ndarray of shape (n_classes, n_terms), (n_classes,)
        The same as a linear model: `feature_log_prob_` and 0.

    Notes
    -----
    As of `MultinomialNB`: one pass, exact `partial_fit` and `forget`; numbers must not be negative, a missing one
    counts 0, and a term of its own marks it.

    References
    ----------
    Rennie, Shih, Teevan & Karger 2003, tackling the poor assumptions of naive Bayes text classifiers.

    Examples
    --------
    >>> from dbml import ComplementNB
    >>> X = [[3, 0, 1], [2, 0, 0], [0, 4, 1], [0, 2, 2]]
    >>> ComplementNB().fit(X, ["fruit", "fruit", "tool", "tool"]).predict([[1, 0, 0], [0, 1, 1]])
    array(['fruit', 'tool'], dtype='<U5')
    """

    rules: ClassVar[Mapping[str, Rule]] = {**DiscreteNB.rules, "norm": Boolean()}

    feature_all_: Floats

    def __init__(
        self,
        *,
        alpha: Any = 1.0,
        force_alpha: bool = True,
        fit_prior: bool = True,
        class_prior: Any = None,
        norm: bool = False,
    ) -> None:
        self.alpha = alpha
        self.force_alpha = force_alpha
        self.fit_prior = fit_prior
        self.class_prior = class_prior
        self.norm = norm

    def _smooth(self, sums: Floats, weight: Floats, alpha: Floats) -> None:
        self.feature_all_ = sums.sum(axis=0)
        complement = self.feature_all_ + alpha - sums
        logged = logs(complement) - logs(complement.sum(axis=1, keepdims=True))
        self.feature_log_prob_ = logged / logged.sum(axis=1, keepdims=True) if self.norm else -logged
        self.coef_, self.intercept_ = self.feature_log_prob_, np.zeros(len(weight))
