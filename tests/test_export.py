"""Queries for other databases: run where one is at hand (SQLite; DuckDB reads PostgreSQL's), parsed elsewhere."""

import datetime
import math
import sqlite3

import duckdb
import numpy as np
import pytest
import sqlglot
from dbml_sql.errors import SqlError
from dbml_sql.export import export
from dbml_sql.features import Encoding, Feature
from dbml_sql.forms import LinearForm, QuadraticForm
from dbml_sql.score import form_scores

DIALECTS = ("postgres", "snowflake", "bigquery", "sqlite", "mysql", "tsql")


class Label:
    def __init__(self, name, type_, classes=None):
        self.name, self.type, self.classes = name, type_, classes


NUMBERS = (
    Feature("a b", "DOUBLE", "number", fill=(1.5,), flag=True),
    Feature("select", "BIGINT", "number", fill=(-3.0,)),
    Feature('c"q', "BOOLEAN", "number", fill=(0.25,), flag=True),
)
LEVELS = tuple(f"l{i}" for i in range(40))
CATEGORIES = (
    Feature("k", "VARCHAR", "category", levels=("it's", "b"), null_level=True, other_level=True),
    Feature("many", "VARCHAR", "category", levels=LEVELS),
    Feature("i", "INTEGER", "category", levels=("1", "-2"), other_level=True),
)
DATES = (
    Feature("d", "TIMESTAMP", "number", part="epoch", fill=(19000.0,), flag=True),
    *(Feature("d", "TIMESTAMP", "category", part=part, levels=levels, null_level=True) for part, levels in (
        ("year", ("2023", "2024")), ("month", ("1", "2", "12")), ("weekday", ("0", "4", "6")), ("hour", ("0", "23")),
    )),
)  # fmt: skip
ENCODING = Encoding((*NUMBERS, *CATEGORIES, *DATES))
ROWS = [
    (0.5, 7, True, "it's", "l3", 1, datetime.datetime(2024, 2, 29, 23, 30)),
    (None, None, None, None, None, None, None),
    (-2.0, 0, False, "unseen", "unseen", -2, datetime.datetime(2023, 12, 31)),
    (1e6, -(10**6), True, "b", "l39", 5, datetime.datetime(2024, 1, 6, 0, 0, 1)),
]


def form_of(link, outputs=1):
    rng = np.random.default_rng(0)
    coef = rng.normal(size=(outputs, ENCODING.n_terms)) * 0.3
    coef[:, :3] *= 1e-3
    return LinearForm(tuple(map(tuple, coef.tolist())), tuple(rng.normal(size=outputs).tolist()), link)


def squares():
    linear, n_dense = form_of("softmax", 3), ENCODING.n_dense
    rng = np.random.default_rng(1)
    square, origin = -rng.random((3, n_dense)) * 1e-6, rng.normal(size=(3, n_dense))
    both = (tuple(map(tuple, matrix.tolist())) for matrix in (square, origin))
    return QuadraticForm(linear.coef, linear.intercept, *both, "softmax")


MODELS = {
    "identity": (form_of("identity"), Label("y", "DOUBLE")),
    "log": (form_of("log"), Label("y", "DOUBLE")),
    "logistic": (form_of("logistic"), Label("the y", "BOOLEAN", (False, True))),
    "margin": (form_of("margin"), Label("y", "VARCHAR", ("no", "it's"))),
    "softmax": (form_of("softmax", 3), Label("y", "VARCHAR", ("a", "b", "c"))),
    "squares": (squares(), Label("y", "VARCHAR", ("a", "b", "c"))),
    "one_vs_rest": (form_of("one_vs_rest", 3), Label("y", "INTEGER", (1, 2, 3))),
}


@pytest.fixture
def con():
    connection = duckdb.connect()
    connection.execute(
        'CREATE TABLE "my ""table" (id INTEGER, "a b" DOUBLE, "select" BIGINT, "c""q" BOOLEAN, k VARCHAR, many VARCHAR,'
        " i INTEGER, d TIMESTAMP)"
    )
    connection.executemany('INSERT INTO "my ""table" VALUES (?, ?, ?, ?, ?, ?, ?, ?)', numbered())
    yield connection
    connection.close()


def numbered():
    return [(n, *row) for n, row in enumerate(ROWS)]


def expected(con, link):
    """Score in DuckDB's own way: predicted value, then probabilities."""
    form, label = MODELS[link]
    scores = form_scores(form, ENCODING, label)
    columns = [scores.prediction(), *(scores.probabilities() or ())]
    return con.execute(f'SELECT {", ".join(columns)} FROM "my ""table" ORDER BY id').fetchall()


def assert_same(found, names, wanted):
    first = next(i for i, name in enumerate(names) if name.startswith("predicted_"))
    for row, want in zip(sorted(found), wanted, strict=True):
        assert row[first] == (want[0] if not isinstance(want[0], float) else pytest.approx(want[0], rel=1e-9))
        assert row[first + 1 :] == pytest.approx(want[1:], rel=1e-9)


