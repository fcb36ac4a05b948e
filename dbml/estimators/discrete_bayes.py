"""Naive Bayes on counts and codes: smoothing, class priors, and the linear form they all have."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from dbml_kernels.class_sums import class_sums_add, class_sums_add_sparse, class_weight_add
from dbml_sql.features import Encoding, Reading
from dbml_sql.forms import LinearForm

from dbml.errors import DbmlWarning, InvalidData, InvalidParameter
from dbml.estimators.design import flat, times
from dbml.estimators.naive_bayes import PRIORS_RULE, NaiveBayes, logs
from dbml.params import Boolean, Either, Instance, Real, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.schema import Schema
from dbml.passes.step import State

ALPHA_RULE = Either((Real(ge=0), Instance((list, tuple, np.ndarray), "a list of such numbers, one a term")))
_LEAST_ALPHA = 1e-10


class ClassSumsStep:
    """Weight and sum of every term by class, and the least value of every term.

    State: ``weight`` (n_classes,), ``sums`` (n_classes, n_terms), ``lowest`` (n_terms,), at most 0.

    Parameters
    ----------
    n_classes, n_terms : int
        Shape of the design and the target.
    thresholds : ndarray of shape (n_terms,), optional
        A value above that of its term counts as 1, others as 0.
    """

    # Sums are added in another order; sums of whole numbers are exact.
    tolerance = 1e-9
    chained = False

    def __init__(self, n_classes: int, n_terms: int, thresholds: Floats | None = None) -> None:
        self.n_classes, self.n_terms = n_classes, n_terms
        self.thresholds = np.zeros(0) if thresholds is None else thresholds

    def start(self) -> State:
        """Return the state of no rows."""
        sums = np.zeros((self.n_classes, self.n_terms))
        return {"weight": np.zeros(self.n_classes), "sums": sums, "lowest": np.zeros(self.n_terms)}

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        assert block.y is not None
        n, d = block.X.shape
        weighted = block.weight is not None
        weight = block.weight if block.weight is not None else block.y
        class_weight_add(block.y, weight, weighted, state["weight"])
        rest = (block.y, weight, weighted, self.thresholds)
        if d:
            class_sums_add(flat(block.X), n, d, *rest, state["sums"], state["lowest"])
        if block.sparse is not None:
            class_sums_add_sparse(*block.sparse, *rest, np.int64(0), state["sums"], state["lowest"])

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        into["weight"] += other["weight"]
        into["sums"] += other["sums"]
        into["lowest"] = np.minimum(into["lowest"], other["lowest"])
        return into


class DiscreteNB(NaiveBayes):
    """Naive Bayes by smoothed counts.

    Attributes
    ----------
    class_log_prior_ : ndarray of shape (n_classes,)
        Logarithm of the probability of each class.
    """

    encoding_style: ClassVar[Reading] = "counts"
    rules: ClassVar[Mapping[str, Rule]] = {
        "alpha": ALPHA_RULE,
        "force_alpha": Boolean(),
        "fit_prior": Boolean(),
        "class_prior": PRIORS_RULE,
    }

    alpha: Any
    force_alpha: bool
    fit_prior: bool
    class_prior: Any

    class_log_prior_: Floats

    def _smoothing(self, n_terms: int) -> Floats:
        """Return alpha of each term, or of all, not below 1e-10 unless `force_alpha` asks for it."""
        name = type(self).__name__
        try:
            alpha = np.asarray(self.alpha, dtype=np.float64)
        except (TypeError, ValueError):
            raise InvalidParameter(f"{name}: alpha must be {ALPHA_RULE.describe()}; got {self.alpha!r}") from None
        if alpha.ndim and alpha.shape != (n_terms,):
            raise InvalidParameter(
                f"{name}: alpha must be a number, or a list of one for each of the {n_terms:,} terms; got shape "
                f"{alpha.shape}"
            )
        if not (np.isfinite(alpha).all() and (alpha >= 0.0).all()):
            raise InvalidParameter(f"{name}: alpha must be >= 0 for every term; the least is {alpha.min():g}")
        if alpha.min(initial=np.inf) < _LEAST_ALPHA and not self.force_alpha:
            warnings.warn(
                f"{name}: alpha is too small for exact numbers; {_LEAST_ALPHA:g} is used. force_alpha=True keeps it",
                DbmlWarning,
                stacklevel=2,
            )
            alpha = np.maximum(alpha, _LEAST_ALPHA)
        return alpha

    def _log_prior(self, class_count: Floats) -> Floats:
        if self.class_prior is not None:
            return logs(self._check_priors(self.class_prior, len(class_count)))
        if not self.fit_prior:
            return np.full(len(class_count), -np.log(len(class_count)))
        return logs(class_count / class_count.sum())

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: numbers that are no counts are predicted badly."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags

    def _linear_form(self, coef: Floats, intercept: Floats) -> LinearForm:
        """Return predictors a class as a form: of two classes, the log odds of the second."""
        if len(intercept) == 2:
            return LinearForm((tuple((coef[1] - coef[0]).tolist()),), (float(intercept[1] - intercept[0]),), "logistic")
        return LinearForm(tuple(tuple(row) for row in coef.tolist()), tuple(intercept.tolist()), "softmax")


class CountNB(DiscreteNB):
    """Naive Bayes whose logarithms are linear in counts.

    Attributes
    ----------
    feature_count_ : ndarray of shape (n_classes, n_terms)
        Sum of each term in each class.
    feature_log_prob_ : ndarray of shape (n_classes, n_terms)
        Logarithm of the smoothed probability of each term in each class; -1e9 for a probability of 0.
    coef_, intercept_ : ndarray of shape (n_classes, n_terms), (n_classes,)
        ``log P(class) + log P(row | class)`` is ``intercept_ + terms . coef_``, up to a term that all classes share.
    """

    feature_count_: Floats
    feature_log_prob_: Floats
    coef_: Floats
    intercept_: Floats

    def _thresholds(self, encoding: Encoding) -> Floats | None:
        """Return the value of each term above which it counts as 1, else 0; None: terms count as they are."""
        return None

    def _takes_negative(self) -> bool:
        """Whether values may be below 0."""
        return False

    def _step(self, data: Data) -> ClassSumsStep:
        encoding = data.schema.encoding
        return ClassSumsStep(len(data.schema.classes), encoding.n_terms, self._thresholds(encoding))

    def _checked(self, state: State, schema: Schema) -> State:
        negative = np.flatnonzero(state["lowest"] < 0.0)
        if not self._takes_negative() and negative.size:
            term = int(negative[0])
            raise InvalidData(
                f"{type(self).__name__}: counts must be >= 0. Negative values in data passed to fit: "
                f"{schema.encoding.terms[term]!r} has {state['lowest'][term]:g}. GaussianNB takes numbers of any sign"
            )
        return {"weight": state["weight"], "sums": state["sums"]}

    def _restored(self) -> State:
        return {"weight": self.class_count_, "sums": self.feature_count_}

    def _added(self, state: State, more: State) -> State:
        return {name: state[name] + more[name] for name in state}

    def _removed(self, state: State, fewer: State, schema: Schema) -> State:
        left = {name: state[name] - fewer[name] for name in state}
        terms = schema.encoding.terms
        weight = self._check_removal(left["weight"], state["weight"], schema.classes, "class")
        self._check_left(weight)
        return {"weight": weight, "sums": self._check_removal(left["sums"], state["sums"], terms, "term")}

    def _learn(self, state: State, schema: Schema) -> None:
        weight, sums = state["weight"], state["sums"]
        if not weight.any():
            raise InvalidData(f"{type(self).__name__}: the weights of all rows are 0")
        alpha, prior = self._smoothing(sums.shape[1]), self._log_prior(weight)
        self.class_count_, self.feature_count_, self.class_log_prior_ = weight, sums, prior
        self._smooth(sums, weight, alpha)

    def _smooth(self, sums: Floats, weight: Floats, alpha: Floats) -> None:
        """Set `feature_log_prob_`, `coef_` and `intercept_`."""
        raise NotImplementedError

    def _counted(self, block: Block) -> Block:
        """Return the block that `coef_` multiplies."""
        return block

    def _joint_block(self, block: Block) -> Floats:
        block = self._counted(block)
        etas = [times(block, row, float(b)) for row, b in zip(self.coef_, self.intercept_, strict=True)]
        return np.column_stack(etas)

    def form(self) -> LinearForm | None:
        """Return the model as a form that SQL can score."""
        self._check_fitted()
        return self._linear_form(self.coef_, self.intercept_)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: counts are not negative."""
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = not self._takes_negative()
        return tags
