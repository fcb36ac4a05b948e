"""Transformers: each row becomes other numbers."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from dbml_sql.features import Encoding

from dbml.errors import InvalidData, listing
from dbml.estimators.base import Estimator
from dbml.estimators.output_frames import check_output, in_frame, wanted_output
from dbml.passes.block import Block, Floats


class Transformer(Estimator):
    """An estimator that turns each row into numbers; a subclass writes `_transform_block` and `_names_out`."""

    # Under scikit-learn's names: `clone` copies the choice, and a `ColumnTransformer` looks whether there is one.
    _sklearn_output_config: dict[str, str]
    _sklearn_auto_wrap_output_keys: ClassVar[frozenset[str]] = frozenset(("transform",))

    def _transform_block(self, block: Block) -> Floats:
        """Return what the rows of a block become, shape (n, n_outputs)."""
        raise NotImplementedError

    def _names_out(self) -> list[str]:
        """Return the name of each output: ``pca0``, ``pca1``, …; different from each other in more than case."""
        raise NotImplementedError

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the name of each column that `transform` makes, shape (n_outputs,), dtype object.

        Parameters
        ----------
        input_features : array of str of shape (n_features_in_,), optional
            Names of the columns of a training on an array, which has none of its own (`x0`, `x1`, … are used without
            them), as scikit-learn's pipelines pass them. A training on named columns has to have had these.

        Raises
        ------
        InvalidData
            Another number of names, or other names than those of training.
        """
        self._check_fitted()
        if input_features is None:
            return np.array(self._names_out(), dtype=object)
        return np.array(self._under_names([str(name) for name in input_features])._names_out(), dtype=object)

    def _under_names(self, names: list[str]) -> Self:
        """Return the transformer as if the columns of training had had some names."""
        owner, encoding = type(self).__name__, self.schema_.encoding
        if self.schema_.named:
            # Columns that say nothing were left out of the training.
            if [name for name in names if name in encoding.columns] != list(encoding.columns):
                raise InvalidData(
                    f"{owner}: input_features is not equal to feature_names_in_ ({listing(encoding.columns)}); "
                    f"got {listing(names)}"
                )
            return self
        if len(names) != self.n_features_in_:
            raise InvalidData(
                f"{owner}: input_features should have length equal to number of features ({self.n_features_in_}), got "
                f"{len(names)}"
            )
        if len(encoding.features) != len(names):  # a wide sparse matrix is one feature
            return self
        renamed = copy.copy(self)
        pairs = zip(encoding.features, names, strict=True)
        found = Encoding(tuple(replace(feature, column=name) for feature, name in pairs))
        renamed.schema_ = replace(self.schema_, encoding=found)
        return renamed

    def transform(self, X: Any, *, con: Any = None) -> Any:
        """Return what each row becomes.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or sparse matrix
            The rows; columns are matched by name, extra ones are ignored.
        con : connection, optional
            Where a table name or SQL is looked up.

        Returns
        -------
        ndarray of shape (n_rows, n_outputs)
            Or a relation with a column more for each of `get_feature_names_out`, where X is a relation; columns of
            the same names are replaced.
        """
        return self._output(self._score(X, "transform", self._transform_block, con), X)

    def set_output(self, *, transform: str | None = None) -> Self:
        """Say what `transform` and `fit_transform` give of arrays and frames, and return self.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None, default=None
            An array (or sparse matrix), or a frame with the columns of `get_feature_names_out`; None changes nothing.
            Without a choice, scikit-learn's ``transform_output`` counts where scikit-learn is loaded. Relations give
            relations.
        """
        if transform is not None:
            check_output(type(self).__name__, transform)
            self._sklearn_output_config = {"transform": transform}
        return self

    def _output(self, made: Any, X: Any) -> Any:
        """Return what `transform` made of X as `set_output` says."""
        kind = wanted_output(vars(self).get("_sklearn_output_config", {}).get("transform"))
        names = [] if kind == "default" else self._names_out()
        return in_frame(type(self).__name__, kind, made, names, X)

    def fit_transform(self, X: Any, y: Any = None, *, con: Any = None, **fit_params: Any) -> Any:
        """Learn from the rows of X, and return `transform` of them; parameters are those of `fit`."""
        return self._fit_and_apply("transform", X, y, con, fit_params)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: a transformer."""
        from sklearn.utils import TransformerTags

        tags = super().__sklearn_tags__()
        tags.transformer_tags = TransformerTags()
        return tags


class UnweightedTransformer(Transformer):
    """A transformer whose rows have no weights, as in scikit-learn."""

    def fit(  # type: ignore[override]
        self, X: Any, y: Any = None, *, con: Any = None, options: dict[str, Any] | None = None
    ) -> Self:
        """Learn from the rows of X; rows have no weights, as in scikit-learn.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or sparse matrix
            The rows.
        y : ignored
            There for scikit-learn's pipelines.
        con : connection, optional
            Where a table name or SQL is looked up.
        options : dict, optional
            Encoding options, see `dbml.passes.dispatch.as_data`.

        Returns
        -------
        self
        """
        return super().fit(X, y, con=con, options=options)
