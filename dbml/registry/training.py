"""From a model statement and the relation of its query to a saved version."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any

import duckdb
from dbml_sql.statements import ModelReference

from dbml.data.columns import TEXT_OPTIONS
from dbml.errors import ALIKE, DbmlError, InvalidParameter, UnknownName, UnknownOption, listing, nearest
from dbml.estimators.base import Estimator
from dbml.estimators.discovery import estimators, find_type, from_options
from dbml.passes.progress import listening
from dbml.registry.evaluation import evaluate
from dbml.registry.neighbors import staged_ids, unstage
from dbml.registry.split import SPLIT_OPTIONS, Split, split_rows
from dbml.registry.store import Provenance, check_free, save_model
from dbml.registry.training_log import training_log
from dbml.registry.versions import check_name

# Options about the data; all others are the estimator's.
_LABELS = "input_label_cols"
_WEIGHT = "sample_weight_col"
_BIGQUERY_WEIGHT = "instance_weight_col"
_ENCODING = ("max_levels", "min_level_rows", "exclude", "sparse", *TEXT_OPTIONS)
_IDS = "id_col"
DATA_OPTIONS = ("model_type", _LABELS, _WEIGHT, _IDS, *_ENCODING, *SPLIT_OPTIONS)


@dataclass(frozen=True, slots=True)
class TrainingOrder:
    """What a statement asks for.

    Attributes
    ----------
    name : str
        Name of the model.
    query : str
        Query of the training rows, byte for byte.
    options : dict
        Options by name in lower case.
    replace : bool
        False: a model of this name is an error.
    database : str or None
        The attached database that takes the model; None: the current one.
    """

    name: str
    query: str
    options: dict[str, Any] = field(default_factory=dict)
    replace: bool = True
    database: str | None = None

    @property
    def model(self) -> ModelReference:
        """The name with its database."""
        return ModelReference(self.name, database=self.database)


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of it."""

    version: int
    n_rows: int | None
    n_passes: int
    seconds: float
    metrics: dict[str, float] | None


@dataclass(frozen=True, slots=True)
class Job:
    """An order made ready: estimator, rows and columns."""

    estimator: Estimator
    label: str | None
    weight: str | None
    split: Split
    encoding: dict[str, Any]
    id_column: str | None = None

    def fit(self) -> None:
        """Train the estimator."""
        weights = {} if self.weight is None else {"sample_weight": self.weight}
        self.estimator.fit(self.split.training, self.label, options=self.encoding, **weights)
        if self.id_column is not None:
            vars(self.estimator)["id_column_"] = self.id_column


def prepare_job(order: TrainingOrder, relation: Any) -> Job:
    """Return the estimator with its hyperparameters, and the rows it learns from.

    Raises
    ------
    UnknownName
        No such model type, option or column.
    InvalidParameter
        A value that an option does not allow.
    """
    who = f"model {order.name!r}"
    options = dict(order.options)
    model_type = options.pop("model_type", None)
    if not isinstance(model_type, str):
        raise InvalidParameter(f"{who}: OPTIONS (model_type = '…') must name the type of the model; got {model_type!r}")
    if _BIGQUERY_WEIGHT in options and _WEIGHT not in options:
        options[_WEIGHT] = options.pop(_BIGQUERY_WEIGHT)
    own = getattr(find_type(model_type), "label_option", None)
    data_options = {name: options.pop(name) for name in (*DATA_OPTIONS, own) if name in options}
    estimator = _estimator(who, model_type, options)
    label = _label(who, data_options, estimator, relation.columns)
    weight = _column(who, _WEIGHT, data_options.get(_WEIGHT), relation.columns)
    ids = _column(who, _IDS, data_options.get(_IDS), relation.columns)
    _check_keeping(who, estimator, weight, ids)
    if weight is not None and "sample_weight" not in signature(estimator.fit).parameters:
        raise InvalidParameter(f"{who}: {type(estimator).__name__} takes no weights; leave out {_WEIGHT}")
    encoding = {name: data_options[name] for name in _ENCODING if name in data_options}
    if ids is not None:
        left_out = encoding.get("exclude", ())
        encoding["exclude"] = [*([left_out] if isinstance(left_out, str) else left_out), ids]
    split = split_rows(who, relation, {name: data_options[name] for name in SPLIT_OPTIONS if name in data_options})
    if split.column is not None and label is not None and split.column.casefold() == label.casefold():
        raise InvalidParameter(f"{who}: data_split_col must not be the label column {label!r}")
    return Job(estimator, label, weight, split, encoding, ids)


