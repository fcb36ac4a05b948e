"""What a command prints: tables for people, JSON for scripts."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import click

_PIPED_WIDTH = 120
_PROBABILITIES = re.compile(r"STRUCT\(\"?label\"? .*, \"?prob\"? DOUBLE\)\[\]$", re.DOTALL)
_POINTER = re.compile(r"\n\nLINE |\nline \d+, column \d+:\n")
_DISTANCES = re.compile(r"STRUCT\(\"?CENTROID_ID\"? INTEGER, \"?DISTANCE\"? DOUBLE\)\[\]", re.IGNORECASE)


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line; the pointer into the statement, DuckDB's or ours, is left out.

    Before it the notes of an error of a script: where it came from.
    """
    message = _POINTER.split(str(error), maxsplit=1)[0]
    words = " ".join(message.split()) or type(error).__name__
    return ": ".join([*getattr(error, "__notes__", ()), words])


def plain(value: Any) -> Any:
    """Return a value from the database as one that JSON can hold: dates and decimals as text and numbers."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return float(value) if type(value).__name__ == "Decimal" else str(value)


def echo_next(name: str, database: Path) -> None:
    """Print what to run after a model was made, quoted for the shell."""
    click.echo(f"next: dbml predict {quote(name)} DATA --db {quote(str(database))}")
    click.echo(f"      dbml show {quote(name)} --db {quote(str(database))}")


def echo_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False))


def echo_csv(relation: Any) -> None:
    """Print the rows of a relation as DuckDB's CSV, by way of a temporary file (reopening stdout would truncate it)."""
    with tempfile.TemporaryDirectory(prefix="dbml-") as folder:
        path = Path(folder) / "rows.csv"
        relation.write_csv(str(path))
        with path.open(encoding="utf-8", newline="") as rows:
            shutil.copyfileobj(rows, sys.stdout)


def for_csv(relation: Any) -> Any:
    """Return rows as other programs read them in CSV: of a list of probabilities, a column for each class; of a list of
    distances, the smallest one."""
    from dbml_sql.expressions import identifier
    from dbml_sql.groups import DISTANCE

    columns: list[str] = []
    for name, type in zip(relation.columns, relation.types, strict=True):
        column = identifier(name)
        labels = None
        if _PROBABILITIES.match(str(type)):
            texts = f"list_transform({column}, lambda dbml_e: CAST(dbml_e.label AS VARCHAR))"
            labels = relation.filter(f"{column} IS NOT NULL").limit(1).project(texts).fetchall()
        if _DISTANCES.match(str(type)):
            columns.append(f"{column}[1].DISTANCE AS {DISTANCE}")
            continue
        if not labels:
            columns.append(column)
            continue
        start = name.removesuffix("s")
        for number, label in enumerate(labels[0][0], 1):
            columns.append(f"{column}[{number}].prob AS {identifier(f'{start}_{label}')}")
    return relation.project(", ".join(columns))


def records(relation: Any) -> list[dict[str, Any]]:
    """Return the rows of a relation as dictionaries."""
    columns = relation.columns
    return [dict(zip(columns, row, strict=True)) for row in relation.fetchall()]


def shown(value: Any) -> str:
    """Return a value as a person reads it in a cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, list | tuple):
        return ", ".join(shown(item) for item in value)
    return str(value)


def echo_table(columns: Sequence[str] | None, rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Print rows as a table that fits the terminal, without a header if `columns` is None; a title stands apart."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    rows = list(rows)
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        header_style="bold",
        show_header=columns is not None,
    )
    for i, name in enumerate(columns or [""] * max(map(len, rows), default=0)):
        numbers = all(isinstance(row[i], int | float) and not isinstance(row[i], bool) for row in rows)
        table.add_column(name, justify="right" if numbers and rows else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(shown, row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _PIPED_WIDTH)
    if title:
        console.print(f"\n{title}", markup=False)
    console.print(table)
