"""Simple imputer: a number in place of each missing value of a column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from dbml_sql.forms import Filled, Marked, TermFunction

from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.column_steps import ONE_PASS, ColumnMomentsStep, DistinctStep
from dbml.estimators.quantiles import QUANTILE_PASSES, column_quantiles
from dbml.estimators.termwise import TermwiseTransformer, check_outputs
from dbml.params import Boolean, Either, Options, Real, Rule
from dbml.passes.block import Floats
from dbml.passes.data import Data

_MOST_VALUES = 1_000_000


class SimpleImputer(TermwiseTransformer):
    """Missing values take the mean, the median or the most frequent value of their column, or a constant.

    Parameters
    ----------
    strategy : {"mean", "median", "most_frequent", "constant"}, default="mean"
        What takes their place; of equally frequent values the smallest.
    fill_value : float or None, default=None
        The constant; None: 0.
    add_indicator : bool, default=False
        Whether a column more marks the missing values of each column that had some in training.
    keep_empty_features : bool, default=False
        Whether a column without any value stays, filled with 0 (or `fill_value`).

    Attributes
    ----------
    statistics_ : ndarray of shape (n_columns,)
        What the missing values of each column become. A column without any value is left out of what `transform` gives
        (but with `keep_empty_features`), and its statistic is NaN.
    indicator_features_ : list of int
        Columns that have an indicator.

    Notes
    -----
    One pass over the table. The median is exact: six more passes count the values by their bits, in constant memory
    (see `dbml.estimators.quantiles`). The most frequent value is counted: at most a million different values a column.
    NULL, NaN and infinities are missing.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import SimpleImputer
    >>> SimpleImputer(strategy="median").fit_transform(np.array([[1.0], [np.nan], [4.0], [9.0]])).ravel()
    array([1., 4., 4., 9.])
    """

    model_types: ClassVar[tuple[str, ...]] = ("simple_imputer",)
    rules: ClassVar[Mapping[str, Rule]] = {
        "strategy": Options(("mean", "median", "most_frequent", "constant")),
        "fill_value": Either((Options((None,)), Real())),
        "add_indicator": Boolean(),
        "keep_empty_features": Boolean(),
    }

    statistics_: Floats
    indicator_features_: list[int]

    def __init__(
        self,
        *,
        strategy: str = "mean",
        fill_value: float | None = None,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
    ) -> None:
        self.strategy = strategy
        self.fill_value = fill_value
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features

    def _check_params(self) -> None:
        if self.fill_value is not None and self.strategy != "constant":
            raise InvalidParameter(
                f"{type(self).__name__}: fill_value must be None where strategy is not 'constant'; "
                f"got {self.fill_value!r} with strategy={self.strategy!r}"
            )

    def _fit(self, data: Data) -> None:
        self._check_columns(data)
        encoding = data.schema.encoding
        choice, passes = "one pass", ONE_PASS
        if self.strategy == "median":
            choice, passes = "one pass, and those of exact quantiles", QUANTILE_PASSES
        data.decide_solver(choice, f"strategy={self.strategy!r} asks each column by itself", passes)
        moments = ColumnMomentsStep(encoding.n_dense)
        if self.strategy == "most_frequent":
            counted = DistinctStep(range(encoding.n_dense), encoding.terms, _MOST_VALUES)
            state, distinct = data.fold(moments, counted, purpose="most frequent values")
        else:
            (state,) = data.fold(moments, purpose="moments")
        weight, mean, _ = state["moments"]
        if state["rows"][1] == 0:
            raise InvalidData(f"{type(self).__name__}: {data.plan.source} has no rows to learn from")
        if self.strategy == "mean":
            found = mean.copy()
        elif self.strategy == "constant":
            found = np.full(weight.size, 0.0 if self.fill_value is None else float(self.fill_value))
        elif self.strategy == "median":
            shares = [[0.5]] * weight.size
            found = np.concatenate(column_quantiles(data, shares, "averaged_inverted_cdf", "medians"))
        else:
            pairs = [(distinct[f"values_{j}"], distinct[f"weights_{j}"]) for j in range(weight.size)]
            found = np.array([values[weights.argmax()] if values.size else np.nan for values, weights in pairs])
        empty = weight == 0.0
        if not self.keep_empty_features:
            found[empty] = np.nan
        elif self.strategy != "constant":
            found[empty] = 0.0
        self.statistics_ = found
        some = np.flatnonzero(state["missing"]) if self.add_indicator else np.zeros(0, int)
        self.indicator_features_ = some.tolist()

    def _filled(self) -> list[Filled]:
        known = enumerate(self.statistics_.tolist())
        return [Filled(j, value) for j, value in known if not np.isnan(value)]

    def _functions(self) -> list[TermFunction]:
        return [*self._filled(), *(Marked(j, (), missing=True) for j in self.indicator_features_)]

    def _names_out(self) -> list[str]:
        terms = self.schema_.encoding.terms
        marked = [f"missingindicator_{terms[j]}" for j in self.indicator_features_]
        return [*(terms[function.term] for function in self._filled()), *marked]

    def inverse_transform(self, X: Any) -> Floats:
        """Return the columns with their missing values, which the indicators tell.

        Parameters
        ----------
        X : array of shape (n_rows, n_outputs)
            Filled columns and indicators.

        Returns
        -------
        ndarray of shape (n_rows, n_columns)
            NaN where a value was missing, and in columns that had no value in training.
        """
        self._check_fitted()
        if not self.add_indicator:
            raise InvalidParameter(
                f"{type(self).__name__}: inverse_transform needs add_indicator=True, which tells what was missing; "
                "got add_indicator=False"
            )
        filled = self._filled()
        rows = check_outputs(type(self).__name__, X, len(filled) + len(self.indicator_features_))
        found = np.full((len(rows), self.statistics_.size), np.nan)
        for k, function in enumerate(filled):
            found[:, function.term] = rows[:, k]
        for k, j in enumerate(self.indicator_features_):
            found[rows[:, len(filled) + k] > 0.5, j] = np.nan
        return found