def _check_keeping(who: str, estimator: Estimator, weight: str | None, ids: str | None) -> None:
    """Refuse ids for a model that keeps no rows, and weights for one that does."""
    kind = type(estimator).__name__
    if ids is not None and not estimator.keeps_vectors:
        raise InvalidParameter(f"{who}: {_IDS} is for models that keep their rows, and {kind} keeps none")
    if weight is not None and estimator.keeps_vectors:
        raise InvalidParameter(f"{who}: {kind} takes no weights; leave out {_WEIGHT}")


def train(con: duckdb.DuckDBPyConnection, relation: Any, order: TrainingOrder) -> Trained:
    """Train on the rows of a relation of `con`, evaluate on those held out, and save; nothing is saved if it fails.

    Raises
    ------
    RegistryError
        The name is taken and `order.replace` is False.
    DbmlError
        See `prepare_job`, `Estimator.fit` and `save_model`.
    """
    began = time.perf_counter()
    check_name(order.name)
    if not order.replace:
        check_free(con, order.model)
    job = prepare_job(order, relation)
    with training_log(con, order.model, job.estimator, order.query) as log, _staged(con, job) as (job, ids):
        with listening(*([] if log is None else [log])):
            job.fit()
        metrics = None if job.split.evaluation is None else evaluate(job.estimator, job.split.evaluation)
        n_rows = _rows_read(job.estimator)
        run_id = None if log is None else log.run_id
        provenance = Provenance(order.options, order.query, metrics, n_rows, run_id, ids)
        saved = save_model(con, order.model, job.estimator, replace=order.replace, provenance=provenance)
        if log is not None:
            log.finish("interrupted" if log.was_interrupted else "succeeded", saved.version, n_rows)
    seconds = time.perf_counter() - began
    return Trained(saved.version, n_rows, len(job.estimator.plan_.passes), seconds, metrics)


@contextmanager
def _staged(con: duckdb.DuckDBPyConnection, job: Job) -> Iterator[tuple[Job, str | None]]:
    """Give a job whose rows are read once with their ids, where they have some, and the table of the ids until then."""
    if job.id_column is None:
        yield job, None
        return
    try:
        rows, ids = staged_ids(con, type(job.estimator).__name__, job.split.training, job.id_column)
        yield replace(job, split=replace(job.split, training=rows)), ids
    finally:
        unstage(con)


def _rows_read(estimator: Estimator) -> int | None:
    """Return the rows of a whole pass; of a classifier, those with a label."""
    target = estimator.schema_.target
    if target is not None and target.counts is not None:
        return sum(target.counts)
    return max((done.rows // done.times for done in estimator.plan_.passes), default=None)


def _estimator(who: str, model_type: str, options: dict[str, Any]) -> Estimator:
    try:
        return from_options(model_type, options)
    except UnknownOption as error:
        raise UnknownName(f"{who}: {error.text(error.hint or _about_option(error.option))}") from error
    except DbmlError as error:
        raise type(error)(f"{who}: {error}") from error


def _about_option(option: str) -> str:
    """Return a hint for an option that is one about the data, or one of other model types."""
    about_data = nearest(option, DATA_OPTIONS, ALIKE)
    if about_data:
        return about_data
    others = [name for name, other in estimators().items() if option in map(str.lower, other.option_names())]
    return f"; that is one of {listing(others, 6)}" if others else ""


def _label(who: str, options: dict[str, Any], estimator: Estimator, columns: list[str]) -> str | None:
    own = estimator.label_option
    option = own if own is not None and _LABELS not in options else _LABELS
    if own in options and _LABELS in options:
        raise InvalidParameter(f"{who}: {own} and {_LABELS} both name the label; leave one of them out")
    given = options.get(option)
    if estimator.task == "none":
        if given is not None:
            raise InvalidParameter(f"{who}: {type(estimator).__name__} has no label; leave out {_LABELS}")
        return None
    default = "label" if own is None else own.removesuffix("_col")
    names = [default] if given is None else list(given) if isinstance(given, (list, tuple)) else [given]
    if len(names) != 1 or not isinstance(names[0], str):
        raise InvalidParameter(f"{who}: {option} must name one column; got {names!r}")
    folded = {column.casefold(): column for column in columns}
    found = folded.get(names[0].casefold())
    if found is None:
        hint = (
            f"; name the label with OPTIONS ({option} = {'…' if own else ['…']!r})"
            if given is None
            else nearest(names[0], columns)
        )
        raise UnknownName(f"{who}: the query has no column {names[0]!r}{hint} (columns: {listing(columns, 40)})")
    return found


def _column(who: str, option: str, name: Any, columns: list[str]) -> str | None:
    if name is None:
        return None
    folded = {column.casefold(): column for column in columns}
    if str(name).casefold() not in folded:
        raise UnknownName(
            f"{who}: {option} = {name!r} is no column of the query{nearest(str(name), columns)} "
            f"(columns: {listing(columns, 40)})"
        )
    return folded[str(name).casefold()]
