"""What the naive Bayes classifiers share: sums by class, which rows are added to and taken from, and class priors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from dbml_kernels.softmax import softmax_rows

from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.batches import check_batches, schema_of_batches
from dbml.estimators.classifier import ProbabilisticClassifier
from dbml.params import Either, Instance, Options
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.dispatch import readable_again
from dbml.passes.plan import ExpectedPasses
from dbml.passes.schema import Schema
from dbml.passes.step import State, Step

PRIORS_RULE = Either((Options((None,)), Instance((list, tuple, np.ndarray), "a list of numbers, one a class")))
SUMS_BY_CLASS = ExpectedPasses("1", "sums by class serve all parameters")
IMPOSSIBLE = -1e9  # in place of log 0: 0 times it is 0, and two of them can be compared
_ROUNDING = 1e-9


class NaiveBayes(ProbabilisticClassifier):
    """A classifier that multiplies the probabilities of the terms in each class.

    A subclass names its `Step`, says how states of it are kept (`_kept`, `_restored`), added and taken apart, what is
    learned from one (`_learn`), and the logarithm of prior times likelihood of a block (`_joint_block`).

    Attributes
    ----------
    class_count_ : ndarray of shape (n_classes,)
        Weight of the rows of each class.
    """

    class_count_: Floats

    _priors_name: ClassVar[str] = "class_prior"

    # learning ---------------------------------------------------------------------------------------------------------

    def _step(self, data: Data) -> Step:
        """Return the aggregate that everything is learned from."""
        raise NotImplementedError

    def _checked(self, state: State, schema: Schema) -> State:
        """Return the state of some rows, or raise `InvalidData` for rows that cannot be learned from."""
        return state

    def _restored(self) -> State:
        """Return the state of all rows learned so far."""
        raise NotImplementedError

    def _added(self, state: State, more: State) -> State:
        """Return the state of two sets of rows."""
        raise NotImplementedError

    def _removed(self, state: State, fewer: State, schema: Schema) -> State:
        """Return the state of the rows that are in the first set only; raise `InvalidData` where some are not."""
        raise NotImplementedError

    def _learn(self, state: State, schema: Schema) -> None:
        """Set the fitted attributes."""
        raise NotImplementedError

    def _sums(self, data: Data, purpose: str) -> State:
        data.decide_solver("sums by class", "they add up, and say all that is to be known", SUMS_BY_CLASS)
        (state,) = data.fold(self._step(data), purpose=purpose)
        state = self._checked(state, data.schema)
        numbers = (array for array in state.values() if array.dtype.kind == "f")
        if not all(np.isfinite(array).all() for array in numbers):
            raise InvalidData(
                f"{type(self).__name__}: sums must be finite, and are not: values of {data.plan.source} are too large. "
                "Scale the columns, or leave out the rows of extreme values"
            )
        return state

    def _fit(self, data: Data) -> None:
        self._learn(self._sums(data, "sums by class"), data.schema)

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
        """Learn from more rows: the model is that of all rows learned so far, in whatever portions they came.

        Parameters
        ----------
        X, y, sample_weight, con, options
            As in `fit`. The encoding is that of the first call.
        classes : array, optional
            All labels there will be; needed in the first call where its rows may not have them all.
        """
        first = "schema_" not in vars(self)
        check_batches(self)
        X = readable_again(X)
        schema = schema_of_batches(self, X, y, classes, sample_weight, con, options)

        def more(data: Data) -> None:
            state = self._sums(data, "sums by class")
            self._learn(state if first else self._added(self._restored(), state), schema)

        return self._go_on(X, y, sample_weight, schema, con, more)

    def forget(self, X: Any, y: Any = None, sample_weight: Any = None, *, con: Any = None) -> Self:
        """Unlearn rows: the model becomes the one that was never shown them.

        Parameters
        ----------
        X, y, sample_weight, con
            As in `fit`: rows that were learned before, with the weights they had.

        Raises
        ------
        InvalidData
            More is to be removed than was learned; the model stays as it was.
        """
        self._check_fitted()
        self._check_hyperparameters()

        def fewer(data: Data) -> None:
            state = self._sums(data, "sums by class, to be forgotten")
            self._learn(self._removed(self._restored(), state, data.schema), data.schema)

        return self._go_on(X, y, sample_weight, self.schema_, con, fewer)

    def _go_on(self, X: Any, y: Any, sample_weight: Any, schema: Schema, con: Any, solve: Any) -> Self:
        target = schema.target
        if y is None and schema.named and target is not None:
            y = target.name
        return self._train_on(X, y, sample_weight, con, None, schema, solve)

    def _check_removal(self, left: Floats, had: Floats, names: Sequence[Any], what: str) -> Floats:
        """Return what is left of sums, 0 where rounding made it less; raise `InvalidData` where more was removed."""
        short = left < -_ROUNDING * np.maximum(np.abs(had), 1.0)
        if short.any():
            place = np.unravel_index(int(np.argmax(short)), short.shape)
            raise InvalidData(
                f"{type(self).__name__}: forget must be given rows that were learned before; of {what} "
                f"{names[int(place[-1])]!r} there is {had[place]:g}, and {had[place] - left[place]:g} are to be removed"
            )
        return np.where(np.abs(left) <= _ROUNDING * np.abs(had), 0.0, left)

    def _check_left(self, class_count: Floats) -> None:
        """Raise `InvalidData` where no row is left."""
        if not class_count.any():
            raise InvalidData(f"{type(self).__name__}: forget must leave some rows to the model; got all of them")

    # class priors -----------------------------------------------------------------------------------------------------

    def _check_priors(self, given: Any, n_classes: int) -> Floats:
        """Return given class priors, shape (n_classes,), after scikit-learn's checks."""
        name = f"{type(self).__name__}: {self._priors_name}"
        try:
            priors = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError):
            raise InvalidParameter(f"{name} must hold numbers, one a class; got {given!r}") from None
        if priors.shape != (n_classes,):
            raise InvalidParameter(
                f"{name} must match the number of classes: {n_classes} numbers; got shape {priors.shape}"
            )
        if not (priors >= 0.0).all():
            raise InvalidParameter(f"{name} must be non-negative; got {priors.tolist()}")
        if not np.isclose(priors.sum(), 1.0):
            raise InvalidParameter(
                f"{name}: The sum of the priors should be 1; got {priors.tolist()}, which sum to {priors.sum():g}"
            )
        return priors

    # prediction -------------------------------------------------------------------------------------------------------

    def _joint_block(self, block: Block) -> Floats:
        """Return ``log P(class) + log P(row | class)`` up to a term that all classes share, shape (n, n_classes)."""
        raise NotImplementedError

    def _decision_block(self, block: Block) -> Floats:
        joint = self._joint_block(block)
        return joint[:, 1] - joint[:, 0] if joint.shape[1] == 2 else joint

    @property
    def decision_function(self) -> Any:
        """Not there, as in scikit-learn: probabilities say it."""
        raise AttributeError(f"{type(self).__name__} has no decision_function; use predict_joint_log_proba")

    def _proba_block(self, block: Block) -> Floats:
        by_class = np.ascontiguousarray(self._joint_block(block).T)
        softmax_rows(by_class, by_class)
        return np.ascontiguousarray(by_class.T)

    def _log_proba_block(self, block: Block) -> Floats:
        joint = self._joint_block(block)
        joint = joint - joint.max(axis=1, keepdims=True)
        return joint - np.log(np.exp(joint).sum(axis=1, keepdims=True))

    def predict_joint_log_proba(self, X: Any, *, con: Any = None) -> Any:
        """Return ``log P(class) + log P(row | class)`` of each row and class, shape (n_rows, n_classes).

        A probability of 0 counts as ``exp(-1e9)``. An array for a relation too.
        """
        return self._streamed(X, "predict_joint_log_proba", self._joint_block, con)


def logs(values: Floats) -> Floats:
    """Return logarithms, `IMPOSSIBLE` in place of that of 0."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(values), IMPOSSIBLE)
