"""What a person passed as arrays, checked: a matrix of numbers, a target, weights.

Messages keep the key phrases of scikit-learn's, which its users and its own checks look for.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
from dbml_sql.features import EXACT
from numpy.typing import NDArray

from dbml.errors import DbmlWarning, InvalidData, UnsupportedColumn, listing
from dbml.passes.labels import label_array
from dbml.passes.schema import Schema, Target, Task

_TYPES = {"b": "BOOLEAN", "f2": "FLOAT", "f4": "FLOAT", "i1": "TINYINT", "i2": "SMALLINT", "i4": "INTEGER"}
_TYPES |= {"i8": "BIGINT", "u1": "UTINYINT", "u2": "USMALLINT", "u4": "UINTEGER", "u8": "UBIGINT"}
_WIDE_RANGE = 1_000_000  # integers within such a range are counted, others are sorted


def duckdb_type(dtype: np.dtype) -> str:
    """Return the DuckDB type that holds the values of a dtype."""
    if dtype.kind in "OUST":
        return "VARCHAR"
    return _TYPES.get("b" if dtype.kind == "b" else dtype.str[1:], "DOUBLE")


def to_matrix(X: Any) -> NDArray:
    """Return X as a two-dimensional array of real numbers, without a copy where it is one.

    Raises
    ------
    InvalidData
        Not two-dimensional, no rows, no columns, or complex numbers.
    UnsupportedColumn
        Values that are not numbers.
    """
    if isinstance(X, np.ma.MaskedArray):
        X = np.ma.filled(X.astype(np.float64), np.nan)
    try:
        X = np.asarray(X)
    except ValueError as error:  # lists of lists of different lengths
        raise InvalidData(f"X must be a matrix of rows by columns, all rows of one length: {error}") from error
    if X.dtype.kind == "c":
        raise InvalidData(f"X must hold real numbers; got dtype {X.dtype}. Complex data not supported")
    if X.ndim != 2:
        raise InvalidData(
            f"X must be a matrix of rows by columns. Expected 2D array, got {X.ndim}D array instead (shape {X.shape}). "
            "Reshape your data either using array.reshape(-1, 1) if it has a single feature or array.reshape(1, -1) if "
            "it is a single row"
        )
    if X.dtype.kind not in "biuf":
        X = _numbers(X, "X")
    return X


def check_shape(n_rows: int, n_columns: int) -> None:
    """Raise `InvalidData` for a matrix without rows or columns."""
    if n_columns == 0:
        raise InvalidData(f"X: found array with 0 feature(s) (shape=({n_rows}, 0)) while a minimum of 1 is required.")
    if n_rows == 0:
        raise InvalidData(f"X: found array with 0 sample(s) (shape=(0, {n_columns})) while a minimum of 1 is required.")


def check_scored(y: Any, task: Task, schema: Schema) -> None:
    """Raise `InvalidData` where rows without columns of names are to be scored against a target, and none is given."""
    if y is None and task != "none":
        name = "the target" if schema.target is None else repr(schema.target.name)
        raise InvalidData(
            f"y must be passed where X is an array, which has no column {name}: score and partial_fit need the true "
            "values; got None"
        )


def check_width(n_columns: int, schema: Schema, options: dict[str, Any]) -> None:
    """Raise `InvalidData` where X has another number of columns than the model was trained on."""
    expected = schema.n_features
    if n_columns != expected:
        owner = options.get("owner", "model")
        raise InvalidData(f"X has {n_columns} features, but {owner} is expecting {expected} features as input")


def _numbers(values: NDArray, name: str) -> NDArray[np.float64]:
    """Return values of dtype object as float64: Python numbers, None for missing."""
    if values.dtype.kind != "O":
        raise UnsupportedColumn(
            f"{name} must hold numbers; got an array of dtype {values.dtype}. Pass a DataFrame, an Arrow table or a "
            "relation to use text and dates as features"
        )
    for value in values.flat:
        if isinstance(value, (str, bytes, dict, list, tuple)) and not _is_number(value):
            raise UnsupportedColumn(
                f"{name} must hold numbers; got {value!r} in an array of dtype object (argument must be a string that "
                "spells a number, or a real number). Pass a DataFrame, an Arrow table or a relation for text features"
            )
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UnsupportedColumn(
            f"{name} must hold numbers; got an array of dtype object that is not: {error} (argument must be a string "
            "or a real number)"
        ) from error


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def check_target(y: Any, n_rows: int, task: Task) -> tuple[NDArray[np.float64], Target]:
    """Return the encoded target and its description.

    Raises
    ------
    InvalidData
        None, another length, NaN or infinity, labels of no known kind, or a single class.
    """
    if y is None:
        raise InvalidData("this estimator requires y to be passed, but the target y is None")
    if isinstance(y, str):
        raise InvalidData(f"y must be an array of {n_rows} values where X is an array; got the column name {y!r}")
    y = _one_dimension(label_array(y))
    if len(y) != n_rows:
        raise InvalidData(f"y: found input variables with inconsistent numbers of samples: X {n_rows}, y {len(y)}")
    if y.dtype.kind == "c":
        raise InvalidData(f"y must hold real numbers or labels; got dtype {y.dtype}. Complex data not supported")
    if y.dtype.kind == "f":
        _refuse_missing(y)
    if task == "classification":
        return _classes(y)
    values = y.astype(np.float64) if y.dtype.kind in "biuf" else _numbers(y, "y")
    _refuse_missing(values)
    return values, Target("y", duckdb_type(y.dtype) if y.dtype.kind != "O" else "DOUBLE")


def encode_target(y: Any, n_rows: int, target: Target | None, task: Task) -> NDArray[np.float64]:
    """Return the target of more rows, encoded as `target` says: for models that go on learning.

    Raises
    ------
    InvalidData
        As in `check_target`, or a class that the model does not know.
    """
    if target is None or target.classes is None:
        return check_target(y, n_rows, task if task != "classification" else "regression")[0]
    y = _one_dimension(label_array(y))
    if len(y) != n_rows:
        raise InvalidData(f"y: found input variables with inconsistent numbers of samples: X {n_rows}, y {len(y)}")
    if y.dtype.kind == "f":
        _refuse_missing(y)
    codes = {label: code for code, label in enumerate(target.classes)}
    labels, inverse = np.unique(_labels(y)[0] if y.dtype.kind == "O" else y, return_inverse=True)
    unknown = [label for label in labels.tolist() if label not in codes]
    if unknown:
        raise InvalidData(
            f"y must hold classes of the model ({listing(map(repr, codes))}); got {listing(map(repr, unknown))}"
        )
    return np.array([codes[label] for label in labels.tolist()], float)[inverse]


def _one_dimension(y: NDArray) -> NDArray:
    if y.ndim == 2 and y.shape[1] == 1:
        exceptions = sys.modules.get("sklearn.exceptions")
        category = exceptions.DataConversionWarning if exceptions else DbmlWarning
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected; pass y.ravel() to avoid this warning",
            category,
            stacklevel=6,
        )
        return y[:, 0]
    if y.ndim != 1:
        several = (
            "; for several targets: sklearn.multioutput.MultiOutputRegressor or MultiOutputClassifier of this model"
        )
        raise InvalidData(
            f"y should be a 1d array; got an array of shape {y.shape} instead{several if y.ndim == 2 else ''}"
        )
    return y


def _refuse_missing(y: NDArray) -> None:
    if not np.isfinite(y).all():
        what = "NaN" if np.isnan(y).any() else f"infinity or a value too large for dtype('{y.dtype}')"
        raise InvalidData(f"Input y contains {what}. Leave out the rows whose target is missing")


def _classes(y: NDArray) -> tuple[NDArray[np.float64], Target]:
    """Return class indices, and the target with the labels in ascending order."""
    type_name = duckdb_type(y.dtype)
    if y.dtype.kind == "O":
        y, type_name = _labels(y)
    if y.dtype.kind not in "biufUT":
        raise InvalidData(f"y must hold labels (str, bool, int). Unknown label type: {y.dtype}")
    if y.dtype.kind == "f" and (y != np.rint(y)).any():
        raise InvalidData(
            "y must hold classes, but holds fractions. Unknown label type: continuous. Use a regressor, or cut the "
            "target into classes"
        )
    labels, codes, counts = _count(y)
    if len(labels) < 2:
        raise InvalidData(f"y must hold at least 2 classes; got 1 class ({labels.tolist()[0]!r} in all {len(y)} rows)")
    return codes.astype(np.float64), Target("y", type_name, tuple(labels.tolist()), tuple(counts.tolist()))


def _labels(y: NDArray) -> tuple[NDArray, str]:
    """Return an object array of labels as an array of their own kind."""
    kinds = {type(label) for label in y}
    if kinds <= {str, np.str_}:
        return y.astype(np.str_), "VARCHAR"
    if kinds <= {bool, np.bool_}:
        return y.astype(bool), "BOOLEAN"
    if all(issubclass(kind, (int, np.integer)) and kind is not bool for kind in kinds):
        if all(0 <= label < 2**64 for label in y) and any(label >= 2**63 for label in y):
            return y.astype(np.uint64), "UBIGINT"
        if any(not -(2**63) <= label < 2**63 for label in y):
            raise InvalidData("y must hold labels that fit in 64 bits; pass larger ones as text")
        return y.astype(np.int64), "BIGINT"
    if any(label is None or label != label for label in y):  # noqa: PLR0124 - NaN is not equal to itself
        raise InvalidData("Input y contains NaN or None. Leave out the rows whose target is missing")
    names = listing(sorted(kind.__name__ for kind in kinds))
    raise InvalidData(f"y must hold labels of one kind (str, bool or int). Unknown label type: mixed {names}")


def _count(y: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return ascending labels, the code of every row, and the count of each label."""
    if y.dtype.kind in "biuf" and len(y):
        low, high = y.min(), y.max()
        if float(high) - float(low) < _WIDE_RANGE and max(abs(float(low)), abs(float(high))) < EXACT:
            offset = int(low)
            shifted = y.astype(np.int64) - offset
            counts = np.bincount(shifted)
            present = np.flatnonzero(counts)
            code = np.zeros(counts.size, np.int64)
            code[present] = np.arange(present.size)
            return (present + offset).astype(y.dtype), code[shifted], counts[present]
    return np.unique(y, return_inverse=True, return_counts=True)


def check_weight(weight: Any, n_rows: int) -> NDArray[np.float64] | None:
    """Return the sample weights as float64, None for none.

    Raises
    ------
    InvalidData
        Another shape, negative, NaN or infinite, or all 0.
    """
    if weight is None:
        return None
    if isinstance(weight, str):
        raise InvalidData(f"sample_weight must be an array where X is an array; got the column name {weight!r}")
    weight = np.asarray(weight)
    if weight.dtype.kind not in "biufO":
        raise InvalidData(f"sample_weight must hold numbers; got dtype {weight.dtype}")
    weight = weight.astype(np.float64) if weight.dtype.kind != "O" else _numbers(weight, "sample_weight")
    if weight.ndim == 0:
        weight = np.full(n_rows, float(weight))
    if weight.ndim != 1:
        raise InvalidData(f"sample_weight must be a 1D array or a scalar; got an array of shape {weight.shape}")
    if len(weight) != n_rows:
        raise InvalidData(f"sample_weight must have one value per row: {n_rows}; got {len(weight)}")
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise InvalidData("sample_weight must be finite and not negative; got NaN, infinity or a negative weight")
    if not weight.any():
        raise InvalidData("sample_weight must have at least one positive weight; all weights are zero")
    return weight
