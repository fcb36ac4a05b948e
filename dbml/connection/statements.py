"""Running statements about models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import duckdb
from dbml_sql.statements import (
    CreateModel,
    DropAlias,
    DropModel,
    ExplainModel,
    ImportModel,
    ModelReference,
    RenameModel,
    RollbackModel,
    SetAlias,
    ShowModels,
    Statement,
)

from dbml.connection.result import Rows
from dbml.estimators.planning import plan_training
from dbml.passes.dispatch import as_data
from dbml.registry import changes
from dbml.registry.importing import ImportOrder, import_model
from dbml.registry.rewriting import training_query
from dbml.registry.store import existing_version
from dbml.registry.training import Trained, TrainingOrder, prepare_job, train
from dbml.registry.versions import models_query

# From the text of a query, with its calls replaced and as it was written, to its relation, in the frame of the caller,
# whose variables it may name.
Relate = Callable[[str, str], Any]

_TRAINED = (
    ("model", "VARCHAR"),
    ("version", "INTEGER"),
    ("rows", "BIGINT"),
    ("passes", "INTEGER"),
    ("seconds", "DOUBLE"),
    ("metrics", "MAP(VARCHAR, DOUBLE)"),
)
_DONE = (("model", "VARCHAR"), ("version", "INTEGER"), ("done", "VARCHAR"))
_EXPLAINED = (("explain_key", "VARCHAR"), ("explain_value", "VARCHAR"))


def execute_statement(con: duckdb.DuckDBPyConnection, statement: Statement, relate: Relate) -> Rows:
    """Run a statement about models and return its rows.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        The person's connection; an open transaction is taken part in.
    statement : Statement
        What `dbml_sql.statements.parse_statement` read.
    relate : callable
        From a query to its relation.

    Raises
    ------
    DbmlError
        What cannot be done, with words; nothing has changed then.
    """
    if isinstance(statement, CreateModel):
        return _create(con, statement, relate)
    if isinstance(statement, ImportModel):
        return _import(con, statement)
    if isinstance(statement, ExplainModel):
        return _explain(con, statement, relate)
    if isinstance(statement, ShowModels):
        shown = con.sql(models_query(con))
        columns = list(zip(shown.columns, map(str, shown.types), strict=True))
        return Rows(columns, shown.fetchall())
    if isinstance(statement, DropModel):
        work = partial(changes.drop_model, con, statement.model)
        return _change(con, statement.model, statement.if_exists, "dropped", work)
    return _alter(con, statement)


def _create(con: duckdb.DuckDBPyConnection, statement: CreateModel, relate: Relate) -> Rows:
    name = statement.name
    found = existing_version(con, _order(statement).model) if statement.if_not_exists else None
    if found is not None:
        return Rows(_TRAINED, [(found.name, found.version, None, 0, 0.0, None)])
    done = _train(con, statement, relate)
    return Rows(_TRAINED, [(name, done.version, done.n_rows, done.n_passes, done.seconds, done.metrics)])


def _import(con: duckdb.DuckDBPyConnection, statement: ImportModel) -> Rows:
    model = ModelReference(statement.name, database=statement.database)
    found = existing_version(con, model) if statement.if_not_exists else None
    if found is not None:
        return Rows(_TRAINED, [(found.name, found.version, None, 0, 0.0, None)])
    done = import_model(con, ImportOrder(model, statement.options, statement.or_replace))
    return Rows(_TRAINED, [(statement.name, done.saved.version, None, 0, done.seconds, None)])


def _order(statement: CreateModel) -> TrainingOrder:
    return TrainingOrder(statement.name, statement.query, statement.options, statement.or_replace, statement.database)


def _train(con: duckdb.DuckDBPyConnection, statement: CreateModel, relate: Relate) -> Trained:
    return train(con, relate(_query(con, statement), statement.query), _order(statement))


def _query(con: duckdb.DuckDBPyConnection, statement: CreateModel) -> str:
    return training_query(con, statement.name, statement.query)


def _explain(con: duckdb.DuckDBPyConnection, statement: ExplainModel, relate: Relate) -> Rows:
    """Return the plan of a training: before it, or (ANALYZE) what a training that is not saved did."""
    create = statement.create
    job = prepare_job(_order(create), relate(_query(con, create), create.query))
    estimator = job.estimator
    if statement.analyze:
        job.fit()
        plan = estimator.explain()
    else:
        with as_data(
            job.split.training,
            job.label,
            sample_weight=job.weight,
            task=estimator.task,
            options=job.encoding,
            encode=estimator.encoding_style,
        ) as data:
            plan = plan_training(estimator, data)
    return Rows(_EXPLAINED, [("model", repr(estimator)), *plan.rows()])


def _alter(con: duckdb.DuckDBPyConnection, statement: Statement) -> Rows:
    assert isinstance(statement, (RenameModel, SetAlias, DropAlias, RollbackModel))
    work: Callable[[], object]
    if isinstance(statement, RenameModel):
        done, work = f"renamed to {statement.new_name}", partial(changes.rename_model, new_name=statement.new_name)
    elif isinstance(statement, SetAlias):
        done = f"alias {statement.alias} set"
        work = partial(changes.set_alias, alias=statement.alias, version=statement.version)
    elif isinstance(statement, DropAlias):
        done, work = f"alias {statement.alias} dropped", partial(changes.drop_alias, alias=statement.alias)
    else:
        done, work = "rolled back", partial(changes.roll_back, version=statement.version)
    model = ModelReference(statement.name, database=statement.database)
    return _change(con, model, statement.if_exists, done, partial(work, con, model))


def _change(
    con: duckdb.DuckDBPyConnection, model: ModelReference, if_exists: bool, done: str, work: Callable[[], object]
) -> Rows:
    """Run a change of a model; with IF EXISTS a model that does not exist is left alone."""
    if if_exists and existing_version(con, model) is None:
        return Rows(_DONE, [])
    work()
    return Rows(_DONE, [(model.name, model.version, done)])
