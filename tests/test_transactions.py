"""A version appears whole or not at all: transactions, other connections, threads, processes, kill -9."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import duckdb
import pytest

import dbml
from dbml.errors import InvalidParameter, RegistryError, UnknownName

CREATE = "CREATE OR REPLACE MODEL m OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS FROM t"
COEFFICIENT = "SELECT ml.predict_m(1e0) - ml.predict_m(0e0)"


def fill(con, slope=2.0):
    con.execute(f"CREATE OR REPLACE TABLE t AS SELECT i::DOUBLE AS x, {slope} * i AS y FROM range(50) r(i)")


@pytest.fixture
def con():
    with dbml.connect() as con:
        fill(con)
        yield con


def slope(con):
    return round(con.execute(COEFFICIENT).fetchall()[0][0], 6)


def test_a_rolled_back_transaction_leaves_nothing(con):
    con.begin()
    con.execute(CREATE)
    assert slope(con) == 2.0
    con.rollback()
    with pytest.raises(UnknownName, match="there are no models yet"):
        con.load_model("m")
    assert con.execute("SELECT count(*) FROM duckdb_functions() WHERE function_name LIKE 'predict_m%'").fetchone() == (
        0,
    )


def test_a_rolled_back_version_leaves_the_old_one(con):
    con.execute(CREATE)
    fill(con, 5.0)
    con.execute("BEGIN; " + CREATE)
    assert slope(con) == 5.0
    other = con.cursor()
    assert slope(other) == 2.0  # others see it after the commit only
    con.execute("ROLLBACK")
    assert slope(con) == 2.0
    assert con.execute("SELECT version, versions FROM ml.models").fetchall() == [(1, 1)]


NEAR = (
    "CREATE OR REPLACE MODEL near OPTIONS (model_type = 'knn_regressor', n_neighbors = 1, input_label_cols = ['y']) AS"
)


@pytest.mark.parametrize("first", ["", f"{NEAR} SELECT x, -y AS y FROM t"])
def test_calling_a_model_without_sql_before_its_commit_does_not_lose_it(con, first):
    con.execute(first)
    con.execute(f"BEGIN; {NEAR} FROM t; {CREATE}")
    for query in (
        "SELECT predict('near', t) FROM t",
        "SELECT predict('near@{}', t) FROM t",
        "FROM ML.EVALUATE(MODEL near, TABLE t)",
        "FROM ML.NEIGHBORS(MODEL near, TABLE t)",
        "FROM ML.PREDICT(MODEL near, TABLE t)",
        "FROM ML.FEATURE_IMPORTANCE(MODEL m)",
    ):
        with pytest.raises(RegistryError, match=r"made in the open transaction.*COMMIT, then call it"):
            con.execute(query.format(2 if first else 1))
    assert len(con.execute("FROM ML.FEATURE_INFO(MODEL near)").fetchall()) == 1
    if first:
        assert con.execute("SELECT predict('near@1', t) FROM t WHERE x = 3").fetchall() == [(-6.0,)]
    con.execute("COMMIT")
    assert con.execute("SELECT predict('near', t) FROM t WHERE x = 3").fetchall() == [(6.0,)]


def test_a_model_made_anew_in_a_transaction_is_not_taken_for_the_old_one(con):
    con.execute(f"{NEAR} FROM t")
    con.execute(f"BEGIN; DROP MODEL near; {NEAR} SELECT x, -y AS y FROM t")
    with pytest.raises(RegistryError, match="made in the open transaction"):
        con.execute("SELECT predict('near', t) FROM t")
    con.execute("COMMIT")
    assert con.execute("SELECT predict('near', t) FROM t WHERE x = 3").fetchall() == [(-6.0,)]


def test_functions_that_change_models_are_refused_in_a_transaction(con):
    con.execute(f"{NEAR} FROM t")
    con.execute("BEGIN; CREATE TABLE later AS FROM t")
    train = "SELECT train_model('other', 'FROM t', {'model_type': 'linear_reg', 'input_label_cols': ['y']})"
    with pytest.raises(InvalidParameter, match=r"no part in the open transaction: COMMIT first, or use CREATE MODEL"):
        con.execute(train)
    with pytest.raises(InvalidParameter, match=r"no part in the open transaction: .* con\.extend_model"):
        con.execute("SELECT add_rows('near', 'FROM t')")
    con.execute("COMMIT")  # nothing was lost
    assert con.execute("SELECT count(*) FROM later").fetchall() == [(50,)]
    assert con.execute("SELECT add_rows('near', 'FROM later')").fetchall() == [(50,)]


@pytest.mark.parametrize(
    "call", ["train_model('m', 'FROM {}', {{'model_type': 'pca'}})", "add_rows('near', 'FROM {}')"]
)
def test_functions_that_change_models_say_which_tables_they_do_not_see(con, call):
    con.execute(f"{NEAR} FROM t; CREATE TEMP TABLE mine AS FROM t")
    for table in ("mine", "nowhere"):
        with pytest.raises(UnknownName, match=rf"name {table} does not exist.*\n(.*\n)*.* sees no temporary tables"):
            con.execute(f"SELECT {call.format(table)}")
    con.duckdb.execute("BEGIN; CREATE TABLE fresh AS FROM t")
    with pytest.raises(duckdb.Error, match="nothing of a transaction that is not committed"):
        con.duckdb.execute(f"SELECT {call.format('fresh')}")


def test_a_transaction_of_the_user_takes_the_model_along(con):
    other = con.cursor()
    con.begin()
    fill(con, 3.0)
    con.execute(CREATE)
    con.execute("CREATE TABLE mine AS SELECT 1 AS a")
    with pytest.raises(UnknownName):
        other.load_model("m")
    con.commit()
    assert slope(other) == 3.0
    assert other.execute("FROM mine").fetchall() == [(1,)]


def test_a_function_never_scores_with_another_version_than_the_statement_was_written_for(con):
    options = "OPTIONS (model_type = 'KNeighborsRegressor', input_label_cols = ['y'], n_neighbors = 1)"
    con.execute(f"CREATE MODEL near {options} AS SELECT x, 1.0 AS z, y FROM t")
    con.execute("CREATE TABLE u AS SELECT x, 1.0 AS z, y FROM t")
    wrong = "SELECT count(*) FROM u WHERE predict('near', u) <> y"
    before = con.sql(wrong)
    con.begin()
    con.execute(f"CREATE OR REPLACE MODEL near {options} AS SELECT z, x, y FROM u")
    with pytest.raises(RegistryError, match="'near@2' was made in the open transaction"):
        con.sql(wrong).fetchall()
    con.rollback()
    con.execute(f"CREATE OR REPLACE MODEL near {options} AS SELECT z, x, y FROM u")
    assert before.fetchall() == con.sql(wrong).fetchall() == [(0,)]


def test_a_training_that_fails_leaves_no_trace_but_its_run(con):
    with pytest.raises(dbml.errors.DbmlError):
        con.execute(
            "CREATE MODEL m OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS FROM t WHERE x < 0"
        )
    with pytest.raises(UnknownName):
        con.load_model("m")
    assert con.execute("SELECT model, status FROM ml.training_runs").fetchall() == [("m", "failed")]


def test_an_interrupted_training_leaves_the_old_version(con, monkeypatch):
    con.execute(CREATE)

    def interrupted(self, data):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(dbml.LinearRegression, "_fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            con.execute(CREATE)
    assert con.execute("SELECT version, versions FROM ml.models").fetchall() == [(1, 1)]
    assert con.execute("SELECT status FROM ml.training_runs ORDER BY run_id").fetchall() == [
        ("succeeded",),
        ("interrupted",),
    ]
    con.execute(CREATE)


def test_an_interrupted_training_that_keeps_its_best_model_says_so(con):
    from dbml.passes.progress import Listener, listening

    class Interrupter(Listener):
        def iteration(self, number, **values):
            if number > 1:
                raise KeyboardInterrupt

    con.execute("CREATE TABLE c AS SELECT i::DOUBLE AS x, (i * 7919 % 11) > 5 AS y FROM range(200) r(i)")
    create = "CREATE MODEL c OPTIONS (model_type = 'logistic_reg', input_label_cols = ['y']) AS FROM c"
    with listening(Interrupter()), pytest.warns(dbml.errors.InterruptedTraining, match="the best model so far is kept"):
        con.execute(create)
    assert con.execute("SELECT status, version FROM ml.training_runs").fetchall() == [("interrupted", 1)]
    assert con.execute("SELECT predict('c', f) IS NOT NULL FROM c f LIMIT 1").fetchall() == [(True,)]


def test_roll_back_rename_alias_and_prune_move_the_macros(con):
    for value in (2.0, 3.0, 4.0):
        fill(con, value)
        con.execute(CREATE)
    con.execute("ALTER MODEL m SET ALIAS champion TO VERSION 2")
    assert slope(con) == 4.0
    con.execute("ALTER MODEL m ROLLBACK")
    assert slope(con) == 3.0
    con.execute("ALTER MODEL m ROLLBACK TO VERSION 1")
    assert slope(con) == 2.0
    by_version = [con.execute(f"SELECT predict('m@{v}', 1.0) - predict('m@{v}', 0.0)").fetchone()[0] for v in (1, 2, 3)]
    assert by_version == pytest.approx([2.0, 3.0, 4.0])
    con.execute("ALTER MODEL m RENAME TO n")
    assert con.execute("SELECT ml.predict_n(1e0) - ml.predict_n(0e0)").fetchone()[0] == pytest.approx(2.0)
    assert con.execute("SELECT predict('n@champion', 1.0)").fetchone()[0] == pytest.approx(3.0)
    with pytest.raises(duckdb.CatalogException):
        con.execute(COEFFICIENT)
    with pytest.raises(RegistryError, match="'n@1' is the current version: roll back to another one first"):
        con.execute('DROP MODEL "n@1"')
    con.execute('DROP MODEL "n@2"')
    with pytest.raises(UnknownName, match="model 'n' has no alias 'champion'"):
        con.load_model("n@champion")
    con.execute("DROP MODEL n")
    left = "SELECT count(*) FROM duckdb_functions() WHERE schema_name = 'ml' AND function_name LIKE 'predict%'"
    assert con.execute(left).fetchone() == (0,)
    for table in ("registered_models", "model_versions", "features", "weights", "arrays", "aliases"):
        assert con.execute(f"SELECT count(*) FROM ml.{table}").fetchone() == (0,), table


def test_pruning_keeps_the_current_and_the_named_versions(con):
    from dbml.registry.changes import prune_versions

    for _ in range(5):
        con.execute(CREATE)
    con.execute("ALTER MODEL m SET ALIAS champion TO VERSION 2")
    con.execute("ALTER MODEL m ROLLBACK TO VERSION 3")
    assert prune_versions(con.duckdb, "m", keep=1) == [1, 4]
    assert con.execute("SELECT list(version ORDER BY version) FROM ml.model_versions").fetchone() == ([2, 3, 5],)


def test_two_threads_save_at_the_same_time(con):
    model = con.execute(CREATE).load_model("m")
    errors = []

    def save(cursor, name):
        try:
            for _ in range(4):
                cursor.save_model(name, model)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=save, args=(con.cursor(), name)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert con.execute("SELECT name, version, versions FROM ml.models ORDER BY name").fetchall() == [
        ("a", 4, 4),
        ("b", 4, 4),
        ("m", 1, 1),
    ]


def test_two_threads_train_and_score_at_the_same_time(con):
    con.execute(CREATE)
    results, errors = [], []

    def work(cursor, number):
        try:
            for _ in range(3):
                cursor.execute(CREATE.replace("MODEL m", f"MODEL m{number}"))
                results.append(cursor.execute(f"SELECT sum(predict('m{number}', t)) - sum(y) FROM t").fetchone()[0])
                results.append(cursor.duckdb.execute("SELECT sum(predict('m', t)) - sum(y) FROM t").fetchone()[0])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(con.cursor(), number)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert results == pytest.approx([0.0] * 18, abs=1e-6)


def test_a_conflict_inside_the_users_transaction_is_explained(con):
    con.execute(CREATE)
    model = con.load_model("m")
    other = con.cursor()
    con.begin()
    con.execute("SELECT count(*) FROM t")
    other.save_model("m", model)
    with pytest.raises(RegistryError, match="model 'm' was not saved: another connection changed the registry"):
        con.save_model("m", model)
    con.rollback()
    con.save_model("m", model)
    assert con.execute("SELECT version FROM ml.models").fetchall() == [(3,)]


def test_half_a_change_is_never_committed_from_the_users_transaction(con, monkeypatch):
    from dbml.registry import store

    con.execute(CREATE).execute(CREATE)
    before = con.sql("FROM ml.models").fetchall()
    con.execute("UPDATE ml.arrays SET sha256 = 'another' WHERE version = 1")
    con.begin()
    with pytest.raises(RegistryError, match=r"'coef_' is damaged.*; the open transaction is aborted: roll it back"):
        con.execute("ALTER MODEL m RENAME TO n")
    with pytest.raises(duckdb.TransactionException, match="aborted"):
        con.execute("FROM t")
    con.commit()
    assert (con.sql("FROM ml.models").fetchall(), slope(con)) == (before, 2.0)

    def interrupted(*ignored):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "write_macros", interrupted)
    con.begin()
    with pytest.raises(KeyboardInterrupt):
        con.execute(CREATE)
    con.commit()
    assert (con.sql("FROM ml.models").fetchall(), slope(con)) == (before, 2.0)


def run(code, *arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        **kwargs,
    )


def test_the_lock_of_another_process_is_an_error_with_words(database):
    with dbml.connect(database) as con:
        con.execute("CREATE TABLE t AS SELECT 1 AS a")
        done = run("import dbml, sys\ndbml.connect(sys.argv[1])", database)
    assert "RegistryError" in done.stderr
    assert "is open in another process" in done.stderr


KILLED = """
    import os, signal, sys, dbml
    from dbml.passes.progress import Listener, listening
    from dbml.registry import store
    con = dbml.connect(sys.argv[1])
    con.execute("CREATE OR REPLACE TABLE t AS SELECT i::DOUBLE AS x, 7.0 * i AS y FROM range(50) r(i)")
    kill = lambda *ignored, **more: os.kill(os.getpid(), signal.SIGKILL)
    if sys.argv[2] == "training":
        from dbml.estimators.linear_regression import LinearRegression
        LinearRegression._fit = kill
    elif sys.argv[2] == "saving":
        store.write_macros = kill
    con.execute(sys.argv[3])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is POSIX")
