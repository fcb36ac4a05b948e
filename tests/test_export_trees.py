"""Trees as queries of other databases: SQLite and DuckDB run them, nested and flat."""

import dataclasses
import math
import sqlite3

import duckdb
import numpy as np
import pytest
import sqlglot
from dbml_sql.errors import SqlError
from dbml_sql.export import export
from dbml_sql.features import Encoding, Feature
from dbml_sql.forms import Branch, Split, Tree, TreeForm
from dbml_sql.score import form_scores
from random_trees import random_trees
from test_export import DIALECTS, ENCODING, ROWS, Label, assert_same

from dbml.estimators.trees.form import tree_form

VALUES = Encoding(
    tuple(
        dataclasses.replace(
            feature,
            style="values",
            flag=False,
            null_level=False,
            kind="number" if feature.part else feature.kind,
            levels=() if feature.part else feature.levels,
        )
        for feature in ENCODING.features
    )
)
GRID = (-2.0, -1e6, 0.0, 0.5, 1.0, 6.0, 7.0, 12.0, 2023.0, 19500.0, 19782.5, math.inf, -math.inf)


def form_of(link, shape, **outputs):
    trees = random_trees(VALUES, n_trees=5, grid=GRID, seed=3, **outputs, **shape)
    if link == "probability":
        trees.value[:] = np.abs(trees.value) / np.abs(trees.value).sum(axis=1, keepdims=True) / 5
    baseline = np.zeros(trees.n_outputs) if link == "probability" else np.linspace(-1, 1, trees.n_outputs)
    return tree_form(trees, baseline, link)


def models(shape):
    return {
        "identity": (form_of("identity", shape), Label("y", "DOUBLE")),
        "log": (form_of("log", shape), Label("y", "DOUBLE")),
        "logistic": (form_of("logistic", shape), Label("the y", "BOOLEAN", (False, True))),
        "probability": (form_of("probability", shape, n_values=2), Label("y", "VARCHAR", ("no", "it's"))),
        "softmax": (form_of("softmax", shape, n_outputs=3), Label("y", "VARCHAR", ("a", "b", "c"))),
        "three": (form_of("probability", shape, n_values=3), Label("y", "INTEGER", (1, 2, 3))),
    }


MODELS = models({"depth": 4})
FLAT = models({"depth": 3, "symmetric": True})


@pytest.fixture
def con():
    with duckdb.connect() as connection:
        connection.execute(
            'CREATE TABLE "my ""table" (id INTEGER, "a b" DOUBLE, "select" BIGINT, "c""q" BOOLEAN, k VARCHAR,'
            " many VARCHAR, i INTEGER, d TIMESTAMP)"
        )
        rows = [(n, *row) for n, row in enumerate(ROWS)]
        connection.executemany('INSERT INTO "my ""table" VALUES (?, ?, ?, ?, ?, ?, ?, ?)', rows)
        yield connection


def expected(con, form, label):
    scores = form_scores(form, VALUES, label)
    columns = [scores.prediction(), *(scores.probabilities() or ())]
    return con.execute(f'SELECT {", ".join(columns)} FROM "my ""table" ORDER BY id').fetchall()


@pytest.mark.parametrize("link", MODELS)
@pytest.mark.parametrize("nested", [True, False])
def test_postgres_as_duckdb_reads_it(con, link, nested, monkeypatch):
    if not nested:
        monkeypatch.setattr("dbml_sql.export._SHALLOW_CASE", ("postgres",))
    for form, label in (MODELS[link], FLAT[link]):
        query = export(form, VALUES, label, "postgres", 'my "table')
        found = con.execute(query).fetchall()
        assert_same(found, [column[0] for column in con.description], expected(con, form, label))


@pytest.mark.parametrize("link", MODELS)
def test_sqlite(con, link):
    form, label = MODELS[link]
    other = sqlite3.connect(":memory:")
    other.create_function("EXP", 1, math.exp)
    other.execute('CREATE TABLE "my ""table" (id, "a b" REAL, "select" INTEGER, "c""q" BOOLEAN, k, many, i INTEGER, d)')
    rows = [(n, *row[:-1], row[-1] and row[-1].isoformat(" ")) for n, row in enumerate(ROWS)]
    other.executemany('INSERT INTO "my ""table" VALUES (?, ?, ?, ?, ?, ?, ?, ?)', rows)
    cursor = other.execute(export(form, VALUES, label, "sqlite", 'my "table'))
    assert_same(cursor.fetchall(), [column[0] for column in cursor.description], expected(con, form, label))
    other.close()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_reads_its_own_text(dialect):
    for form, label in FLAT.values():
        query = export(form, VALUES, label, dialect, "t")
        assert isinstance(sqlglot.parse_one(query, read=dialect), sqlglot.exp.Select)
        assert "list_" not in query.lower() and "dbml" not in query


def test_sql_server_has_no_case_in_case():
    query = export(MODELS["identity"][0], VALUES, MODELS["identity"][1], "tsql", "t")
    words = " ".join(query.split())
    assert "THEN CASE WHEN t." not in words and "ELSE CASE WHEN t." not in words and " AND t.value_" in words
    assert "THEN CASE WHEN t." in export(MODELS["identity"][0], VALUES, MODELS["identity"][1], "postgres", "t")


def test_strings_are_escaped_as_the_dialect_does():
    feature = Feature("k", "VARCHAR", "category", levels=("a\\", "it's"), style="values")
    split = Split(0, None, frozenset({0, 1}), False)
    form = TreeForm((Tree(0, Branch(split, (1.0,), (2.0,))),), (0.0,), "identity")
    label = Label("y", "DOUBLE")
    assert r"'a\\', 'it\'s'" in export(form, Encoding((feature,)), label, "bigquery")
    assert r"'a\', 'it''s'" in export(form, Encoding((feature,)), label, "postgres")


def test_trees_of_any_size_and_depth(con):
    root = (0.5,)
    for number in range(2_000):
        root = Branch(Split(0, float(-number), None, bool(number % 2)), root, (float(number),))
    form = TreeForm((Tree(0, root),), (1.0,), "identity")
    query = export(form, VALUES, Label("y", "DOUBLE"), "postgres", "t")
    assert query.count("WHEN") > 2_000


def test_what_a_dialect_cannot_say_is_refused():
    sparse = Encoding((Feature("m", "MAP(VARCHAR, DOUBLE)", "map", levels=("k",), style="values"),))
    form = TreeForm((Tree(0, Branch(Split(0, 1.0, None, False), (1.0,), (2.0,))),), (0.0,), "identity")
    with pytest.raises(SqlError, match="column 'm' is a feature of kind map, which export to postgres"):
        export(form, sparse, Label("y", "DOUBLE"), "postgres")
