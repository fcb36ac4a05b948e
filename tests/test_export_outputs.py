"""Models without a label as queries for other databases: what they give there is what the macros give here."""

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
from dbml_sql.forms import Binned, Filled, LinearForm, Marked, QuadraticForm, Scaled, TermwiseForm
from dbml_sql.groups import group_query
from dbml_sql.transform import transform_query

TERMS = Encoding(
    (
        Feature('c"q', "DOUBLE", "number", fill=(1.5,), flag=True),
        Feature("k", "VARCHAR", "category", levels=("it's", "b"), null_level=True, other_level=True),
        Feature("d", "TIMESTAMP", "number", part="epoch", fill=(19000.0,)),
    )
)
VALUES = Encoding(
    (
        Feature('c"q', "DOUBLE", "number", style="values"),
        Feature("k", "VARCHAR", "category", levels=("it's", "b"), other_level=True, style="values"),
        Feature("known", "VARCHAR", "category", levels=("p", "q"), style="values"),
        Feature("yes", "BOOLEAN", "number", style="values"),
        Feature("d", "TIMESTAMP", "number", part="epoch", style="values"),
    )
)
ROWS = [
    (0, 0.5, "it's", "p", True, datetime.datetime(2024, 2, 29, 23, 30)),
    (1, None, None, None, None, None),
    (2, -2.0, "unseen", "new", False, datetime.datetime(2023, 12, 31)),
    (3, 1e6, "b", "q", True, datetime.datetime(2024, 1, 6, 0, 0, 1)),
]
FUNCTIONS = {
    'c"q': Scaled(0, 0.25, 3.0),
    "clipped": Scaled(0, 0.0, 2.0, 0.5, -0.25, 0.75),
    "filled": Filled(0, 7.0),
    "as it is": Filled(0, None),
    "bin": Binned(0, (-1.0, 0.5, 10.0)),
    "first bin": Binned(0, (-1.0, 0.5), 0),
    "a middle bin": Binned(0, (-1.0, 0.75), 1),
    "no bins": Binned(0, ()),
    "k_it's": Marked(1, (0.0,)),
    "k_missing": Marked(1, (), missing=True),
    "k_rest": Marked(1, (0.0,), others=True),
    "known_p": Marked(2, (0.0,)),
    "known_missing": Marked(2, (), missing=True),
    "known_rest": Marked(2, (0.0,), others=True),
    "yes_1": Marked(3, (1.0,)),
    "days": Scaled(4, 19000.0, 100.0),
}


def rows_of(matrix):
    return tuple(map(tuple, np.asarray(matrix).tolist()))


def squares(link):
    rng, n_dense = np.random.default_rng(0), TERMS.n_dense
    square = np.full((3, n_dense), 1.0) if link == "nearest" else -rng.random((3, n_dense)) * 1e-6
    origin = rng.normal(size=(3, n_dense))
    return QuadraticForm(
        rows_of(rng.normal(size=(3, TERMS.n_terms))), (3.0, 2.0, 1.0), *map(rows_of, (square, origin)), link
    )


PROJECTION = LinearForm(rows_of(np.random.default_rng(1).normal(size=(2, TERMS.n_terms))), (0.5, -1.0), "values")
TERMWISE = TermwiseForm(tuple(FUNCTIONS.values()))

# form, encoding, names of its outputs, and DuckDB's own query of the same
MODELS = {
    "projection": (PROJECTION, TERMS, ["pca0", "pca1"]),
    "termwise": (TERMWISE, VALUES, list(FUNCTIONS)),
    "mixture": (squares("softmax"), TERMS, []),
    "k-means": (squares("nearest"), TERMS, ["kmeans0", "kmeans1", "kmeans2"]),
}


@pytest.fixture
def con():
    connection = duckdb.connect()
    connection.execute('CREATE TABLE t (id INTEGER, "c""q" DOUBLE, k VARCHAR, known VARCHAR, yes BOOLEAN, d TIMESTAMP)')
    connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", ROWS)
    yield connection
    connection.close()


def own(con, name):
    """Return the outputs of a model as DuckDB's macros compute them, a row each."""
    form, encoding, names = MODELS[name]
    if name == "mixture":
        groups = con.execute(f"{group_query('t', form, encoding)} ORDER BY id").fetchall()
        return [(row[-2], *(pair["prob"] for pair in row[-1])) for row in groups]
    made = con.sql(transform_query("t", form, encoding, names)).order("id").fetchall()
    columns = con.sql(transform_query("t", form, encoding, names)).columns
    outputs = [tuple(row[columns.index(output)] for output in names) for row in made]
    return [(row.index(min(row)), min(row)) for row in outputs] if name == "k-means" else outputs


def same(found, wanted):
    for row, want in zip(found, wanted, strict=True):
        assert len(row) == len(want)
        for a, b in zip(row, want, strict=True):
            assert a is None if b is None else a == pytest.approx(b, rel=1e-9, abs=1e-12)


