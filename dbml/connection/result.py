"""Rows that a model statement returns, handed out through DuckDB so that they look like any other result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dbml_sql.expressions import identifier


@dataclass(frozen=True, slots=True)
class Rows:
    """The finished result of a statement; reading it again runs nothing again.

    Attributes
    ----------
    columns : sequence of (name, DuckDB type)
        Columns.
    rows : sequence of sequences
        Values, in the order of the columns; a MAP is a dict.
    """

    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[Any]]

    def as_query(self) -> tuple[str, list[Any]]:
        """Return a query that gives the rows, and its parameters."""
        if not self.rows:
            return f"SELECT {', '.join(f'NULL::{t} AS {identifier(n)}' for n, t in self.columns)} WHERE false", []
        values: list[Any] = []
        selects = []
        for row in self.rows:
            expressions = []
            for (name, type), value in zip(self.columns, row, strict=True):
                if type.startswith("MAP(") and value is not None:
                    expressions.append(f"map(?::VARCHAR[], ?::DOUBLE[])::{type} AS {identifier(name)}")
                    values += [list(value), list(value.values())]
                else:
                    expressions.append(f"?::{type} AS {identifier(name)}")
                    values.append(value)
            selects.append(f"SELECT {', '.join(expressions)}")
        return " UNION ALL ".join(selects), values
