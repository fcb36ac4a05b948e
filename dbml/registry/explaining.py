"""What dbml's SQL functions that explain a model compute; see `dbml.registry.sql_functions`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from dbml_sql.forms import LinearForm

from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.attributions import Attributions
from dbml.estimators.base import Estimator
from dbml.estimators.trees.model import TreeModel
from dbml.registry.scorer import Scorer

# Rows of one call of a kernel: the values of all of them are in memory at once.
_ROWS = 1_024

_IMPORTANCE = pa.list_(
    pa.struct(
        [
            ("feature", pa.string()),
            ("importance_weight", pa.int64()),
            ("importance_gain", pa.float64()),
            ("importance_cover", pa.float64()),
        ]
    )
)
_DEPENDENCE = pa.list_(
    pa.struct([("number", pa.float64()), ("category", pa.string()), ("predictions", pa.list_(pa.float64()))])
)


def attributions_of(scorer: Scorer, columns: list[pa.Array], threshold: np.ndarray | None = None) -> pa.Array:
    """Return a list of ``{baseline, prediction, attributions}`` a row: one item, or of a classifier one a class.

    Of two classes that are told by one sum, the first has the negative of what the second has.
    """
    if threshold is not None:
        raise InvalidParameter("predict_attributions takes no threshold: it explains every class")
    explained = scorer.attributions
    if explained is None:
        raise InvalidData(
            f"model {scorer.name!r} is a {type(scorer.model).__name__}, whose predictions are no sums over features: "
            "linear models, trees, Gaussian and multinomial naive Bayes have attributions. "
            "Hint: FROM ML.PERMUTATION_IMPORTANCE(MODEL …, TABLE …) and ML.PARTIAL_DEPENDENCE explain any model"
        )
    n_rows = len(columns[0])
    parts = [
        _attributed(scorer, explained, [column.slice(first, _ROWS) for column in columns])
        for first in range(0, max(n_rows, 1), _ROWS)
    ]
    return parts[0] if len(parts) == 1 else pa.concat_arrays(parts)


def _attributed(scorer: Scorer, explained: Attributions, columns: list[pa.Array]) -> pa.Array:
    block = scorer.block(columns)
    added, raw = explained.by_column(block).transpose(0, 2, 1), explained.raw(block)
    baseline = explained.baseline
    if scorer.classes is not None and baseline.size == 1:
        added, raw = np.concatenate([-added, added], axis=1), np.column_stack([-raw, raw])
        baseline = np.array([-baseline[0], baseline[0]])
    n, n_outputs, width = added.shape
    values = pa.ListArray.from_arrays(
        pa.array(np.arange(0, added.size + 1, width, dtype=np.int32)), pa.array(np.ascontiguousarray(added).ravel())
    )
    items = pa.StructArray.from_arrays(
        [pa.array(np.tile(baseline, n)), pa.array(np.ascontiguousarray(raw).ravel()), values],
        ["baseline", "prediction", "attributions"],
    )
    return pa.ListArray.from_arrays(pa.array(np.arange(0, n * n_outputs + 1, n_outputs, dtype=np.int32)), items)


Find = Callable[[str], Scorer]


def importance_function(find: Find) -> Callable[..., pa.Array]:
    """Return ``feature_importance(name)``: splits, mean gain and mean training rows of the splits of each column."""

    def feature_importance(*arguments: pa.ChunkedArray) -> pa.Array:
        if len(arguments) != 1:
            raise InvalidParameter("expected feature_importance('model')")
        models = [_trees_of(find, name, "feature importances") for name in arguments[0].to_pylist()]
        return pa.array([_importances(model) for model in models], type=_IMPORTANCE)

    return feature_importance


def _importances(model: TreeModel) -> list[dict[str, Any]]:
    from dbml.estimators.attributions import term_columns

    encoding, trees = model.schema_.encoding, model.trees_
    inner = trees.left >= 0
    column = term_columns(encoding)[trees.term[inner]]
    n = len(encoding.columns)
    splits = np.bincount(column, minlength=n)
    means = [
        np.bincount(column, values[inner], minlength=n) / np.maximum(splits, 1) for values in (trees.gain, trees.weight)
    ]
    names = ("feature", "importance_weight", "importance_gain", "importance_cover")
    rows = zip(encoding.columns, splits.tolist(), *(mean.tolist() for mean in means), strict=True)
    return sorted((dict(zip(names, row, strict=True)) for row in rows), key=lambda row: -row["importance_gain"])


def dependence_function(find: Find) -> Callable[..., pa.Array]:
    """Return ``partial_dependence(name, column, n_points)``, from the trees alone."""

    def partial_dependence(*arguments: pa.ChunkedArray) -> pa.Array:
        if len(arguments) != 3:
            raise InvalidParameter("expected partial_dependence('model', 'column', 20)")
        rows = zip(*(argument.to_pylist() for argument in arguments), strict=True)
        return pa.array([_dependence(find, *row) for row in rows], type=_DEPENDENCE)

    return partial_dependence


def _dependence(find: Find, name: str, column: str, n_points: int) -> list[dict[str, Any]]:
    from dbml.estimators.trees.dependence import dependence

    model = _trees_of(find, name, "partial dependence without rows")
    values, predictions = dependence(model, column, n_points)
    kind = "category" if values and isinstance(values[0], str) else "number"
    return [{kind: v, "predictions": p.tolist()} for v, p in zip(values, predictions, strict=True)]


_BY_ROWS = "FROM ML.PERMUTATION_IMPORTANCE(MODEL …, TABLE …)"


def _trees_of(find: Find, name: str, what: str) -> TreeModel:
    scorer = find(name)
    model: Estimator = scorer.model
    if not isinstance(model, TreeModel):
        weights = "FROM ML.WEIGHTS(MODEL …)" if isinstance(model.form(), LinearForm) else _BY_ROWS
        hint = weights if "importances" in what else "name rows, TABLE name or (query)"
        raise InvalidData(
            f"model {scorer.name!r} is a {type(model).__name__}: only tree models have {what}. Hint: {hint}"
        )
    return model
