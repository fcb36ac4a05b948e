"""The rows of a model that keeps some, as a table of schema ``ml``: one table a version, in the order of its cells.

A query reads only the cells it needs: DuckDB's zone maps over ``cell`` skip the others. An index over that column would
cost more (a thousand rows a cell; measured on a million rows of 32 numbers: 1.3 ms by zone maps, 4.6 ms by an index).
Added rows come after the others, in the order of cells again; nothing is rebuilt.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from dbml_sql.expressions import string
from numpy.typing import NDArray

from dbml.data import duck
from dbml.data.arrow_arrays import numbers_of
from dbml.errors import RegistryError
from dbml.estimators.neighbors.held import ResidentRows
from dbml.passes.memory import memory_budget
from dbml.passes.vectors import CellSizes, Rows, Vectors
from dbml.registry.freshness import change_number
from dbml.registry.reading import first_row
from dbml.registry.versions import Version, vector_table

_ROWS = "dbml_vectors"
_STAGED = "temp.main.dbml_staged_vectors"
_BATCH_BYTES = 8 << 20
_MOST_LISTED = 0.5  # of the cells: then all are read
_COLUMNS = "position, cell, radius, label, vector"
_COMMENTS = {
    "id": "The value of the column that id_col names",
    "position": "Number of the row in the order of the training, from 0; added rows come after it",
    "cell": "Number of its cell; the rows lie in this order",
    "radius": "Distance to the centre of the cell",
    "label": "The target, or the number of the class; 0 without a target",
    "vector": "The numbers that the row became, in the order of the terms of the model",
}


def write_vectors(con: duckdb.DuckDBPyConnection, of: Version, vectors: Vectors, ids: str | None) -> None:
    """Make the table of a version. Runs in the caller's transaction.

    Parameters
    ----------
    ids : str or None
        Qualified name of a table ``(position, id)`` with the id of each row.

    Raises
    ------
    RegistryError
        A table of this name is there already.
    """
    table = vector_table(of)
    id_column = "" if ids is None else f"id {_type_of_ids(con, ids)}, "
    with vectors.reading() as reading:
        pieces = reading.pieces()
        first = next(pieces)
        kind = "FLOAT" if first.vectors.dtype == np.float32 else "DOUBLE"
        columns = f"position BIGINT, cell INTEGER, radius DOUBLE, label DOUBLE, vector {kind}[{first.vectors.shape[1]}]"
        taken = RegistryError(f"{of} was not saved: a table of yours has the name {table}; rename it")
        with duck.turned("CatalogException", taken):
            con.execute(f"CREATE TABLE {table} ({id_column}{columns})")
        _insert(con, table, first, ids)
        for piece in pieces:
            _insert(con, table, piece, ids)
    if not isinstance(vectors, ResidentRows):
        _sort(con, table)
    con.execute(f"COMMENT ON TABLE {table} IS 'Rows that version {of.version} of model {of.model_id} searches'")
    for column, text in _COMMENTS.items():
        if column != "id" or ids is not None:
            con.execute(f"COMMENT ON COLUMN {table}.{column} IS {string(text)}")


def _type_of_ids(con: duckdb.DuckDBPyConnection, ids: str) -> str:
    return str(con.sql(f"SELECT id FROM {ids}").types[0])


def _sort(con: duckdb.DuckDBPyConnection, table: str) -> None:
    """Bring rows that came in several orders into that of their cells."""
    con.execute(f"CREATE TEMP TABLE {_STAGED} AS FROM {table}")
    con.execute(f"DELETE FROM {table}")
    con.execute(f"INSERT INTO {table} FROM {_STAGED} ORDER BY cell, radius, position")
    con.execute(f"DROP TABLE {_STAGED}")


def _insert(con: duckdb.DuckDBPyConnection, table: str, rows: Rows, ids: str | None) -> None:
    n, d = rows.vectors.shape
    size = max(2_048, 4 * _BATCH_BYTES // (8 * d))
    for start in range(0, n, size):
        part = rows.part(start, min(start + size, n))
        flat = pa.array(part.vectors.reshape(-1))
        arrays = [pa.array(array) for array in (part.position, part.cell, part.radius, part.label)]
        arrays.append(pa.FixedSizeListArray.from_arrays(flat, d))
        con.register(_ROWS, pa.table(arrays, names=_COLUMNS.split(", ")))
        try:
            if ids is None:
                con.execute(f"INSERT INTO {table} ({_COLUMNS}) SELECT {_COLUMNS} FROM {_ROWS}")
            else:
                con.execute(
                    f"INSERT INTO {table} (id, {_COLUMNS}) SELECT i.id, v.* FROM {_ROWS} v JOIN {ids} i "
                    "USING (position) ORDER BY v.cell, v.radius, v.position"
                )
        finally:
            con.unregister(_ROWS)


def append_vectors(con: duckdb.DuckDBPyConnection, of: Version, rows: Rows, ids: str | None) -> None:
    """Add rows to the table of a version. Runs in the caller's transaction."""
    _insert(con, vector_table(of), rows, ids)


