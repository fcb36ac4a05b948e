"""`dbml demo`: what dbml does, shown on tables that come with it or on a person's own file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from shlex import quote

from rich.markup import escape

from dbml.demo.own import own_file
from dbml.demo.stage import Stage
from dbml.demo.tour import tour


def run(rows: str | None, file: str | None, target: str | None, n_flights: int, keep: Path | None) -> None:
    """Run the demo and print it.

    Parameters
    ----------
    rows, file, target : str or None
        A person's own file: SQL that reads it, its name, the column to predict. None: the tables that come with dbml.
    n_flights : int
        Rows of the table that is made.
    keep : Path or None
        Database file to leave behind; None means a temporary one.
    """
    stage = Stage()
    with tempfile.TemporaryDirectory(prefix="dbml-demo-") as folder:
        database = keep or Path(folder) / "demo.duckdb"
        if rows is not None and file is not None and target is not None:
            own_file(stage, database, rows, file, target)
            model = target
        else:
            tour(stage, database, n_flights)
            model = "late"
        stage.heading("How long it took")
        stage.steps_table()
        _what_next(stage, keep, model, file)


def _what_next(stage: Stage, keep: Path | None, model: str, file: str | None) -> None:
    """Say what to type next, ready for a shell."""
    stage.heading("Next")
    database, model = quote(str(keep or "demo.duckdb")), quote(model)
    of_file = "" if file is None else f" {quote(file)} --target {model}"
    lines = [] if keep else [(f"dbml demo{of_file} --keep demo.duckdb", "the same, and keep the database")]
    lines += [
        (f"dbml sql {database}", "a shell on it; try: FROM ml.models;"),
        (f"dbml show {model} --db {database}", "what the model learned"),
        (f"dbml export {model} --dialect postgres --db {database}", "the model as SQL for another database"),
    ]
    if file is None:
        lines.append(("dbml demo FILE --target COLUMN", "this demo on your own Parquet or CSV"))
    else:
        lines.append((f"dbml train{of_file}", "keep the model beside your file"))
    text = "\n".join(f"[bold]{escape(command)}[/bold]\n  [dim]{escape(purpose)}[/dim]" for command, purpose in lines)
    stage.say(text)
