"""What a model makes of a row, as macros and queries: ``transform`` gives a list, or a column for each output."""

from __future__ import annotations

from collections.abc import Sequence

from dbml_sql.expressions import identifier
from dbml_sql.features import Encoding
from dbml_sql.forms import Form
from dbml_sql.linear import Column
from dbml_sql.macros import parameters, transform_macro
from dbml_sql.outputs import outputs_query
from dbml_sql.retyped import guarded
from dbml_sql.score import predictors_of

TRANSFORM_LINKS = ("values", "nearest", "termwise")


def transform_outputs(form: Form, encoding: Encoding, column: Column = identifier) -> list[str]:
    """Return one DOUBLE expression an output; distances are the roots of what a ``nearest`` form computes."""
    predictors = predictors_of(form, encoding, column)
    if form.link == "nearest":
        return [f"sqrt(greatest({predictor}, 0e0))" for predictor in predictors]
    return predictors


def transform_macros(name: str, form: Form, encoding: Encoding, names: Sequence[str], schema: str) -> tuple[str, ...]:
    """Return the statements that create the macros of a model that transforms; `names` are those of its outputs.

    ``ml.transform_<name>(columns…)``, DOUBLE[], and the table macro ``FROM ml.transform_<name>(table)``: the table's
    columns, and one for each output.
    """
    columns = encoding.columns
    by_column = dict(zip(columns, parameters(columns), strict=True))
    who = f"model {name!r}"

    def parameter(column: str) -> str:
        return identifier(by_column[column])

    listed = f"CAST([{', '.join(transform_outputs(form, encoding, parameter))}] AS DOUBLE[])"
    macro, arguments = transform_macro(name, schema), ", ".join(map(identifier, by_column.values()))
    query = transform_query("query_table(tbl)", form, encoding, names, who)
    return (
        f"CREATE OR REPLACE MACRO {macro}({arguments}) AS {guarded(listed, who, encoding, parameter)}",
        f"CREATE OR REPLACE MACRO {macro}(tbl) AS TABLE {query}",
    )


def transform_query(source: str, form: Form, encoding: Encoding, names: Sequence[str], who: str | None = None) -> str:
    """Return the query of a table's columns and the outputs of a form; `who` as in `dbml_sql.macros.scored_query`."""

    def column(name: str) -> str:
        return f"t.{identifier(name)}"

    made = transform_outputs(form, encoding, column)
    if who is not None and made:
        made[0] = guarded(made[0], who, encoding, column)
    return outputs_query(source, encoding.columns, dict(zip(names, made, strict=True)))


def listed_query(source: str, columns: Sequence[str], names: Sequence[str], made: str) -> str:
    """Return the query of a table's columns and the elements of a list that `made` gives of its row ``t``."""
    inner = f"(SELECT t.*, {made} AS dbml_made FROM {source} t)"
    outputs = {name: f"t.dbml_made[{i + 1}]" for i, name in enumerate(names)}
    return outputs_query(inner, columns, outputs, hidden=("dbml_made",))
