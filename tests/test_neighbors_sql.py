"""Neighbours in the database: the table of the rows, ML.NEIGHBORS, ids, added rows, versions, transactions."""

import subprocess
import sys
import threading
import time

import duckdb
import numpy as np
import pytest

import dbml
from dbml import KNeighborsClassifier, KNeighborsRegressor, NearestNeighbors
from dbml.errors import InvalidData, InvalidParameter, RegistryError, StatementError, UnknownName, UnsupportedColumn
from dbml.registry.model_cache import ModelCache
from dbml.registry.registering import TYPES
from dbml.registry.store import check_version
from dbml.registry.versions import find_version

ITEMS = """CREATE TABLE items AS SELECT 'it' || i AS item,
array_value(sin(i * 7.1), cos(i * 3.3), sin(i * 1.7))::FLOAT[3] AS v,
i % 3 = 0 AS third, i * 0.5 AS price FROM range(600) t(i)"""


@pytest.fixture
def con(database):
    with dbml.connect(database) as con:
        con.execute(ITEMS)
        yield con


def tables(con):
    query = "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'ml' AND table_name LIKE 'vectors%' ORDER BY 1"
    return [name for (name,) in con.sql(query).fetchall()]


def vectors(con):
    return np.array([v for (v,) in con.sql("SELECT v FROM items").fetchall()])


def create(con, options="algorithm = 'index', id_col = 'item'", name="near", columns="item, v"):
    con.execute(
        f"CREATE OR REPLACE MODEL {name} OPTIONS (model_type = 'nearest_neighbors', {options}) "
        f"AS SELECT {columns} FROM items"
    )


def found(con, source, more="", name="near"):
    query = f"SELECT neighbor_id, distance, rank FROM ML.NEIGHBORS(MODEL {name}, {source}{more}) ORDER BY ALL"
    return sorted(con.sql(query).fetchall(), key=lambda row: row[2])


def test_neighbours_in_sql_are_those_in_python(con):
    create(con)
    X = vectors(con)
    distance, index = NearestNeighbors(n_neighbors=4, algorithm="brute").fit(X.astype(np.float32)).kneighbors(X[7:8])
    rows = found(con, "(SELECT v FROM items WHERE item = 'it7')", ", k => 4")
    assert [row[0] for row in rows] == [f"it{i}" for i in index[0]]
    np.testing.assert_allclose([row[1] for row in rows], distance[0], rtol=1e-9)
    assert [row[2] for row in rows] == [1, 2, 3, 4]
    assert found(con, "(SELECT v FROM items WHERE item = 'it7')", ", STRUCT(4 AS k, 100 AS nprobe)") == rows
    assert found(con, "(SELECT v FROM items WHERE item = 'it7')", ", 4") == rows
    loaded = con.load_model("near")
    np.testing.assert_array_equal(loaded.kneighbors(con.sql("SELECT v FROM items"), 4)[1][7], index[0])
    assert loaded.id_column_ == "item"


def test_all_columns_of_the_queries_are_kept(con):
    create(con, "n_neighbors = 2", columns="v")
    con.execute("CREATE TABLE queries AS SELECT v, 'a' AS rank_before, item FROM items LIMIT 3")
    rows = con.sql("FROM ML.NEIGHBORS(MODEL near, TABLE queries)")
    assert rows.columns == ["v", "rank_before", "item", "neighbor_id", "distance", "rank"]
    assert len(rows.fetchall()) == 6
    old = con.sql(
        "SELECT neighbor_id, rank FROM ML.NEIGHBORS(MODEL near, (FROM ML.NEIGHBORS(MODEL near, TABLE queries)))"
    )
    assert len(old.fetchall()) == 12
    create(con, "n_neighbors = 2, id_col = 'item'", columns="item, price AS distance")
    rows = con.sql("FROM ML.NEIGHBORS(MODEL near, (SELECT price AS distance, -1 AS Rank, third FROM items LIMIT 3))")
    assert rows.columns == ["distance", "third", "neighbor_id", "rank"]
    assert sorted(row[0] for row in rows.fetchall()) == [0.0] * 3 + [0.5] * 3


def test_without_ids_a_row_is_called_by_its_number(con):
    create(con, "algorithm = 'brute'", columns="v")
    assert [row[0] for row in found(con, "(SELECT v FROM items WHERE item = 'it9')", ", 1")] == [9]


