"""Min-max scaler: columns within a range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from dbml_sql.forms import Scaled

from dbml.errors import InvalidParameter
from dbml.estimators.column_scaler import ColumnScaler
from dbml.params import Boolean, Instance, Rule
from dbml.passes.block import Floats


class MinMaxScaler(ColumnScaler):
    """Columns moved and stretched, so that their least and greatest values are the ends of a range.

    Parameters
    ----------
    feature_range : tuple (min, max), default=(0, 1)
        The range.
    clip : bool, default=False
        Whether values outside those of training become the ends of the range.

    Attributes
    ----------
    data_min_, data_max_, data_range_ : ndarray of shape (n_columns,)
        Least and greatest value of each column, and their distance.
    scale_, min_ : ndarray of shape (n_columns,)
        ``transform`` is ``x * scale_ + min_``, computed about `data_min_`, which keeps the digits of large values.
    n_samples_seen_ : int
        Rows.

    Notes
    -----
    One pass over the table, whose state is five numbers a column. Missing values (NULL, NaN, infinities) are left out
    and stay missing; a constant column becomes the lower end.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import MinMaxScaler
    >>> MinMaxScaler().fit_transform(np.array([[1.0], [3.0], [5.0]])).ravel()
    array([0. , 0.5, 1. ])
    """

    model_types: ClassVar[tuple[str, ...]] = ("min_max_scaler",)
    rules: ClassVar[Mapping[str, Rule]] = {
        "feature_range": Instance((tuple, list), "a pair (min, max)"),
        "clip": Boolean(),
    }

    data_min_: Floats
    data_max_: Floats
    data_range_: Floats
    scale_: Floats
    min_: Floats
    n_samples_seen_: int

    def __init__(self, feature_range: tuple[float, float] = (0, 1), *, clip: bool = False) -> None:
        self.feature_range = feature_range
        self.clip = clip

    def _check_params(self) -> None:
        low, high = self._range()
        if not low < high:
            raise InvalidParameter(
                f"{type(self).__name__}: feature_range must be two numbers, the first one smaller; "
                f"got {self.feature_range!r}"
            )

    def _range(self) -> tuple[float, float]:
        ends = tuple(self.feature_range)
        if len(ends) != 2 or not all(isinstance(end, (int, float)) and np.isfinite(end) for end in ends):
            raise InvalidParameter(
                f"{type(self).__name__}: feature_range must be two numbers; got {self.feature_range!r}"
            )
        return float(ends[0]), float(ends[1])

    def _take(self) -> None:
        low, high = self._range()
        seen = self.moments_[0] > 0.0
        self.data_min_, self.data_max_ = (np.where(seen, limit, np.nan) for limit in self.limits_)
        self.data_range_ = self.data_max_ - self.data_min_
        self.scale_ = (high - low) / _not_zero(self.data_range_)
        self.min_ = low - self.data_min_ * self.scale_
        self.n_samples_seen_ = int(self.rows_[1])

    def _scaled(self) -> list[Scaled]:
        low, high = self._range()
        shift = np.nan_to_num(self.data_min_)
        divisor = np.nan_to_num(_not_zero(self.data_range_) / (high - low), nan=1.0)
        limits: tuple[Any, Any] = (low, high) if self.clip else (None, None)
        return [Scaled(j, float(shift[j]), float(divisor[j]), low, *limits) for j in range(shift.size)]


def _not_zero(ranges: Floats) -> Floats:
    # A constant column, but for rounding.
    return np.where(ranges < 10.0 * np.finfo(np.float64).eps, 1.0, ranges)
