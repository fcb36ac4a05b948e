"""What dbml's SQL functions compute: Arrow columns in, at most 2,048 rows a call, from any thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from dbml_sql.score import label_text

from dbml.errors import InvalidData, InvalidParameter, listing
from dbml.registry.anomalies import anomalies_function
from dbml.registry.centroids import centroid_functions
from dbml.registry.components import component_functions
from dbml.registry.explaining import attributions_of, dependence_function, importance_function
from dbml.registry.factors import item_rank, keys_function, weights_function
from dbml.registry.functions import Functions
from dbml.registry.model_cache import ModelCache
from dbml.registry.neighbors import neighbors_function
from dbml.registry.scorer import Scorer
from dbml.registry.trees import nodes_function

# From a model, its input columns and the thresholds of the rows (None: the usual ones) to one value a row.
Score = Callable[[Scorer, list[pa.Array], np.ndarray | None], pa.Array]


def make_functions(functions: Functions) -> dict[str, Callable[..., Any]]:
    """Return what computes each function of `dbml.registry.functions.TYPES`."""
    cache = ModelCache(lambda version, model: Scorer(version.name, model))

    def find(name: str) -> Scorer:
        return cache.get(name, functions.cursor)

    def scoring(score: Score) -> Callable[..., pa.Array]:
        def function(*arguments: pa.ChunkedArray) -> pa.Array:
            return _by_model(arguments, find, score)

        return function

    return {
        "predict_attributions": scoring(attributions_of),
        "feature_importance": importance_function(find),
        "partial_dependence": dependence_function(find),
        "predict": scoring(predict_number),
        "predict_label": scoring(predict_label),
        "predict_proba": scoring(predict_proba),
        "transform": scoring(transform),
        "tree_nodes": nodes_function(find),
        "factor_keys": keys_function(find),
        "factor_weights": weights_function(find),
        "item_rank": scoring(item_rank),
        "detect_anomalies": anomalies_function(find, lambda arguments, score: _by_model(arguments, find, score)),
        **centroid_functions(find),
        **component_functions(find),
        "neighbors": neighbors_function(find, lambda arguments, score: _by_model(arguments, find, score)),
        "add_rows": add_rows_function(functions),
        "train_model": train_function(functions),
    }


def _by_model(arguments: tuple[pa.ChunkedArray, ...], find: Callable[[str], Scorer], score: Score) -> pa.Array:
    """Score rows with the model that the first argument names; it may differ from row to row."""
    names, *values = arguments
    if not pa.types.is_string(names.type) or not values:
        raise InvalidParameter("expected predict('model', row) with a row by its alias, or predict('model', columns …)")
    threshold = None
    if len(values) > 1 and pa.types.is_struct(values[-1].type) and values[-1].type.names == ["threshold"]:
        threshold = _thresholds(values.pop())
    distinct = names.unique().to_pylist()
    if None in distinct:
        raise InvalidParameter("the name of the model must not be NULL")
    if len(distinct) == 1:
        scorer = find(distinct[0])
        return score(scorer, scorer.columns_of(values), threshold)
    parts, places = [], []
    for name in distinct:
        place = np.flatnonzero(pc.equal(names, name).to_numpy())
        scorer, rows = find(name), [value.take(pa.array(place)) for value in values]
        chosen = None if threshold is None else threshold[place]
        parts.append(score(scorer, scorer.columns_of(rows), chosen))
        places.append(place)
    order = np.argsort(np.concatenate(places), kind="stable")
    return pa.concat_arrays(parts).take(pa.array(order))


def _thresholds(options: pa.ChunkedArray) -> np.ndarray:
    """Return the threshold of each row from the struct ``{'threshold': …}``."""
    field = pc.struct_field(options, "threshold").cast(pa.float64())
    values = field.to_numpy()
    if field.null_count or not ((values >= 0.0) & (values <= 1.0)).all():
        shown = next(value for value in field.to_pylist() if value is None or not 0.0 <= value <= 1.0)
        raise InvalidParameter(f"threshold must be a number between 0 and 1; got {shown}")
    return values


def _classes(scorer: Scorer, columns: list[pa.Array], threshold: np.ndarray | None) -> np.ndarray:
    """Return the class number of each row; with a threshold, of two classes the second where it is more probable."""
    block = scorer.block(columns)
    if threshold is None:
        return scorer.method("class")(block)
    if scorer.classes is None or len(scorer.classes) != 2 or not scorer.has("predict_proba"):
        raise _no_threshold(scorer)
    return (scorer.method("predict_proba")(block)[:, 1] > threshold).astype(np.intp)


def _no_threshold(scorer: Scorer) -> InvalidParameter:
    return InvalidParameter(
        f"model {scorer.name!r} takes no threshold: that is for predictions of two classes with probabilities"
    )


def predict_number(scorer: Scorer, columns: list[pa.Array], threshold: np.ndarray | None = None) -> pa.Array:
    """Return predictions as DOUBLE: numbers, or labels that are numbers or booleans."""
    if scorer.classes is None:
        if threshold is not None:
            raise _no_threshold(scorer)
        if not scorer.has("predict"):
            raise InvalidData(
                f"model {scorer.name!r} is a {type(scorer.model).__name__}, which predicts nothing: "
                f"use transform('{scorer.name}', …)"
            )
        return pa.array(scorer.method("predict")(scorer.block(columns)))
    if not all(isinstance(label, (bool, int, float)) for label in scorer.classes):
        shown = listing([repr(label) for label in scorer.classes], 4)
        raise InvalidData(
            f"predict gives numbers, and the labels of model {scorer.name!r} are text ({shown}): "
            f"use predict_label('{scorer.name}', …), or ml.\"predict_{scorer.name}\"(…)"
        )
    labels = np.array([float(label) for label in scorer.classes])
    return pa.array(labels[_classes(scorer, columns, threshold)])


def predict_label(scorer: Scorer, columns: list[pa.Array], threshold: np.ndarray | None = None) -> pa.Array:
    """Return predicted labels as text."""
    if scorer.classes is None:
        raise InvalidData(f"model {scorer.name!r} predicts numbers and has no labels: use predict('{scorer.name}', …)")
    texts = pa.array([label_text(label) for label in scorer.classes])
    return texts.take(pa.array(_classes(scorer, columns, threshold).astype(np.int64, copy=False)))


def predict_proba(scorer: Scorer, columns: list[pa.Array], threshold: np.ndarray | None = None) -> pa.Array:
    """Return the probability of each label as a MAP from its text."""
    if threshold is not None:
        raise _no_threshold(scorer)
    labels, offsets, places, probabilities = _flat_probabilities(scorer, columns)
    texts = pa.array([label_text(label) for label in labels])
    return pa.MapArray.from_arrays(offsets, texts.take(places), probabilities)


def probabilities_of(scorer: Scorer, columns: list[pa.Array]) -> pa.Array:
    """Return the probability of each label as a list of ``{label, prob}`` in the order of the classes."""
    labels, offsets, places, probabilities = _flat_probabilities(scorer, columns)
    named = pa.array(list(labels)).take(places)
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays([named, probabilities], ["label", "prob"]))


def _flat_probabilities(scorer: Scorer, columns: list[pa.Array]) -> tuple[Sequence[Any], pa.Array, pa.Array, pa.Array]:
    """Return the labels, and the probabilities of all rows row by row: offsets of the rows, numbers of labels, values.

    Where there is no label, the numbers of the groups stand for it.
    """
    if not scorer.has("predict_proba"):
        kind = type(scorer.model).__name__
        raise InvalidData(f"model {scorer.name!r} is a {kind}, which has no probabilities: use predict")
    values = scorer.method("predict_proba")(scorer.block(columns))
    n_rows, n_classes = values.shape
    offsets = pa.array(np.arange(0, n_rows * n_classes + 1, n_classes, dtype=np.int32))
    places = pa.array(np.tile(np.arange(n_classes), n_rows))
    labels = range(n_classes) if scorer.classes is None else scorer.classes
    return labels, offsets, places, pa.array(np.ascontiguousarray(values).ravel())


def transform(scorer: Scorer, columns: list[pa.Array], threshold: np.ndarray | None = None) -> pa.Array:
    """Return what a model makes of each row as a list; what is missing there is NULL."""
    if threshold is not None:
        raise _no_threshold(scorer)
    if not scorer.has("transform"):
        raise InvalidData(
            f"model {scorer.name!r} is a {type(scorer.model).__name__}, which transforms nothing: "
            f"use predict('{scorer.name}', …)"
        )
    values = scorer.method("transform")(scorer.block(columns))
    n_rows, width = values.shape
    flat = np.ascontiguousarray(values, dtype=np.float64).ravel()
    offsets = np.arange(0, n_rows * width + 1, max(width, 1), dtype=np.int32)[: n_rows + 1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, mask=np.isnan(flat)))


def train_function(functions: Functions) -> Callable[..., Any]:
    """Return ``train_model(name, query, options)``: it trains, saves, and returns what CREATE MODEL returns."""
    type_ = pa.struct(
        [
            ("model", pa.string()),
            ("version", pa.int32()),
            ("rows", pa.int64()),
            ("seconds", pa.float64()),
            ("metrics", pa.map_(pa.string(), pa.float64())),
        ]
    )

    def train_model(*arguments: pa.ChunkedArray) -> pa.Array:
        if len(arguments) != 3:
            raise InvalidParameter(
                "expected train_model('name', 'SELECT …', {'model_type': 'linear_reg', 'input_label_cols': ['label']})"
            )
        rows = zip(*(argument.to_pylist() for argument in arguments), strict=True)
        return pa.array([train_row(functions.cursor(), *row) for row in rows], type=type_)

    return train_model


def add_rows_function(functions: Functions) -> Callable[..., Any]:
    """Return ``add_rows(name, query)``: it adds the rows of a query to a model that keeps rows; their number."""

    def add_rows(*arguments: pa.ChunkedArray) -> pa.Array:
        from dbml.registry.neighbors import extend_model
        from dbml.registry.training import check_query

        if len(arguments) != 2:
            raise InvalidParameter("expected add_rows('model', 'SELECT …')")
        con, done = functions.cursor(), []
        for name, query in zip(*(argument.to_pylist() for argument in arguments), strict=True):
            done.append(extend_model(con, name, con.sql(check_query(con, name, query))))
        return pa.array(done, pa.int64())

    return add_rows


def train_row(con: Any, name: str, query: str, options: dict[str, Any]) -> dict[str, Any]:
    """Train one model on a cursor of its own, and return the row of the result."""
    from dbml.registry.training import TrainingOrder, check_query, train
    from dbml.registry.versions import read_target

    if not isinstance(options, dict):
        raise InvalidParameter(f"train_model: options must be a STRUCT such as {{'model_type': …}}; got {options!r}")
    target = read_target(con, name)
    lower = {key.lower(): given for key, given in options.items()}
    order = TrainingOrder(target.name, check_query(con, name, query), lower, database=target.database)
    done = train(con, con.sql(query), order)
    metrics = None if done.metrics is None else list(done.metrics.items())
    return {"model": name, "version": done.version, "rows": done.n_rows, "seconds": done.seconds, "metrics": metrics}
