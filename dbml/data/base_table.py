"""The base table whose rows a relation hands on one by one: found by reading its SQL, views included.

Such a table is read by ranges of row numbers, which DuckDB prunes to row groups. Anything else (joins, aggregates,
files, frames, volatile functions) is a query whose batches come in order and only so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbml_sql.expressions import identifier, string

from dbml.data import duck

if TYPE_CHECKING:
    import duckdb

_MOST_VIEWS = 8  # nested views that are looked through
_VOLATILE = ("random", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "nextval", "currval", "setseed")
_CLAUSES = {"kind", "expressions", "from", "from_", "where"}
_NAME = r'(?:[A-Za-z_]\w*|"(?:[^"]|"")+")'
_NAMES = re.compile(rf"\s*SELECT\s+({_NAME}(?:\s*,\s*{_NAME})+)\s+FROM\s", re.IGNORECASE)
_LOCAL_ROWS = 1 << 50  # rows of an open transaction are numbered from far above


@dataclass(frozen=True, slots=True)
class BaseTable:
    """A table, and the SQL of one-table queries around it.

    Attributes
    ----------
    name : str
        Table as a person writes it.
    qualified : str
        Quoted name with database and schema.
    before, after : str
        SQL around the place of the table in the query.
    alias : str or None
        Name that the query knows the table by, where it gives none itself.
    filters : tuple of str
        Conditions of the query and the views, as SQL; for the plan.
    direct : bool
        The conditions are over columns of the table itself: there is no view between.
    bare : bool
        The query is of columns of the table under their own names, and of all rows.
    """

    name: str
    qualified: str
    before: str
    after: str
    alias: str | None
    filters: tuple[str, ...] = ()
    direct: bool = True
    bare: bool = False

    def rows(self, *bounds: tuple[int, int]) -> str:
        """Return what stands after FROM: all rows, or those with ``low <= rowid < high`` for some bounds."""
        table = self.qualified
        if not bounds and (self.before, self.after.strip(), self.filters) == ("SELECT * FROM ", "", ()):
            # A star inside a query is expanded once more, which shows where there are thousands of columns.
            return f"{table}{'' if self.alias is None else f' AS {identifier(self.alias)}'}"
        if bounds:
            table = f"(SELECT * FROM {self.qualified} WHERE {within(bounds)})"
        alias = "" if self.alias is None else f" AS {identifier(self.alias)}"
        return f"({self.before}{table}{alias}{self.after}\n)"


def within(bounds: Sequence[tuple[int, int]]) -> str:
    """Return the condition that a row's number lies within some bounds."""
    return " OR ".join(f"(rowid >= {low} AND rowid < {high})" for low, high in bounds)


@dataclass(frozen=True, slots=True)
class Extent:
    """Row numbers of a table: rows there are, and the number after the last one (-1: not to be read by numbers)."""

    n_rows: int
    end: int

    @property
    def dense(self) -> bool:
        """Whether no row was deleted, so that a row's number is its position."""
        return self.n_rows == self.end


def measure(relation: duckdb.DuckDBPyRelation, base: BaseTable) -> Extent:
    """Return the row numbers of a table; reads no column.

    Rows of an open transaction forbid reading by numbers, and so does a column of the person's that is called rowid.
    """
    own = duck.query(relation, f"SELECT * FROM {base.qualified}").columns
    if "rowid" in [name.casefold() for name in own]:
        return Extent(-1, -1)
    n_rows, last = duck.ask(relation, f"SELECT count(*), max(rowid) FROM {base.qualified}")[0]
    end = 0 if last is None else last + 1
    return Extent(n_rows, end if end < _LOCAL_ROWS else -1)


def indexed_columns(relation: duckdb.DuckDBPyRelation, base: BaseTable) -> set[str]:
    """Return the columns of a table that have an index of their own, in lower case."""
    rows = duck.fetch(relation, "SELECT database_name, schema_name, table_name, expressions FROM duckdb_indexes()")
    own = [text for *place, text in rows if ".".join(map(identifier, place)) == base.qualified]
    return {text.strip("[]").strip("'\"").casefold() for text in own}


def find_base(relation: duckdb.DuckDBPyRelation) -> BaseTable | None:
    """Return the base table of a relation; None where its rows do not come one by one from a single table."""
    try:
        base = _look_through(relation, relation.sql_query(), _MOST_VIEWS)
        if base is None:
            return None
        # The rewritten query must mean the same: it has to bind, to the same columns.
        found = duck.columns_of(duck.query(relation, f"SELECT * FROM {base.rows((0, 1))}"))
    except (duck.error_class(), UnicodeError):
        return None
    return base if found == duck.columns_of(relation) else None


