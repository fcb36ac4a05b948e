"""Models that tell the group of a row, without a label: macros, and the queries of their functions.

Groups are numbered from 0, as in Python. The column is BigQuery's, ``centroid_id``.
"""

from __future__ import annotations

from dbml_sql.expressions import identifier
from dbml_sql.features import Encoding
from dbml_sql.forms import Form, QuadraticForm
from dbml_sql.linear import Column, predictor_list
from dbml_sql.macros import parameters, predict_macro, proba_macro
from dbml_sql.outputs import outputs_query
from dbml_sql.quadratic import as_linear
from dbml_sql.retyped import guarded
from dbml_sql.score import Scores, predictors_of

GROUP_LINKS = ("nearest", "softmax")
GROUP = "centroid_id"
GROUP_PROBABILITIES = "centroid_id_probs"
DISTANCE = "centroid_distance"  # from the nearest centre, where there is one column for it


def group_number(form: Form, encoding: Encoding, column: Column = identifier) -> str:
    """Return the number of the group as INTEGER: of the smallest distance or the largest predictor, first of equals."""
    linear = as_linear(form, encoding) if isinstance(form, QuadraticForm) and form.link == "nearest" else None
    if linear is not None:
        listed, most = predictor_list(linear, encoding, column), "list_max"
    else:
        listed = f"[{', '.join(predictors_of(form, encoding, column))}]"
        most = "list_min" if form.link == "nearest" else "list_max"
    # The lambda names the list twice and computes it once, in filters too.
    return f"CAST(list_transform([{listed}], lambda dbml_z: list_position(dbml_z, {most}(dbml_z)))[1] - 1 AS INTEGER)"


def group_macros(name: str, form: Form, encoding: Encoding, schema: str) -> tuple[str, ...]:
    """Return the statements that create the macros of a model of groups.

    ``ml.predict_<name>(columns…)``, INTEGER; of mixtures ``ml.predict_proba_<name>(columns…)``, a STRUCT with a field
    for each group; and the table macro ``FROM ml.predict_<name>(table)``: the table's columns and ``centroid_id``.
    """
    columns = encoding.columns
    by_column = dict(zip(columns, parameters(columns), strict=True))
    who = f"model {name!r}"

    def parameter(column: str) -> str:
        return identifier(by_column[column])

    arguments = ", ".join(map(identifier, by_column.values()))
    number = guarded(group_number(form, encoding, parameter), who, encoding, parameter)
    macro = predict_macro(name, schema)
    statements = [
        f"CREATE OR REPLACE MACRO {macro}({arguments}) AS {number}",
        f"CREATE OR REPLACE MACRO {macro}(tbl) AS TABLE {group_query('query_table(tbl)', form, encoding, who)}",
    ]
    if form.link == "softmax":
        made = guarded(group_probabilities(form, encoding, parameter), who, encoding, parameter)
        statements.append(f"CREATE OR REPLACE MACRO {proba_macro(name, schema)}({arguments}) AS {made}")
    return tuple(statements)


def group_probabilities(form: Form, encoding: Encoding, column: Column = identifier) -> str:
    """Return the probability of each group, a STRUCT by their numbers; predictors are written once."""
    predictors = predictors_of(form, encoding, column)
    kept = Scores(
        tuple(f"dbml_z[{k + 1}]" for k in range(len(predictors))), tuple(range(len(predictors))), "INTEGER", "softmax"
    )
    return f"list_transform([[{', '.join(predictors)}]], lambda dbml_z: {kept.probability_struct()})[1]"


def group_query(source: str, form: Form, encoding: Encoding, who: str | None = None) -> str:
    """Return the query of a table's columns and ``centroid_id``; `who` as in `dbml_sql.macros.scored_query`."""

    def column(name: str) -> str:
        return f"t.{identifier(name)}"

    if form.link == "softmax":
        return _with_probabilities(source, form, encoding, column, who)
    number = group_number(form, encoding, column)
    if who is not None:
        number = guarded(number, who, encoding, column)
    return outputs_query(source, (), {GROUP: number})


def _with_probabilities(source: str, form: Form, encoding: Encoding, column: Column, who: str | None) -> str:
    """Return the query of a table's columns, the group, and the probability of each; predictors are computed once."""
    predictors = f"[{', '.join(predictors_of(form, encoding, column))}]"
    if who is not None:
        predictors = guarded(predictors, who, encoding, column)
    numbers = tuple(range(form.n_outputs))
    kept = Scores(tuple(f"dbml_z[{k + 1}]" for k in numbers), numbers, "INTEGER", "softmax")
    outputs = {
        GROUP: "CAST(list_position(t.dbml_made, list_max(t.dbml_made)) - 1 AS INTEGER)",
        GROUP_PROBABILITIES: f"list_transform([t.dbml_made], lambda dbml_z: {kept.probability_list()})[1]",
    }
    return outputs_query(f"(SELECT t.*, {predictors} AS dbml_made FROM {source} t)", (), outputs, hidden=("dbml_made",))


def group_evaluation(source: str, distances: str, apart: str) -> str:
    """Return the query of the Davies-Bouldin index and the mean squared distance of rows from their nearest centre.

    Parameters
    ----------
    source : str
        Rows, what stands after FROM.
    distances : str
        From a row ``t`` to DOUBLE[], its distance from each centre.
    apart : str
        DOUBLE[][], the distances of the centres from each other.

    Notes
    -----
    The index is the mean over the groups that have rows of the largest ``(s_i + s_j) / d_ij``, with the mean distance
    ``s`` of their rows from their centre; NULL where fewer than two groups have rows (Davies & Bouldin 1979).
    """
    return f"""WITH nearest AS (
  SELECT list_position(d, list_min(d)) AS i, list_min(d) AS d FROM (SELECT {distances} AS d FROM {source} t)
), spread AS (
  SELECT i, avg(d) AS s FROM nearest GROUP BY i
), apart AS (
  SELECT {apart} AS d
), worst AS (
  SELECT a.i, max((a.s + b.s) / apart.d[a.i][b.i]) AS r FROM spread a, spread b, apart WHERE a.i <> b.i GROUP BY a.i
)
SELECT (SELECT avg(r) FROM worst) AS davies_bouldin_index, (SELECT avg(d * d) FROM nearest) AS mean_squared_distance"""
