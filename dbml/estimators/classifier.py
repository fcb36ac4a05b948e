"""Classifiers: labels out, in the type they had; scored by accuracy."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from dbml.errors import InvalidData
from dbml.estimators.base import Estimator
from dbml.passes.block import Block, Floats
from dbml.passes.dispatch import as_data
from dbml.passes.labels import check_labels, equal_labels, label_array
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
        A label that training never saw counts as an error. Text is no label of a model of numbers, nor are fractions
        and what is missing; rows of a table whose label is NULL are left out.
        """
        self._check_fitted()
        if y is not None and not isinstance(y, str):
            return self._score_against(label_array(y).ravel(), X, sample_weight, con)
        how = {"options": {**self._scoring_options(), "unseen_labels": True}, "con": con}
        with as_data(X, y, sample_weight=sample_weight, task=self.task, schema=self.schema_, **how) as data:
            parts = list(data.map(self._hits, purpose="score"))
        hits, total = np.array(parts).reshape(-1, 2).sum(axis=0)
        return self._share(hits, total)

    def _score_against(self, labels: np.ndarray, X: Any, sample_weight: Any, con: Any) -> float:
        """Return the accuracy against labels that do not lie in X, and may be none that training saw."""
        how = {"sample_weight": sample_weight, "con": con, "options": self._scoring_options()}
        with as_data(X, schema=self.schema_, **how) as data:
            parts = list(data.map(lambda block: (self._class_block(block), block.weights.copy()), purpose="score"))
        n_rows = sum(len(weight) for _, weight in parts)
        if labels.size != n_rows:
            raise InvalidData(
                f"{type(self).__name__}: y must have a label for each row of X; got {labels.size:,} of {n_rows:,}"
            )
        check_labels(labels, self.schema_.classes, f"{type(self).__name__}: y")
        if not parts:
            return self._share(0.0, 0.0)
        classes, weight = (np.concatenate(both) for both in zip(*parts, strict=True))
        return self._share(float(weight @ equal_labels(self.classes_[classes], labels)), float(weight.sum()))

    def _share(self, hits: float, total: float) -> float:
        if not total > 0.0:
            raise InvalidData(f"{type(self).__name__}: score needs at least 1 row; got none")
        return float(hits / total)

    def _hits(self, block: Block) -> tuple[float, float]:
        weight = block.weights
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
        """Return the logarithm of each probability, shape (n_rows, n_classes); an array for a relation too."""
        return self._streamed(X, "predict_log_proba", self._log_proba_block, con)

    def _log_proba_block(self, block: Block) -> Floats:
        with np.errstate(divide="ignore"):  # minus infinity for 0
            return np.log(self._proba_block(block))


class SometimesProbabilistic(ProbabilisticClassifier):
    """A classifier that gives probabilities with some hyperparameters only; a subclass writes `_proba_needs`."""

    def _proba_needs(self) -> str:
        """Return what there must be for probabilities, and what there is instead; "" where they are given."""
        raise NotImplementedError

    @property
    def predict_proba(self) -> Any:
        """The function ``predict_proba(X, *, con=None)``: the probability of each class, shape (n_rows, n_classes)."""
        self._check_probable("predict_proba")
        return super().predict_proba

    @property
    def predict_log_proba(self) -> Any:
        """The function ``predict_log_proba(X, *, con=None)``: their logarithms, an array for a relation too."""
        self._check_probable("predict_log_proba")
        return super().predict_log_proba

    def _check_probable(self, method: str) -> None:
        if self._proba_needs():
            raise AttributeError(f"{method} needs {self._proba_needs()}")
