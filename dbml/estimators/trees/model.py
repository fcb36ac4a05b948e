"""What all tree models share: prediction from `Trees`, state, importances."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from dbml_sql.forms import TreeForm, TreeLink

from dbml.estimators.base import Estimator, ModelState
from dbml.estimators.classifier import ProbabilisticClassifier
from dbml.estimators.regressor import Regressor
from dbml.estimators.trees.ensemble import Trees
from dbml.estimators.trees.form import tree_form, worth_sql
from dbml.passes.block import Block, Floats

if TYPE_CHECKING:
    from dbml.estimators.trees.attributions import TreeAttributions

_TREES = "trees_."


class TreeModel(Estimator):
    """An estimator whose prediction is a sum over trees.

    Attributes
    ----------
    trees_ : Trees
        The trees; shrinkage and averaging are in their values.
    baseline_ : ndarray of shape (n_outputs,)
        What the sum starts with.
    link_ : {"identity", "log", "logistic", "softmax", "probability"}
        From the sum to the prediction: itself, its exponential, probabilities of two or more classes; ``probability``:
        the sum has the probability of each class already.
    """

    encoding_style: ClassVar[Literal["terms", "values"]] = "values"
    trees_: Trees
    baseline_: Floats
    link_: TreeLink

    def _raw_block(self, block: Block) -> Floats:
        """Return the sums of a block, shape (n, n_outputs)."""
        raw = np.tile(self.baseline_, (block.n_rows, 1))
        self.trees_.add_to(block, raw)
        return raw

    def _importances(self, by: Literal["gain", "split"] = "gain") -> Floats:
        """Return the share of each term in the gain of all splits, or in their number; shape (n_terms,)."""
        inner = self.trees_.left >= 0
        weights = self.trees_.gain[inner] if by == "gain" else None
        total = np.bincount(self.trees_.term[inner], weights, minlength=self.schema_.encoding.n_terms).astype(float)
        return total / total.sum() if total.sum() > 0.0 else total

    @property
    def feature_importances_(self) -> Floats:
        """Share of each term in the total gain of the splits, shape (n_terms,); they sum to 1."""
        self._check_fitted()
        return self._importances()

    def attributions(self) -> TreeAttributions:
        """Return what explains predictions: Shapley values of the sums, before the link."""
        from dbml.estimators.trees.attributions import TreeAttributions

        self._check_fitted()
        return TreeAttributions(self.trees_, self.baseline_, self.schema_.encoding)

    def shap_values(self, X: Any, *, con: Any = None) -> Any:
        """Return what each term adds to the prediction of each row: exact Shapley values (TreeSHAP).

        They sum, with `expected_value_`, to the prediction before the link: to the number, its logarithm, the log-odds
        of the second of two classes, one score a class of more; to probabilities where trees hold those. An absent
        feature is averaged by the training rows on each side of a split, as the ``shap`` package does with
        ``feature_perturbation="tree_path_dependent"``.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or sparse matrix
            The rows; columns are matched by name, extra ones are ignored.
        con : connection, optional
            Where a table name or SQL is looked up.

        Returns
        -------
        ndarray of shape (n_rows, n_terms) or (n_rows, n_terms, n_outputs)
            Terms in the order of `terms_`, the last axis only where there are several outputs; or a relation with a
            column ``shap_<term>`` a term more (DOUBLE, or DOUBLE[] of the outputs), where X is a relation.

        References
        ----------
        Lundberg et al. 2020, from local explanations to global understanding with explainable AI for trees. Yu et al.
        2022, Linear TreeSHAP.
        """
        self._check_fitted()
        return self._score(X, "shap_values", self.attributions().by_term_block, con)

    @property
    def expected_value_(self) -> Any:
        """What `shap_values` start from: the mean of the sums over the training rows; a float, or one an output."""
        baseline = self.attributions().baseline
        return float(baseline[0]) if baseline.size == 1 else baseline

    def form(self) -> TreeForm | None:
        """Return the trees as a form for native SQL where that is about as fast as the kernels, else None."""
        self._check_fitted()
        worth = worth_sql(self.trees_, self.schema_.encoding)
        return tree_form(self.trees_, self.baseline_, self.link_) if worth else None

    def query_form(self) -> TreeForm | None:
        """Return the trees as a form, however many."""
        self._check_fitted()
        return tree_form(self.trees_, self.baseline_, self.link_)

    def get_state(self) -> ModelState:
        """Return the fitted model as plain data; the arrays of the trees are named ``trees_.…``."""
        trees = vars(self).pop("trees_", None)
        try:
            state = super().get_state()
        finally:
            if trees is not None:
                self.trees_ = trees
        state.arrays.update({_TREES + name: array for name, array in self.trees_.arrays().items()})
        return state

    @classmethod
    def from_state(cls, state: ModelState) -> Self:
        """Rebuild a fitted model from `get_state`."""
        arrays = {name: array for name, array in state.arrays.items() if not name.startswith(_TREES)}
        model = super().from_state(ModelState(state.kind, state.params, state.schema, state.attributes, arrays))
        model.trees_ = Trees(**{field.name: state.arrays[_TREES + field.name] for field in fields(Trees)})
        return model


class TreeRegressor(TreeModel, Regressor):
    """A tree model of a number."""

    def _predict_block(self, block: Block) -> Floats:
        return self._numbers(self._raw_block(block))

    def _numbers(self, raw: Floats) -> Floats:
        """Return the predictions of sums."""
        return np.exp(raw[:, 0]) if self.link_ == "log" else raw[:, 0]


class TreeClassifier(TreeModel, ProbabilisticClassifier):
    """A tree model of a class."""

    def _proba_block(self, block: Block) -> Floats:
        return self._probabilities(self._raw_block(block))

    def _class_block(self, block: Block) -> np.ndarray:
        return self._classes(self._raw_block(block))

    def _decision_block(self, block: Block) -> Any:
        return self._decision(self._raw_block(block))

    def _probabilities(self, raw: Floats) -> Floats:
        """Return the probabilities of sums."""
        if self.link_ == "probability":
            return raw
        if self.link_ == "logistic":
            from scipy.special import expit

            return np.column_stack([expit(-raw[:, 0]), expit(raw[:, 0])])
        proba = raw - raw.max(axis=1, keepdims=True)
        np.exp(proba, out=proba)
        return proba / proba.sum(axis=1, keepdims=True)

    def _classes(self, raw: Floats) -> np.ndarray:
        """Return the numbers of the classes of sums."""
        if self.link_ == "logistic":
            return (raw[:, 0] > 0.0).astype(np.intp)
        if self.link_ == "probability" and self.classes_.size == 2:
            return (raw[:, 1] > 0.5).astype(np.intp)
        return raw.argmax(axis=1)

    def _decision(self, raw: Floats) -> Floats:
        """Return the confidence that sums tell."""
        return raw[:, 0] if self.link_ == "logistic" else raw