def _look_through(relation: duckdb.DuckDBPyRelation, sql: str, depth: int) -> BaseTable | None:
    """Return the base of a query of one table or view."""
    from sqlglot import ErrorLevel, exp, parse
    from sqlglot.errors import SqlglotError

    shortened = without_names(sql)
    try:
        trees = parse(shortened, dialect="duckdb", error_level=ErrorLevel.RAISE)
    except (SqlglotError, RecursionError):
        return None
    if len(trees) != 1 or not isinstance(trees[0], exp.Select) or not is_row_by_row(trees[0]):
        return None
    tree = trees[0]
    if not are_scalar(relation, {node.name.lower() for node in tree.find_all(exp.Anonymous)}):
        return None
    tables = list(tree.find_all(exp.Table))
    if len(tables) != 1 or tables[0].args.get("sample") or not isinstance(tables[0].this, exp.Identifier):
        return None
    table = tables[0]
    entry = _resolve(relation, [part.name for part in table.parts])
    if entry is None:
        return None
    moved = len(sql) - len(shortened)
    start, end = table.parts[0].meta["start"] + moved, table.this.meta["end"] + 1 + moved
    before, after = sql[:start], sql[end:]
    alias = None if table.alias else table.name
    where = tree.args.get("where")
    filters = () if where is None else (where.this.sql(dialect="duckdb"),)
    qualified, view = entry
    if view is None:
        bare = where is None and all(map(_is_own_column, tree.expressions))
        return BaseTable(table.name, qualified, before, after, alias, filters, bare=bare)
    inner = _look_through(relation, view, depth - 1) if depth else None
    if inner is None:
        return None
    named = "" if alias is None else f" AS {identifier(alias)}"
    return BaseTable(
        inner.name,
        inner.qualified,
        f"{before}({inner.before}",
        f"{inner.after}\n){named}{after}",
        inner.alias,
        (*inner.filters, *filters),
        direct=False,
    )


def without_names(sql: str) -> str:
    """Return a query with ``*`` in the place of a list of plain names that it selects.

    They say nothing of where the rows come from, and thousands of them take sqlglot most of a second.
    """
    found = _NAMES.match(sql)
    if found is None:
        return sql
    from sqlglot.dialects.duckdb import DuckDB

    names = found[1]
    # Words that are a value or a function without parentheses say more than a name.
    words = re.sub(r'"(?:[^"]|"")+"', "", names).upper().split(",")
    if any(word.strip() in DuckDB.Tokenizer.KEYWORDS for word in words):
        return sql
    return f"{sql[: found.start(1)]}*{sql[found.end(1) :]}"


def _is_own_column(projection: Any) -> bool:
    """Return whether a projection (a sqlglot tree) is a column of the table under its own name, or all of them."""
    from sqlglot import exp

    if isinstance(projection, exp.Star):
        return not any(projection.args.values())
    # With a qualifier it may be a field of a struct.
    return isinstance(projection, exp.Column) and isinstance(projection.this, exp.Identifier) and not projection.table


def is_row_by_row(tree: Any) -> bool:
    """Return whether a SELECT (a sqlglot tree) maps and filters the rows of one table, each on its own."""
    from sqlglot import exp

    if any(value for name, value in tree.args.items() if name not in _CLAUSES):
        return False
    if tree.args.get("kind"):
        return False
    refused = (exp.AggFunc, exp.Window, exp.Query, exp.Unnest, exp.Explode, exp.Placeholder, exp.Parameter, exp.Rand)
    for node in tree.walk():
        if node is not tree and isinstance(node, refused):
            return False
        if isinstance(node, exp.Func):
            name = (node.name if isinstance(node, exp.Anonymous) else node.sql_name()).lower()
            if name in _VOLATILE:
                return False
    return True


def are_scalar(relation: duckdb.DuckDBPyRelation, names: set[str]) -> bool:
    """Return whether functions that sqlglot does not know are scalar ones that always give the same."""
    if not names:
        return True
    listed = ", ".join(map(string, sorted(names)))
    rows = duck.fetch(
        relation,
        "SELECT count(DISTINCT function_name), bool_and(function_type = 'scalar' AND stability <> 'VOLATILE') "
        f"FROM duckdb_functions() WHERE function_name IN ({listed})",
    )
    return rows[0] == (len(names), True)


def _resolve(relation: duckdb.DuckDBPyRelation, parts: list[str]) -> tuple[str, str | None] | None:
    """Return the qualified name of a table, and the query of a view, as DuckDB finds them by that name."""
    name = string(parts[-1].casefold())
    listed = "database_name, schema_name, {0}_name AS name, temporary, {1} AS body FROM duckdb_{0}s()"
    union = (
        f"SELECT {listed.format('table', 'NULL')} UNION ALL SELECT {listed.format('view', 'sql')} WHERE NOT internal"
    )
    place = "database_name = current_database() AND schema_name = current_schema()"
    rows = duck.fetch(
        relation,
        f"SELECT database_name, schema_name, name, body, temporary, {place} FROM ({union}) "
        f"WHERE lower(name) = lower({name})",
    )
    # Not left out in SQL: a query that mentions it is bound three times.
    rows = [row for row in rows if row[2] != duck.VIEW]
    qualifiers = [part.casefold() for part in parts[:-1]]
    if len(qualifiers) == 2:
        rows = [row for row in rows if [row[0].casefold(), row[1].casefold()] == qualifiers]
    elif len(qualifiers) == 1:
        # ``a.t`` may name a schema of the current database or a database.
        rows = [row for row in rows if qualifiers[0] in (row[0].casefold(), row[1].casefold())]
    else:
        rows = [row for row in rows if row[4]] or [row for row in rows if row[5]]
    if len(rows) != 1:
        return None
    database, schema, table, body, _, _ = rows[0]
    qualified = ".".join(identifier(part) for part in (database, schema, table))
    return qualified, None if body is None else _view_query(body)


def _view_query(statement: str) -> str:
    """Return the query of a CREATE VIEW statement, "" where it renames columns."""
    found = re.match(r"CREATE\s+.*?\bVIEW\b.*?\bAS\s+(?P<query>\(*\s*(SELECT|FROM)\b.*)", statement, re.I | re.S)
    return found["query"].strip().rstrip(";") if found is not None else ""
