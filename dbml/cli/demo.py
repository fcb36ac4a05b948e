"""`dbml demo`: everything once, on data that comes with it or on your own file."""

from __future__ import annotations

from pathlib import Path

import click

from dbml.cli.database import source, with_options


@click.command(short_help="Everything once, on data that comes with it or on yours.")
@click.argument("file", required=False)
@with_options(
    click.option("--target", "-y", metavar="COLUMN", help="With FILE: the column to predict."),
    click.option(
        "--rows", default=1_000_000, show_default=True, type=click.IntRange(1000), help="Rows of the made table."
    ),
    click.option(
        "--keep",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Keep the database in this file  [default: a temporary one, removed at the end].",
    ),
)
def demo(file: str | None, target: str | None, rows: int, keep: Path | None) -> None:
    """Train in SQL, score in SQL, evaluate, look at the plan; then score the file with plain DuckDB.

    Without FILE: a real table that scikit-learn carries, then a million made flights with NULLs, strings and dates.

    \b
    Examples:
      dbml demo
      dbml demo --keep demo.duckdb
      dbml demo houses.csv --target price
    """
    if (file is None) != (target is None):
        raise click.UsageError("FILE and --target go together: dbml demo FILE --target COLUMN")
    if keep is not None and keep.exists():
        raise click.UsageError(f"{keep} exists: name a new file, or remove it")
    reader = None if file is None else source(file)
    from dbml.demo import run

    run(reader, file, target, rows, keep)
