"""Text with calls of models that the database keeps: generated columns, constraints, defaults and indexes."""

import pytest

import dbml
from dbml.errors import RegistryError, StatementError

TREES = "CREATE MODEL bt OPTIONS (model_type = 'boosted_tree_regressor', input_label_cols = ['y']) AS FROM t"


@pytest.fixture
def con():
    with dbml.connect() as con:
        con.execute("CREATE TABLE t AS SELECT i::DOUBLE AS x, 2.0 * i + hash(i) % 5 AS y FROM range(300) r(i)")
        con.execute(f"{TREES}; CREATE TABLE h(x DOUBLE)")
        yield con


@pytest.mark.parametrize(
    ("statement", "instead"),
    [
        ("CREATE TABLE g(x DOUBLE, p DOUBLE GENERATED ALWAYS AS (predict('bt', x)))", "Use CREATE TEMP TABLE, or"),
        ("CREATE OR REPLACE TABLE main.g(x DOUBLE, CHECK (predict('bt', x) < 9))", "Use CREATE TEMP TABLE, or"),
        ("CREATE TABLE IF NOT EXISTS g(x DOUBLE, p DOUBLE DEFAULT predict('bt', 5))", "Use CREATE TEMP TABLE, or"),
        ("CREATE UNIQUE INDEX ix ON h (predict('bt', x))", "an index on a column of predictions"),
        ("ALTER TABLE h ADD COLUMN p DOUBLE DEFAULT predict('bt', 5)", "Use UPDATE, or CREATE TABLE AS"),
    ],
)
def test_a_table_or_index_cannot_keep_a_python_function(con, statement, instead):
    with pytest.raises(StatementError, match=f"is kept in the database.*bt has no native SQL form.*{instead}"):
        con.execute(statement)


def test_what_is_computed_once_or_is_temporary_is_no_such_text(con):
    con.execute("CREATE TABLE made(x, p) AS SELECT x, predict('bt', x) FROM t")
    con.execute(
        "CREATE TEMP TABLE g(x DOUBLE, p DOUBLE GENERATED ALWAYS AS (predict('bt', x))); INSERT INTO g VALUES (7)"
    )
    con.execute("INSERT INTO h VALUES (7); ALTER TABLE h ALTER x SET DATA TYPE DOUBLE USING predict('bt', x)")
    expected = con.sql("SELECT p FROM made WHERE x = 7").fetchall()
    assert con.sql("SELECT p FROM g").fetchall() == con.sql("SELECT x FROM h").fetchall() == expected


LINE = "OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS FROM t"
HELD = {
    'table "g" holds': "CREATE TABLE g(x DOUBLE, p DOUBLE GENERATED ALWAYS AS (predict('li', x)))",
    'index "ix" holds': "CREATE INDEX ix ON h (predict('li', x))",
    'table "a", table "b" hold': "CREATE TABLE a(x DOUBLE, CHECK (predict('li', x) < 9)); "
    "CREATE TABLE b(x DOUBLE DEFAULT predict('li', 3))",
}


@pytest.mark.parametrize(("holder", "statement"), HELD.items())
def test_a_change_of_macros_that_something_holds_names_it(con, holder, statement):
    con.execute(f"CREATE MODEL li {LINE}").execute(statement)
    remedy = r"(drop (it|these) first).*predict\('name@version', …\) holds that version only"
    for change in (f"CREATE OR REPLACE MODEL li {LINE}", "ALTER MODEL li RENAME TO lo", "DROP MODEL li"):
        with pytest.raises(
            RegistryError, match=f"^model 'li' was not (saved|renamed|dropped): {holder} macros.*{remedy}"
        ):
            con.execute(change)
    assert con.sql("SELECT name, version FROM ml.models WHERE name <> 'bt'").fetchall() == [("li", 1)]


def test_a_table_that_holds_one_version_leaves_room_for_others(con):
    con.execute(f"CREATE MODEL li {LINE}").execute(
        "CREATE TABLE g(x DOUBLE, p DOUBLE GENERATED ALWAYS AS (predict('li@1', x)))"
    )
    con.execute(f"CREATE OR REPLACE MODEL li {LINE}; CREATE MODEL other {LINE}; INSERT INTO g VALUES (3)")
    assert con.sql("SELECT p = predict('li@1', 3) FROM g").fetchall() == [(True,)]
