"""The demo without a file of one's own: a real table, then a million flights, then plain DuckDB."""

from __future__ import annotations

from pathlib import Path

import dbml
from dbml.connection import Connection
from dbml.demo.plain_client import score_with_plain_duckdb
from dbml.demo.stage import Stage
from dbml.demo.tables import carrier_odds, load_tumours, make_flights
from dbml.passes.plan_text import aligned_text

_TRAIN_TUMOURS = """
CREATE MODEL diagnosis
  OPTIONS (model_type = 'logistic_reg', input_label_cols = ['diagnosis']) AS
SELECT * FROM tumours WHERE rowid % 4 <> 0"""
_EVALUATE_TUMOURS = "FROM ML.EVALUATE(MODEL diagnosis, (SELECT * FROM tumours WHERE rowid % 4 = 0))"
_CONFUSION = """
SELECT diagnosis, predict('diagnosis', t) AS predicted, count(*) AS tumours
FROM tumours t WHERE rowid % 4 = 0 GROUP BY ALL ORDER BY ALL"""

_LOOK = """
SELECT carrier, origin, flight_date, departure, wind, fare, late
FROM flights LIMIT 4"""
_TRAIN_FLIGHTS = """
CREATE MODEL late
  OPTIONS (model_type = 'logistic_reg', input_label_cols = ['late']) AS
SELECT * EXCLUDE (flight_id) FROM flights"""
_RISK = """
SELECT carrier, count(*) AS flights, avg(late::INTEGER) AS happened,
       avg(predict_proba('late', f)['true']) AS predicted
FROM new_flights f GROUP BY ALL ORDER BY predicted DESC"""
_EVALUATE_FLIGHTS = "FROM ML.EVALUATE(MODEL late, TABLE new_flights)"
_FEATURES = """
SELECT input, coalesce(part, '') AS part, type, kind, missing,
       dimension AS terms
FROM ML.FEATURE_INFO(MODEL late)"""
_WEIGHTS = """
SELECT w.category AS carrier,
       round(w.weight - avg(w.weight) OVER (), 2) AS learned
FROM (SELECT unnest(category_weights) AS w
      FROM ML.WEIGHTS(MODEL late) WHERE processed_input = 'carrier')
WHERE w.category IS NOT NULL ORDER BY learned"""
_PLAIN = """
SELECT origin, count(*) AS flights, avg(late::INTEGER) AS happened,
       avg(ml.predict_proba_late(
             carrier, origin, dest, flight_date, departure,
             distance, wind, full_plane, fare)['true']) AS risk
FROM new_flights GROUP BY ALL ORDER BY risk DESC LIMIT 5"""


def tour(stage: Stage, database: Path, n_rows: int) -> None:
    """Train, score and evaluate on both tables in `database`, then score it from another process."""
    con = dbml.connect(str(database))
    try:
        _tumours(stage, con)
        _flights(stage, con, n_rows)
    finally:
        con.close()
    _plain_client(stage, database)


def _tumours(stage: Stage, con: Connection) -> None:
    stage.heading("1  A real table: tumours, 30 measurements each, and what they turned out to be")
    with stage.timed("load the tumours"):
        n_rows = load_tumours(con)
        stage.say(f"{n_rows} tumours are a table now. Three of four train a model, the fourth is held back.")
    stage.run(con, "train on tumours", _TRAIN_TUMOURS)
    stage.run(con, "evaluate on those held back", _EVALUATE_TUMOURS)
    stage.run(con, "score and count in SQL", _CONFUSION)


def _flights(stage: Stage, con: Connection, n_rows: int) -> None:
    stage.heading(f"2  {n_rows:,} flights: text, dates, time stamps, booleans, DECIMAL, and NULL")
    with stage.timed("make the flights"):
        make_flights(con, n_rows)
        stage.say("Made in SQL from a known risk; a fifth as many others are kept to score.")
    stage.run(con, "look at the table", _LOOK)
    stage.say("What training will read, and how:")
    stage.show("EXPLAIN " + _TRAIN_FLIGHTS.strip())
    with stage.timed("plan the training"):
        told = con.execute("EXPLAIN " + _TRAIN_FLIGHTS.strip()).fetchall()
        stage.plan(aligned_text([(key, [text]) for key, text in told], []))
    stage.run(con, "train on the flights", _TRAIN_FLIGHTS)
    stage.say("What each column became, NULLs and rare values included:")
    stage.run(con, "show the features", _FEATURES, rows=16)
    truth = ", ".join(f"{carrier} {odds:+.2f}" for carrier, odds in carrier_odds().items())
    stage.say(f"What it learned of the carriers, as log odds. The flights were made with {truth}.")
    stage.run(con, "show the weights of the carriers", _WEIGHTS)
    stage.say("The risk of each carrier, on flights the model has not seen:")
    stage.run(con, "score in SQL, by carrier", _RISK)
    stage.run(con, "evaluate on new flights", _EVALUATE_FLIGHTS)


def _plain_client(stage: Stage, database: Path) -> None:
    stage.heading("3  The model is in the file: another process, DuckDB alone, no dbml")
    stage.show(_PLAIN)
    with stage.timed("score with plain DuckDB"):
        answer = score_with_plain_duckdb(database, _PLAIN)
        stage.table(answer["columns"], answer["rows"])
