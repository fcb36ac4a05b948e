"""Bernoulli naive Bayes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from dbml_sql.features import Encoding, Feature
from dbml_sql.forms import LinearForm

from dbml.estimators.base import ModelState
from dbml.estimators.discrete_bayes import CountNB, DiscreteNB
from dbml.estimators.naive_bayes import logs
from dbml.params import Either, Options, Real, Rule
from dbml.passes.block import Block, Floats, SparseRows
from dbml.passes.schema import Schema
from dbml.passes.step import State


class BernoulliNB(CountNB):
    """Naive Bayes on yes and no: each term is there with a probability of its own in each class, or it is not.

    Parameters
    ----------
    alpha : float or array of shape (n_terms,), default=1.0
        Added to the rows that have a term and to those that have it not (Laplace smoothing).
    force_alpha : bool, default=True
        Without, alpha is at least 1e-10.
    binarize : float or None, default=0.0
        Numbers above it are a yes. None: they are 0 and 1 already. What is yes or no as it is (BOOLEAN, categories,
        text with ``text_weights='binary'``, flags of missing values) stays so.
    fit_prior : bool, default=True
        Whether classes have their shares of the rows as probabilities, or all the same.
    class_prior : array of shape (n_classes,), optional
        Probabilities of the classes instead.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in ascending order.
    class_count_, class_log_prior_ : ndarray of shape (n_classes,)
        Weight of the rows of each class, and the logarithm of its probability.
    feature_count_, feature_log_prob_ : ndarray of shape (n_classes, n_terms)
        Weight of the rows of each class that have the term (`terms_`), and the logarithm of its smoothed probability;
        -1e9 for 0.
    coef_, intercept_ : ndarray of shape (n_classes, n_terms), (n_classes,)
        The same as a linear model over yes (1) and no (0).

    Notes
    -----
    One pass; exact `partial_fit` and `forget`, as of `MultinomialNB`. A missing number is a no, and a term of
    its own marks it. A model of numbers with a threshold is no linear function of them: native SQL scores those of
    categories, of text with ``text_weights='binary'``, and of any columns with ``binarize=None``; the scoring function
    scores all.

    References
    ----------
    Manning, Raghavan & Schuetze 2008, introduction to information retrieval, chapter 13.

    Examples
    --------
    >>> from dbml import BernoulliNB
    >>> X = [[1, 0, 1], [1, 0, 0], [0, 1, 1], [0, 1, 0]]
    >>> BernoulliNB().fit(X, ["fruit", "fruit", "tool", "tool"]).predict([[1, 0, 0], [0, 1, 1]])
    array(['fruit', 'tool'], dtype='<U5')
    """

    rules: ClassVar[Mapping[str, Rule]] = {**DiscreteNB.rules, "binarize": Either((Options((None,)), Real(ge=0)))}

    _fitted_thresholds: Floats | None  # many terms take a while to go through, and blocks may be small

    def __init__(
        self,
        *,
        alpha: Any = 1.0,
        force_alpha: bool = True,
        binarize: float | None = 0.0,
        fit_prior: bool = True,
        class_prior: Any = None,
    ) -> None:
        self.alpha = alpha
        self.force_alpha = force_alpha
        self.binarize = binarize
        self.fit_prior = fit_prior
        self.class_prior = class_prior

    def _takes_negative(self) -> bool:
        return self.binarize is not None

    def _thresholds(self, encoding: Encoding) -> Floats | None:
        if self.binarize is None:
            return None
        own = [0.0 if f.type == "BOOLEAN" or _yes_or_no(f) else float(self.binarize) for f in encoding.features]
        dense: list[float] = []
        sparse: list[float] = []
        for feature, threshold in zip(encoding.features, own, strict=True):
            n_values = len(feature.dense_terms) - feature.flag
            dense += [threshold] * n_values + [0.0] * feature.flag
            sparse += [threshold] * len(feature.sparse_terms)
        return np.array(dense + sparse)

    def _learn(self, state: State, schema: Schema) -> None:
        super()._learn(state, schema)
        self._fitted_thresholds = self._thresholds(schema.encoding)

    @classmethod
    def from_state(cls, state: ModelState) -> Self:
        """Rebuild a fitted model from `get_state`."""
        model = super().from_state(state)
        model._fitted_thresholds = model._thresholds(state.schema.encoding)
        return model

    def _smooth(self, sums: Floats, weight: Floats, alpha: Floats) -> None:
        total = logs(weight[:, None] + 2.0 * alpha)
        yes, no = logs(sums + alpha) - total, logs(np.maximum(weight[:, None] - sums, 0.0) + alpha) - total
        self.feature_log_prob_, self.coef_ = yes, yes - no
        self.intercept_ = self.class_log_prior_ + no.sum(axis=1)

    def _counted(self, block: Block) -> Block:
        thresholds = self._fitted_thresholds
        if thresholds is None:
            return block
        X, sparse = np.asfortranarray(thresholds[: block.X.shape[1]] < block.X, dtype=np.float64), block.sparse
        if sparse is not None:
            yes = sparse.values > thresholds[sparse.indices]
            sparse = SparseRows(sparse.indptr, sparse.indices, yes.astype(np.float64))
        return Block(X, sparse, block.y, block.weight, block.start)

    def form(self) -> LinearForm | None:
        """Return the model as a form that SQL can score, None where a threshold changes the numbers of a row."""
        form = super().form()
        linear = self.binarize is None or all(map(_yes_or_no, self.schema_.encoding.features))
        return form if linear else None


def _yes_or_no(feature: Feature) -> bool:
    """Whether the terms of a feature are 0 and 1 whatever its values are."""
    return feature.kind == "category" or (feature.kind == "text" and feature.weighting == "binary")