class TableRows:
    """Rows in the table of a version, read cell by cell; any thread may search them.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        Rows are read on a cursor of it; in its own open transaction, on itself.
    of : Version
        The version.
    d : int
        Length of the vectors.
    dtype : str
        Their type.
    n_cells : int
        Number of cells.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, of: Version, d: int, dtype: str, n_cells: int) -> None:
        self._con, self.of, self.d, self.dtype, self.n_cells = con, of, d, np.dtype(dtype), n_cells
        self._lock = threading.Lock()
        self._known: tuple[Any, CellSizes] | None = None
        self._resident: tuple[Any, ResidentRows] | None = None
        self._handed_out = 0

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """Return a context in which the rows stay as they are: a transaction."""
        with self._cursor() as (con, own):
            with self._lock:  # of threads that come to it at the same time one copies
                reading = self._reading(con, own)
            yield reading
            if isinstance(reading, _TableReading):
                with self._lock:
                    self._handed_out += reading.handed_out

    def _reading(self, con: duckdb.DuckDBPyConnection, own: bool) -> ResidentRows | _TableReading:
        state = self._state(con) if own else None
        if state is not None and self._resident is not None and self._resident[0] == state:
            return self._resident[1]
        reading = _TableReading(self, con, self._sizes(con, state))
        if state is None or not self._is_worth_keeping(int(reading.sizes.counts.sum())):
            return reading
        held = ResidentRows(_copied(reading), self.n_cells)
        self._resident = state, held
        return held

    def check(self) -> None:
        """Read all rows.

        Raises
        ------
        RegistryError
            Some are missing.
        """
        with self.reading() as reading:
            for _ in reading.pieces():
                pass

    @contextmanager
    def _cursor(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, bool]]:
        closed = RegistryError(f"{self.of}: its rows are in the database, and the connection was closed")
        # The connection is one, and each asks it whether a transaction is open.
        with self._lock, duck.turned("ConnectionException", closed):
            own = not duck.in_transaction_between_queries(self._con)
            con = self._con.cursor() if own else self._con
        if not own:
            yield con, own
            return
        with con:
            con.execute("SET enable_progress_bar = false")
            con.execute("BEGIN TRANSACTION")
            yield con, own

    def _state(self, con: duckdb.DuckDBPyConnection) -> Any:
        """Return what changes when rows are added."""
        return change_number(), self._fetch(con, "count(*)")[0]

    def _fetch(self, con: duckdb.DuckDBPyConnection, what: str) -> tuple[Any, ...]:
        gone = f"{self.of}: its rows (table {vector_table(self.of)}) are missing: it was dropped, or is damaged"
        with duck.turned("CatalogException", RegistryError(gone)):
            row = first_row(con.execute(f"SELECT {what} FROM {vector_table(self.of)}"))
        assert row is not None
        return row

    def _sizes(self, con: duckdb.DuckDBPyConnection, state: Any) -> CellSizes:
        known = self._known
        if state is not None and known is not None and known[0] == state:
            return known[1]
        self._fetch(con, "count(*)")
        found = con.sql(
            "SELECT cell, count(*) AS n, min(radius) AS low, max(radius) AS high, max(position) AS last "
            f"FROM {vector_table(self.of)} GROUP BY cell"
        ).to_arrow_table()
        cell, n, last = (numbers_of(found[name]) for name in ("cell", "n", "last"))
        self._check_sizes(cell, int(n.sum()), int(last.max(initial=-1)))
        sizes = CellSizes(np.zeros(self.n_cells, np.int64), np.full(self.n_cells, np.inf), np.zeros(self.n_cells))
        sizes.counts[cell], sizes.low[cell], sizes.high[cell] = (
            numbers_of(found[name]) for name in ("n", "low", "high")
        )
        self._known = state, sizes
        return sizes

    def _check_sizes(self, cell: NDArray[np.intp], n_rows: int, last: int) -> None:
        """Raise `RegistryError` where rows are missing, told twice, or in no cell: who searches would not see it."""
        if n_rows == 0:
            problem = "its rows are missing"
        elif n_rows <= last:
            problem = f"{last + 1 - n_rows:,} of its {last + 1:,} rows are missing"
        elif n_rows > last + 1:
            problem = "rows have the same position"
        elif (cell < 0).any() or (cell >= self.n_cells).any():
            problem = "rows lie in cells that it does not have"
        else:
            return
        raise RegistryError(
            f"{self.of} is damaged: {problem} in table {vector_table(self.of)}; restore the database from a backup, or "
            "train again"
        )

    def _is_worth_keeping(self, n_rows: int) -> bool:
        """Whether all rows should stay in memory: they are small beside the limit, and were read about once by now."""
        size = n_rows * (self.d * self.dtype.itemsize + 28)
        return size <= memory_budget().kept // 2 and self._handed_out >= n_rows

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles hold the rows in memory."""
        with self.reading() as reading:
            return ResidentRows, (_copied(reading), self.n_cells)