@pytest.mark.parametrize("moment", ["training", "saving"])
def test_kill_9_leaves_the_old_version(database, moment):
    with dbml.connect(database) as con:
        fill(con)
        con.execute(CREATE)
    assert run(KILLED, database, moment, CREATE).returncode == -signal.SIGKILL
    with dbml.connect(database) as con:
        assert slope(con) == 2.0
        assert con.execute("SELECT version, versions FROM ml.models").fetchall() == [(1, 1)]
        assert con.execute("SELECT status FROM ml.training_runs ORDER BY run_id").fetchall() == [
            ("succeeded",),
            ("running",),
        ]
        con.execute(CREATE)
        assert slope(con) == 7.0
        assert con.execute("SELECT version, versions FROM ml.models").fetchall() == [(2, 2)]
        runs = con.execute("SELECT status, error FROM ml.training_runs ORDER BY run_id").fetchall()
        assert runs[1] == ("interrupted", "the process ended while it trained")
        assert runs[2] == ("succeeded", None)


def test_nothing_is_printed_when_python_ends_with_connections_open(database):
    code = """
        import dbml, duckdb, sys
        con = dbml.connect(sys.argv[1])
        raw = duckdb.connect()
        attached = dbml.attach(raw)
        con.execute("CREATE TABLE t AS SELECT i::DOUBLE AS x, i * 2.0 AS y FROM range(9) r(i)")
        con.execute("CREATE MODEL m OPTIONS (model_type='linear_reg', input_label_cols=['y']) AS FROM t")
        print(con.duckdb.sql("SELECT round(predict('m', 3.0), 6)").fetchall())
    """
    done = run(code, database, env={**os.environ, "PYTHONWARNINGS": "error"})
    assert (done.stdout, done.stderr, done.returncode) == ("[(6.0,)]\n", "", 0)
