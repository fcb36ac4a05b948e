"""`dbml train`: a model from a file, a table or a query."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from dbml.cli.database import db_option, file_reader, is_query, json_option, made, source, with_options

if TYPE_CHECKING:
    from dbml.choice import Choice


_TOO_GOOD = 0.9999


def parse_option(text: str) -> tuple[str, Any]:
    """Return name and value of ``name=value``; the value is read as JSON where it is JSON, else as text."""
    name, sign, value = text.partition("=")
    if not sign or not re.fullmatch(r"\w+", name):
        raise click.BadParameter(f"must be name=value, got {text!r}", param_hint="--option")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def default_database(data: str) -> Path:
    """Return where a model of DATA is kept when --db is not given: beside the file."""
    if file_reader(data) is None or any(sign in data for sign in "*?[") or "://" in data:
        raise click.UsageError("a table, a query or several files: say where the model is kept, with --db FILE")
    return Path(data).with_suffix("").with_suffix(".duckdb")


@click.command(short_help="Train a model on a file, a table or a query.")
@click.argument("data")
@with_options(
    click.option("--target", "-y", metavar="COLUMN", help="The column to predict; models without a label have none."),
    click.option(
        "--model-type", default="auto", show_default=True, help="linear_reg, logistic_reg, an estimator's name, …"
    ),
    click.option("--name", metavar="MODEL", help="Name of the model  [default: that of the target or model type]."),
    click.option("--exclude", "-x", multiple=True, metavar="COLUMN", help="Leave a column out (may be repeated)."),
    click.option("--include", "-i", multiple=True, metavar="COLUMN", help="Keep a column that would be left out."),
    click.option("--text", multiple=True, metavar="COLUMN", help="Read the words of a column (may be repeated)."),
    click.option(
        "--option", "-o", multiple=True, metavar="NAME=VALUE", help="An option of the model (may be repeated)."
    ),
    db_option,
    json_option,
)
def train(
    data: str,
    target: str | None,
    model_type: str,
    name: str | None,
    exclude: tuple[str, ...],
    include: tuple[str, ...],
    text: tuple[str, ...],
    option: tuple[str, ...],
    db: Path | None,
    as_json: bool,
) -> None:
    """Train a model on DATA: a CSV, Parquet or JSON file, or a table or SELECT of the database.

    The kind of model follows from the target unless you say it; columns that cannot help are left out, with the
    reason (--include keeps one). A part of the rows (20 %, at most 10,000; none of few) is held out to measure how good
    the model is; -o data_split_method=NO_SPLIT trains on all. Models without a label (kmeans, pca, standard_scaler, …)
    have no target and learn from all rows. The model is saved in --db, else in a .duckdb file beside DATA.

    \b
    Examples:
      dbml train houses.csv --target price
      dbml train flights.parquet -y late --model-type logistic_reg -o l2_reg=0.1
      dbml train flights -y late --name late --db flights.duckdb
      dbml train "SELECT * FROM flights WHERE month < 10" -y late --db flights.duckdb
      dbml train letters.csv -y spam --model-type MultinomialNB --text body
      dbml train flights.parquet --model-type kmeans -o num_clusters=5
      dbml train stays.csv -y stars --model-type matrix_factorization -o user_col=guest -o item_col=hotel
    """
    from dbml.choice import choose, create_model

    given = dict(map(parse_option, option))
    texts = _texts(text, given)
    kind = _kind(model_type, target)
    if target is None and kind is not None and kind.label_option is not None:
        target = str(given.pop(kind.label_option, kind.label_option.removesuffix("_col")))
    if kind is not None and kind.task == "none" and target is not None:
        raise click.UsageError(f"{model_type} has no label; leave out --target")
    name = name or target or model_type
    rows = None if is_query(data) else source(data)
    database = db or default_database(data)
    with made(database) as con:
        rows = rows or source(data, con)
        choice = choose(con, rows, target, exclude, (*include, *texts), _keys(kind, given))
        chosen = choice.model_type if model_type == "auto" else model_type
        # Rows held out would tell nothing of a model without a label, and its scale or its centres miss them.
        split = {} if target is None else {"data_split_method": "AUTO_SPLIT"}
        given = {"model_type": chosen, **split, **given, **({"text": texts} if texts else {})}
        if not as_json:
            _announce(choice, name, chosen, automatic=model_type == "auto")
        started = time.perf_counter()
        con.execute(create_model(name, given, choice.features, target, rows))
        seconds = time.perf_counter() - started
        _report(con, database, name, choice, seconds, as_json)


def _texts(text: tuple[str, ...], given: dict[str, Any]) -> list[str]:
    """Return the columns of --text and of the option ``text``."""
    named = given.get("text", [])
    return list(dict.fromkeys([*text, *(named if isinstance(named, list) else [str(named)])]))


def _kind(model_type: str, target: str | None) -> Any:
    """Return the estimator of a model type; None for one that follows from the target.

    Raises
    ------
    UnknownName
        No such model type.
    click.UsageError
        The model needs a target, and none is named.
    """
    from dbml.estimators.discovery import model_class

    if model_type == "auto":
        if target is None:
            raise click.UsageError(
                "say which column to predict with --target COLUMN, or which model without a label with --model-type "
                "(kmeans, pca, isolation_forest, …)"
            )
        return None
    kind = model_class(model_type)
    if target is None and kind.task != "none" and kind.label_option is None:
        raise click.UsageError(f"{model_type} predicts a column: name it with --target COLUMN")
    return kind


def _keys(kind: Any, given: dict[str, Any]) -> tuple[str, ...]:
    """Return the columns that a model of users and items reads; none for any other."""
    if kind is None or kind.encoding_style != "keys":
        return ()
    keys = kind(**{name: str(given[name]) for name in ("user_col", "item_col") if name in given})
    return keys.user_col, keys.item_col


def _announce(choice: Choice, name: str, model_type: str, automatic: bool) -> None:
    columns = f"{len(choice.features)} column{'s' * (len(choice.features) > 1)}"
    why = f", because {choice.reason}" if automatic else ""
    called = "" if name == model_type else f"{name}: "
    click.echo(f"{called}{model_type}{why}; {choice.n_rows:,} rows, {columns}", err=True)
    for column, reason in choice.excluded.items():
        hint = f" (--text {quote(column)} reads its words)" if column in choice.texts else ""
        click.echo(f"  without {column}: {reason}{hint}", err=True)


def _report(con: Any, database: Path, name: str, choice: Choice, seconds: float, as_json: bool) -> None:
    from dbml.cli.models import find
    from dbml.cli.output import echo_json, echo_next, shown

    model = find(con, name)
    if as_json:
        echo_json({**model, "database": str(database), "seconds": seconds, "excluded": choice.excluded})
        return
    measured = {key: value for key, value in (model.get("metrics") or {}).items() if value is not None}
    metrics = [f"{key} {shown(value)}" for key, value in measured.items()]
    click.echo(f"saved {name} version {model['version']} in {database} after {seconds:.1f} s")
    if metrics:
        click.echo(f"on rows it has not seen: {', '.join(metrics[:3])}")
        for i in range(3, len(metrics), 3):
            click.echo(f"                         {', '.join(metrics[i : i + 3])}")
    if max(measured.get("r2_score", 0), measured.get("roc_auc", 0)) > _TOO_GOOD:
        click.echo("too good to be true? a column may say the target in other words: --exclude leaves it out")
    echo_next(name, database)
