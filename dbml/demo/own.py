"""The demo on a person's own file: the same steps, with the choices explained."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from dbml_sql.expressions import identifier

import dbml
from dbml.choice import Choice, choose, create_model
from dbml.connection import Connection
from dbml.demo.plain_client import score_with_plain_duckdb
from dbml.demo.stage import Stage

_BANDS = 5
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Names:
    """The names of one demo as SQL spells them: the table that trains, the one held back, target and model.

    Parameters
    ----------
    file : str
        Name of the file; the tables are called after it.
    target : str
        Column to predict; the model is called after it.
    quote : callable
        Spells a name.
    """

    def __init__(self, file: str, target: str, quote: Callable[[str], str]) -> None:
        table = re.sub(r"\W+", "_", Path(file).stem).strip("_") or "rows"
        self.quote = quote
        self.train = quote(table)
        self.held_back = quote(f"{table}_held_back")
        self.target = self.model = quote(target)
        self.predicted = quote(f"predicted_{target}")
        self.macro = quote(f"predict_{target}")


def spelling(con: Connection) -> Callable[[str], str]:
    """Return a function that quotes the names that need it: keywords, and what is no plain word."""
    found = con.sql("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'").fetchall()
    keywords = {word for (word,) in found}

    def quote(name: str) -> str:
        plain = _WORD.fullmatch(name) is not None and name.lower() not in keywords
        return name if plain else identifier(name)

    return quote


def own_file(stage: Stage, database: Path, rows: str, file: str, target: str) -> None:
    """Train on four fifths of a file, evaluate and score the fifth, score it with plain DuckDB.

    Parameters
    ----------
    stage : Stage
        Where it is shown.
    database : Path
        Database that is made.
    rows : str
        SQL that reads the file: what may follow FROM.
    file : str
        Name of the file.
    target : str
        Column to predict.
    """
    con = dbml.connect(str(database))
    try:
        names = Names(file, target, spelling(con))
        stage.heading(f"1  {Path(file).name}: what is there, and what can be learned")
        choice = _load(stage, con, names, rows, target)
        _train(stage, con, names, choice, target)
    finally:
        con.close()
    stage.heading("3  The model is in the file: another process, DuckDB alone, no dbml")
    if choice.model_type == "linear_reg":
        measure = f"avg(abs({names.predicted} - {names.target})) AS mean_absolute_error"
    else:
        measure = f"avg(({names.predicted} = {names.target})::INTEGER) AS accuracy"
    query = (
        f"SELECT count(*) AS n, {measure}\nFROM ml.{names.macro}({names.held_back})\nWHERE {names.target} IS NOT NULL"
    )
    stage.show(query)
    with stage.timed("score with plain DuckDB"):
        answer = score_with_plain_duckdb(database, query)
        stage.table(answer["columns"], answer["rows"])


def _load(stage: Stage, con: Connection, names: Names, rows: str, target: str) -> Choice:
    with stage.timed("load the file"):
        con.execute(f"CREATE TEMP TABLE whole_file AS FROM {rows}")
        choice = choose(con, "whole_file", target)
        for table, side in ((names.train, "<>"), (names.held_back, "=")):
            con.execute(f"CREATE TABLE {table} AS FROM whole_file WHERE hash(rowid) % 5 {side} 0")
        con.execute("DROP TABLE whole_file")
        stage.say(f"{choice.n_rows:,} rows; one in five is held back.")
    stage.say(f"The model: {choice.model_type}, because {choice.reason}.")
    if choice.excluded:
        stage.say(f"It learns from {len(choice.features)} columns, without:")
        stage.table(["column", "why"], list(choice.excluded.items()))
    else:
        stage.say(f"It learns from all {len(choice.features)} columns.")
    return choice


def _train(stage: Stage, con: Connection, names: Names, choice: Choice, target: str) -> None:
    stage.heading("2  Train on four rows of five, look at the fifth")
    options = {"model_type": choice.model_type}
    stage.run(con, "train", create_model(target, options, choice.features, target, names.train, names.quote))
    stage.run(con, "evaluate", f"FROM ML.EVALUATE(MODEL {names.model}, TABLE {names.held_back})")
    predict = f"predict('{target.replace(chr(39), chr(39) * 2)}', t)"
    if choice.model_type == "linear_reg":
        stage.say("From the lowest predictions to the highest, what happened:")
        query = (
            f"SELECT band, count(*) AS n, avg({names.target}) AS happened, avg(predicted) AS predicted\n"
            f"FROM (SELECT *, ntile({_BANDS}) OVER (ORDER BY predicted) AS band\n"
            f"      FROM (SELECT {names.target}, {predict} AS predicted FROM {names.held_back} t))\n"
            f"WHERE {names.target} IS NOT NULL GROUP BY band ORDER BY band"
        )
    else:
        stage.say("What happened, and what was predicted:")
        query = (
            f"SELECT {names.target}, {predict} AS predicted, count(*) AS n\nFROM {names.held_back} t "
            f"WHERE {names.target} IS NOT NULL GROUP BY ALL ORDER BY n DESC"
        )
    stage.run(con, "score in SQL", query, rows=8)
