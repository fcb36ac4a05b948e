"""The macros of a model: persisted in the database file, they score it in any DuckDB client."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dbml_sql.errors import SqlError
from dbml_sql.expressions import identifier
from dbml_sql.features import Encoding
from dbml_sql.forms import Form, LinearForm, TreeForm
from dbml_sql.option_values import checked_threshold
from dbml_sql.outputs import added_names, listed, other_columns, with_outputs
from dbml_sql.retyped import guarded
from dbml_sql.score import Scores, Target, form_scores, predictors_of
from dbml_sql.statements import RESERVED_PREFIX
from dbml_sql.trees import Values, sums
from dbml_sql.values import Column

DEFAULT_THRESHOLD = "5e-1"

WriteTrees = Callable[[Values, Column], list[str]]


def check_name(name: str) -> str:
    """Return the name of a model, or raise `SqlError` for one that no model can have."""
    if not name or "@" in name:
        raise SqlError(f"a model's name must not be empty or hold @ (it separates a version); got {name!r}")
    if name.casefold().startswith(RESERVED_PREFIX):
        reason = f"must not start with {RESERVED_PREFIX}: its macro would be another model's"
        raise SqlError(f"a model's name {reason}; got {name!r}")
    return name


def predict_macro(name: str, schema: str = "ml") -> str:
    """Return the quoted name of a model's scalar and table macro: ``ml."predict_late"``; `schema` is quoted."""
    return f"{schema}.{identifier(f'predict_{name}')}"


def proba_macro(name: str, schema: str = "ml") -> str:
    """Return the quoted name of a classifier's macro of probabilities: ``ml."predict_proba_late"``."""
    return f"{schema}.{identifier(f'predict_proba_{name}')}"


def transform_macro(name: str, schema: str = "ml") -> str:
    """Return the quoted name of a transformer's scalar and table macro: ``ml."transform_pca"``."""
    return f"{schema}.{identifier(f'transform_{name}')}"


