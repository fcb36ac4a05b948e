"""`dbml demo`: the tour, a file of one's own, and the table that is made."""

import contextlib
import io
import shlex
from pathlib import Path

import duckdb
import pytest

from dbml.cli import OK, USAGE_ERROR, USER_ERROR, run
from dbml.demo.tables import carrier_odds, make_flights

FLIGHTS = Path(__file__).parent.parent / "../shared/data/nyc_flights_100k.parquet"


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    """The folder after one tour, and what the tour said."""
    folder, said = tmp_path_factory.mktemp("tour"), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(said):
        assert run(["demo", "--rows", "20000", "--keep", "kept.duckdb"]) == OK
    return folder, said.getvalue()


@pytest.fixture
def toured(tour, monkeypatch):
    folder, said = tour
    monkeypatch.chdir(folder)
    return said


def test_the_tour_trains_scores_evaluates_and_says_what_is_next(toured):
    for words in ("CREATE MODEL diagnosis", "EXPLAIN CREATE MODEL late", "roc_auc", "Estrella", "no dbml", "dbml sql"):
        assert words in toured, words
    assert all(len(line) <= 100 for line in toured.splitlines())


def test_the_tour_keeps_its_database_when_asked(toured):
    with duckdb.connect("kept.duckdb", read_only=True) as plain:
        names = [name for (name,) in plain.sql("SELECT name FROM ml.models ORDER BY name").fetchall()]
        ((happened, risk),) = plain.sql("""
            SELECT avg(late::INTEGER), avg(ml.predict_proba_late(
                     carrier, origin, dest, flight_date, departure, distance, wind, full_plane, fare)['true'])
            FROM new_flights WHERE carrier = 'Estrella'""").fetchall()
    assert names == ["diagnosis", "late"]
    assert risk == pytest.approx(happened, abs=0.05)


def test_what_it_says_to_type_next_works(toured, capsys):
    commands = [line.strip() for line in toured.partition("Next")[2].splitlines() if line.strip().startswith("dbml ")]
    assert len(commands) == 4
    for command in commands[:3]:
        words = shlex.split(command)[1:]
        assert run([*words, "-c", "FROM ml.models"] if words[0] == "sql" else words) == OK, command
        assert "late" in capsys.readouterr().out


def test_a_database_that_exists_is_not_touched(toured, capsys):
    before = Path("kept.duckdb").stat().st_mtime_ns
    assert run(["demo", "--keep", "kept.duckdb"]) == USAGE_ERROR
    assert "kept.duckdb exists" in capsys.readouterr().err
    assert Path("kept.duckdb").stat().st_mtime_ns == before


def test_a_file_of_ones_own_with_an_odd_name(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as con:
        con.execute("""
            COPY (SELECT i AS id, 40 + i % 97 AS "living area", ['north', 'o''hare'][1 + i % 2] AS "group",
                         3000.0 * (40 + i % 97) + 9000 * (i % 2) AS "the price"
                  FROM range(3000) t(i)) TO 'my houses (2).csv'""")
    assert run(["demo", "my houses (2).csv", "--target", "the price"]) == OK
    shown = capsys.readouterr().out
    assert "linear_reg, because the price is a number" in " ".join(shown.split())
    assert "numbers the rows" in " ".join(shown.split())
    assert "r2_score" in shown
    assert list(tmp_path.iterdir()) == [tmp_path / "my houses (2).csv"]


@pytest.mark.parametrize(("target", "metric"), [("arr_delay", "r2_score"), ("late", "roc_auc")])
def test_the_flights_of_new_york(target, metric, capsys, tmp_path, monkeypatch):
    if not FLIGHTS.exists():
        pytest.skip("the table of New York's flights is not beside the project")
    flights = FLIGHTS.resolve()
    monkeypatch.chdir(tmp_path)
    if target == "late":
        with duckdb.connect() as con:
            con.execute(f"""
                COPY (SELECT month, carrier, origin, dest, distance, hour, dep_delay, arr_delay > 15 AS late
                      FROM '{flights}' WHERE arr_delay IS NOT NULL) TO 'flights.csv'""")
    assert run(["demo", "flights.csv" if target == "late" else str(flights), "--target", target]) == OK
    shown = " ".join(capsys.readouterr().out.split())
    assert metric in shown
    assert ("one value in every row" in shown) == (target == "arr_delay")


def test_demo_of_a_file_needs_its_target(capsys):
    assert run(["demo", "houses.csv"]) == USAGE_ERROR
    assert run(["demo", "absent.csv", "--target", "y"]) in (USER_ERROR, USAGE_ERROR)
    assert "absent.csv" in capsys.readouterr().err.splitlines()[-1]


def test_the_flights_are_the_same_every_time_and_hold_what_they_say():
    with duckdb.connect() as one, duckdb.connect(config={"threads": 1}) as other:
        for con in (one, other):
            make_flights(con, 30_000)
        query = "SELECT bit_xor(hash(flights)), count(*) FROM flights"
        assert one.sql(query).fetchall() == other.sql(query).fetchall()
        ((missing, wind),) = one.sql(
            "SELECT avg((carrier IS NULL)::INTEGER), avg((wind IS NULL)::INTEGER) FROM flights"
        ).fetchall()
        types = {str(kind) for kind in one.table("flights").types}
        rates = dict(
            one.sql("SELECT carrier, avg(late::INTEGER) FROM flights WHERE carrier NOT NULL GROUP BY 1").fetchall()
        )
    assert 0.01 < missing < 0.03
    assert 0.03 < wind < 0.07
    assert {"VARCHAR", "DATE", "TIMESTAMP", "BOOLEAN", "DECIMAL(7,2)", "DOUBLE"} <= types
    odds = carrier_odds()
    assert sorted(rates, key=rates.get) == sorted(odds, key=odds.get)
