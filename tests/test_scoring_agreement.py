"""SQL = UDF = Python, to 1e-9: every model on every real table, NULLs and unseen categories included."""

import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dbml

DATA = Path(__file__).parent.parent.parent / "shared" / "data"

# table: query of the training rows, label, model types
TABLES = {
    "nyc_flights_100k": (
        "SELECT month, dep_time, dep_delay, carrier, flight, tailnum, origin, dest, air_time, distance, hour, "
        "time_hour, arr_delay FROM {} WHERE arr_delay IS NOT NULL LIMIT 20000",
        "arr_delay",
        ("linear_reg",),
    ),
    "adult": ("SELECT * EXCLUDE (split) FROM {} LIMIT 20000", "income", ("logistic_reg",)),
    "bank_marketing": ("SELECT * FROM {} LIMIT 20000", "y", ("logistic_reg",)),
    "givemecredit": ("SELECT * EXCLUDE (row_id) FROM {} LIMIT 20000", "SeriousDlqin2yrs", ("logistic_reg",)),
    "mammography": ("SELECT * FROM {}", "class", ("logistic_reg", "LinearSVC")),
    "dry_bean": ("SELECT * FROM {}", "Class", ("logistic_reg",)),
    "diamonds": ("SELECT * FROM {} LIMIT 20000", "price", ("linear_reg", "lasso")),
    "bike_hour": ("SELECT * EXCLUDE (casual, registered, instant) FROM {}", "cnt", ("linear_reg", "PoissonRegressor")),
    "insurance_datacar": ("SELECT * EXCLUDE (rownames) FROM {} LIMIT 20000", "clm", ("logistic_reg",)),
    "elec2": ("SELECT * FROM {} LIMIT 20000", "class", ("logistic_reg",)),
    "titanic": ("SELECT * EXCLUDE (alive) FROM {}", "survived", ("logistic_reg",)),
    "taxis_6k": ("SELECT * EXCLUDE (total) FROM {}", "fare", ("linear_reg",)),
    "gaia_100k": ("SELECT * FROM {} LIMIT 20000", "bp_rp", ("linear_reg",)),
    # 188 of its 1,502 columns, some of each kind: to bind queries over all of them takes half a minute.
    "grants_wide": (
        "SELECT COLUMNS(lambda name: NOT regexp_matches(name, '_[0-9]+[1-9]$|rownames')) FROM {} LIMIT 2000",
        "class",
        ("logistic_reg",),
    ),
    "movielens_small_ratings": ("SELECT * FROM {} LIMIT 20000", "rating", ("linear_reg",)),
}
CASES = [(table, model_type) for table, (_, _, types) in TABLES.items() for model_type in types]


def quote(name):
    return '"' + name.replace('"', '""') + '"'


def nasty(con, table):
    """Return rows of a table and some with NULL, NaN, infinities and unseen categories in place of each value."""
    columns = dict(zip(con.table(table).columns, map(str, con.table(table).types), strict=True))
    strange = []
    for name, type in columns.items():
        column = quote(name)
        if type in ("DOUBLE", "FLOAT"):
            values = f"['NaN'::{type}, 'inf'::{type}, '-inf'::{type}, NULL, {column}]"
        elif type == "VARCHAR":
            values = f"['never seen', '', NULL, {column}, {column} || ' ']"
        else:
            values = f"[NULL, {column}, {column}, {column}, {column}]"
        strange.append(f"({values})[1 + (hash({quote(name)}, rn, {len(strange)}) % 5)::INTEGER] AS {column}")
    numbered = f"SELECT *, row_number() OVER () AS rn FROM {quote(table)} LIMIT 600"
    con.execute(
        f"CREATE OR REPLACE TABLE nasty AS (SELECT {', '.join(strange)} FROM ({numbered})) "
        f"UNION ALL (FROM {quote(table)} LIMIT 400)"
    )


