"""The dense terms of a matrix of numbers: columns centred by their fill and flags of missing values, or as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from dbml_sql.features import CENTRES, Feature, Reading
from numpy.typing import NDArray

from dbml.data.array_input import duckdb_type

_TILE = 512  # rows that are transposed at once


class DenseDesign:
    """From rows of a matrix to the terms of its ``number`` features.

    Parameters
    ----------
    features : sequence of Feature
        One ``number`` per column of the matrix.
    terms : ndarray of int, optional
        Terms that are wanted, ascending; None: all.
    """

    def __init__(self, features: Sequence[Feature], terms: NDArray[np.intp] | None = None) -> None:
        found: list[tuple[int, bool, float]] = []
        for number, feature in enumerate(features):
            found.append((number, False, feature.centre[0]))
            if feature.flag:
                found.append((number, True, 0.0))
        if terms is not None:
            found = [found[term] for term in terms]
        self.columns = np.array([column for column, _, _ in found], np.intp)
        self.fills = np.array([fill for _, _, fill in found], float)
        self.flagged = [term for term, (_, flag, _) in enumerate(found) if flag]
        self.missing = np.nan if any(feature.style == "values" for feature in features) else 0.0
        self.plain = not self.flagged and np.array_equal(self.columns, np.arange(len(features)))

    @property
    def n_terms(self) -> int:
        """Number of terms."""
        return self.columns.size

    def fill(self, out: NDArray[np.float64], X: NDArray, index: slice | NDArray[np.intp]) -> None:
        """Write the terms of the rows `index` of X to `out`, shape (n_rows, n_terms), Fortran order.

        A slice has a start and a stop. Missing values become 0, or NaN in plain values.
        """
        if X.flags.f_contiguous:
            for term, column in enumerate(self.columns):
                np.subtract(X[:, column][index], self.fills[term], out=out[:, term], casting="same_kind")
        else:
            self._transpose(out, X, index)
        for term in self.flagged:
            out[:, term] = ~np.isfinite(X[index, self.columns[term]])
        with np.errstate(over="ignore", invalid="ignore"):
            suspect = not np.isfinite(out.sum())
        if suspect:
            out[~np.isfinite(out)] = self.missing

    def _transpose(self, out: NDArray[np.float64], X: NDArray, index: slice | NDArray[np.intp]) -> None:
        """Fill `out` from row-major X tile by tile, through a tile whose columns do not share cache sets."""
        n = len(out)
        turned = np.empty((self.n_terms, min(n, _TILE)))
        for start in range(0, n, _TILE):
            stop = min(start + _TILE, n)
            chosen = slice(index.start + start, index.start + stop) if isinstance(index, slice) else index[start:stop]
            rows = X[chosen]
            if not self.plain:
                rows = rows[:, self.columns]
            tile = turned[:, : stop - start]
            np.subtract(rows.T, self.fills[:, None], out=tile, casting="same_kind")
            out[start:stop] = tile.T


def learn_features(X: NDArray, reading: Reading) -> tuple[Feature, ...]:
    """Return one ``number`` feature per column of X, called x0, x1, …: its mean, and a flag if it has missing values.

    One pass over the rows; a second one over those columns where a value is missing or the sum overflows. Nothing is
    read for plain values.
    """
    if reading == "values":
        return value_features(X.dtype, X.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        mean = X.sum(axis=0, dtype=np.float64) / len(X)
    flag = np.zeros(X.shape[1], bool)
    for column in np.flatnonzero(~np.isfinite(mean)):
        values = X[:, column].astype(np.float64)
        values = values[np.isfinite(values)]
        flag[column] = values.size < len(X)
        mean[column] = np.mean(values / 2) * 2 if values.size else 0.0
    return number_features(X.dtype, centres(mean, reading), flag)


def centres(mean: NDArray[np.float64], reading: Reading) -> NDArray[np.float64]:
    """Return what columns of these means are centred at."""
    return np.full_like(mean, CENTRES[reading]) if reading in CENTRES else mean


def value_features(dtype: np.dtype, n_columns: int) -> tuple[Feature, ...]:
    """Return the features of a matrix whose values are read as they are."""
    name = duckdb_type(dtype)
    return tuple(Feature(f"x{j}", name, "number", style="values") for j in range(n_columns))


def number_features(dtype: np.dtype, mean: NDArray[np.float64], flag: NDArray[np.bool_]) -> tuple[Feature, ...]:
    """Return the features of a matrix whose columns have these means and missing values."""
    name = duckdb_type(dtype)
    pairs = zip(mean.tolist(), flag.tolist(), strict=True)
    return tuple(
        Feature(f"x{j}", name, "number", fill=(fill,), flag=missing) for j, (fill, missing) in enumerate(pairs)
    )
