"""Categorical naive Bayes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from dbml_kernels.class_sums import code_weights_add
from dbml_kernels.linear_predictor import predictor_add_sparse
from dbml_sql.features import Encoding, Reading
from dbml_sql.forms import LinearForm

from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.category_steps import ClassCodesStep, CodeRangeStep, Integers, Slots
from dbml.estimators.design import flat
from dbml.estimators.discrete_bayes import DiscreteNB
from dbml.estimators.naive_bayes import SUMS_BY_CLASS, logs
from dbml.params import Either, Instance, Integer, Options, Real, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.schema import Schema
from dbml.passes.step import State

_MOST_CODES = 65_536


class CategoricalNB(DiscreteNB):
    """Naive Bayes on categories: each column draws one of them, with probabilities of its own in each class.

    Parameters
    ----------
    alpha : float, default=1.0
        Added to every count (Laplace smoothing).
    force_alpha : bool, default=True
        Without, alpha is at least 1e-10.
    fit_prior : bool, default=True
        Whether classes have their shares of the rows as probabilities, or all the same.
    class_prior : array of shape (n_classes,), optional
        Probabilities of the classes instead.
    min_categories : int or array of shape (n_features,), optional
        Fewest categories of each feature, those that training did not see included: they share in the smoothing.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in ascending order.
    class_count_, class_log_prior_ : ndarray of shape (n_classes,)
        Weight of the rows of each class, and the logarithm of its probability.
    category_count_, feature_log_prob_ : list of ndarray of shape (n_classes, n_categories)
        Weight of the rows of each class with each category of a feature, and the logarithm of its smoothed probability;
        -1e9 for 0.
    n_categories_ : ndarray of shape (n_features,)
        Number of categories of each feature.
    counts_, log_probs_ : ndarray of shape (n_classes, n_slots)
        The same of all features side by side, without categories that training did not see.

    Notes
    -----
    In a table, text, ENUMs, integers and booleans are categories: the frequent levels of a column, one shared by rare
    ones if there are any, and NULL if training saw it. Dates have their month, weekday and hour. In arrays, and in
    columns of fractional types, categories are codes 0, 1, …, below 65,536 (fractions are cut off); a missing one is a
    category of its own. A category that training did not see says nothing about the class (a rare level that is not
    seen counts as the shared one where there is one), but codes below `min_categories` have their smoothed probability.
    Lists, maps, texts and vectors are refused. One pass, and one more for the largest code where there are codes; exact
    `partial_fit` and `forget`. Native SQL scores models of levels; the scoring function those of codes.

    Examples
    --------
    >>> from dbml import CategoricalNB
    >>> X = [[0, 1], [0, 0], [2, 1], [1, 1]]
    >>> CategoricalNB().fit(X, ["in", "in", "out", "out"]).predict([[0, 0], [2, 1]])
    array(['in', 'out'], dtype='<U3')
    """

    encoding_style: ClassVar[Reading] = "categories"
    rules: ClassVar[Mapping[str, Rule]] = {
        **DiscreteNB.rules,
        "alpha": Real(ge=0),
        "min_categories": Either(
            (Options((None,)), Integer(ge=1), Instance((list, tuple, np.ndarray), "a list of such, one a feature"))
        ),
    }

    n_categories_: Integers
    counts_: Floats
    log_probs_: Floats

    def __init__(
        self,
        *,
        alpha: Any = 1.0,
        force_alpha: bool = True,
        fit_prior: bool = True,
        class_prior: Any = None,
        min_categories: Any = None,
    ) -> None:
        self.alpha = alpha
        self.force_alpha = force_alpha
        self.fit_prior = fit_prior
        self.class_prior = class_prior
        self.min_categories = min_categories

    # learning ---------------------------------------------------------------------------------------------------------

    def _sums(self, data: Data, purpose: str) -> State:
        encoding = data.schema.encoding
        other = [f"{f.column} {f.type}" for f in encoding.features if f.kind not in ("number", "category")]
        if other:
            raise InvalidData(
                f"{type(self).__name__}: columns must be categories (text, integers, booleans, codes); got {other[0]}. "
                "BernoulliNB and MultinomialNB take lists, maps and text"
            )
        self._fewest(encoding)
        slots = Slots.of(encoding, self._code_counts(data))
        data.decide_solver("sums by class", "they add up, and say all that is to be known", SUMS_BY_CLASS)
        step = ClassCodesStep(len(data.schema.classes), encoding.n_dense, slots)
        (state,) = data.fold(step, purpose=purpose)
        return {**state, "n_codes": slots.n_codes}

    def _code_counts(self, data: Data) -> Integers:
        """Return the number of codes of each feature that is a number: a pass finds the largest one."""
        encoding = data.schema.encoding
        numbers = [f for f in encoding.features if f.kind == "number"]
        if not numbers:
            return np.zeros(0, np.int64)
        (state,) = data.fold(CodeRangeStep(encoding.n_dense), purpose="largest codes")
        slots = Slots.of(encoding, np.zeros(len(numbers), np.int64))
        name = type(self).__name__
        for feature, column in zip(numbers, slots.columns.tolist(), strict=True):
            lowest, largest = state["lowest"][column], state["largest"][column]
            if lowest < 0.0:
                raise InvalidData(
                    f"{name}: codes must be 0, 1, 2, …. Negative values in data passed to fit: {feature.name!r} has "
                    f"{lowest:g}"
                )
            if largest >= _MOST_CODES:
                raise InvalidData(
                    f"{name}: codes must be below {_MOST_CODES:,}; the largest of {feature.name!r} is {largest:g}. "
                    "Cast it to text, so that rare ones share a category"
                )
        return state["largest"][slots.columns].astype(np.int64) + 1

    def _fewest(self, encoding: Encoding) -> Integers:
        """Return `min_categories` of each feature."""
        n = len(encoding.features)
        if self.min_categories is None:
            return np.zeros(n, np.int64)
        found = np.asarray(self.min_categories)
        name = f"{type(self).__name__}: min_categories"
        if found.dtype.kind not in "iu":
            raise InvalidParameter(f"{name} must be integers; got dtype {found.dtype}")
        if found.ndim and found.shape != (n,):
            raise InvalidParameter(f"{name} must have one number for each of {n} features; got shape {found.shape}")
        return np.broadcast_to(found, (n,)).astype(np.int64)

    def _restored(self) -> State:
        numbers = [f.kind == "number" for f in self.schema_.encoding.features]
        flags = np.array([f.flag for f in self.schema_.encoding.features if f.kind == "number"], np.int64)
        n_codes = np.diff(self._bounds())[numbers] - flags
        return {"weight": self.class_count_, "counts": self.counts_, "n_codes": n_codes}

    def _aligned(self, one: State, other: State, encoding: Encoding) -> tuple[State, State]:
        """Return both states over the same codes."""
        n_codes = np.maximum(one["n_codes"], other["n_codes"])
        into = Slots.of(encoding, n_codes)
        moved = []
        for state in (one, other):
            slots = Slots.of(encoding, state["n_codes"])
            counts = np.zeros((len(state["weight"]), into.n_slots))
            for at, size, to in zip(slots.first, slots.n_codes, into.first, strict=True):
                counts[:, to : to + size] = state["counts"][:, at : at + size]
            flagged = slots.null >= 0
            counts[:, into.null[flagged]] = state["counts"][:, slots.null[flagged]]
            counts[:, into.levels] = state["counts"][:, slots.levels]
            moved.append({"weight": state["weight"], "counts": counts, "n_codes": n_codes})
        return moved[0], moved[1]

    def _added(self, state: State, more: State) -> State:
        one, other = self._aligned(state, more, self.schema_.encoding)
        added = {name: one[name] + other[name] for name in ("weight", "counts")}
        return {**added, "n_codes": one["n_codes"]}

    def _removed(self, state: State, fewer: State, schema: Schema) -> State:
        one, other = self._aligned(state, fewer, schema.encoding)
        classes = schema.classes
        weight = self._check_removal(one["weight"] - other["weight"], one["weight"], classes, "class")
        self._check_left(weight)
        bounds = Slots.of(schema.encoding, one["n_codes"]).bounds
        features = [f.name for f, n in zip(schema.encoding.features, np.diff(bounds), strict=True) for _ in range(n)]
        counts = self._check_removal(one["counts"] - other["counts"], one["counts"], features, "a category of")
        return {"weight": weight, "counts": counts, "n_codes": one["n_codes"]}

    def _learn(self, state: State, schema: Schema) -> None:
        if not state["weight"].any():
            raise InvalidData(f"{type(self).__name__}: the weights of all rows are 0")
        encoding, fewest = schema.encoding, self._fewest(schema.encoding)
        numbers = [f.kind == "number" for f in encoding.features]
        n_codes = np.maximum(state["n_codes"], fewest[numbers])
        room = np.zeros((len(state["weight"]), Slots.of(encoding, n_codes).n_slots))
        wider = {"weight": state["weight"], "counts": room, "n_codes": n_codes}
        counts = self._aligned(state, wider, encoding)[0]["counts"]
        bounds = Slots.of(encoding, n_codes).bounds
        sizes = np.diff(bounds)
        categories = np.maximum(sizes, fewest)
        alpha = float(self._smoothing(0))
        prior = self._log_prior(state["weight"])
        total = np.add.reduceat(counts, bounds[:-1], axis=1) + alpha * categories
        self.class_count_, self.class_log_prior_ = state["weight"], prior
        self.counts_, self.n_categories_ = counts, categories
        self.log_probs_ = logs(counts + alpha) - np.repeat(logs(total), sizes, axis=1)

    def _bounds(self) -> Integers:
        """Return where the slots of each feature begin and end."""
        sizes = [
            n if f.kind == "number" else len(f.sparse_terms)
            for f, n in zip(self.schema_.encoding.features, self.n_categories_.tolist(), strict=True)
        ]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def _slots(self) -> Slots:
        return Slots.of(self.schema_.encoding, self._restored()["n_codes"])

    @property
    def category_count_(self) -> list[Floats]:
        """Weight of the rows of each class with each category, by feature."""
        self._check_fitted()
        return np.split(self.counts_, self._bounds()[1:-1], axis=1)

    @property
    def feature_log_prob_(self) -> list[Floats]:
        """Logarithm of the smoothed probability of each category in each class, by feature."""
        self._check_fitted()
        return np.split(self.log_probs_, self._bounds()[1:-1], axis=1)

    # prediction -------------------------------------------------------------------------------------------------------

    def _coef(self) -> Floats:
        """Return the weight of each term, shape (n_classes, n_terms); 0 for dense ones, which hold codes."""
        encoding = self.schema_.encoding
        coef = np.zeros((len(self.class_count_), encoding.n_terms))
        coef[:, encoding.n_dense :] = self.log_probs_[:, self._slots().levels]
        return coef

    def _joint_block(self, block: Block) -> Floats:
        slots, coef = self._slots(), self._coef()
        joint = np.empty((block.n_rows, len(coef)))
        for c, row in enumerate(coef):
            eta = np.full(block.n_rows, self.class_log_prior_[c])
            if slots.columns.size:
                table = np.ascontiguousarray(self.log_probs_[c])
                code_weights_add(flat(block.X), block.n_rows, *slots.of_codes, table, eta)
            if block.sparse is not None:
                predictor_add_sparse(*block.sparse, np.ascontiguousarray(row), eta)
            joint[:, c] = eta
        return joint

    def form(self) -> LinearForm | None:
        """Return the model as a form that SQL can score, None where columns hold codes."""
        self._check_fitted()
        if self.schema_.encoding.n_dense:
            return None
        return self._linear_form(self._coef(), self.class_log_prior_)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: codes of categories."""
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.positive_only = True
        return tags