def scored_by(con, select):
    return con.sql(f"SELECT {select} AS p FROM nasty f").to_arrow_table().column("p").combine_chunks()


def assert_same(name, found, expected):
    expected = np.asarray(expected)
    if expected.dtype.kind in "fiu" and np.asarray(found).dtype.kind in "fiu":
        np.testing.assert_allclose(
            np.asarray(found, float), expected.astype(float), rtol=1e-9, atol=1e-12, err_msg=name
        )
    else:
        assert [str(a) for a in found] == [str(b) for b in expected], name


@pytest.mark.skipif(not DATA.is_dir(), reason="the real tables are not in ../shared/data")
@pytest.mark.filterwarnings("ignore::dbml.errors.ConvergenceWarning")
@pytest.mark.parametrize(("table", "model_type"), CASES)
def test_three_ways_agree_on_real_tables(table, model_type):
    query, label, _ = TABLES[table]
    path = DATA / f"{table}.parquet"
    with dbml.connect() as con:
        con.execute(f"CREATE TABLE {quote(table)} AS {query.format(f'read_parquet({str(path)!r})')}")
        options = f"model_type = '{model_type}', input_label_cols = ['{label}']"
        con.execute(f"CREATE MODEL m OPTIONS ({options}) AS FROM {quote(table)}")
        nasty(con, table)
        check_three_ways(con, con.load_model("m"), label)


def check_three_ways(con, model, label):
    rows = con.table("nasty")
    arrow = rows.to_arrow_table()
    python = model.predict(arrow)
    columns = ", ".join(f"f.{quote(column)}" for column in model.schema_.encoding.columns)
    assert_same("native", scored_by(con, f"ml.predict_m({columns})").to_pylist(), python)
    relation = model.predict(rows).to_arrow_table()
    assert relation.column_names == [*rows.columns, f"predicted_{label}"]
    assert_same("relation", relation.column(f"predicted_{label}").to_pylist(), python)
    assert_same(
        "table macro", con.sql("FROM ml.predict_m(nasty)").to_arrow_table()[f"predicted_{label}"].to_pylist(), python
    )
    text = model.schema_.target.classes is not None and isinstance(model.schema_.target.classes[0], str)
    udf = "predict_label" if text else "predict"
    assert_same("udf of a row", scored_by(con.duckdb, f"{udf}('m', f)").to_pylist(), python)
    assert_same("udf of columns", scored_by(con.duckdb, f"{udf}('m', {columns})").to_pylist(), python)
    if not hasattr(model, "predict_proba"):
        return
    python = model.predict_proba(arrow)
    names = [str(name) for name in model.schema_.target.classes]
    for way, score in ((con, f"ml.predict_proba_m({columns})"), (con.duckdb, "predict_proba('m', f)")):
        found = [dict(row) for row in scored_by(way, score).to_pylist()]
        for k, name in enumerate(names):
            assert_same(score, [row[name] for row in found], python[:, k])
        assert_same(score, scored_by(way, f"{score}[{names[-1]!r}]").to_pylist(), python[:, -1])
    listed = model.predict_proba(rows).to_arrow_table()[f"predicted_{label}_probs"].to_pylist()
    assert [[e["label"] for e in row] for row in listed] == [list(model.schema_.target.classes)] * len(listed)
    np.testing.assert_allclose([[e["prob"] for e in row] for row in listed], python, rtol=1e-9, atol=1e-15)


values = st.one_of(st.none(), st.floats(width=64), st.floats(-10, 10))
texts = st.one_of(st.none(), st.sampled_from(["a", "b", "c d", "", "it's", "é"]), st.text(max_size=3))


