"""From what a person passed to the data of a table: one state of the rows, target, weights, encoding."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from dbml_sql.encode import ScanColumn, scan_column
from dbml_sql.expressions import identifier
from dbml_sql.features import Feature, Reading
from dbml_sql.retyped import refused_types

from dbml.data.array_input import check_target, check_weight, check_width, encode_target
from dbml.data.chunked import ChunkedData
from dbml.data.columns import EncodingOptions, assign_roles, is_number
from dbml.data.keys import key_roles, learn_keys
from dbml.data.learning import learn_encoding
from dbml.data.snapshot import take_snapshot
from dbml.data.source import Source, accepts, is_frame, is_stream, open_source
from dbml.data.steady import hold_query, hold_table
from dbml.data.table import RowValues, TableData, matched_types
from dbml.data.target import TargetColumn, known_target, learn_target
from dbml.data.vector_lengths import check_source, lists_among
from dbml.data.wide import room_if_wide
from dbml.errors import DbmlWarning, InvalidData, UnsupportedColumn
from dbml.passes.dispatch import register_keeper, register_reader
from dbml.passes.schema import Schema, Target, Task


def read_table(
    X: Any,
    y: Any = None,
    *,
    sample_weight: Any,
    task: Task,
    schema: Schema | None,
    con: Any,
    options: dict[str, Any],
    encode: Reading = "terms",
) -> ChunkedData:
    """Return the `Data` over anything that DuckDB reads; see `dbml.passes.dispatch.as_data`."""
    source = open_source(X, con, measured=schema is not None)
    with ExitStack() as held:
        if schema is not None:
            if y is None and task != "none" and schema.target is not None:
                y = schema.target.name
            if is_frame(X) and not schema.named:
                source = _by_position(source, schema, (y, sample_weight), options)
            return _read_as_trained(source, y, sample_weight, schema, options, held)
        return _read_to_train(source, y, sample_weight, task, EncodingOptions.of(options, encode), held)


def _read_to_train(
    source: Source, y: Any, sample_weight: Any, task: Task, checked: EncodingOptions, held: ExitStack
) -> ChunkedData:
    source, kept = hold_query(hold_table(source, held), held)
    if y is None and task != "none":
        y = "label"
    target: Target | None = None
    values = RowValues()
    taken: tuple[str, ...] = ()
    n_rows = n_null = -1
    if isinstance(y, str):
        learned = learn_target(source, y, task)
        target, n_rows, n_null = learned.target, learned.n_rows, learned.n_missing
        values, taken = RowValues(learned.scan), (target.name,)
        if n_null:
            source = source.filtered(f"{identifier(target.name)} IS NOT NULL")
    else:
        n_rows = _count(source)
        if y is not None:
            array, target = check_target(y, n_rows, task)
            values = RowValues(array)
    values, taken = _weigh(source, sample_weight, values, taken, n_rows, n_null)
    keyed = bool(checked.keys)
    roles = (key_roles if keyed else assign_roles)(source, taken, checked)
    scanned = [column for column in (values.y, values.weight) if isinstance(column, ScanColumn)]
    snapshot = take_snapshot(source, roles, scanned, n_rows)
    if keyed:
        encoding, decisions = learn_keys(source, roles)
    else:
        encoding, decisions = learn_encoding(source, roles, n_rows, checked, snapshot)
    data = TableData(source, Schema(encoding, target), values, n_rows, snapshot, held)
    for decision in (*kept, *decisions):
        data.plan = data.plan.decide(decision.subject, decision.choice, decision.reason)
    if n_null > 0:
        data.plan = data.plan.decide("rows left out", f"{n_null:,}", "their target is NULL")
    return data


def _by_position(source: Source, schema: Schema, others: tuple[Any, ...], options: dict[str, Any]) -> Source:
    """Return a frame under the names of a model that was trained on an array: x0, x1, … from left to right."""
    wanted = schema.encoding.columns
    if set(wanted) <= set(source.columns) or len(wanted) != schema.n_features:
        return source
    taken = {name.casefold() for name in others if isinstance(name, str)}
    features = [name for name in source.columns if name.casefold() not in taken]
    check_width(len(features), schema, options)
    warnings.warn(
        f"X has feature names, but {options.get('owner', 'the model')} was fitted without feature names: its columns "
        "are taken by position",
        DbmlWarning,
        stacklevel=6,
    )
    return source.renamed(dict(zip(features, wanted, strict=True)))


def _count(source: Source) -> int:
    n_rows = source.count()
    if not n_rows:
        raise source.no_rows()
    return n_rows


def _weigh(
    source: Source, weight: Any, values: RowValues, taken: tuple[str, ...], n_rows: int, n_null: int
) -> tuple[RowValues, tuple[str, ...]]:
    if weight is None:
        return values, taken
    if not isinstance(weight, str):
        if n_null > 0:
            raise InvalidData(
                f"sample_weight is an array, but {n_null:,} rows of {source.name} have no target and are left out; "
                "name a column of weights instead, or leave those rows out of X and of the array"
            )
        return replace(values, weight=check_weight(weight, n_rows)), taken
    column = source.find(weight, "weight column")
    if not is_number(source.columns[column]):
        raise UnsupportedColumn(f"the weight column {column!r} must be a number; it is {source.columns[column]}")
    largest = source.fetch(source.select([f"CAST(max({identifier(column)}) AS DOUBLE)"]))[0][0]
    if largest is not None and largest <= 0.0:
        raise InvalidData(f"the weight column {column!r} must have a positive weight; the largest is {largest:g}")
    scan = scan_column(Feature(column, source.columns[column], "number"), source.columns[column])
    return replace(values, weight=scan), (*taken, column)


def _read_as_trained(
    source: Source, y: Any, weight: Any, schema: Schema, options: dict[str, Any], held: ExitStack
) -> ChunkedData:
    reason = refused_types("the model", schema.encoding, matched_types(source, schema.encoding)[0])
    if reason is not None:
        raise UnsupportedColumn(reason)
    if "vectors" in options or lists_among(schema.encoding, source.columns):
        source, _ = hold_query(hold_table(source, held), held)
        who, whole = options.get("owner", "the model"), options.get("vectors") == "whole"
        check_source(who, schema.encoding, source, whole)
    values, n_rows = RowValues(), -1
    # Read more than once: to be scored against the target, or to be trained further; or by several queries.
    if y is not None or room_if_wide(source, len(schema.encoding.columns)) is not None:
        source = hold_table(source, held)
    if isinstance(y, str) and schema.target is not None:
        known: TargetColumn = known_target(source, y, schema.target)
        values = RowValues(known.scan, unseen=bool(options.get("unseen_labels")))
        source = source.filtered(f"{identifier(known.target.name)} IS NOT NULL")
    if not isinstance(y, (str, type(None))) or not isinstance(weight, (str, type(None))):
        n_rows = _count(source)
    if y is not None and not isinstance(y, str):
        task: Task = "regression" if schema.target is None or schema.target.classes is None else "classification"
        values = RowValues(encode_target(y, n_rows, schema.target, task))
    values, _ = _weigh(source, weight, values, (), n_rows, 0)
    return TableData(source, schema, values, n_rows, held=held)


register_reader(accepts, read_table)
register_keeper(is_stream, open_source)
