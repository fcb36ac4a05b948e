"""The demo on a person's own file: the same steps, with the choices explained."""

from __future__ import annotations

import re
from pathlib import Path

from dbml_sql.expressions import identifier

import dbml
from dbml.choice import Choice, choose, create_model
from dbml.connection import Connection
from dbml.demo.plain_client import score_with_plain_duckdb
from dbml.demo.stage import Stage


def own_file(stage: Stage, database: Path, rows: str, name: str, target: str) -> None:
    """Train on four fifths of a file, evaluate and score the fifth, score it with plain DuckDB.

    Parameters
    ----------
    stage : Stage
        Where it is shown.
    database : Path
        Database that is made.
    rows : str
        SQL that reads the file: what may follow FROM.
    name : str
        Name of the file; the table is called after it.
    target : str
        Column to predict.
    """
    table = re.sub(r"\W+", "_", Path(name).stem).strip("_") or "rows"
    con = dbml.connect(str(database))
    try:
        stage.heading(f"1  {name}")
        with stage.timed("load the file"):
            con.execute(f"CREATE TABLE {identifier(table)} AS FROM {rows}")
        with stage.timed("choose model and columns"):
            choice = choose(con, identifier(table), target)
            _explain(stage, choice, target)
        _train(stage, con, choice, table, target)
    finally:
        con.close()
    stage.heading("3  The model is in the file: another process, DuckDB alone, no dbml")
    query = f"SELECT {identifier('predicted_' + target)}, count(*) AS n\nFROM ml.predict_{target}({table})"
    query += "\nGROUP BY ALL ORDER BY n DESC LIMIT 5"
    stage.show(query)
    with stage.timed("score with plain DuckDB"):
        answer = score_with_plain_duckdb(database, query)
        stage.table(answer["columns"], answer["rows"])


def _explain(stage: Stage, choice: Choice, target: str) -> None:
    stage.say(f"{choice.n_rows:,} rows. {choice.model_type}, because {choice.reason}.")
    stage.say(
        f"{len(choice.features)} columns to learn {target} from; left out:"
        if choice.excluded
        else "All columns are used."
    )
    if choice.excluded:
        stage.table(["column", "why it is left out"], list(choice.excluded.items()))


def _train(stage: Stage, con: Connection, choice: Choice, table: str, target: str) -> None:
    quoted, label = identifier(table), identifier(target)
    training = f"(SELECT * FROM {quoted} WHERE {label} IS NOT NULL AND hash(rowid) % 5 <> 0)"
    held_back = f"(SELECT * FROM {quoted} WHERE {label} IS NOT NULL AND hash(rowid) % 5 = 0)"
    statement = create_model(target, {"model_type": choice.model_type}, choice.features, target, training)
    stage.heading("2  Train on four of five rows, look at the fifth")
    stage.run(con, "train", statement)
    stage.run(con, "evaluate on rows held back", f"FROM ML.EVALUATE(MODEL {identifier(target)}, {held_back})")
    stage.run(
        con,
        "show the largest weights",
        f"FROM ML.WEIGHTS(MODEL {identifier(target)}) ORDER BY abs(weight) DESC LIMIT 8",
    )
