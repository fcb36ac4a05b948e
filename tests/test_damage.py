"""Rows of a saved model that were changed behind our back: every kind of model is refused with words."""

import re
import warnings

import duckdb
import pytest

import dbml
from dbml.errors import RegistryError
from dbml.estimators.discovery import estimators
from dbml.registry.freshness import registry_changed

FOUND = estimators()
SMALL = {"n_estimators": 3, "max_iter": 20, "n_components": 2, "n_clusters": 2, "hidden_layer_sizes": (4,), "cv": 2}
SPECIAL = {
    "LassoCV": {"max_iter": 1000, "alphas": 5},
    "ElasticNetCV": {"max_iter": 1000, "alphas": 5},
    "GaussianMixture": {"covariance_type": "full"},
    "MatrixFactorization": {"user_col": "k", "item_col": "g"},
    "NearestNeighbors": {"algorithm": "index", "n_cells": 4},
    "KNeighborsClassifier": {"algorithm": "index", "n_cells": 4},
}


def small(name):
    """Return an estimator whose training takes no time."""
    model = FOUND[name]()
    known = model.get_params()
    return model.set_params(**{k: v for k, v in {**SMALL, **SPECIAL.get(name, {})}.items() if k in known})


def columns(kind, model):
    if kind.encoding_style == "keys":
        return "k, g, y"
    if kind.encoding_style == "categories":
        return "k, b, c"
    text = (
        "" if type(model).__name__ in ("SimpleImputer", "KBinsDiscretizer", "StandardScaler", "MinMaxScaler") else ", c"
    )
    label = {"classification": ", b", "regression": ", y"}.get(kind.task, "")
    return f"x, z{text}{label}"


@pytest.fixture(scope="module")
def con():
    with dbml.connect() as connection:
        connection.execute(
            """CREATE TABLE t AS SELECT 1 + i % 17 / 8.0 AS x, 0.5 + i * 7 % 23 / 10.0 AS z, 1 + i % 3 + i % 17 AS y,
            i % 17 > 8 AS b, i % 5 AS k, i // 5 % 7 AS g, ['u', 'v', 'w'][1 + i % 3] AS c FROM range(120) r(i)"""
        )
        yield connection


def saved(con, name):
    """Return the number of rows that a model of the class has in each table of the registry; it is saved once."""
    kind, model = FOUND[name], small(name)
    if (
        not con.execute("SELECT 1 FROM duckdb_tables() WHERE schema_name = 'ml'").fetchall()
        or not con.execute("SELECT 1 FROM ml.registered_models WHERE name = ?", [name]).fetchall()
    ):
        rows = con.sql(f"SELECT {columns(kind, model)} FROM t")
        label = {"classification": "b", "regression": "y"}.get(kind.task)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            con.save_model(name, model.fit(rows, label) if label else model.fit(rows))
    return con.execute("SELECT model_id FROM ml.registered_models WHERE name = ?", [name]).fetchall()[0][0]


