"""`dbml sql`: a shell over a database that understands models."""

from __future__ import annotations

import sys

import click

from dbml.cli.database import json_option, opened, with_options
from dbml.cli.script import Position, Printer, run_input, run_script, statements


@click.command(short_help="A SQL shell that understands models.")
@click.argument("db", default=":memory:")
@with_options(
    click.option("--command", "-c", multiple=True, metavar="SQL", help="Run this and leave (may be repeated)."),
    click.option("--csv", "as_csv", is_flag=True, help="Print CSV."),
    json_option,
    click.option("--read-only", is_flag=True, help="Open the database for reading only."),
)
def sql(db: str, command: tuple[str, ...], as_csv: bool, as_json: bool, read_only: bool) -> None:
    """Open a SQL shell on DB (in memory if none is named); run -c or standard input where given.

    \b
    Examples:
      dbml sql flights.duckdb
      dbml sql flights.duckdb -c "FROM ml.models"
      dbml sql flights.duckdb --json -c "FROM ML.EVALUATE(MODEL late)"
      dbml sql flights.duckdb < train.sql
    """
    printer = Printer("json" if as_json else "csv" if as_csv else "box")
    with opened(db, read_only=read_only) as con:
        if command:
            for text in command:
                run_script(con, printer, text, Position() if len(statements(text)) > 1 else None)
        elif not sys.stdin.isatty():
            run_input(con, printer, sys.stdin.read())
        else:
            from dbml.cli.prompt import Prompt

            click.echo(f"dbml on {db}: statements end in ;  .help for help, .quit to leave")
            Prompt(con, printer).loop()
