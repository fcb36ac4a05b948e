"""Functions of one term each as DuckDB expressions: scaled, filled, marked and binned columns."""

from __future__ import annotations

from collections.abc import Callable

from dbml_sql.expressions import double, identifier, refusal, string, total
from dbml_sql.features import Encoding
from dbml_sql.forms import Binned, Filled, Marked, Scaled, TermFunction, TermwiseForm
from dbml_sql.values import TermValue, term_values

Column = Callable[[str], str]


def termwise_outputs(form: TermwiseForm, encoding: Encoding, column: Column = identifier) -> list[str]:
    """Return one DOUBLE expression an output, NULL where it is missing.

    The first output of a term whose values must be known is an error where they are not.
    """
    terms = term_values(encoding, column)
    waiting = {term: (values, missing) for term, values, missing in form.known}
    found = []
    for function in form.functions:
        written = _output(function, terms[function.term])
        known = waiting.pop(function.term, None)
        found.append(written if known is None else _checked(written, terms[function.term], column, *known))
    for term, known in waiting.items():  # terms without an output of their own
        found[:1] = [_checked(written, terms[term], column, *known) for written in found[:1]]
    return found


def _output(function: TermFunction, term: TermValue) -> str:
    value = term.sql
    if isinstance(function, Scaled):
        return _scaled(function, value)
    if isinstance(function, Filled):
        number = f"CAST({value} AS DOUBLE)"
        return number if function.value is None else f"coalesce({number}, {double(function.value)})"
    if isinstance(function, Marked):
        return _marked(function, term)
    return _binned(function, value)


def scaled(function: Scaled, value: str) -> str:
    """Return a scaled value that is not yet kept within its limits."""
    written = value if function.shift == 0.0 else f"({value} - {double(function.shift)})"
    if function.divisor != 1.0:
        written = f"{written} / {double(function.divisor)}"
    return written if function.offset == 0.0 else f"{written} + {double(function.offset)}"


def _scaled(function: Scaled, value: str) -> str:
    written = scaled(function, value)
    # DuckDB's least and greatest leave NULL out: a missing value would become a limit.
    if function.low is not None and function.high is not None:
        clipped = f"least(greatest({written}, {double(function.low)}), {double(function.high)})"
        return f"CASE WHEN {value} IS NOT NULL THEN {clipped} END"
    return f"CAST({written} AS DOUBLE)"


def _marked(function: Marked, term: TermValue) -> str:
    tests = []
    value, inside = _one_of(term, function.values)
    if function.others:
        tests.append(f"{value} IS NOT NULL AND NOT ({inside})" if function.values else f"{value} IS NOT NULL")
    elif function.values:
        tests.append(inside)
    if function.missing:
        tests.append(f"{value} IS NULL")
    return f"CASE WHEN {' OR '.join(f'({test})' for test in tests)} THEN 1e0 ELSE 0e0 END" if tests else "0e0"


def _one_of(term: TermValue, values: tuple[float, ...]) -> tuple[str, str]:
    """Return what a term is compared by, and whether it is one of some values: NULL where it is missing.

    A category is compared by its text, where no text counts as missing: its code would be searched for in a list.
    """
    if term.levels is not None and term.feature.other_level:
        value, named = term.raw, [string(term.levels[int(code)]) for code in values]
    else:
        value, named = term.sql, list(map(double, values))
    return value, f"{value} = {named[0]}" if len(
        named
    ) == 1 else f"{value} IN ({', '.join(named)})" if named else "false"


def _binned(function: Binned, value: str) -> str:
    if function.only is not None:
        return f"CASE WHEN {_inside(function.edges, function.only, value)} THEN 1e0 ELSE 0e0 END"
    if not function.edges:
        return f"CASE WHEN {value} IS NOT NULL THEN 0e0 END"
    return f"CAST({total([f'CAST({value} >= {double(edge)} AS INTEGER)' for edge in function.edges])} AS DOUBLE)"


def _inside(edges: tuple[float, ...], number: int, value: str) -> str:
    limits = [f"{value} >= {double(edges[number - 1])}"] if number else []
    if number < len(edges):
        limits.append(f"{value} < {double(edges[number])}")
    return " AND ".join(limits) or f"{value} IS NOT NULL"


def _checked(written: str, term: TermValue, column: Column, values: tuple[float, ...], missing: bool) -> str:
    """Return an expression that is an error for a value that training did not see."""
    name = column(term.feature.column)
    known = f"coalesce({_one_of(term, values)[1]}, {'true' if missing else 'false'})"
    said = string(f"found unknown categories in column {term.feature.name}: ")
    hint = string(". Hint: handle_unknown = 'ignore'")
    error = refusal(f"{said} || coalesce(CAST({name} AS VARCHAR), 'NULL') || {hint}", "DOUBLE")
    return f"CASE WHEN {known} THEN {written} ELSE {error} END"
