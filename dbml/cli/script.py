"""Running the statements of a script and the dot commands of the shell, and showing what comes back."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import click

_SHOWN_ROWS = 40
_HELP = """\
  Statements end in ; and may span lines. DuckDB's SQL, and
    CREATE [OR REPLACE] MODEL m OPTIONS (model_type = '…', input_label_cols = ['…']) AS SELECT …;
    EXPLAIN CREATE MODEL …;   DROP MODEL [IF EXISTS] m;
    SELECT predict('m', t) FROM t;   FROM ML.PREDICT(MODEL m, TABLE t);   FROM ML.EVALUATE(MODEL m, TABLE t);
    FROM ML.WEIGHTS(MODEL m);   FROM ML.FEATURE_INFO(MODEL m);   FROM ML.TRAINING_INFO(MODEL m);
  .models   the models of this database        .tables   its tables
  .timer    show how long statements take      .read FILE   run the statements of a file
  .help     this                               .quit     leave (also Ctrl-D)"""

_TABLES = """
SELECT schema_name AS schema, table_name AS name, estimated_size AS rows FROM duckdb_tables()
WHERE NOT internal AND schema_name <> 'ml'
UNION ALL BY NAME
SELECT schema_name AS schema, view_name AS name FROM duckdb_views() WHERE NOT internal AND schema_name <> 'ml'
ORDER BY ALL"""


class Printer:
    """Shows the result of a statement: a box, JSON or CSV; and the time, if asked for."""

    def __init__(self, form: str, timer: bool = False) -> None:
        self.form = form
        self.timer = timer

    def run(self, con: Any, statement: str) -> None:
        """Run one statement and print its rows."""
        from dbml.cli.output import echo_csv, echo_json, records

        started = time.perf_counter()
        result = con.sql(statement)
        if result is not None:
            if self.form == "json":
                echo_json(records(result))
            elif self.form == "csv":
                echo_csv(result)
            else:
                width = shutil.get_terminal_size((120, 40)).columns
                result.show(max_width=width, max_rows=_SHOWN_ROWS)
        if self.timer:
            click.echo(f"{time.perf_counter() - started:.3f} s")


class Position:
    """Where a script is: notes on an error which statement it came from, and the line on which that starts.

    Parameters
    ----------
    file : str, default ""
        Name of the script; "": a person knows what is meant.
    """

    def __init__(self, file: str = "") -> None:
        self._file = file
        self.statement = 0
        self.line = 1

    def note(self, error: Exception) -> None:
        """Add the place to an error, of which `one_line` tells."""
        error.add_note(f"{self._file}{', ' if self._file else ''}statement {self.statement}, line {self.line}")


def run_script(con: Any, printer: Printer, text: str, position: Position | None = None) -> None:
    """Run the statements of a text one by one; the first error ends it, and says where if there is a `position`."""
    first = position.line if position is not None else 1
    for line, statement in numbered_statements(text):
        if position is not None:
            position.statement += 1
            position.line = first + line
        try:
            printer.run(con, statement)
        except Exception as error:
            if position is not None:
                position.note(error)
            raise


def numbered_statements(text: str) -> list[tuple[int, str]]:
    """Return the statements of a text with the lines, from 0, on which their first words stand.

    Without those that are empty or comments alone.
    """
    from dbml_sql.tokens import significant, split_statements

    found, line = [], 0
    for piece in split_statements(text):
        words = significant(piece)
        if any(word.text != ";" for word in words):
            found.append((line + piece.count("\n", 0, words[0].start), piece.strip()))
        line += piece.count("\n")
    return found


def statements(text: str) -> list[str]:
    """Return the statements of a text, without those that are empty or comments alone."""
    return [statement for _, statement in numbered_statements(text)]


def is_complete(text: str) -> bool:
    """Whether a text ends with a semicolon that is not inside quotes or a comment."""
    from dbml_sql.tokens import significant

    found = significant(text)
    return not found or found[-1].is_operator(";")


class Lines:
    """Puts lines together to what is run: statements, when they are complete, or a line that starts with a dot."""

    def __init__(self) -> None:
        self.pending = ""

    def take(self, line: str) -> str | None:
        """Add a line; return what is complete with it, or None."""
        if not self.pending and line.lstrip().startswith("."):
            return line
        self.pending = f"{self.pending}\n{line}" if self.pending else line
        # Statements of many lines are looked at where one may end.
        if (";" in line or self.pending == line) and is_complete(self.pending):
            text, self.pending = self.pending, ""
            return text
        return None


def run_complete(con: Any, printer: Printer, text: str, position: Position | None = None) -> bool:
    """Run what `Lines` made; return False if it was .quit."""
    if text.lstrip().startswith("."):
        return dot_command(con, printer, text)
    run_script(con, printer, text, position)
    return True


def run_input(con: Any, printer: Printer, text: str) -> None:
    """Run a text as if its lines were typed, but that the first error ends it."""
    lines, position, first = Lines(), Position(), 1
    for number, line in enumerate(text.split("\n"), 1):
        if not lines.pending:
            first = number
        complete = lines.take(line)
        position.line = first
        if complete is not None and not run_complete(con, printer, complete, position):
            return
    run_script(con, printer, lines.pending, position)


def dot_command(con: Any, printer: Printer, line: str) -> bool:
    """Run a line that starts with a dot; return False if it was .quit."""
    name, _, rest = line.strip().partition(" ")
    if name in (".quit", ".exit", ".q"):
        return False
    if name == ".help":
        click.echo(_HELP)
    elif name == ".models":
        printer.run(con, "SHOW MODELS")
    elif name == ".tables":
        printer.run(con, _TABLES)
    elif name == ".timer":
        printer.timer = not printer.timer
        click.echo(f"timer {'on' if printer.timer else 'off'}")
    elif name == ".read":
        file = rest.strip()
        run_script(con, printer, Path(file).read_text(), Position(file))
    else:
        click.echo(f"unknown command {name}; .help lists them", err=True)
    return True
