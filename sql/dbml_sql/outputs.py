"""The columns of rows, and those that a model makes of them.

An output of the name of an input column takes its place; of the name of any other column of the rows, it replaces it.
So rows that were scored before hold the new predictions, and no others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from dbml_sql.expressions import identifier, string


def outputs_query(source: str, columns: Sequence[str], outputs: dict[str, str], hidden: Sequence[str] = ()) -> str:
    """Return the query of a table's columns and more, by name, as expressions over its row ``t``.

    Parameters
    ----------
    source : str
        What stands after FROM.
    columns : sequence of str
        Columns that the table surely has: an output of such a name stands in its place.
    outputs : dict of str to str
        Expressions by name. Any other column of that name is replaced.
    hidden : sequence of str
        Columns of the source that are left out.
    """
    added = added_names(outputs, columns)
    if not added:
        return f"SELECT {with_outputs('t', added, outputs, hidden)} FROM {source} t"
    rows = "SELECT {}, {} FROM {} t"
    if len(added) == len(outputs):
        return rows.format(other_columns((*added, *hidden)), listed(outputs), source)
    made = {name: outputs[name] for name in added}
    inside = {name: value for name, value in outputs.items() if name not in made}
    inner = rows.format(other_columns(added), listed(made), source)
    return f"SELECT {with_outputs('t', (), inside, hidden)} FROM ({inner}) t"


def added_names(outputs: Iterable[str], columns: Sequence[str]) -> tuple[str, ...]:
    """Return the names of outputs that are not those of input columns: columns of the rows make room for them."""
    own = {column.casefold() for column in columns}
    return tuple(name for name in outputs if name.casefold() not in own)


def other_columns(names: Collection[str]) -> str:
    """Return the columns of the one table of a FROM clause but some, which it may have or not."""
    gone = ", ".join(string(name.lower()) for name in names)
    return f"COLUMNS(lambda c: lower(c) NOT IN ({gone}))" if gone else "*"


def with_outputs(row: str, added: Collection[str], outputs: dict[str, str], hidden: Sequence[str]) -> str:
    """Return what stands after SELECT: the columns of a row but the hidden ones, and outputs.

    Those of `added` come after them, and the row has no columns of their names; the others take the place of columns.
    """
    left_out = f" EXCLUDE ({', '.join(map(identifier, hidden))})" if hidden else ""
    inside = {name: made for name, made in outputs.items() if name not in added}
    replaced = f" REPLACE ({listed(inside)})" if inside else ""
    more = "".join(f", {outputs[name]} AS {identifier(name)}" for name in added)
    return f"{row}.*{left_out}{replaced}{more}"


def listed(outputs: dict[str, str]) -> str:
    """Return expressions with their names, as they stand after SELECT."""
    return ", ".join(f"{made} AS {identifier(name)}" for name, made in outputs.items())
