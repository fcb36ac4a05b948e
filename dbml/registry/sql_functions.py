"""What dbml's SQL functions compute: Arrow columns in, at most 2,048 rows a call, from any thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dbml.data import duck
from dbml.errors import InvalidParameter, UnknownName
from dbml.registry.anomalies import anomalies_function
from dbml.registry.centroids import centroid_functions
from dbml.registry.components import component_functions
from dbml.registry.explaining import attributions_of, dependence_function, importance_function
from dbml.registry.factors import item_rank, keys_function, weights_function
from dbml.registry.functions import Functions
from dbml.registry.model_cache import ModelCache
from dbml.registry.neighbors import extend_model, neighbors_function
from dbml.registry.predictions import predict_label, predict_number, predict_proba, transform
from dbml.registry.rewriting import training_query
from dbml.registry.scorer import Scorer
from dbml.registry.training import TrainingOrder, train
from dbml.registry.trees import nodes_function
from dbml.registry.versions import read_target

# From a model, its input columns and the thresholds of the rows (None: the usual ones) to one value a row.
Score = Callable[[Scorer, list[pa.Array], np.ndarray | None], pa.Array]


def make_functions(functions: Functions) -> dict[str, Callable[..., Any]]:
    """Return what computes each function of `dbml.registry.registering.TYPES`."""
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
    given = pc.struct_field(options, "threshold")
    if not (pa.types.is_integer(given.type) or pa.types.is_floating(given.type) or pa.types.is_decimal(given.type)):
        raise InvalidParameter(f"threshold must be a number between 0 and 1; got {given[0] if len(given) else 'none'}")
    field = given.cast(pa.float64())
    values = field.to_numpy()
    if field.null_count or not ((values >= 0.0) & (values <= 1.0)).all():
        shown = next(value for value in field.to_pylist() if value is None or not 0.0 <= value <= 1.0)
        raise InvalidParameter(f"threshold must be a number between 0 and 1; got {shown}")
    return values


def train_function(functions: Functions) -> Callable[..., Any]:
    """Return ``train_model(name, query, options)``: it trains, saves, and returns what CREATE MODEL returns.

    Two more values, as in `add_rows_function`.
    """
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
        if len(arguments) not in (3, 5):
            raise InvalidParameter(
                "expected train_model('name', 'SELECT …', {'model_type': 'linear_reg', 'input_label_cols': ['label']})"
            )
        made = []
        for name, query, options, *place in zip(*(argument.to_pylist() for argument in arguments), strict=True):
            with functions.cursor_at(*place) as con, _seeing_what_is_committed("train_model"):
                made.append(train_row(con, name, query, options))
        return pa.array(made, type=type_)

    return train_model


def add_rows_function(functions: Functions) -> Callable[..., Any]:
    """Return ``add_rows(name, query)``: it adds the rows of a query to a model that keeps rows; their number.

    Two more values are the database and schema in which both are looked up: those that are current where the statement
    runs. A connection of ours adds them; without, they are those of the connection that registered the functions.
    """

    def add_rows(*arguments: pa.ChunkedArray) -> pa.Array:
        if len(arguments) not in (2, 4):
            raise InvalidParameter("expected add_rows('model', 'SELECT …')")
        done = []
        for name, query, *place in zip(*(argument.to_pylist() for argument in arguments), strict=True):
            with functions.cursor_at(*place) as con, _seeing_what_is_committed("add_rows"):
                done.append(extend_model(con, name, con.sql(training_query(con, name, query))))
        return pa.array(done, pa.int64())

    return add_rows


@contextmanager
def _seeing_what_is_committed(who: str) -> Iterator[None]:
    """Say, of a table that is not found, which tables a function cannot see."""
    try:
        yield
    except duck.error_class("CatalogException") as error:
        raise UnknownName(
            f"{error}\n{who} reads on a connection of its own: it sees no temporary tables, and nothing of a "
            "transaction that is not committed"
        ) from error


def as_options(given: Any) -> Any:
    """Return a value of SQL as options are written in Python: a MAP as a dictionary, and DECIMALs as numbers.

    ``0.1`` is a DECIMAL in DuckDB, and so is a whole number that no integer type holds.
    """
    if isinstance(given, list) and given and all(isinstance(pair, tuple) for pair in given):
        given = dict(given)
    if isinstance(given, dict):
        return {name: as_options(value) for name, value in given.items()}
    if isinstance(given, list):
        return [as_options(value) for value in given]
    if isinstance(given, Decimal):
        return int(given) if given.as_tuple().exponent == 0 else float(given)
    return given


def train_row(con: Any, name: str, query: str, options: Any) -> dict[str, Any]:
    """Train one model on a cursor of its own, and return the row of the result."""
    options = as_options(options)
    if not isinstance(options, dict):
        raise InvalidParameter(
            f"train_model: options must be a STRUCT such as {{'model_type': …}}, or a MAP; got {options!r}"
        )
    target = read_target(con, name)
    lower = {key.lower(): given for key, given in options.items()}
    rows = training_query(con, name, query)
    done = train(con, con.sql(rows), TrainingOrder(target.name, query, lower, database=target.database))
    metrics = None if done.metrics is None else list(done.metrics.items())
    return {"model": name, "version": done.version, "rows": done.n_rows, "seconds": done.seconds, "metrics": metrics}
