"""Times as they come to a model that was trained on TIMESTAMPTZ: texts, and times without a zone."""

import datetime

import duckdb
import pyarrow as pa
import pytest

import dbml
from dbml.errors import UnsupportedColumn

MOMENT = "2024-01-01 05:00:00+00"
TEXTS = (f"'{MOMENT}'", "'2024-01-01 10:30:00+05:30'", "'2024-01-01T05:00:00Z'")
LOCAL = ("'2024-01-01 10:30:00'", "TIMESTAMP '2024-01-01 10:30:00'", "TIMESTAMP_NS '2024-01-01 10:30:00'")


@pytest.fixture(params=["linear_reg", "boosted_tree_regressor"])
def con(request):
    with dbml.connect() as con:
        con.execute(
            "CREATE TABLE t AS SELECT TIMESTAMPTZ '2024-01-01 00:00:00+00' + (hash(i) % 999)::INT * INTERVAL 1 HOUR AS "
            "ts, hour(timezone('UTC', ts)) * 10.0 AS y FROM range(2000) r(i)"
        )
        options = f"model_type = '{request.param}', input_label_cols = ['y']"
        con.execute(f"CREATE MODEL m OPTIONS ({options}) AS FROM t").execute("SET TimeZone = 'Asia/Kolkata'")
        yield con


@pytest.fixture
def expected(con):
    found = con.sql(f"SELECT predict('m', TIMESTAMPTZ '{MOMENT}')").fetchall()[0][0]
    assert found == pytest.approx(50, abs=5)
    return pytest.approx(found)


def predicted(con, rows):
    return [value for (value,) in con.sql(f"SELECT predicted_y FROM ML.PREDICT(MODEL m, ({rows}))").fetchall()]


@pytest.mark.parametrize("value", TEXTS)
def test_a_text_with_an_offset_is_the_moment_it_names(con, expected, value):
    assert con.sql(f"SELECT predict('m', {value})").fetchall() == [(expected,)]
    assert con.sql(f"SELECT predict('m', r) FROM (SELECT {value} AS ts) r").fetchall() == [(expected,)]
    assert predicted(con, f"SELECT {value} AS ts") == [expected]
    model = con.load_model("m")
    assert list(model.predict(pa.table({"ts": [value.strip("'")]}))) == [expected]
    assert model.predict(con.sql(f"SELECT {value} AS ts")).fetchall() == [(value.strip("'"), expected)]


@pytest.mark.parametrize("value", LOCAL)
def test_a_time_without_a_zone_is_one_of_the_session(con, expected, value):
    assert con.sql(f"SELECT predict('m', {value})").fetchall() == [(expected,)]
    assert predicted(con, f"SELECT {value} AS ts") == [expected]
    assert con.load_model("m").predict(con.sql(f"SELECT {value} AS ts")).fetchall()[0][1] == expected


def test_in_arrays_it_is_one_of_utc(con, expected):
    for value in (datetime.datetime(2024, 1, 1, 5), "2024-01-01 05:00:00"):
        assert list(con.load_model("m").predict(pa.table({"ts": [value]}))) == [expected]


@pytest.mark.parametrize("query", ["FROM ML.PREDICT(MODEL m, (SELECT 5 AS ts))", "SELECT predict('m', 5)"])
def test_a_number_is_still_no_time(con, query):
    message = r"needs a date in column 'ts' \(TIMESTAMP WITH TIME ZONE in training\); the rows"
    with pytest.raises((duckdb.Error, UnsupportedColumn), match=message):
        con.execute(query).fetchall()