class _TableReading:
    """The rows of one transaction."""

    def __init__(self, table: TableRows, con: duckdb.DuckDBPyConnection, sizes: CellSizes) -> None:
        self._table, self._con, self.sizes, self.handed_out = table, con, sizes, 0

    def pieces(self, cells: NDArray[np.intp] | None = None) -> Iterator[Rows]:
        """Yield the rows of some cells, or of all."""
        table = self._table
        where = ""
        if cells is not None and len(cells) < _MOST_LISTED * table.n_cells:
            if not len(cells):
                return
            where = f" WHERE cell IN ({', '.join(map(str, cells.tolist()))})"
        size = max(2_048, _BATCH_BYTES // (table.d * table.dtype.itemsize))
        reader = self._con.sql(f"SELECT {_COLUMNS} FROM {vector_table(table.of)}{where}").to_arrow_reader(size)
        for batch in reader:
            self.handed_out += batch.num_rows
            yield _rows_of(batch, table.d).in_order()


def _rows_of(batch: pa.RecordBatch, d: int) -> Rows:
    position, cell, radius, label, vector = batch.columns
    vectors = numbers_of(vector.flatten()).reshape(-1, d)
    return Rows(vectors, *map(numbers_of, (position, cell, radius, label)))


def _copied(reading: Any) -> Rows:
    """Return all rows in memory, in the order of cells, filled where they stay."""
    n, into = int(reading.sizes.counts.sum()), None
    done = 0
    for piece in reading.pieces():
        arrays = piece.vectors, piece.position, piece.cell, piece.radius, piece.label
        if into is None:
            into = [np.empty((n, *array.shape[1:]), array.dtype) for array in arrays]
        for whole, array in zip(into, arrays, strict=True):
            whole[done : done + piece.n_rows] = array
        done += piece.n_rows
    assert into is not None
    return Rows(*into).in_order()