def outputs_of(rows, n_outputs):
    return [row[-n_outputs:] for row in sorted(rows)]


@pytest.mark.parametrize("name", MODELS)
def test_postgres_as_duckdb_reads_it(con, name):
    form, encoding, names = MODELS[name]
    wanted = own(con, name)
    found = con.execute(export(form, encoding, None, "postgres", "t", names)).fetchall()
    same(outputs_of(found, len(wanted[0])), wanted)


@pytest.mark.parametrize("name", MODELS)
def test_sqlite(con, name):
    form, encoding, names = MODELS[name]
    other = sqlite3.connect(":memory:")
    for function in (math.exp, math.sqrt):  # not every build of SQLite has them
        other.create_function(function.__name__.upper(), 1, function)
    other.execute('CREATE TABLE t (id, "c""q" REAL, k, known, yes BOOLEAN, d)')
    rows = [(*row[:-1], row[-1] and row[-1].isoformat(" ")) for row in ROWS]
    other.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows)
    wanted = own(con, name)
    found = other.execute(export(form, encoding, None, "sqlite", "t", names)).fetchall()
    same(outputs_of(found, len(wanted[0])), wanted)
    other.close()


@pytest.mark.parametrize("name", MODELS)
def test_duckdb_gives_its_own_columns(con, name):
    form, encoding, names = MODELS[name]
    found = con.sql(export(form, encoding, None, "duckdb", "t", names))
    wanted = {"mixture": ["centroid_id", "centroid_id_probs"], "k-means": ["centroid_id", "centroid_distance"]}
    assert set(wanted.get(name, names)) <= set(found.columns)
    assert len(found.fetchall()) == len(ROWS)


@pytest.mark.parametrize("dialect", ["postgres", "snowflake", "bigquery", "sqlite", "mysql", "tsql"])
@pytest.mark.parametrize("name", MODELS)
def test_every_dialect_reads_its_own_text(dialect, name):
    form, encoding, names = MODELS[name]
    query = export(form, encoding, None, dialect, "t", names)
    assert isinstance(sqlglot.parse_one(query, read=dialect), sqlglot.exp.Select)
    assert "list_" not in query.lower() and "ml." not in query.lower() and "dbml" not in query


def test_an_output_stands_beside_the_column_of_its_name(con):
    form = TermwiseForm((Scaled(0, 0.0, 2.0),))
    found = con.sql(export(form, VALUES, None, "postgres", "t", ['c"q']))
    assert found.columns[-1] == 'transformed_c"q'
    assert found.columns[:-1] == con.table("t").columns


def test_a_category_that_must_be_known_is_null_elsewhere(con):
    functions = (Marked(2, (0.0,)), Marked(2, (1.0,)), Scaled(0, 0.0, 1.0))
    form = TermwiseForm(functions, known=((2, (0.0, 1.0), False),))
    query = export(form, VALUES, None, "postgres", "t", ["p", "q", "scaled"])
    found = outputs_of(con.execute(query).fetchall(), 3)
    assert found == [(1.0, 0.0, 0.5), (None, None, None), (None, None, -2.0), (0.0, 1.0, 1e6)]
    with pytest.raises(duckdb.Error, match="found unknown categories in column known"):
        con.execute(export(form, VALUES, None, "duckdb", "t", ["p", "q", "scaled"])).fetchall()


def test_one_group_needs_no_comparison(con):
    form = QuadraticForm(
        ((0.0,) * TERMS.n_terms,), (4.0,), ((0.0,) * TERMS.n_dense,), ((0.0,) * TERMS.n_dense,), "nearest"
    )
    found = con.execute(export(form, TERMS, None, "postgres", "t")).fetchall()
    assert outputs_of(found, 2) == [(0, 2.0)] * len(ROWS)


def test_categories_of_booleans_are_the_same_text_everywhere():
    encoding = Encoding((Feature("yes", "BOOLEAN", "category", levels=("true", "false")),))
    other = sqlite3.connect(":memory:")
    other.execute("CREATE TABLE t AS SELECT 1 AS yes UNION ALL SELECT 0 UNION ALL SELECT NULL")
    query = export(LinearForm(((2.0, 3.0),), (1.0,), "values"), encoding, None, "sqlite", "t", ["made"])
    assert [row[-1] for row in other.execute(query).fetchall()] == [3.0, 4.0, 1.0]
    other.close()


def test_vectors_are_refused_by_name():
    encoding = Encoding((Feature("v", "FLOAT[2]", "vector", width=2, style="values"),))
    form = TermwiseForm((Scaled(0, 0.0, 1.0), Scaled(1, 0.0, 1.0)))
    with pytest.raises(SqlError, match="column 'v' is a feature of kind vector, which export to mysql does not write"):
        export(form, encoding, None, "mysql", "t", ["v0", "v1"])
