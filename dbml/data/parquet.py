"""Parquet files under a relation: their row groups are its partitions, read by number; footers tell all about them.

DuckDB prunes on its virtual columns ``filename`` and ``file_row_number``: one row group of 25 reads in a 28th of the
time of all. Part of a row group costs as much as the whole, so row groups are not divided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbml_sql.expressions import string

from dbml.data import duck
from dbml.data.base_table import are_scalar, is_row_by_row
from dbml.passes.plan import Partition

if TYPE_CHECKING:
    import duckdb

_SCANS = ("read_parquet", "parquet_scan")
_STAND_IN = "dbml_files"
_VIRTUAL = {"filename", "file_row_number", "file_index"}


@dataclass(frozen=True, slots=True)
class ParquetFiles:
    """The files that a query reads row by row, and the SQL around them.

    Attributes
    ----------
    scan : str
        The files as the query names them.
    before, after : str
        SQL around that place.
    files : tuple of (str, int)
        Name and first row of each file.
    partitions : tuple of Partition
        Row groups of all files.
    filters : tuple of str
        Conditions of the query, as SQL; for the plan.
    paths : str
        The files alone, as SQL.
    """

    scan: str
    before: str
    after: str
    files: tuple[tuple[str, int], ...]
    partitions: tuple[Partition, ...]
    filters: tuple[str, ...] = ()
    paths: str = ""

    def rows(self, bounds: tuple[int, int]) -> list[str]:
        """Return what stands after FROM to read rows ``low … high``, once for each file that holds some."""
        ends = [*(start for _, start in self.files[1:]), bounds[1]]
        found = []
        for (name, start), end in zip(self.files, ends, strict=True):
            low, high = max(bounds[0], start), min(bounds[1], end)
            if low < high:
                place = f"filename = {string(name)} AND file_row_number BETWEEN {low - start} AND {high - start - 1}"
                found.append(f"({self.before}(SELECT * FROM {self.scan} WHERE {place}){self.after}\n)")
        return found

    @property
    def exact(self) -> bool:
        """Whether a row's number is its position in a pass: no condition, and no order of files to rely on."""
        return not self.filters and len(self.files) == 1


def find_files(relation: duckdb.DuckDBPyRelation) -> ParquetFiles | None:
    """Return the Parquet files under a relation; None where its rows do not come one by one from such files alone."""
    try:
        return _find(relation, relation.sql_query())
    except (duck.error_class(), UnicodeError):
        return None


def _find(relation: duckdb.DuckDBPyRelation, sql: str) -> ParquetFiles | None:
    found = _split(relation, sql)
    if found is None:
        return None
    (start, end), paths, filters = found
    before, scan, after = sql[:start], sql[start:end], sql[end:]
    columns = duck.columns_of(duck.query(relation, f"SELECT * FROM {scan}"))
    if _VIRTUAL & {name.lower() for name in columns}:
        return None  # such a column may hide the virtual one
    listed = f"SELECT file_name, row_group_id, row_group_num_rows FROM parquet_metadata({paths})"
    groups = duck.fetch(relation, f"{listed} WHERE column_id = 0 AND row_group_num_rows > 0 ORDER BY 1, 2")
    files: dict[str, int] = {}
    partitions: list[Partition] = []
    position = 0
    for name, _, n_rows in groups:
        files.setdefault(name, position)
        partitions.append(Partition(len(partitions), position, n_rows))
        position += n_rows
    made = ParquetFiles(scan, before, after, tuple(files.items()), tuple(partitions), filters, paths)
    if not partitions or duck.fetch(relation, f"SELECT count(*) FROM {scan}")[0][0] != position:
        return None
    # The rewritten query must mean the same: it has to bind, to the same columns.
    bound = duck.columns_of(duck.query(relation, f"SELECT * FROM {made.rows((0, 1))[0]}"))
    if bound != duck.columns_of(relation):
        return None
    return made


def _split(relation: duckdb.DuckDBPyRelation, sql: str) -> tuple[tuple[int, int], str, tuple[str, ...]] | None:
    """Return where a query of one set of Parquet files names them, their paths as SQL, and its conditions."""
    from sqlglot import ErrorLevel, exp, parse, tokenize
    from sqlglot.errors import SqlglotError

    try:
        places = list(_scans(tokenize(sql, dialect="duckdb")))
        if len(places) != 1:
            return None
        (start, end), (low, high) = places[0]
        trees = parse(f"{sql[:start]}{_STAND_IN}{sql[end:]}", dialect="duckdb", error_level=ErrorLevel.RAISE)
    except (SqlglotError, RecursionError):
        return None
    tree = trees[0]
    if len(trees) != 1 or not isinstance(tree, exp.Select) or not is_row_by_row(tree):
        return None
    tables = list(tree.find_all(exp.Table))
    if [table.name for table in tables] != [_STAND_IN] or tables[0].args.get("sample"):
        return None
    if not are_scalar(relation, {node.name.lower() for node in tree.find_all(exp.Anonymous)}):
        return None
    where = tree.args.get("where")
    return (start, end), sql[low:high], () if where is None else (where.this.sql(dialect="duckdb"),)


def _scans(tokens: Sequence[Any]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield the bounds of each text that names Parquet files, and of the paths inside it."""
    for number, token in enumerate(tokens[1:], 1):
        path = token.token_type.name == "STRING" and token.text.lower().endswith((".parquet", ".parq"))
        if path and tokens[number - 1].text.lower() == "from":
            yield ((token.start, token.end + 1),) * 2
        if token.text.lower() in _SCANS and number + 1 < len(tokens) and tokens[number + 1].text == "(":
            depth, first_end = 0, -1
            for inner in tokens[number + 1 :]:
                depth += (inner.text in ("(", "[")) - (inner.text in (")", "]"))
                if first_end < 0 and (not depth or (depth == 1 and inner.text == ",")):
                    first_end = inner.start
                if not depth:
                    yield (token.start, inner.end + 1), (tokens[number + 1].end + 1, first_end)
                    break
