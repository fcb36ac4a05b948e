"""What a model without a label makes of a row, in the common dialect of `dbml_sql.export`: columns and groups.

The rules are those of `dbml_sql.termwise` and `dbml_sql.groups`. Two things no common SQL can say: a column is not
replaced, and no value is an error. So an output that has the name of an input is called ``transformed_<name>``, and a
category that training did not see, where it must have, leaves the outputs of its column NULL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dbml_sql.expressions import double, identifier, string, total
from dbml_sql.features import Encoding, Feature
from dbml_sql.forms import Binned, Filled, Form, Marked, Scaled, TermFunction, TermwiseForm
from dbml_sql.groups import DISTANCE, GROUP, group_query
from dbml_sql.macros import parameters
from dbml_sql.outputs import outputs_query
from dbml_sql.termwise import scaled
from dbml_sql.transform import transform_outputs, transform_query

# From a feature to its value: a finite number, or the text of a category; NULL where it is missing.
Value = Callable[[Feature], str]


def names_beside_inputs(names: Sequence[str], encoding: Encoding) -> list[str]:
    """Return the names of outputs next to the columns of the table, all of which stay."""
    inputs = {column.casefold() for column in encoding.columns}
    listed = [f"transformed_{name}" if name.casefold() in inputs else name for name in names]
    return list(parameters(listed))


def termwise_outputs(form: TermwiseForm, encoding: Encoding, value: Value) -> list[str]:
    """Return one expression an output; see `dbml_sql.termwise.termwise_outputs`."""
    features = [feature for feature in encoding.features for _ in feature.dense_terms]
    known = {term: (values, missing) for term, values, missing in form.known}
    found = []
    for function in form.functions:
        feature = features[function.term]
        written = _output(function, feature, value(feature))
        if function.term in known:
            values, missing = known[function.term]
            written = f"CASE WHEN {_any_of(value(feature), feature, values, missing)} THEN {written} END"
        found.append(written)
    return found


def _output(function: TermFunction, feature: Feature, value: str) -> str:
    if isinstance(function, Scaled):
        return _scaled(function, value)
    if isinstance(function, Filled):
        return value if function.value is None else f"COALESCE({value}, {double(function.value)})"
    if isinstance(function, Marked):
        return _marked(function, feature, value)
    return _binned(function, value)


def _scaled(function: Scaled, value: str) -> str:
    written = scaled(function, value)
    if function.low is None or function.high is None:
        return written
    low, high = double(function.low), double(function.high)
    return f"CASE WHEN {written} < {low} THEN {low} WHEN {written} > {high} THEN {high} ELSE {written} END"


def _marked(function: Marked, feature: Feature, value: str) -> str:
    if function.others:
        inside = _any_of(value, feature, function.values, not function.missing)
        return f"CASE WHEN {inside} THEN 0e0 ELSE 1e0 END"
    return f"CASE WHEN {_any_of(value, feature, function.values, function.missing)} THEN 1e0 ELSE 0e0 END"


def _any_of(value: str, feature: Feature, values: Sequence[float], missing: bool) -> str:
    """Return whether a term is one of some values, or is missing where `missing` says so."""
    is_category = feature.kind == "category"
    named = [string(feature.levels[int(code)]) if is_category else double(code) for code in values]
    tests = [f"{value} = {named[0]}" if len(named) == 1 else f"{value} IN ({', '.join(named)})"] if named else []
    if missing:
        tests.append(f"{value} IS NULL")
        if is_category and not feature.other_level and feature.levels:  # there a text that is no level is missing
            tests.append(f"{value} NOT IN ({', '.join(map(string, feature.levels))})")
    return " OR ".join(tests) or "1 = 0"


def _binned(function: Binned, value: str) -> str:
    if function.only is None:
        passed = [f"CASE WHEN {value} >= {double(edge)} THEN 1e0 ELSE 0e0 END" for edge in function.edges]
        return f"CASE WHEN {value} IS NOT NULL THEN {total(passed) if passed else '0e0'} END"
    limits = [f"{value} >= {double(function.edges[function.only - 1])}"] if function.only else []
    if function.only < len(function.edges):
        limits.append(f"{value} < {double(function.edges[function.only])}")
    return f"CASE WHEN {' AND '.join(limits) or f'{value} IS NOT NULL'} THEN 1e0 ELSE 0e0 END"


def group_of_distances(squares: Sequence[str], least: str) -> list[tuple[str, str]]:
    """Return the output columns of squared distances from centres, with the expression of the least one."""
    cases = " ".join(f"WHEN {square} = {least} THEN {k}" for k, square in enumerate(squares))
    return [(GROUP, f"CASE {cases} END"), (DISTANCE, f"SQRT(CASE WHEN {least} > 0e0 THEN {least} ELSE 0e0 END)")]


def own_query(source: str, form: Form, encoding: Encoding, names: Sequence[str]) -> str:
    """Return DuckDB's own query: groups with a distance or probabilities, else the outputs of the names."""
    if form.link == "softmax":
        return group_query(source, form, encoding)
    if form.link != "nearest":
        return transform_query(source, form, encoding, names)
    distances = f"[{', '.join(transform_outputs(form, encoding, lambda column: f't.{identifier(column)}'))}]"
    outputs = {
        GROUP: "CAST(list_position(t.dbml_made, list_min(t.dbml_made)) - 1 AS INTEGER)",
        DISTANCE: "list_min(t.dbml_made)",
    }
    return outputs_query(f"(SELECT t.*, {distances} AS dbml_made FROM {source} t)", (), outputs, ("dbml_made",))
