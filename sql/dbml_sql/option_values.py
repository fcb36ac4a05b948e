"""Values of options that are known when a statement runs (parameters, expressions, columns), checked there."""

from __future__ import annotations

from dbml_sql.expressions import refusal


def checked_threshold(value: str, once: bool = False) -> str:
    """Return an expression, or the parameter of a macro, as a threshold: an error where it is none.

    DuckDB folds a constant away.

    Parameters
    ----------
    value : str
        The expression.
    once : bool, default False
        Write it once: parameters without numbers (``?``) are counted.
    """
    if once:
        return f"list_transform([{value}], lambda dbml_value: {_checked('dbml_value')})[1]"
    return _checked(f"({value})")


def _checked(value: str) -> str:
    number = f"TRY_CAST({value} AS DOUBLE)"
    wrong = refusal(f"'threshold must be a number between 0 and 1; got ' || {_text(value)}", "DOUBLE")
    return f"CASE WHEN {number} BETWEEN 0 AND 1 THEN {number} ELSE {wrong} END"


def option_text(value: str | None) -> str:
    """Return an option for a function of ours as text, so that it can say what it got; NULL where it is not given."""
    return "CAST(NULL AS VARCHAR)" if value is None else _text(f"({value})")


def numbers(value: str, what: str) -> str:
    """Return a list of numbers, an error where it is NULL or holds what is no number."""
    wrong = f"{what} must be a list of numbers, such as [0.25, 0.5]"
    number = "TRY_CAST(dbml_value AS DOUBLE)"
    refused = f"error('{wrong}; it holds ' || {_text('dbml_value')})"
    each = f"CASE WHEN isfinite({number}) THEN {number} ELSE {refused} END"
    return f"list_transform(coalesce({value}, error('{wrong}; got NULL')), lambda dbml_value: {each})"


def _text(value: str) -> str:
    return f"coalesce(CAST({value} AS VARCHAR), 'NULL')"