@pytest.fixture(scope="module")
def trained():
    con = dbml.connect()
    con.execute(
        """CREATE TABLE t AS SELECT CASE WHEN i % 7 > 0 THEN i / 10.0 END AS "x 1",
        1e8 + (i * 7919 % 101)::DOUBLE AS "select",
        ['a', 'b', 'c d', NULL, 'it''s'][1 + i % 5] AS "g.""h", i % 3 = 0 AS yes, ['lo', 'mid', 'hi'][1 + i % 3] AS z
        FROM range(500) r(i)"""
    )
    con.execute(
        "CREATE MODEL two OPTIONS (model_type='logistic_reg', input_label_cols=['yes']) AS SELECT * EXCLUDE z FROM t"
    )
    con.execute(
        "CREATE MODEL three OPTIONS (model_type='logistic_reg', input_label_cols=['z']) AS SELECT * EXCLUDE yes FROM t"
    )
    con.execute("CREATE MODEL number OPTIONS (model_type='linear_reg', input_label_cols=['x 1']) AS SELECT * FROM t")
    yield con
    con.close()


@settings(max_examples=30)
@given(rows=st.lists(st.tuples(values, values, texts), min_size=1, max_size=20))
def test_three_ways_agree_on_any_values(trained, rows):
    x, s, g = zip(*rows, strict=True)
    flags = [True] * len(rows)
    table = pa.table(
        {
            'g."h': pa.array(g, pa.string()),
            "x 1": pa.array(x, pa.float64()),
            "SELECT": pa.array(s, pa.float64()),
            "yes": flags,
            "z": ["lo"] * len(rows),
        }
    )
    trained.register("given_rows", table)
    trained.execute("CREATE OR REPLACE TABLE nasty AS FROM given_rows")
    trained.unregister("given_rows")
    for name, proba in (("number", False), ("two", True), ("three", True)):
        model = trained.load_model(name)
        columns = ", ".join(f"f.{quote(column)}" for column in model.schema_.encoding.columns)
        if not proba:
            python = model.predict(table)
            assert_same("native", scored_by(trained, f"ml.predict_{name}({columns})").to_pylist(), python)
            assert_same("udf", scored_by(trained.duckdb, f"predict('{name}', f)").to_pylist(), python)
            continue
        python = model.predict_proba(table)
        native = scored_by(trained, f"ml.predict_proba_{name}({columns})").to_pylist()
        udf = scored_by(trained.duckdb, f"predict_proba('{name}', f)").to_pylist()
        for k, label in enumerate(model.schema_.target.classes):
            key = str(label).lower()
            assert_same("native", [dict(row)[key] for row in native], python[:, k])
            assert_same("udf", [dict(row)[key] for row in udf], python[:, k])


PLAIN = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("dbml", "dbml_sql", "dbml_kernels", "numba", "sklearn"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import duckdb
con = duckdb.connect(sys.argv[1], read_only=True)
print(con.sql("SELECT sum(p) FROM (SELECT ml.predict_late(x, g) AS p FROM t)").fetchall()[0][0])
print(con.sql("SELECT sum(predicted_y) FROM ml.predict_late(t)").fetchall()[0][0])
print(con.sql("SELECT version FROM ml.models").fetchall()[0][0])
"""


def test_a_plain_client_that_never_heard_of_dbml_scores(database):
    with dbml.connect(database) as con:
        con.execute(
            "CREATE TABLE t AS SELECT i::DOUBLE AS x, (i % 3)::VARCHAR AS g, 3 * i + i % 3 AS y FROM range(300) r(i)"
        )
        con.execute("CREATE MODEL late OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS FROM t")
        expected = con.sql("SELECT sum(predict('late', t)) FROM t").fetchall()[0][0]
    done = subprocess.run([sys.executable, "-c", PLAIN, database], capture_output=True, text=True, check=True)
    scalar, table, version = done.stdout.split()
    assert float(scalar) == pytest.approx(expected, rel=1e-12)
    assert float(table) == pytest.approx(expected, rel=1e-12)
    assert version == "1"
    with duckdb.connect(database) as con:
        assert con.execute("SELECT count(*) FROM ml.models").fetchall() == [(1,)]
