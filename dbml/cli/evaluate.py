"""`dbml evaluate`: how good a model is on rows of a file, a table or a query."""

from __future__ import annotations

from pathlib import Path

import click

from dbml.cli.database import db_option, existing_database, json_option, opened, source, with_options


@click.command(short_help="Tell how good a model is on some rows.")
@click.argument("model")
@click.argument("data", required=False)
@with_options(db_option, json_option)
def evaluate(model: str, data: str | None, db: Path | None, as_json: bool) -> None:
    """Print the metrics of MODEL[@version] on DATA: a file, or a table or SELECT of the database, with the label.

    Without DATA those that were measured in training, on the rows held out. Groups (k-means) need no label, and of
    principal components the share of the variance is told, without DATA.

    \b
    Examples:
      dbml evaluate price more.csv
      dbml evaluate late@champion "SELECT * FROM flights WHERE month = 12" --db flights.duckdb
      dbml evaluate late
    """
    from dbml.cli.models import find, reference
    from dbml.cli.output import echo_json, echo_table, records

    with opened(existing_database(db), read_only=True) as con:
        rows = "" if data is None else f", (SELECT * FROM {source(data, con)})"
        find(con, model)
        (metrics,) = records(con.sql(f"FROM ML.EVALUATE(MODEL {reference(model)}{rows})"))
    if as_json:
        echo_json(metrics)
        return
    echo_table(("metric", "value"), [(name, "not defined" if m is None else m) for name, m in metrics.items()])