def test_the_rows_are_a_table_that_any_client_reads(con, database):
    create(con)
    con.close()
    with duckdb.connect(database, read_only=True) as plain:
        rows = plain.sql("FROM ml.vectors_1_1")
        assert dict(zip(rows.columns, map(str, rows.types), strict=True)) == {
            "id": "VARCHAR",
            "position": "BIGINT",
            "cell": "INTEGER",
            "radius": "DOUBLE",
            "label": "DOUBLE",
            "vector": "FLOAT[3]",
        }
        assert plain.sql(
            "SELECT count(*) FROM ml.vectors_1_1 v JOIN items i ON i.item = v.id AND i.v = v.vector"
        ).fetchall() == [(600,)]
        cells = [cell for (cell,) in plain.sql("SELECT cell FROM ml.vectors_1_1").fetchall()]
        assert cells == sorted(cells)
        assert len(set(cells)) > 10


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_predictions_agree_in_all_ways(con, weights):
    for kind, target in ((KNeighborsClassifier, "third"), (KNeighborsRegressor, "price")):
        con.execute(
            f"CREATE OR REPLACE MODEL knn OPTIONS (model_type = '{kind.__name__}', input_label_cols = ['{target}'], "
            f"weights = '{weights}', algorithm = 'index') AS SELECT v, {target} FROM items"
        )
        fitted = kind(weights=weights).fit(con.sql(f"SELECT v, {target} FROM items"), y=target)
        expected = fitted.predict(con.sql("SELECT v FROM items")).fetchall()
        by_function = con.sql("SELECT predict('knn', v) FROM items").fetchall()
        by_table = con.sql(f"SELECT predicted_{target} FROM ML.PREDICT(MODEL knn, (SELECT v FROM items))").fetchall()
        loaded = con.load_model("knn").predict(con.sql("SELECT v FROM items")).fetchall()
        np.testing.assert_allclose([row[0] for row in by_function], [row[-1] for row in expected], rtol=1e-9)
        np.testing.assert_allclose([row[0] for row in by_table], [row[-1] for row in expected], rtol=1e-9)
        np.testing.assert_allclose([row[-1] for row in loaded], [row[-1] for row in expected], rtol=1e-9)
    assert con.sql("SELECT r2_score > 0 FROM ML.EVALUATE(MODEL knn, TABLE items)").fetchall() == [(True,)]


@pytest.mark.parametrize("options", ["algorithm = 'index', id_col = 'item'", "algorithm = 'brute', id_col = 'item'"])
def test_added_rows_are_found_without_training(con, options):
    create(con, options)
    before = con.load_model("near")
    assert con.extend_model("near", con.sql("SELECT 'new' AS item, [9, 0, 0]::FLOAT[3] AS v")) == 1
    assert con.sql("SELECT add_rows('near', 'SELECT ''newer'' AS item, [8, 0, 0]::FLOAT[3] AS v')").fetchall() == [(1,)]
    assert [row[0] for row in found(con, "(SELECT [8.9, 0, 0]::FLOAT[3] AS v)", ", 2")] == ["new", "newer"]
    assert con.sql("SELECT max(position), count(*) FROM ml.vectors_1_1").fetchall() == [(601, 602)]
    assert before.kneighbors(con.sql("SELECT [9, 0, 0]::FLOAT[3] AS v"), 1)[1].tolist() == [[600]]
    assert con.sql("SELECT count(*) FROM ml.model_versions").fetchall() == [(1,)]


def test_added_rows_of_a_classifier_vote(con):
    con.execute(
        "CREATE MODEL knn OPTIONS (model_type = 'knn_classifier', input_label_cols = ['third'], n_neighbors = 1) "
        "AS SELECT v, third FROM items"
    )
    con.extend_model(
        "knn", "SELECT [50, 0, 0]::FLOAT[3] AS v, true AS third UNION ALL SELECT [-50, 0, 0]::FLOAT[3], false"
    )
    rows = con.sql(
        "SELECT predict('knn', v) FROM (VALUES ([49, 0, 0]::FLOAT[3]), ([-49, 0, 0]::FLOAT[3])) t(v)"
    ).fetchall()
    assert rows == [(True,), (False,)]


def test_adding_is_rolled_back_with_the_transaction(con):
    create(con)
    con.begin()
    con.extend_model("near", "SELECT 'new' AS item, [9, 0, 0]::FLOAT[3] AS v")
    assert con.load_model("near").kneighbors(con.sql("SELECT [9, 0, 0]::FLOAT[3] AS v"), 1)[0].tolist() == [[0.0]]
    con.rollback()
    assert con.sql("SELECT count(*) FROM ml.vectors_1_1").fetchall() == [(600,)]
    assert found(con, "(SELECT [9, 0, 0]::FLOAT[3] AS v)", ", 1")[0][0] != "new"


