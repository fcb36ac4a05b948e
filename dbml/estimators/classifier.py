"""Classifiers: labels out, in the type they had; scored by accuracy."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from dbml.errors import InvalidData
from dbml.estimators.base import Estimator
from dbml.passes.block import Block, Floats
from dbml.passes.dispatch import as_data
from dbml.passes.schema import Task


class Classifier(Estimator):
    """An estimator of a class per row; a subclass writes `_decision_block`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in ascending order, in their own type.
    """

    task: ClassVar[Task] = "classification"
    _estimator_type = "classifier"
    classes_: np.ndarray

    def _decision_block(self, block: Block) -> Floats:
        """Return the confidence of each row of a block: (n,) for two classes (above 0: the second), else (n, k)."""
        raise NotImplementedError

    def _class_block(self, block: Block) -> np.ndarray:
        """Return the index of the predicted class of each row of a block, shape (n,)."""
        decision = self._decision_block(block)
        return (decision > 0.0).astype(np.intp) if decision.ndim == 1 else decision.argmax(axis=1)

    def predict(self, X: Any, *, con: Any = None) -> Any:
        """Return the predicted label of each row of X.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or sparse matrix
            The rows; columns are matched by name, extra ones are ignored.
        con : connection, optional
            Where a table name or SQL is looked up.

        Returns
        -------
        ndarray of shape (n_rows,)
            Labels in the type of training; or a relation with a column ``predicted_<target>`` more, where X is one.
        """
        return self._score(X, "predict", lambda block: self.classes_[self._class_block(block)], con)

    def decision_function(self, X: Any, *, con: Any = None) -> Any:
        """Return the confidence of each row: (n_rows,) for two classes (above 0: the second), else one per class."""
        return self._score(X, "decision_function", self._decision_block, con)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None, *, con: Any = None) -> float:
        """Return the accuracy: the (weighted) share of rows whose predicted label is the true one.

        Parameters are those of `fit`; where X has columns, `y` is that of training unless named.
        A label that training never saw counts as an error.
        """
        self._check_fitted()
        if y is not None and not isinstance(y, str):
            labels, predicted = np.asarray(y).ravel(), np.asarray(self.predict(X, con=con))
            if labels.size != len(predicted):
                raise InvalidData(
                    f"{type(self).__name__}: y must have a label for each row of X; got {labels.size:,} of "
                    f"{len(predicted):,}"
                )
            right = predicted == labels
            return float(np.average(right, weights=sample_weight))
        with as_data(X, y, sample_weight=sample_weight, task=self.task, schema=self.schema_, con=con) as data:
            parts = list(data.map(self._hits, purpose="score"))
        if not parts:
            raise InvalidData(f"{type(self).__name__}: score needs at least 1 row; got none")
        hits, total = np.array(parts).sum(axis=0)
        return float(hits / total)

    def _hits(self, block: Block) -> tuple[float, float]:
        weight = np.ones(block.n_rows) if block.weight is None else block.weight
        return float(weight[self._class_block(block) == block.y].sum()), float(weight.sum())


class ProbabilisticClassifier(Classifier):
    """A classifier that also gives probabilities; a subclass writes `_proba_block`."""

    def _proba_block(self, block: Block) -> Floats:
        """Return the probability of each class, shape (n, n_classes)."""
        raise NotImplementedError

    def predict_proba(self, X: Any, *, con: Any = None) -> Any:
        """Return the probability of each class, in the order of `classes_`, shape (n_rows, n_classes)."""
        return self._score(X, "predict_proba", self._proba_block, con)

    def predict_log_proba(self, X: Any, *, con: Any = None) -> Any:
        """Return the logarithm of the probability of each class, shape (n_rows, n_classes)."""
        return np.log(self._score(X, "predict_proba", self._proba_block, con))
