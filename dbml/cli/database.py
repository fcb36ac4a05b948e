"""Which database a command works on, and what a person means by DATA."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dbml.connection import Connection

_READERS = {
    ".parquet": "read_parquet",
    ".csv": "read_csv",
    ".tsv": "read_csv",
    ".txt": "read_csv",
    ".json": "read_json",
}
_READERS |= {".pq": "read_parquet", ".ndjson": "read_json", ".jsonl": "read_json"}
_COMPRESSED = (".gz", ".zst")

db_option = click.option(
    "--db",
    metavar="FILE",
    envvar="DBML_DB",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Database file [default: $DBML_DB, else the only .duckdb file in this folder].",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for a script to read.")


def with_options(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Return a decorator that adds several options, in the order they are shown."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def existing_database(db: Path | None) -> Path:
    """Return the database of `--db`, else the only .duckdb file in this folder."""
    if db is not None:
        if not db.exists():
            raise click.BadParameter(f"no database {str(db)!r}", param_hint="--db")
        if file_reader(str(db)) is not None and _is_no_database(db):
            raise click.BadParameter(f"{str(db)!r} is no database, but a file of rows", param_hint="--db")
        return db
    found = sorted(Path.cwd().glob("*.duckdb"))
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found) or "none here"
    raise click.UsageError(f"say which database with --db FILE or $DBML_DB (.duckdb files: {names})")


def _is_no_database(db: Path) -> bool:
    """Whether a file lacks DuckDB's mark, which stands after 8 bytes of checksum; an empty one becomes a database."""
    with db.open("rb") as file:
        head = file.read(12)
    return bool(head) and head[8:] != b"DUCK"


@contextmanager
def opened(db: Path | str, read_only: bool = False) -> Iterator[Connection]:
    """Open a database that understands models, and close it at the end."""
    import dbml

    con = dbml.connect(str(db), read_only=read_only)
    try:
        yield con
    finally:
        con.close()


@contextmanager
def made(db: Path) -> Iterator[Connection]:
    """Open a database to write into; one that was not there before is removed again if the work fails."""
    new = not db.exists()
    try:
        with opened(db) as con:
            yield con
    except BaseException:
        if new:
            db.unlink(missing_ok=True)
            Path(f"{db}.wal").unlink(missing_ok=True)
        raise


def is_query(data: str) -> bool:
    """Whether DATA is a SELECT and not the name of a table or a file."""
    from dbml_sql.query_text import looks_like_query

    return looks_like_query(data) and not Path(data).is_file()


def file_reader(data: str) -> str | None:
    """Return the SQL that reads DATA as a file (a pattern like ``part-*.parquet`` too), or None if it names no file."""
    from dbml_sql.expressions import string

    path = Path(data)
    suffix = path.with_suffix("").suffix if path.suffix in _COMPRESSED else path.suffix
    function = _READERS.get(suffix.lower())
    exists = path.is_file() or any(sign in data for sign in "*?[") or "://" in data
    if exists and function:
        return f"{function}({string(data)})"
    if path.is_file() and suffix != ".duckdb":
        return f"read_csv({string(data)})"
    return None


def source(data: str, con: Connection | None = None) -> str:
    """Return DATA as what may follow FROM: a file, a query in brackets, or a table of the database.

    A query may call models of the database that is open, if one is.
    """
    from dbml_sql.expressions import identifier

    if is_query(data):
        return f"({_one_query(data, con)}\n)"
    reader = file_reader(data)
    if reader is not None:
        return reader
    path = Path(data)
    if path.suffix == ".duckdb" and path.exists():
        raise click.UsageError(f"{data} is a database: name a table or a query in it, and --db {data}")
    if path.suffix.lower() in (*_READERS, *_COMPRESSED) or "/" in data:
        raise click.UsageError(f"no such file: {data}")
    return ".".join(identifier(part) for part in data.split("."))


def _one_query(data: str, con: Connection | None) -> str:
    """Return a query without a ``;`` at its end; anything else would run in the database of the person."""
    from dbml.data.duck import private_connection, what_is_no_query

    with private_connection() as reader:
        came = what_is_no_query(reader, data if con is None else con.rewritten(data))
    if came:
        raise click.UsageError(f"DATA, as SQL, must be one query that only reads (SELECT, FROM, WITH, …); got {came}")
    return data.strip().rstrip("; \n\t")
