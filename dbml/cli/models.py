"""`dbml models`, `dbml show`, `dbml export`: what the registry of a database holds."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import Any

import click

from dbml.cli.database import db_option, existing_database, json_option, opened, with_options

_LISTED = ("name", "version", "aliases", "type", "target", "n_rows", "created_at")
_SHOWN_WEIGHTS = 20
_SHOWN_ROWS = 60
_SHOWN_QUERY = 500

# Hyperparameters of models that are an expression with one value only.
_WITH_A_FORM = {"covariance_type": "diag", "kernel": "linear"}


def listed(con: Any) -> list[dict[str, Any]]:
    """Return the rows of `ml.models`, parameters read as what they are."""
    from dbml.cli.output import records

    return [{**model, "params": json.loads(model["params"])} for model in records(con.models())]


def find(con: Any, name: str) -> dict[str, Any]:
    """Return the row of `ml.models` of a model (its current version)."""
    from dbml.errors import UnknownName, listing, nearest

    found = listed(con)
    bare = name.partition("@")[0]
    for model in found:
        if model["name"].casefold() == bare.casefold():
            return model
    names = [model["name"] for model in found]
    raise UnknownName(f"no model {bare!r}{nearest(bare, names)} (models: {listing(names) or 'none yet'})")


def reference(name: str) -> str:
    """Return MODEL[@version] as a statement writes it, quoted."""
    from dbml_sql.expressions import identifier

    bare, sign, version = name.partition("@")
    return identifier(bare) + sign + (version if version.isdigit() or not version else identifier(version))


@click.command(short_help="List the models of a database.")
@with_options(db_option, json_option)
def models(db: Path | None, as_json: bool) -> None:
    """List the models of a database.

    \b
    Examples:
      dbml models --db flights.duckdb
      dbml models --json | jq '.[].name'
    """
    from dbml.cli.output import echo_json, echo_table

    database = existing_database(db)
    with opened(database, read_only=True) as con:
        found = listed(con)
    if as_json:
        echo_json(found)
        return
    if not found:
        click.echo(f"no models in {database} yet; next: dbml train DATA --target COLUMN --db {quote(str(database))}")
        return
    rows = []
    for model in found:
        model["created_at"] = f"{model['created_at']:%Y-%m-%d %H:%M}"
        rows.append([model[column] for column in _LISTED])
    echo_table(_LISTED, rows)


@click.command(short_help="Show what a model learned, from what, how well.")
@click.argument("model")
@with_options(
    click.option("--tree", type=click.IntRange(0), metavar="N", help="Show tree N (0, 1, …) of a model of trees."),
    click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw the tree into an SVG file."),
    click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="Draw the tree into a PNG file."),
    db_option,
    json_option,
)
def show(model: str, tree: int | None, svg: Path | None, png: Path | None, db: Path | None, as_json: bool) -> None:
    """Show MODEL[@version]: what it learned, from what, how well, and what the training read and why.

    \b
    Examples:
      dbml show late
      dbml show late@3 --db flights.duckdb
      dbml show late@champion --json
      dbml show late --tree 0                      a tree as text
      dbml show late --tree 0 --svg tree.svg       or as a picture
    """
    if tree is not None or svg is not None or png is not None:
        _show_tree(model, tree or 0, svg, png, db, as_json)
        return
    from dbml_sql.forms import LinearForm

    from dbml.cli.learned import told, what_was_learned
    from dbml.cli.output import echo_json, echo_table, records

    with opened(existing_database(db), read_only=True) as con:
        known = find(con, model)
        loaded = con.load_model(model)
        features = records(con.sql(f"FROM ML.FEATURE_INFO(MODEL {reference(model)})"))
        has_weights = loaded.schema_.target is not None and isinstance(loaded.form(), LinearForm)
        weights = _weights(con, model) if has_weights else []
        learned = what_was_learned(con, reference(model), loaded)
    # scikit-learn marks a hyperparameter that it will take away with this value: nothing was chosen there.
    params = {key: value for key, value in loaded.get_params().items() if value != "deprecated"}
    found = {"name": known["name"], "type": type(loaded).__name__, "params": params}
    if "@" not in model:
        found |= {
            key: known[key] for key in ("version", "target", "n_rows", "metrics", "aliases", "created_at", "query")
        }
    if as_json:
        echo_json({**found, "plan": loaded.explain().to_json(), "features": features, "weights": weights, **learned})
        return
    echo_table(None, [(key, _said(key, value)) for key, value in found.items() if value not in (None, [], {})])
    click.echo(f"\n{loaded.explain()}")
    if features:
        echo_table(list(features[0]), [list(row.values()) for row in features], title="features")
    if weights:
        rows = _by_term(weights)
        title = f"weights, the largest {_SHOWN_WEIGHTS} of {len(rows)}" if len(rows) > _SHOWN_WEIGHTS else "weights"
        echo_table(list(rows[0]), [list(row.values()) for row in rows[:_SHOWN_WEIGHTS]], title=title)
    for title, about in learned.items():
        shown = about[:_SHOWN_ROWS]
        cut = f", the first {_SHOWN_ROWS} of {len(about)} rows" if len(about) > _SHOWN_ROWS else ""
        echo_table(list(shown[0]), [list(map(told, row.values())) for row in shown], title=f"{title}{cut}")


def _show_tree(name: str, tree: int, svg: Path | None, png: Path | None, db: Path | None, as_json: bool) -> None:
    from dbml.cli import tree_picture
    from dbml.cli.output import echo_json
    from dbml.cli.tree_view import print_tree, view_tree

    with opened(existing_database(db), read_only=True) as con:
        find(con, name)
        view = view_tree(con.load_model(name), name, tree)
    if svg is not None:
        svg.write_text(tree_picture.svg(view), encoding="utf-8")
    if png is not None:
        tree_picture.write_png(view, png)
    for path in (svg, png):
        if path is not None:
            click.echo(f"tree {tree} of {name} drawn into {path}")
    if as_json:
        echo_json({"title": view.title, "meaning": view.meaning, "root": view.root.to_json()})
    elif svg is None and png is None:
        print_tree(view)


def _said(key: str, value: Any) -> Any:
    """Return a value of a model as a person reads it; a long query is cut."""
    from dbml.cli.output import shown

    if key == "metrics":
        return ", ".join(f"{name} {shown(item)}" for name, item in value.items() if item is not None)
    if isinstance(value, dict):
        return ", ".join(
            f"{name} = {json.dumps(item, default=str)}" for name, item in value.items() if item is not None
        )
    if key == "created_at":
        return f"{value:%Y-%m-%d %H:%M}"
    if key == "query" and len(value) > _SHOWN_QUERY:
        return f"{value[:_SHOWN_QUERY]} … (whole with --json)"
    return value


def _weights(con: Any, model: str) -> list[dict[str, Any]]:
    from dbml.cli.output import records

    return records(con.sql(f"FROM ML.WEIGHTS(MODEL {reference(model)})"))


def _by_term(weights: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a term, categories written out, the largest weights first and the intercepts last."""
    rows = []
    for row in weights:
        label = {key: row[key] for key in ("class_label",) if key in row}
        for item in row["category_weights"] or [None]:
            category = "" if item is None else f" = {item['category'] if item['category'] is not None else 'NULL'}"
            weight = row["weight"] if item is None else item["weight"]
            rows.append({"term": row["processed_input"] + category, **label, "weight": weight})
    return sorted(rows, key=lambda row: (row["term"] == "__INTERCEPT__", -abs(row["weight"])))