def parameters(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the parameter of each input column: its name, with a number where another differs in case only."""
    taken: set[str] = set()
    found = []
    for column in columns:
        name, count = column, 1
        while name.casefold() in taken:
            count += 1
            name = f"{column}_{count}"
        taken.add(name.casefold())
        found.append(name)
    return tuple(found)


def threshold_parameter(columns: Sequence[str]) -> str:
    """Return the name of the macro's optional threshold: ``threshold``, with ``_`` where a column has that name."""
    taken = {name.casefold() for name in parameters(columns)}
    name = "threshold"
    while name in taken:
        name += "_"
    return name


def has_threshold(target: Target, form: Form) -> bool:
    """Whether predictions take a threshold: two classes with probabilities."""
    one_predictor = form.n_outputs == 1 or form.link == "softmax"
    return target.classes is not None and len(target.classes) == 2 and one_predictor and form.link != "margin"


def create_macros(name: str, form: Form, encoding: Encoding, target: Target, schema: str = "ml") -> tuple[str, ...]:
    """Return the statements that create (or replace) the macros of a model.

    ``ml.predict_<name>(columns…)``, for two classes with ``threshold := 0.5`` after them;
    ``ml.predict_proba_<name>(columns…)`` for classifiers with probabilities; and the table macro
    ``FROM ml.predict_<name>(table)``: the table's columns, ``predicted_<target>`` and, for classifiers with
    probabilities, ``predicted_<target>_probs``.
    """
    columns = encoding.columns
    names = parameters(columns)
    by_column = dict(zip(columns, names, strict=True))
    scores = form_scores(form, encoding, target, lambda column: identifier(by_column[column]))
    listed = ", ".join(map(identifier, names))
    threshold, optional = DEFAULT_THRESHOLD, ""
    if has_threshold(target, form):
        parameter = identifier(threshold_parameter(columns))
        threshold, optional = checked_threshold(parameter), f", {parameter} := {DEFAULT_THRESHOLD}"
    who = f"model {name!r}"

    def checked(value: str) -> str:
        return guarded(value, who, encoding, lambda column: identifier(by_column[column]))

    prediction = checked(scores.prediction(threshold))
    statements = [f"CREATE OR REPLACE MACRO {predict_macro(name, schema)}({listed}{optional}) AS {prediction}"]
    probabilities = probability_struct(scores, form)
    if probabilities is not None:
        probabilities = checked(probabilities)
        statements.append(f"CREATE OR REPLACE MACRO {proba_macro(name, schema)}({listed}) AS {probabilities}")
    statements.append(_table_macro(predict_macro(name, schema), who, form, encoding, target))
    return tuple(statements)


def probability_struct(scores: Scores, form: Form) -> str | None:
    """Return the probabilities by label, each predictor written once; None where a form has none."""
    if isinstance(form, LinearForm) or form.n_outputs == 1:
        return scores.probability_struct()
    # Each probability names all predictors: a lambda keeps them, so that trees are written once.
    kept = Scores(tuple(f"dbml_z[{k + 1}]" for k in range(form.n_outputs)), scores.classes, scores.type, scores.link)
    made = kept.probability_struct()
    return made and f"list_transform([[{', '.join(scores.predictors)}]], lambda dbml_z: {made})[1]"


def _table_macro(macro: str, who: str, form: Form, encoding: Encoding, target: Target) -> str:
    optional = f", threshold := {DEFAULT_THRESHOLD}" if has_threshold(target, form) else ""
    threshold = checked_threshold("threshold") if optional else DEFAULT_THRESHOLD
    query = scored_query("query_table(tbl)", form, encoding, target, threshold, who=who)
    return f"CREATE OR REPLACE MACRO {macro}(tbl{optional}) AS TABLE {query}"


def scored_query(
    source: str,
    form: Form,
    encoding: Encoding,
    target: Target,
    threshold: str,
    write: WriteTrees | None = None,
    who: str | None = None,
) -> str:
    """Return the query of a table's columns and its predictions.

    The predictors are columns of an inner query, so that each is computed once a row; so are the values that trees ask
    about. `write` makes predictors of a tree form in another way, from the values and the columns. With `who`, the
    model's name, types that hold no value for the model are an error (see `dbml_sql.retyped`).
    """
    ready: dict[str, str] = {}
    value, eta = _free_start("dbml value", encoding), _free_start("dbml eta", encoding)
    if isinstance(form, TreeForm):
        values = Values(encoding, lambda column: f"r.{identifier(column)}", lambda k: f"t.{identifier(f'{value} {k}')}")
        predictors = write(values, lambda column: f"t.{identifier(column)}") if write else sums(form, values)
        ready = {f"{value} {k}": made for k, made in enumerate(values.definitions)}
    else:
        predictors = predictors_of(form, encoding, lambda column: f"t.{identifier(column)}")
    if who is not None:
        predictors[0] = guarded(predictors[0], who, encoding, lambda column: f"t.{identifier(column)}")
    etas = {f"{eta} {k}": predictor for k, predictor in enumerate(predictors)}
    scores = Scores(tuple(f"s.{identifier(name)}" for name in etas), target.classes, target.type, form.link)
    outputs = {f"predicted_{target.name}": scores.prediction(threshold)}
    probabilities = scores.probability_list()
    if probabilities is not None:
        outputs[f"predicted_{target.name}_probs"] = probabilities
    added = added_names(outputs, encoding.columns)
    # In the innermost query, which has the fewest columns: DuckDB takes time with the square of their number.
    kept = other_columns((*added, *ready, *etas))
    if ready:
        source, kept = f"(SELECT {kept}, {listed(ready)} FROM {source} r)", "t.*"
    rows = f"(SELECT {kept}, {listed(etas)} FROM {source} t)"
    return f"SELECT {with_outputs('s', added, outputs, (*ready, *etas))} FROM {rows} s"


def _free_start(start: str, encoding: Encoding) -> str:
    """Return how names of columns between two queries start (``dbml eta 0``): as no column of an encoding does."""
    while any(column.casefold().startswith(start) for column in encoding.columns):
        start += "_"
    return start


def drop_macros(name: str, schema: str = "ml") -> tuple[str, ...]:
    """Return the statements that drop the macros of a model, those it may not have included."""
    return (
        f"DROP MACRO IF EXISTS {predict_macro(name, schema)}",
        f"DROP MACRO TABLE IF EXISTS {predict_macro(name, schema)}",
        f"DROP MACRO IF EXISTS {proba_macro(name, schema)}",
        f"DROP MACRO IF EXISTS {transform_macro(name, schema)}",
        f"DROP MACRO TABLE IF EXISTS {transform_macro(name, schema)}",
    )
