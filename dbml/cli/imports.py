"""`dbml import`: a model that another library trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dbml.cli.database import db_option, existing_database, json_option, made, with_options
from dbml.cli.train import parse_option

_NAMED = ("classes", "features", "categories", "iterations")


@click.command("import", short_help="Import a model file of LightGBM or XGBoost.")
@click.argument("model")
@click.argument("file", type=click.Path(path_type=Path))
@with_options(
    click.option("--target", "-y", required=True, metavar="COLUMN", help="The column that the model predicts."),
    click.option(
        "--option",
        "-o",
        multiple=True,
        metavar="NAME=VALUE",
        help="classes, features, categories or iterations, as JSON (may be repeated).",
    ),
    db_option,
    json_option,
)
def import_(model: str, file: Path, target: str, option: tuple[str, ...], db: Path | None, as_json: bool) -> None:
    """Save the model in FILE, which LightGBM or XGBoost trained, as MODEL: it then scores in SQL like any other.

    FILE is LightGBM's text file (save_model) or JSON dump (dump_model), or XGBoost's .json or .ubj (save_model).
    Neither library is needed, and nothing in the file is executed.

    \b
    Examples:
      dbml import churn model.txt --target churned --db customers.duckdb
      dbml import churn model.json -y churned -o classes='["no", "yes"]'
      dbml import churn model.json -y churned -o features='{"f0": "age", "f1": "plan"}' -o iterations=50
    """
    given = dict(map(parse_option, option))
    unknown = [name for name in given if name not in _NAMED]
    if unknown:
        raise click.BadParameter(f"no option {unknown[0]!r} (options: {', '.join(_NAMED)})", param_hint="--option")
    database = db or existing_database(None)
    with made(database) as con:
        con.import_model(model, file, target=target, **given)
        _report(con, database, model, as_json)


def _report(con: Any, database: Path, name: str, as_json: bool) -> None:
    from dbml.cli.models import find
    from dbml.cli.output import echo_json, echo_next

    model = find(con, name)
    if as_json:
        echo_json({**model, "database": str(database)})
        return
    columns = f"{len(model['features'])} column{'s' * (len(model['features']) > 1)}"
    click.echo(f"saved {name} version {model['version']} in {database}: {model['type']} of {columns}")
    echo_next(name, database)