@click.command(short_help="Print a model as a query for another database.")
@click.argument("model")
@with_options(
    click.option(
        "--dialect", default="duckdb", show_default=True, help="postgres, snowflake, bigquery, mysql, sqlite, tsql, …"
    ),
    click.option(
        "--table", default="input_table", show_default=True, help="The table to score there, schema.table too."
    ),
    db_option,
)
def export(model: str, dialect: str, table: str, db: Path | None) -> None:
    """Print MODEL[@version] as a query that scores a table of another database.

    Encoding, missing values and weights are written out: the query needs nothing but the table. A model without a label
    is written too: the group of a row (centroid_id), or the columns that it makes. Other databases do not replace a
    column: there the scaled "wind" is called "transformed_wind", and a category that an encoder must not meet is NULL.

    \b
    Examples:
      dbml export late --dialect postgres --table flights
      dbml export late@2 --dialect bigquery --db flights.duckdb > late.sql
    """
    from dbml_sql.errors import SqlError
    from dbml_sql.export import export as as_query
    from dbml_sql.groups import GROUP_LINKS

    from dbml.errors import StatementError
    from dbml.registry.macros import outputs_of

    with opened(existing_database(db), read_only=True) as con:
        find(con, model)
        loaded = con.load_model(model)
    form, schema = loaded.query_form(), loaded.schema_
    transforms = schema.target is None and hasattr(loaded, "transform")
    # The trees of anomalies are no outputs of theirs: the score is a power of what they add up to.
    if form is None or not (schema.target or transforms or form.link in GROUP_LINKS):
        kind, params = type(loaded).__name__, loaded.get_params()
        hints = [f"{key} = {value!r} in training, or " for key, value in _WITH_A_FORM.items() if key in params]
        raise StatementError(
            f"model {model!r} ({kind}) cannot be written as a query: what it computes is no expression over the "
            f"columns. Hint: {''.join(hints)}dbml predict {quote(model)} DATA, which scores rows here"
        )
    names = outputs_of(loaded) if transforms else ()
    try:
        click.echo(as_query(form, schema.encoding, schema.target, dialect, table, names))
    except SqlError as error:
        raise StatementError(str(error)) from error
