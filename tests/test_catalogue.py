"""The tables of schema ml: every table and column says what it is, and the view shows the current version."""

import duckdb
import pytest
from dbml_sql.catalogue import migrations


@pytest.fixture
def con(tmp_path):
    with duckdb.connect(str(tmp_path / "m.duckdb")) as connection:
        connection.execute("BEGIN")
        for migration in migrations():
            connection.execute(migration.sql)
        connection.execute("COMMIT")
        yield connection


def test_numbers_have_no_gaps():
    assert [migration.number for migration in migrations()] == list(range(1, len(migrations()) + 1))
    assert migrations()[0].name == "0001_registry"


def test_everything_has_a_comment(con):
    for kind in ("tables", "columns", "views"):
        where = "schema_name = 'ml' AND comment IS NULL"
        assert con.execute(f"SELECT * FROM duckdb_{kind}() WHERE {where}").fetchall() == [], kind


def test_models_shows_each_model_at_its_current_version(con):
    now = "TIMESTAMP '2026-01-01'"
    con.execute(f"INSERT INTO ml.registered_models VALUES (1, 'Late', 2, 3, {now})")
    for version in (1, 2, 3):
        con.execute(
            f"""INSERT INTO ml.model_versions BY NAME
            SELECT 1 AS model_id, {version} AS version, 'LogisticRegression' AS type, 'classification' AS task,
              'late' AS target, true AS named, '{{}}' AS params, '{{}}' AS attributes, 1 AS format,
              MAP {{'roc_auc': 0.5 + {version} / 10}} AS metrics, '0.1' AS dbml_version, 'x' AS checksum,
              {now} AS created_at"""
        )
    con.execute(f"INSERT INTO ml.aliases VALUES (1, 'champion', 2, {now}), (1, 'old', 1, {now})")
    learned = "'DOUBLE', 'number', NULL, [0.0], false, [], false, false, 1, NULL, 0"
    for position, column in enumerate(("b", "d", "d", "a")):
        con.execute(f"INSERT INTO ml.features VALUES (1, 2, {position}, '{column}', {learned})")
    query = "SELECT name, version, versions, features, metrics['roc_auc'], aliases FROM ml.models"
    assert con.execute(query).fetchall() == [("Late", 2, 3, ["b", "d", "a"], 0.7, ["champion"])]


def test_names_differ_in_more_than_case(con):
    con.execute("INSERT INTO ml.registered_models VALUES (1, 'late', 1, 1, now()::TIMESTAMP)")
    with pytest.raises(duckdb.ConstraintException):
        con.execute("INSERT INTO ml.registered_models VALUES (2, 'LATE', 1, 1, now()::TIMESTAMP)")
    con.execute("BEGIN; DELETE FROM ml.registered_models")
    con.execute("INSERT INTO ml.registered_models VALUES (2, 'LATE', 1, 1, now()::TIMESTAMP); COMMIT")
    con.execute("UPDATE ml.registered_models SET name = 'Later'")
    assert con.execute("SELECT name FROM ml.registered_models").fetchall() == [("Later",)]
