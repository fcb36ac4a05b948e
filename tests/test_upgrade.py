"""Macros that an older dbml wrote are written anew when a newer one opens the database."""

import threading
import warnings

import duckdb
import pytest
from dbml_sql.catalogue import migrations

import dbml
from dbml.registry.upgrade import OutdatedRegistry

NEWEST = [migration.number for migration in migrations()]
OF_MACROS = [migration.number for migration in migrations() if migration.writes_macros]


@pytest.fixture
def path(tmp_path):
    """A database as an older dbml left it: models of three versions and several kinds, and macros of another text."""
    path = str(tmp_path / "old.duckdb")
    with dbml.connect(path) as con:
        con.execute("CREATE TABLE t AS SELECT i::DOUBLE AS x, (i % 7)::DOUBLE AS z, i % 2 AS b FROM range(40) r(i)")
        for factor in (1, 2, 3):
            con.execute(
                "CREATE OR REPLACE MODEL line OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS "
                f"SELECT x, z, {factor} * x AS y FROM t"
            )
        con.execute("ALTER MODEL line ROLLBACK TO VERSION 2")
        con.execute("CREATE MODEL groups OPTIONS (model_type = 'kmeans', num_clusters = 2) AS SELECT x, z FROM t")
        con.execute("CREATE MODEL near OPTIONS (model_type = 'knn_regressor', input_label_cols = ['b']) AS FROM t")
        con.execute("CREATE VIEW scored AS SELECT x, predict('line', t) AS y, predict('line@1', t) AS first FROM t")
    make_old(path)
    return path


def make_old(path):
    with duckdb.connect(path) as raw:
        for name in ("line", "line@1", "line@2", "line@3"):
            raw.execute(f'CREATE OR REPLACE MACRO ml."predict_{name}"(x, z) AS -1e0')
        raw.execute('CREATE OR REPLACE MACRO ml."predict_groups"(x, z) AS -1')
        raw.execute(f"DELETE FROM ml.migrations WHERE number >= {OF_MACROS[-1]}")


def test_there_is_a_migration_of_macros():
    assert OF_MACROS


def test_the_first_connection_that_may_write_writes_them(path):
    with duckdb.connect(path) as raw:
        assert raw.sql("SELECT max(y), max(first) FROM scored").fetchall() == [(-1, -1)]
    with dbml.connect(path, read_only=True) as con:  # it reads them as they are
        assert con.sql("SELECT max(y) FROM scored").fetchall() == [(-1,)]
    with dbml.connect(path):
        pass
    with duckdb.connect(path, read_only=True) as raw:
        scored = raw.sql('SELECT max(y), max(first), max(ml."predict_line@3"(x, 0)) FROM scored').fetchall()[0]
        assert scored == pytest.approx((78, 39, 117))
        assert raw.sql("SELECT min(ml.predict_groups(x, z)) FROM t").fetchall() == [(0,)]
        assert [number for (number,) in raw.sql("SELECT number FROM ml.migrations ORDER BY 1").fetchall()] == NEWEST


def test_attaching_and_registering_do_so_too(path):
    for use in (dbml.attach, dbml.register):
        with duckdb.connect(path) as raw:
            use(raw)
            assert raw.sql("SELECT max(y) FROM scored").fetchall()[0][0] == pytest.approx(78)
        make_old(path)


def test_an_open_transaction_is_left_alone(path):
    with duckdb.connect(path) as raw:
        raw.execute("BEGIN")
        raw.execute("INSERT INTO t VALUES (1000, 0, 0)")
        dbml.attach(raw)
        raw.execute("ROLLBACK")
        assert raw.sql("SELECT count(*), max(y) FROM scored").fetchall() == [(40, pytest.approx(78))]


def test_saving_does_so_in_a_database_that_is_used_later(path):
    with dbml.connect() as con:
        con.execute(f"ATTACH '{path}' AS old; USE old")
        con.execute("CREATE MODEL more OPTIONS (model_type = 'linear_reg', input_label_cols = ['b']) AS FROM t")
        assert con.sql("SELECT max(y) FROM scored").fetchall()[0][0] == pytest.approx(78)


def test_a_damaged_model_keeps_what_it_has(path):
    with duckdb.connect(path) as raw:
        raw.execute("UPDATE ml.model_versions SET attributes = '{}' WHERE version = 2")
    with pytest.warns(OutdatedRegistry, match="the macros of model 'line@2' stay as an older dbml wrote them"):
        con = dbml.connect(path)
    with con:
        assert con.sql("SELECT max(y), max(first) FROM scored").fetchall() == [(-1, pytest.approx(39))]


def test_one_that_fails_leaves_all_as_it_was(path, monkeypatch):
    from dbml.registry import macro_upgrade

    write, calls = macro_upgrade.replace_macros, []

    def failing(con, *of, **how):
        calls.append(of)
        if len(calls) == 3:
            raise duckdb.IOException("no space left on device")
        write(con, *of, **how)

    with monkeypatch.context() as patched:
        patched.setattr(macro_upgrade, "replace_macros", failing)
        with pytest.warns(OutdatedRegistry, match=r"still that of an older dbml \(.*no space left"):
            con = dbml.connect(path)
        with con:
            assert con.sql("SELECT max(y), max(first) FROM scored").fetchall() == [(-1, -1)]
    with dbml.connect(path) as con:
        assert con.sql("SELECT max(y) FROM scored").fetchall()[0][0] == pytest.approx(78)


def test_many_that_open_at_once(path):
    raw = duckdb.connect(path)
    cursors, errors = [raw.cursor() for _ in range(4)], []

    def attach(cursor):
        try:
            dbml.attach(cursor)
        except Exception as error:
            errors.append(error)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutdatedRegistry)
        threads = [threading.Thread(target=attach, args=(cursor,)) for cursor in cursors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    assert raw.sql("SELECT max(y) FROM scored").fetchall()[0][0] == pytest.approx(78)
    numbers = raw.sql("SELECT number FROM ml.migrations ORDER BY 1").fetchall()
    assert [number for (number,) in numbers] == NEWEST
    raw.close()


def test_macros_that_a_table_holds_stay_and_keep_no_other_model_from_being_made(path):
    with duckdb.connect(path) as raw:
        raw.execute('CREATE TABLE g(x DOUBLE, y DOUBLE GENERATED ALWAYS AS (ml."predict_line@1"(x, 0)))')
    with pytest.warns(OutdatedRegistry, match="the macros of model 'line@1' stay .* because table g holds them"):
        con = dbml.connect(path)
    with con:
        con.execute("CREATE MODEL more OPTIONS (model_type = 'linear_reg', input_label_cols = ['b']) AS FROM t")
        assert con.sql("SELECT max(y), max(first) FROM scored").fetchall()[0] == pytest.approx((78, -1))
        assert [number for (number,) in con.sql("SELECT number FROM ml.migrations ORDER BY 1").fetchall()] == NEWEST