def changes(con, model_id):
    """Yield statements that damage a model: its first array in every way, each other one in two, in turn."""
    own = f"model_id = {model_id}"
    arrays = con.execute(f"SELECT name, dtype, shape, data FROM ml.arrays WHERE {own} ORDER BY name").fetchall()
    for number, (name, dtype, shape, data) in enumerate(arrays):
        one = f"WHERE {own} AND name = '{name}'"
        other = {"<f8": "<i8", "<i8": "<f8", "<i4": "<f4"}.get(dtype, "<f8")
        ways = [
            f"UPDATE ml.arrays SET dtype = '{other}' {one}",
            f"UPDATE ml.arrays SET dtype = 'nonsense' {one}",
            f"UPDATE ml.arrays SET shape = {[1, *shape]} {one}",
            f"UPDATE ml.arrays SET shape = {[*shape, 2]} {one}",
            f"DELETE FROM ml.arrays {one}",
        ]
        if data:
            flipped = bytearray(data)
            flipped[len(data) // 2] ^= 0x10
            ways.append(f"UPDATE ml.arrays SET data = from_hex('{flipped.hex()}') {one}")
            ways.append(f"UPDATE ml.arrays SET data = from_hex('{data[:-1].hex()}') {one}")
        yield from ways if number == 0 else (ways[number % len(ways)], ways[(number + 3) % len(ways)])
    yield f"DELETE FROM ml.model_versions WHERE {own}"
    yield f"UPDATE ml.model_versions SET params = '{{' WHERE {own}"
    yield f"UPDATE ml.model_versions SET attributes = '{{}}' WHERE {own} AND attributes <> '{{}}'"
    yield f"UPDATE ml.model_versions SET type = 'PCA' WHERE {own} AND type <> 'PCA'"
    yield f"UPDATE ml.model_versions SET plan = '[]' WHERE {own}"
    yield f"DELETE FROM ml.features WHERE {own} AND position = 0"
    yield f"UPDATE ml.features SET column_name = 'other' WHERE {own} AND position = 0"
    yield f"UPDATE ml.features SET levels = ['u'] WHERE {own} AND kind = 'category'"


@pytest.mark.parametrize("name", FOUND)
def test_every_kind_of_model_is_refused(con, name):
    model_id = saved(con, name)
    con.load_model(name)
    for change in changes(con, model_id):
        con.execute("BEGIN")
        try:
            (changed,) = con.execute(change).fetchall()[0]
            if changed:
                with pytest.raises(RegistryError, match=f"{name}@1"):
                    con.load_model(name)
        finally:
            con.execute("ROLLBACK")
    con.load_model(name)


ROWS = {
    "DELETE FROM ml.{table} WHERE position = 7": "1 of its 120 rows are missing",
    "DELETE FROM ml.{table}": "its rows are missing",
    "UPDATE ml.{table} SET cell = 4 WHERE position = 7": "rows lie in cells that it does not have",
    "UPDATE ml.{table} SET cell = -1 WHERE position = 7": "rows lie in cells that it does not have",
    "INSERT INTO ml.{table} FROM ml.{table} WHERE position = 7": "rows have the same position",
    "DROP TABLE ml.{table}": "damaged",
}


@pytest.mark.parametrize("change", ROWS)
@pytest.mark.parametrize("name", ["NearestNeighbors", "KNeighborsClassifier"])
def test_rows_that_a_model_keeps(con, name, change):
    table, rows = f"vectors_{saved(con, name)}_1", con.sql("SELECT x, z, c FROM t").to_arrow_table()
    con.execute("BEGIN")
    try:
        con.execute(change.format(table=table))
        with pytest.raises(RegistryError, match=re.escape(ROWS[change])) as raised:
            con.load_model(name).kneighbors(rows)
        assert f"{name}@1" in str(raised.value)
    finally:
        con.execute("ROLLBACK")
    assert con.load_model(name).kneighbors(rows)[0].shape == (120, 5)


@pytest.mark.parametrize("name", ["MLPClassifier", "SVC", "GaussianMixture", "PCA", "LogisticRegression"])
def test_sql_says_so_too(con, name):
    """Native SQL scores from text of its own; a function loads the model, and refuses it."""
    model_id = saved(con, name)
    word = "predict" if hasattr(FOUND[name], "predict") else "transform"
    before = con.sql(f"SELECT {word}('{name}', t) FROM t").fetchall()
    con.execute("CREATE OR REPLACE TEMP TABLE kept AS FROM ml.arrays")
    try:
        con.execute(f"UPDATE ml.arrays SET data = from_hex('00') WHERE model_id = {model_id}")
        con.execute(f"UPDATE ml.model_versions SET checksum = checksum || ' ' WHERE model_id = {model_id}")
        registry_changed()
        try:
            assert con.sql(f"SELECT {word}('{name}', t) FROM t").fetchall() == before
        except duckdb.InvalidInputException as error:
            assert f"{name}@1" in str(error)
            assert "is damaged" in str(error)
    finally:
        con.execute("DELETE FROM ml.arrays; INSERT INTO ml.arrays FROM temp.kept")
        con.execute(f"UPDATE ml.model_versions SET checksum = trim(checksum) WHERE model_id = {model_id}")
        registry_changed()