@pytest.mark.parametrize("link", MODELS)
def test_postgres_as_duckdb_reads_it(con, link):
    query = export(MODELS[link][0], ENCODING, MODELS[link][1], "postgres", 'my "table')
    found = con.execute(query).fetchall()
    assert_same(found, [column[0] for column in con.description], expected(con, link))


@pytest.mark.parametrize("link", MODELS)
def test_duckdb(con, link):
    query = export(MODELS[link][0], ENCODING, MODELS[link][1], "duckdb", 'my "table')
    found = con.execute(query).fetchall()
    first = len(ROWS[0]) + 1
    assert [row[first] for row in sorted(found)] == pytest.approx([row[0] for row in expected(con, link)])


@pytest.mark.parametrize("link", MODELS)
def test_sqlite(con, link):
    other = sqlite3.connect(":memory:")
    other.create_function("EXP", 1, math.exp)  # not every build of SQLite has it; ours raises where it overflows
    other.execute('CREATE TABLE "my ""table" (id, "a b" REAL, "select" INTEGER, "c""q" BOOLEAN, k, many, i INTEGER, d)')
    rows = [(*row[:-1], row[-1] and row[-1].isoformat(" ")) for row in numbered()]
    other.executemany('INSERT INTO "my ""table" VALUES (?, ?, ?, ?, ?, ?, ?, ?)', rows)
    cursor = other.execute(export(MODELS[link][0], ENCODING, MODELS[link][1], "sqlite", 'my "table'))
    assert_same(cursor.fetchall(), [column[0] for column in cursor.description], expected(con, link))
    other.close()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("link", MODELS)
def test_every_dialect_reads_its_own_text(dialect, link):
    query = export(MODELS[link][0], ENCODING, MODELS[link][1], dialect, "t")
    tree = sqlglot.parse_one(query, read=dialect)
    assert isinstance(tree, sqlglot.exp.Select)
    assert "list_" not in query.lower() and "ml." not in query.lower() and "dbml" not in query


def test_names_are_quoted_but_where_bare_ones_become_capitals():
    encoding = Encoding((Feature("dep_hour", "DOUBLE", "number"), Feature("Table", "DOUBLE", "number")))
    form = LinearForm(((1.0, 2.0),), (0.0,), "identity")
    assert '"dep_hour"' in export(form, encoding, Label("y", "DOUBLE"), "postgres")
    written = export(form, encoding, Label("y", "DOUBLE"), "snowflake")
    assert '"dep_hour"' not in written and "dep_hour" in written and '"Table"' in written
    assert "[dep_hour]" in export(form, encoding, Label("y", "DOUBLE"), "tsql")
    assert "`dep_hour`" in export(form, encoding, Label("y", "DOUBLE"), "bigquery")


def test_far_predictors_do_not_overflow():
    encoding = Encoding((Feature("x", "DOUBLE", "number"),))
    other = sqlite3.connect(":memory:")
    other.create_function("EXP", 1, math.exp)
    other.execute("CREATE TABLE t AS SELECT 5000.0 AS x UNION ALL SELECT -5000.0")
    for form, classes in (
        (LinearForm(((1.0,),), (0.0,), "logistic"), ("a", "b")),
        (LinearForm(((1.0,), (-1.0,), (0.0,)), (0.0, 0.0, 0.0), "softmax"), ("a", "b", "c")),
    ):
        rows = other.execute(export(form, encoding, Label("y", "VARCHAR", classes), "sqlite", "t")).fetchall()
        for row in rows:
            assert sum(row[-len(classes) :]) == pytest.approx(1)
    other.close()


def test_a_thousand_terms_and_levels():
    numbers = tuple(Feature(f"x{i}", "DOUBLE", "number") for i in range(1000))
    encoding = Encoding((*numbers, Feature("k", "VARCHAR", "category", levels=tuple(f"l{i}" for i in range(1000)))))
    form = LinearForm(((1.5,) * encoding.n_terms,), (0.0,), "identity")
    assert export(form, encoding, Label("y", "DOUBLE"), "postgres").count("WHEN 'l") == 1000


def test_what_a_dialect_cannot_say_is_refused():
    label = Label("y", "DOUBLE")
    with pytest.raises(SqlError, match="no dialect 'postgresql'"):
        export(form_of("identity"), ENCODING, label, "postgresql")
    vector = Encoding((Feature("v", "FLOAT[2]", "vector", fill=(0.0, 0.0), width=2),))
    with pytest.raises(SqlError, match="column 'v' is a feature of kind vector, which export to postgres"):
        export(LinearForm(((1.0, 2.0),), (0.0,), "identity"), vector, label, "postgres")
    zoned = Encoding((Feature("d", "TIMESTAMP WITH TIME ZONE", "number", part="epoch"),))
    form = LinearForm(((1.0,),), (0.0,), "identity")
    assert "AT TIME ZONE 'UTC'" in export(form, zoned, label, "postgres")
    with pytest.raises(SqlError, match="time zone"):
        export(form, zoned, label, "mysql")
    with pytest.raises(SqlError, match="calendar part"):
        export(form, zoned, label, "clickhouse")
