"""Standard scaler: columns of mean 0 and variance 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from dbml_sql.forms import Scaled

from dbml.estimators.column_scaler import ColumnScaler
from dbml.params import Boolean, Rule
from dbml.passes.block import Floats


class StandardScaler(ColumnScaler):
    """Columns less their mean, divided by their standard deviation.

    Parameters
    ----------
    with_mean : bool, default=True
        Whether the mean is taken away.
    with_std : bool, default=True
        Whether columns are divided by their standard deviation.

    Attributes
    ----------
    mean_ : ndarray of shape (n_columns,), or None
        Mean of each column, None where neither mean nor deviation is used.
    var_ : ndarray of shape (n_columns,), or None
        Variance, the mean of squared differences; None where ``with_std=False``.
    scale_ : ndarray of shape (n_columns,), or None
        What a column is divided by: its deviation, 1 for a constant one.
    n_samples_seen_ : int or ndarray of shape (n_columns,)
        Rows; one number a column where some values were missing. Weights, where rows have some.

    Notes
    -----
    One pass over the table, whose state is five numbers a column. Missing values (NULL, NaN, infinities) are left out
    of the moments and stay missing. The parts of a date and the elements of a vector are columns of their own.

    References
    ----------
    Chan, Golub & LeVeque 1983, merging of sums of squares.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import StandardScaler
    >>> StandardScaler().fit_transform(np.array([[1.0], [3.0], [5.0]])).ravel().round(3)
    array([-1.225,  0.   ,  1.225])
    """

    model_types: ClassVar[tuple[str, ...]] = ("standard_scaler",)
    rules: ClassVar[Mapping[str, Rule]] = {"with_mean": Boolean(), "with_std": Boolean()}

    mean_: Floats | None
    var_: Floats | None
    scale_: Floats | None
    n_samples_seen_: Any

    def __init__(self, *, with_mean: bool = True, with_std: bool = True) -> None:
        self.with_mean = with_mean
        self.with_std = with_std

    def _take(self) -> None:
        weight, mean, squares = self.moments_
        seen = weight > 0.0
        found = np.where(seen, mean, np.nan)
        variance = np.full(mean.size, np.nan)
        variance[seen] = squares[seen] / weight[seen]
        self.n_samples_seen_ = self._seen()
        self.mean_ = found if self.with_mean or self.with_std else None
        self.var_, self.scale_ = (variance, _scale(variance, found, weight)) if self.with_std else (None, None)

    def _scaled(self) -> list[Scaled]:
        n_terms = self.schema_.encoding.n_dense
        shift = self.mean_ if self.with_mean and self.mean_ is not None else np.zeros(n_terms)
        divisor = self.scale_ if self.scale_ is not None else np.ones(n_terms)
        # Of a column that has no value nothing is known, and nothing is changed.
        shift, divisor = np.nan_to_num(shift), np.nan_to_num(divisor, nan=1.0)
        return [Scaled(j, float(shift[j]), float(divisor[j])) for j in range(n_terms)]


def _scale(variance: Floats, mean: Floats, weight: Floats) -> Floats:
    """Return the deviations, 1 for a column that is constant but for rounding."""
    eps = np.finfo(np.float64).eps
    constant = variance <= weight * eps * variance + (weight * mean * eps) ** 2
    return np.where(constant, 1.0, np.sqrt(variance))