def test_a_failed_addition_adds_nothing(con):
    create(con)
    with pytest.raises(UnknownName, match="id_col = 'item' is no column of the query"):
        con.extend_model("near", "SELECT [9, 0, 0]::FLOAT[3] AS v")
    with pytest.raises(UnknownName, match="v"):
        con.extend_model("near", "SELECT 'new' AS item")
    assert con.sql("SELECT count(*) FROM ml.vectors_1_1").fetchall() == [(600,)]
    assert con.extend_model("near", "SELECT item, v FROM items LIMIT 0") == 0


def test_a_failed_training_keeps_no_copy_of_its_rows(con, monkeypatch):
    def failing(self, data):
        raise InvalidData("no")

    monkeypatch.setattr(NearestNeighbors, "_fit", failing)
    with pytest.raises(InvalidData, match=r"^no$"):
        create(con)
    kept = "SELECT count(*) FROM (SELECT table_name AS n FROM duckdb_tables() UNION ALL SELECT view_name FROM "
    assert con.sql(f"{kept} duckdb_views()) WHERE n LIKE 'dbml_ids%'").fetchall() == [(0,)]


def test_threads_ask_the_connection_of_kept_rows_one_at_a_time(con, monkeypatch):
    create(con)
    rows, asking, together = con.load_model("near").get_state().vectors, [], []

    def asked(connection):
        together.extend(asking)
        asking.append(1)
        time.sleep(0.01)
        asking.pop()
        return False

    monkeypatch.setattr("dbml.data.duck.in_transaction_between_queries", asked)
    numbers = []

    def read():
        with rows.reading() as reading:
            numbers.append(sum(piece.n_rows for piece in reading.pieces()))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (together, numbers) == ([], [600] * 4)


def test_rows_are_added_where_the_statement_runs(con, tmp_path):
    con.execute(f"ATTACH '{tmp_path / 'other.duckdb'}' AS other")
    con.execute("CREATE SCHEMA other.s")
    con.execute("CREATE TABLE other.s.items AS FROM items LIMIT 30")
    train = (
        "SELECT train_model('near', 'SELECT item, v FROM items', "
        "{'model_type': 'nearest_neighbors', 'id_col': 'item'}).rows"
    )
    assert con.execute(train).fetchall() == [(600,)]
    con.execute("USE other.s")
    assert con.execute(train).fetchall() == [(30,)]
    assert con.execute("SELECT add_rows('near', 'FROM items LIMIT 5')").fetchall() == [(5,)]
    counts = "SELECT (SELECT count(*) FROM test.ml.vectors_1_1), (SELECT count(*) FROM other.ml.vectors_1_1)"
    assert con.execute(counts).fetchall() == [(600, 35)]


def test_tables_come_and_go_with_their_versions(con):
    create(con)
    create(con, "algorithm = 'brute'", columns="v")
    assert tables(con) == ["vectors_1_1", "vectors_1_2"]
    con.begin()
    con.execute("DROP MODEL near")
    assert tables(con) == []
    con.rollback()
    con.execute("ALTER MODEL near RENAME TO nearest")
    con.execute("ALTER MODEL nearest ROLLBACK TO VERSION 1")
    assert found(con, "(SELECT v FROM items WHERE item = 'it5')", ", 1", "nearest")[0][0] == "it5"
    con.execute("DROP MODEL nearest@2")
    assert tables(con) == ["vectors_1_1"]
    con.execute("DROP MODEL nearest")
    assert tables(con) == []


def test_a_table_that_is_gone_is_a_damaged_model(con):
    create(con)
    con.execute("DROP TABLE ml.vectors_1_1")
    with pytest.raises(RegistryError, match="the table of its rows is missing"):
        con.load_model("near")


def test_rows_that_are_gone_are_found_when_all_are_read(con):
    create(con)
    found = find_version(con.duckdb, "near")
    check_version(con.duckdb, found)
    con.execute("DELETE FROM ml.vectors_1_1 WHERE position IN (3, 4)")
    with pytest.raises(RegistryError, match="2 of its 600 rows are missing in table"):
        check_version(con.duckdb, found)


