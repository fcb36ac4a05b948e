"""The tables of a training query, named so that it reads the same ones wherever it runs again.

What is stored names them with their schema, tables of other databases than the model's with these too. Not with the
model's own database: it may be attached under another name by then, which is known when the query is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
from dbml_sql.expressions import identifier, string
from dbml_sql.tokens import Token, significant

from dbml.errors import RegistryError
from dbml.registry.reading import first_row

_RELATIONS = """(
SELECT database_name, schema_name, table_name AS name FROM duckdb_tables() WHERE NOT internal UNION ALL
SELECT database_name, schema_name, view_name FROM duckdb_views() WHERE NOT internal)"""


@dataclass(frozen=True, slots=True)
class _Name:
    """The name of a table in a text, ``text[start:end]``, by its parts: ``d``, ``s.d`` or ``w.s.d``."""

    start: int
    end: int
    parts: tuple[str, ...]

    @property
    def folded(self) -> tuple[str, ...]:
        return tuple(part.casefold() for part in self.parts)


def query_to_store(con: duckdb.DuckDBPyConnection, query: str, database: str) -> str:
    """Return a training query with the names of its tables completed, all else byte for byte.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        It ran the query, and would find the same tables now.
    query : str
        As it was written. Names that are no table's (files, variables of Python) stay as they are, and so does a text
        that DuckDB does not read without us.
    database : str
        The database that the model is saved in.
    """
    names = _table_names(con, query)
    if not names:
        return query
    listed = ", ".join(string(name.folded[-1]) for name in names)
    rows = con.execute(
        "SELECT database_name, schema_name, name, current_database(), current_schema(), current_schemas(true) "
        f"FROM {_RELATIONS} WHERE lower(name) IN ({listed})"
    ).fetchall()

    def completed(name: _Name) -> tuple[str, ...] | None:
        found = _found(name, rows)
        if found is None:
            return None
        return found[1:] if found[0] == database else found

    return _renamed(query, names, completed)


def _found(name: _Name, rows: list[tuple[Any, ...]]) -> tuple[str, str, str] | None:
    """Return the table or view that DuckDB finds by a name: a temporary one, or the first on the search path."""
    *place, last = name.folded
    ranked: list[tuple[int, tuple[str, str, str]]] = []
    for database, schema, table, current, current_schema, path in rows:
        own = (database.casefold(), schema.casefold())
        if table.casefold() != last:
            continue
        if len(place) == 2:
            rank = 0 if own == tuple(place) else None
        elif place:
            # ``a.t`` is a schema's of the current database, or a database's.
            rank = 0 if (own[1] == place[0] and database == current) or own == (place[0], "main") else None
        elif database in ("temp", current):
            order = [("temp", "main"), (current, current_schema), *((current, other) for other in path)]
            rank = order.index((database, schema)) if (database, schema) in order else None
        else:
            rank = None
        if rank is not None:
            ranked.append((rank, (database, schema, table)))
    return min(ranked, default=(0, None))[1]


def query_to_read(con: duckdb.DuckDBPyConnection, model: str, query: str, database: str) -> str:
    """Return a stored query, its calls about models replaced, as it runs from any database and schema.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        It is to run the query.
    model : str
        The model, for errors.
    query : str
        What `query_to_store` returned; or as an older dbml stored it, without schemas.
    database : str
        The database that the model lies in, by its present name.

    Raises
    ------
    RegistryError
        A table is gone.
    """
    names = _table_names(con, query)
    if not names:
        return query
    listed = ", ".join(string(name.folded[-1]) for name in names)
    own = f"SELECT schema_name, name FROM {_RELATIONS} WHERE database_name = {string(database)}"
    tables = {
        (schema.casefold(), table.casefold())
        for schema, table in con.execute(f"{own} AND lower(name) IN ({listed})").fetchall()
    }

    def placed(name: _Name) -> tuple[str, ...] | None:
        if len(name.parts) == 1:
            return (database, "main", *name.parts) if ("main", *name.folded) in tables else None
        if len(name.parts) == 3:
            return None
        if name.folded in tables:
            return (database, *name.parts)
        if _is_schema(con, database, name.folded[0]):
            raise RegistryError(
                f"model {model!r} was trained on {'.'.join(name.parts)} of database {database!r}, which is gone: name "
                "rows in its place (TABLE name or (query)) where the function takes some, or train again"
            )
        return None

    return _renamed(query, names, placed)


def _is_schema(con: duckdb.DuckDBPyConnection, database: str, schema: str) -> bool:
    query = "SELECT count(*) FROM duckdb_schemas() WHERE database_name = ? AND lower(schema_name) = ?"
    row = first_row(con.execute(query, [database, schema]))
    return row is not None and row[0] > 0


def _renamed(query: str, names: list[_Name], new: Callable[[_Name], tuple[str, ...] | None]) -> str:
    """Return a query with other names in the place of some; None keeps one."""
    pieces, position = [], 0
    for name in names:
        parts = new(name)
        if parts is not None:
            # As it is written, where that is a word: it may be one of SQL's that needs quotes.
            written = significant(query[name.start : name.end])[-1].text
            quoted = [part if part == "main" else identifier(part) for part in parts[:-1]]
            pieces += [query[position : name.start], ".".join([*quoted, written])]
            position = name.end
    return "".join([*pieces, query[position:]])


def _table_names(con: duckdb.DuckDBPyConnection, query: str) -> list[_Name]:
    """Return the names in a query that DuckDB looks up as tables, in order; none of a text that it does not parse.

    By DuckDB's own parser, which says where they stand. Names of common table expressions are none.
    """
    row = first_row(con.execute("SELECT json_serialize_sql(?)", [query]))
    tokens = significant(query)
    at = {len(query[: token.start].encode()): number for number, token in enumerate(tokens)}
    try:
        parsed = json.loads(row[0]) if row is not None else {}
        nodes = list(_base_tables(parsed.get("statements", []), frozenset()))
    except RecursionError:  # expressions nested deeper than Python goes
        return []
    found = []
    for node in nodes:
        number = at.get(node["query_location"])
        if number is None:  # ``TABLE d`` has no place
            number = next((i + 1 for i, token in enumerate(tokens[:-1]) if token.is_word("TABLE")), None)
        parts = tuple(node["qualified_name"]["path"])
        span = [] if number is None else tokens[number : number + 2 * len(parts) - 1]
        if _spells(span, parts):
            found.append(_Name(span[0].start, span[-1].end, parts))
    return sorted(found, key=lambda name: name.start)


def _spells(span: list[Token], parts: tuple[str, ...]) -> bool:
    return [token.name for token in span[::2]] == list(parts) and all(token.text == "." for token in span[1::2])


def _base_tables(node: Any, hidden: frozenset[str]) -> Iterator[dict[str, Any]]:
    """Yield the tables of a syntax tree that are none of the common table expressions in scope, `hidden`."""
    if isinstance(node, list):
        for part in node:
            yield from _base_tables(part, hidden)
        return
    if not isinstance(node, dict):
        return
    if node.get("type") == "BASE_TABLE":
        path = node["qualified_name"]["path"]
        if len(path) > 1 or path[0].casefold() not in hidden:
            yield node
        return
    if node.get("type") == "RECURSIVE_CTE_NODE":
        hidden |= {node["cte_name"].casefold()}
    # Each sees those before it.
    for expression in node.get("cte_map", {}).get("map", []):
        yield from _base_tables(expression["value"], hidden)
        hidden |= {expression["key"].casefold()}
    for key, part in node.items():
        if key != "cte_map":
            yield from _base_tables(part, hidden)
