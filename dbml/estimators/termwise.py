"""Transformers whose outputs are functions of one column each: scalers, encoders, imputers, bins."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from dbml_sql.features import Feature, Style
from dbml_sql.forms import Binned, Filled, Marked, Scaled, TermFunction, TermwiseForm

from dbml.errors import InvalidData, UnsupportedColumn, listing
from dbml.estimators.transformer import Transformer
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.schema import Task

Known = tuple[tuple[int, tuple[float, ...], bool], ...]


class TermwiseTransformer(Transformer):
    """A transformer of plain values; a subclass writes `_functions`, one an output, and `_names_out`."""

    task: ClassVar[Task] = "none"
    encoding_style: ClassVar[Style] = "values"
    takes_categories: ClassVar[bool] = False

    def _functions(self) -> list[TermFunction]:
        """Return what each output computes, of one dense term."""
        raise NotImplementedError

    def _known(self) -> Known:
        """Return the values that terms must have, where others are an error; see `TermwiseForm`."""
        return ()

    def form(self) -> TermwiseForm:
        """Return the outputs as a form."""
        return TermwiseForm(tuple(self._functions()), self._known())

    def _transform_block(self, block: Block) -> Floats:
        self._check_known(block)
        functions = self._functions()
        found = np.empty((block.n_rows, len(functions)), order="F")
        for k, function in enumerate(functions):
            found[:, k] = apply(function, block.X[:, function.term])
        return found

    def _check_known(self, block: Block) -> None:
        features = term_features(self.schema_.encoding.features)
        for term, values, missing in self._known():
            column = block.X[:, term]
            absent = np.isnan(column)
            strange = ~np.isin(column, np.array(values)) & ~(absent if missing else np.zeros_like(absent))
            if strange.any():
                raise InvalidData(
                    f"{type(self).__name__}: found unknown categories in column {features[term].name}: "
                    f"{listing(map(repr, self._shown(features[term], np.unique(column[strange]))), 4)}. "
                    "Hint: handle_unknown='ignore'"
                )

    def _shown(self, feature: Feature, values: Floats) -> list[Any]:
        """Return values as a person knows them; a text that is none of the levels has no name here."""
        if feature.kind != "category":
            return values.tolist()
        return ["(a text that training did not see)"]

    def _check_columns(self, data: Data) -> None:
        """Raise `UnsupportedColumn` for columns that the transformer cannot read."""
        name, features = type(self).__name__, data.schema.encoding.features
        sparse = [feature.name for feature in features if feature.kind in ("lists", "map")]
        if sparse:
            raise UnsupportedColumn(
                f"{name}: sparse rows are not supported (but matrices of at most 32 columns); {listing(sparse)} of "
                f"{data.plan.source} hold some. Pass dense columns"
            )
        texts = [feature.name for feature in features if feature.kind == "category"]
        if texts and not self.takes_categories:
            raise UnsupportedColumn(
                f"{name}: columns must be numbers; could not convert to a number: {listing(texts)} of "
                f"{data.plan.source}, which hold text. Hint: SELECT the numbers alone; other columns of the rows are "
                "kept as they are"
            )

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: which columns it takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = self.takes_categories
        tags.input_tags.string = self.takes_categories
        return tags


def term_features(features: tuple[Feature, ...]) -> list[Feature]:
    """Return the feature of each dense term."""
    return [feature for feature in features for _ in feature.dense_terms]


def apply(function: TermFunction, values: Floats) -> Floats:
    """Return the output of a function of one term; NaN is missing. The same arithmetic as in `dbml_sql.termwise`."""
    if isinstance(function, Scaled):
        found = (values - function.shift) / function.divisor + function.offset
        if function.low is not None and function.high is not None:
            np.clip(found, function.low, function.high, out=found)
        return found
    if isinstance(function, Filled):
        return values if function.value is None else np.where(np.isnan(values), function.value, values)
    if isinstance(function, Marked):
        return _marked(function, values)
    return _binned(function, values)


def _marked(function: Marked, values: Floats) -> Floats:
    absent = np.isnan(values)
    inside = np.isin(values, np.array(function.values, float))
    found = ~inside & ~absent if function.others else inside
    return (found | absent if function.missing else found).astype(np.float64)


def _binned(function: Binned, values: Floats) -> Floats:
    absent = np.isnan(values)
    bins = np.searchsorted(np.array(function.edges, float), values, side="right").astype(np.float64)
    if function.only is not None:
        return ((bins == function.only) & ~absent).astype(np.float64)
    bins[absent] = np.nan
    return bins


def check_outputs(owner: str, X: Any, n_outputs: int) -> Floats:
    """Return outputs that are to be turned back as a matrix of numbers, shape (n_rows, n_outputs)."""
    if hasattr(X, "toarray"):
        X = X.toarray()
    found = np.array(X, dtype=np.float64)
    if found.ndim != 2 or found.shape[1] != n_outputs:
        raise InvalidData(f"{owner}: inverse_transform takes {n_outputs} columns; got an array of shape {found.shape}")
    return found