def test_a_training_that_is_killed_leaves_nothing(database):
    code = f"""
import os, dbml, dbml.registry.vector_table as rows
con = dbml.connect({database!r})
con.execute('''{ITEMS}''')
def die(*arguments): os._exit(9)
rows._insert = die
con.execute("CREATE MODEL near OPTIONS (model_type = 'nearest_neighbors') AS SELECT v FROM items")
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 9
    with dbml.connect(database) as con:
        assert tables(con) == []
        assert con.models().fetchall() == []
        create(con)
        assert found(con, "(SELECT v FROM items WHERE item = 'it5')", ", 1")[0][0] == "it5"


def test_what_is_asked_wrongly_is_refused_with_words(con):
    create(con)
    for query, error, words in (
        ("(SELECT [8, 0]::FLOAT[2] AS v)", InvalidData, "must hold vectors of 3 numbers; got one of 2"),
        ("(SELECT [8, 0]::FLOAT[] AS v)", InvalidData, "must hold vectors of 3 numbers; got one of 2"),
        ("(SELECT NULL::FLOAT[3] AS v)", InvalidData, "must hold a vector in every row; 1 of these 1 rows hold NULL"),
        ("TABLE items, k => 0", InvalidParameter, "k must be a whole number, at least 1; got 0"),
        ("TABLE items, k => 601", InvalidData, "got 601 neighbors of 600 rows"),
    ):
        with pytest.raises(error, match=words):
            con.execute(f"FROM ML.NEIGHBORS(MODEL near, {query})")
    with pytest.raises(StatementError, match=r"no option m here \(options: k, nprobe\)"):
        con.execute("FROM ML.NEIGHBORS(MODEL near, TABLE items, m => 3)")
    with pytest.raises(UnknownName, match="needs a column 'v'"):
        con.execute("FROM ML.NEIGHBORS(MODEL near, (SELECT 1 AS u))")
    con.execute(
        "CREATE MODEL line OPTIONS (model_type = 'linear_reg', input_label_cols = ['price']) "
        "AS SELECT price, third FROM items"
    )
    with pytest.raises(StatementError, match="line keeps no rows"):
        con.execute("FROM ML.NEIGHBORS(MODEL line, TABLE items)")
    with pytest.raises(InvalidData, match="model 'line' is a LinearRegression, which keeps no rows"):
        con.extend_model("line", "FROM items")
    with pytest.raises(InvalidParameter, match="id_col is for models that keep their rows"):
        con.execute(
            "CREATE MODEL l2 OPTIONS (model_type = 'linear_reg', input_label_cols = ['price'], id_col = 'item') "
            "AS FROM items"
        )
    assert {"neighbors", "add_rows"} <= set(TYPES)


def test_a_vector_of_another_length_is_refused_and_a_missing_one_is_the_mean(con):
    con.execute(
        "CREATE MODEL knn OPTIONS (model_type = 'KNeighborsRegressor', input_label_cols = ['price'], n_neighbors = 3) "
        "AS SELECT if(item = 'it7', NULL, v) AS v, price FROM items"
    )
    model, types = con.load_model("knn"), ("FLOAT[2]", "DOUBLE[2]")
    words = r"a vector of 3 numbers in column 'v' \(FLOAT\[3\] in training\); the rows have {}\[2\]"
    for type_ in types:
        rows = f"SELECT [1, 2]::{type_} AS v, 1.0 AS price"
        for score in (
            lambda rows=rows: con.execute(f"SELECT predict('knn', v) FROM ({rows})"),
            lambda rows=rows: con.execute(f"FROM ML.PREDICT(MODEL knn, ({rows}))"),
            lambda rows=rows: model.predict(con.sql(rows)).fetchall(),
            lambda rows=rows: model.kneighbors(con.sql(rows)),
            lambda rows=rows: con.extend_model("knn", con.sql(rows)),
        ):
            with pytest.raises(
                Exception, match=f"{words.format(type_[:-3])}|must hold vectors of 3 numbers; got one of 2"
            ):
                score()
    lists = "SELECT unnest([[1, 2, 3], NULL, [1, 2]])::DOUBLE[] AS v, 1.0 AS price"
    for score in (
        lambda: con.execute(f"SELECT predict('knn', v) FROM ({lists})"),
        lambda: con.execute(f"FROM ML.PREDICT(MODEL knn, ({lists}))"),
        lambda: model.predict(con.sql(lists)).fetchall(),
        lambda: con.extend_model("knn", con.sql(lists)),
    ):
        with pytest.raises((InvalidData, duckdb.InvalidInputException), match="'v' must hold vectors of 3"):
            score()
    assert con.sql("SELECT count(*) FROM ml.vectors_1_1").fetchall() == [(600,)]
    lists = lists.replace(", [1, 2]]", "]")
    given = [value for (value,) in con.sql(f"SELECT predict('knn', v) FROM ({lists})").fetchall()]
    assert len(given) == 2
    # What is asked for must be there, as in ML.NEIGHBORS: the mean of all vectors is no query.
    with pytest.raises(InvalidData, match="must hold a vector in every row"):
        model.kneighbors(con.sql("SELECT NULL::FLOAT[3] AS v"), 1)
    assert con.extend_model("knn", con.sql(lists)) == 2


def test_explain_says_how_rows_are_searched(con):
    query = "EXPLAIN CREATE MODEL n OPTIONS (model_type = 'nearest_neighbors', nprobe = 2, id_col = 'item') AS "
    query += "SELECT v, item FROM items"
    told = dict(con.sql(query).fetchall())
    assert told["columns"] == "1: v"
    assert told["solver"] == "an index of cells, because nprobe cells"
    told = dict(con.sql(query.replace("EXPLAIN", "EXPLAIN ANALYZE")).fetchall())
    assert told["recall"].startswith("about ")


VECTORS = {
    "another length, by its type": ("[1, 2]::FLOAT[2]", "vector of 3 numbers|vectors of 3 numbers"),
    "another length": ("[1, 2]::DOUBLE[]", "must hold vectors of 3 numbers; got one of 2"),
    "no vector": ("NULL::FLOAT[3]", "must hold a vector in every row; 1 of these 1 rows hold NULL"),
    "no list": ("NULL::DOUBLE[]", "must hold a vector in every row; 1 of these 1 rows hold NULL"),
}


@pytest.mark.parametrize("case", VECTORS)
@pytest.mark.parametrize("arrow", [False, True])
def test_a_query_that_is_no_vector_of_the_model_is_an_error_in_sql_and_in_python(con, case, arrow):
    create(con)
    value, words = VECTORS[case]
    query = f"SELECT {value} AS v"
    with pytest.raises((InvalidData, UnsupportedColumn), match=words):
        con.execute(f"FROM ML.NEIGHBORS(MODEL near, ({query}))").fetchall()
    rows = con.sql(query).to_arrow_table() if arrow else con.sql(query)
    with pytest.raises((InvalidData, UnsupportedColumn), match=words):
        con.load_model("near").kneighbors(rows)


def test_a_missing_element_of_a_query_takes_the_mean_in_sql_and_in_python(con):
    create(con)
    query = "SELECT [1, NULL, 2]::FLOAT[3] AS v"
    _, positions = con.load_model("near").kneighbors(con.sql(query), 3)
    names = [con.sql("SELECT item FROM items").fetchall()[p][0] for p in positions[0]]
    assert [row[0] for row in found(con, f"({query})", ", 3")] == names


def test_a_prediction_takes_the_mean_for_a_missing_vector_and_refuses_another_length(con):
    con.execute(
        "CREATE MODEL kind OPTIONS (model_type = 'knn_regressor', input_label_cols = ['y']) AS "
        "SELECT v, v[1]::DOUBLE AS y FROM items"
    )
    model = con.load_model("kind")
    missing = con.sql("SELECT NULL::DOUBLE[] AS v")
    mean = con.sql("SELECT predict('kind', NULL::FLOAT[3])").fetchall()[0][0]
    assert model.predict(missing.to_arrow_table())[0] == mean
    for rows in (con.sql("SELECT [1, 2]::DOUBLE[] AS v"), con.sql("SELECT [1, 2]::DOUBLE[] AS v").to_arrow_table()):
        with pytest.raises((InvalidData, duckdb.Error), match="must hold vectors of 3 numbers; got one of 2"):
            predicted = model.predict(rows)
            predicted.fetchall()


def test_the_cursor_that_looked_a_model_up_is_free_while_its_rows_are_read():
    """DuckDB calls a function from many threads; one of them loads the model, and looks up names at later calls."""
    with dbml.connect() as con:
        con.execute("CREATE TABLE rows AS SELECT i::DOUBLE AS x, 2.0 * i AS y FROM range(50) r(i)")
        con.execute(
            "CREATE MODEL near OPTIONS (model_type = 'knn_regressor', n_neighbors = 1, input_label_cols = ['y']) AS "
            "FROM rows"
        )
        cursor = con.duckdb.cursor()
        model = ModelCache(lambda version, estimator: estimator).get("near", lambda: cursor)
        done, errors = threading.Event(), []

        def score():
            try:
                while not done.is_set():
                    assert model.predict(np.array([[3.0]])).tolist() == [6.0]
            except Exception as error:
                errors.append(error)

        scoring = threading.Thread(target=score)
        scoring.start()
        try:
            for _ in range(1_000):
                cursor.execute("SELECT 1").fetchall()
        finally:
            done.set()
            scoring.join()
    assert not errors
