"""The base table whose rows a relation hands on one by one, and its row groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class BaseTable:
    """A table of the database, and the projection and filters that a query of one table puts over it.

    Attributes
    ----------
    name : str
        Table as a person writes it.
    qualified : str
        Quoted name with database and schema.
    projection : str
        What the query selects, as SQL.
    filters : tuple of str
        Its conditions, as SQL over the columns of the table.
    """

    name: str
    qualified: str
    projection: str = "*"
    filters: tuple[str, ...] = ()

    def rows(self, bounds: tuple[int, int] | None = None) -> str:
        """Return what stands after FROM: all rows, or those with ``low <= rowid < high``."""
        conditions = [f"({condition})" for condition in self.filters]
        if bounds is not None:
            conditions.append(f"rowid >= {bounds[0]} AND rowid < {bounds[1]}")
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"(SELECT {self.projection} FROM {self.qualified}{where})"


def find_base(relation: duckdb.DuckDBPyRelation) -> BaseTable | None:
    """Return the base table of a relation; None where rows do not come one by one from a single table."""
    return None
