"""`dbml predict`: score a file, a table or a query."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dbml.cli.database import db_option, existing_database, json_option, opened, source, with_options

_SHOWN_ROWS = 20


@click.command(short_help="Score a file, a table or a query.")
@click.argument("model")
@click.argument("data")
@with_options(
    click.option(
        "--output",
        "-o",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write .parquet or .csv  [default: a table on a terminal, CSV in a pipe].",
    ),
    db_option,
    json_option,
)
def predict(model: str, data: str, output: Path | None, db: Path | None, as_json: bool) -> None:
    """Score DATA with MODEL[@version]: all columns of DATA, then the predicted ones.

    Without a label these are the group of a row, the outputs of a transformer, an anomaly score, or its neighbours in
    the training, a row each.
    DATA is a CSV, Parquet or JSON file, or a table or SELECT of the database. Columns are matched by name.
    In CSV the probabilities of a classifier are a column for each class.

    \b
    Examples:
      dbml predict price new.csv
      dbml predict price new.parquet -o scored.parquet
      dbml predict late@champion "SELECT * FROM flights WHERE month = 12" --db flights.duckdb > december.csv
    """
    from dbml_sql.statements import parse_reference
    from dbml_sql.without_label import row_function

    from dbml.cli.models import find, reference
    from dbml.cli.output import echo_csv, echo_json, for_csv, records
    from dbml.registry.resolver import RegistryResolver

    if output is not None and output.suffix not in (".parquet", ".csv"):
        raise click.BadParameter(f"must end in .parquet or .csv, got {output.name!r}", param_hint="--output")
    with opened(existing_database(db), read_only=True) as con:
        rows = source(data, con)
        find(con, model)
        known = RegistryResolver(con.duckdb).resolve(parse_reference(model))
        scored = con.sql(f"FROM ML.{row_function(known)}(MODEL {reference(model)}, (SELECT * FROM {rows}))")
        if output is not None and output.suffix == ".parquet":
            scored.write_parquet(str(output), overwrite=True)
        elif output is not None:
            for_csv(scored).write_csv(str(output), overwrite=True)
        elif as_json:
            echo_json(records(scored))
        elif sys.stdout.isatty():
            scored.show(max_rows=_SHOWN_ROWS)
        else:
            echo_csv(for_csv(scored))
    if output is not None:
        click.echo(f"wrote {output}", err=True)
