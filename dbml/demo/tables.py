"""The tables of the demo: a real one that scikit-learn carries, and flights made in SQL, the same on every machine."""

from __future__ import annotations

from typing import Any

from dbml.errors import MissingExtra

# Risk of a late flight, as log odds: the truth that a model is asked to find again.
_CARRIERS = {"Aurora": -0.7, "Borealis": -0.2, "Condor": 0.2, "Delphin": 0.4, "Estrella": 0.9}
_AIRPORTS = "BCN BER CDG CPH DUB FCO FRA HEL LHR LIS MAD MUC OSL PRG VIE WAW".split()
_CROWDED = {"CDG": 0.5, "FRA": 0.4, "LHR": 0.7, "LIS": 0.3}


def load_tumours(con: Any) -> int:
    """Make table ``tumours`` from scikit-learn's breast cancer table; return its rows.

    569 tumours, 30 measurements of cell nuclei each, diagnosis as text (Wolberg, Street and Mangasarian 1995).
    """
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError as error:
        raise MissingExtra("the demo's real table comes with scikit-learn: pip install 'dbml[demo]'") from error
    import pyarrow as pa

    bunch = load_breast_cancer()
    columns = {name.replace(" ", "_"): bunch.data[:, i] for i, name in enumerate(bunch.feature_names)}
    columns["diagnosis"] = bunch.target_names[bunch.target].astype(object)
    con.register("tumours_read", pa.table(columns))
    con.execute("CREATE TABLE tumours AS FROM tumours_read")
    con.unregister("tumours_read")
    return len(bunch.data)


def carrier_odds() -> dict[str, float]:
    """Return the log odds of a late flight by carrier that the flights are made with, less their mean."""
    mean = sum(_CARRIERS.values()) / len(_CARRIERS)
    return {carrier: round(odds - mean, 2) for carrier, odds in _CARRIERS.items()}


def flights_query(first: int, n_rows: int) -> str:
    """Return the SELECT that makes `n_rows` flights with numbers from `first`.

    Numbers, text, a date, a time stamp, a boolean and a DECIMAL; carrier and wind are NULL now and then. ``late`` is
    drawn from a known risk: carriers, crowded airports, the hour (delays add up over the day), wind, December.
    Every value comes from a hash of the flight's number: the same rows on every machine, for any number of threads.
    """
    carriers = ", ".join(f"'{name}'" for name in _CARRIERS)
    airports = ", ".join(f"'{code}'" for code in _AIRPORTS)
    carrier_odds = " ".join(f"WHEN '{name}' THEN {odds}e0" for name, odds in _CARRIERS.items())
    crowd_odds = " ".join(f"WHEN '{code}' THEN {odds}e0" for code, odds in _CROWDED.items())
    return f"""
WITH drawn AS (
  SELECT i,
         [{carriers}][1 + {_below(1, len(_CARRIERS))}] AS flown_by,
         [{airports}][1 + {_below(2, len(_AIRPORTS))}] AS origin,
         [{airports}][1 + {_below(3, len(_AIRPORTS))}] AS dest,
         DATE '2025-01-01' + {_below(4, 365)} AS flight_date,
         5 + {_below(5, 18)} AS dep_hour,
         {_below(6, 60)} AS dep_minute,
         round(-12e0 * ln(1 - {_uniform(7)}), 1) AS wind,
         200 + {_below(8, 2600)} AS distance,
         {_uniform(9)} < 0.3 AS full_plane,
         (40 + {_uniform(10)} * 360)::DECIMAL(7, 2) AS fare
  FROM range({first}, {first + n_rows}) AS numbers(i)
), risk AS (
  SELECT *, -2.2 + CASE flown_by {carrier_odds} END + CASE origin {crowd_odds} ELSE 0e0 END + 0.09 * (dep_hour - 5)
            + 0.03 * wind + 0.35 * full_plane::INTEGER
            + CASE WHEN month(flight_date) = 12 THEN 0.8 ELSE 0 END AS log_odds
  FROM drawn
)
SELECT i AS flight_id,
       CASE WHEN {_uniform(11)} >= 0.02 THEN flown_by END AS carrier,
       origin, dest, flight_date,
       flight_date + to_hours(dep_hour) + to_minutes(dep_minute) AS departure,
       distance,
       CASE WHEN {_uniform(12)} >= 0.05 THEN wind END AS wind,
       full_plane, fare,
       {_uniform(13)} < 1 / (1 + exp(-log_odds)) AS late
FROM risk"""


def _uniform(stream: int) -> str:
    """Return SQL for a number in [0, 1) that depends on row `i` and the stream only."""
    return f"((hash(i * 64 + {stream}) >> 11)::DOUBLE / 9007199254740992e0)"


def _below(stream: int, n: int) -> str:
    """Return SQL for a whole number in [0, n) that depends on row `i` and the stream only."""
    return f"(hash(i * 64 + {stream}) % {n})::INTEGER"


def make_flights(con: Any, n_rows: int) -> None:
    """Make tables ``flights`` (`n_rows`) and ``new_flights`` (a fifth of that, other flights of the same year)."""
    con.execute(f"CREATE TABLE flights AS {flights_query(0, n_rows)}")
    con.execute(f"CREATE TABLE new_flights AS {flights_query(n_rows, n_rows // 5)}")
