"""The command line and models without a label, texts, users and items: train, show, predict, evaluate, export."""

import json

import duckdb
import pytest

from dbml.cli import OK, USAGE_ERROR, USER_ERROR, run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with houses.csv (numbers, a category, a text, a row number) and stays.csv (users, items, ratings)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DBML_DB", raising=False)
    with duckdb.connect() as con:
        con.execute("""
            COPY (SELECT i AS house, 40 + i % 97 AS area, CASE WHEN i % 7 <> 0 THEN 1900 + i % 101 END AS built,
                         ['north', 'south', 'west'][1 + i % 3] AS district,
                         'a ' || ['quiet', 'loud'][1 + i % 2] || ' street, number ' || i AS remark, i % 2 = 1 AS loud
                  FROM range(1, 2001) t(i)) TO 'houses.csv'""")
        con.execute("""
            COPY (SELECT guest, 'h' || hotel AS hotel, 1 + (hash(guest) % 3) + (hash(hotel) % 3) AS stars, 'x' AS note
                  FROM range(40) g(guest), range(12) h(hotel) WHERE hash(guest, hotel) % 3 = 0) TO 'stays.csv'""")
    return tmp_path


def said(capsys):
    out = capsys.readouterr()
    return out.out, out.err


def test_a_model_without_a_label_needs_no_target_and_learns_from_all_rows(folder, capsys):
    assert run(["train", "houses.csv", "--model-type", "kmeans", "-o", "num_clusters=3"]) == OK
    out, err = said(capsys)
    assert err.startswith("kmeans; 2,000 rows, 4 columns")
    assert "without house: another whole number in (almost) every row" in err
    assert "without remark: another text in (almost) every row (--text remark reads its words)" in err
    assert "saved kmeans version 1 in houses.duckdb" in out
    assert "rows it has not seen" not in out
    assert run(["models", "--json"]) == OK
    (model,) = json.loads(said(capsys)[0])
    assert (model["name"], model["target"], model["n_rows"]) == ("kmeans", None, 2000)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["houses.csv"], "say which column to predict with --target COLUMN, or which model without a label"),
        (["houses.csv", "--model-type", "lasso"], "lasso predicts a column: name it with --target COLUMN"),
        (["houses.csv", "--model-type", "kmeans", "-y", "loud"], "kmeans has no label; leave out --target"),
        (["houses.csv", "--model-type", "kmaens"], "no model type 'kmaens'; did you mean 'KMeans'?"),
        (["houses.csv", "-y", "loud", "--text", "remarks"], "no column 'remarks'; did you mean 'remark'?"),
        (["stays.csv", "--model-type", "matrix_factorization"], "no column 'rating'"),
        (["stays.csv", "--model-type", "matrix_factorization", "-y", "stars"], "no column 'user'"),
    ],
)
def test_what_is_missing_or_too_much_is_said(folder, capsys, arguments, words):
    assert run(["train", *arguments]) in (USER_ERROR, USAGE_ERROR)
    assert words in said(capsys)[1].splitlines()[-1]
    assert not list(folder.glob("*.duckdb"))


def test_the_words_of_a_text_are_learned(folder, capsys):
    arguments = ["train", "houses.csv", "-y", "loud", "--model-type", "MultinomialNB", "--text", "remark", "-x", "area"]
    assert run([*arguments, "-x", "built", "-x", "district"]) == OK
    out, err = said(capsys)
    assert "without remark" not in err
    assert "accuracy 1" in out
    assert run(["train", "houses.csv", "-y", "loud", "--name", "again", "--model-type", "MultinomialNB", "-x", "area",
                "-x", "built", "-o", 'text=["remark"]']) == OK  # fmt: skip


def test_users_and_items_are_the_columns_that_are_read(folder, capsys):
    options = ["-o", "user_col=guest", "-o", "item_col=hotel", "-o", "num_factors=2"]
    assert run(["train", "stays.csv", "--model-type", "matrix_factorization", "-y", "stars", *options]) == OK
    _, err = said(capsys)
    assert "2 columns" in err
    assert "without note: the model does not read it" in err
    given = ["train", "stays.csv", "--model-type", "matrix_factorization", "-o", "rating_col=stars", *options]
    held_out = ["-o", "data_split_method=RANDOM", "-o", "data_split_eval_fraction=0.3"]
    assert run([*given, *held_out, "-o", "feedback_type=implicit", "--name", "clicks"]) == OK
    assert "average_rank" in said(capsys)[0]
    assert run(["evaluate", "stars", "stays.csv", "--json", "--db", "stays.duckdb"]) == OK
    assert set(json.loads(said(capsys)[0])) >= {"r2_score", "mean_squared_error"}
    assert run(["show", "stars", "--json", "--db", "stays.duckdb"]) == OK
    learned = {row["what"]: row["value"] for row in json.loads(said(capsys)[0])["learned"]}
    assert (learned["users"], learned["items"]) == (40, 12)


@pytest.fixture
def scaled(folder, capsys):
    arguments = ["train", "houses.csv", "--model-type", "standard_scaler", "--name", "scaled"]
    assert run([*arguments, "-x", "district", "-x", "loud"]) == OK
    capsys.readouterr()
    return folder


def test_show_tells_what_a_scaler_learned(scaled, capsys):
    assert run(["show", "scaled"]) == OK
    out, _ = said(capsys)
    assert "columns" in out.splitlines()
    assert "mean_" in out
    assert "centred" not in out
    assert run(["show", "scaled", "--json"]) == OK
    first, *_ = json.loads(said(capsys)[0])["columns"]
    assert first["column"] == "area"
    assert first["mean_"] == pytest.approx(87.74, abs=0.5)


def test_a_scaler_transforms_and_has_no_metrics(scaled, capsys):
    assert run(["predict", "scaled", "houses.csv", "-o", "scaled.parquet"]) == OK
    with duckdb.connect() as con:
        assert con.sql("SELECT abs(avg(area)) < 1e-9, count(*) FROM 'scaled.parquet'").fetchall() == [(True, 2000)]
    capsys.readouterr()
    assert run(["evaluate", "scaled"]) == USER_ERROR
    _, err = said(capsys)
    assert err == "dbml: scaled predicts no label, and has no metrics\n"


def test_a_scaler_is_written_for_another_database(scaled, capsys):
    assert run(["export", "scaled", "--dialect", "postgres", "--table", "houses"]) == OK
    query = said(capsys)[0]
    with duckdb.connect() as con:
        con.execute("CREATE TABLE houses AS FROM 'houses.csv'")
        found = con.sql(query)
        assert found.columns[-2:] == ["transformed_area", "transformed_built"]
        assert con.sql(f"SELECT round(avg(transformed_area), 9) FROM ({query})").fetchall() == [(0.0,)]


def test_neighbours_and_anomalies_are_what_is_predicted(folder, capsys):
    query = "SELECT area, built FROM 'houses.csv' WHERE built IS NOT NULL"
    kinds = {"nearest_neighbors": {"neighbor_id", "distance", "rank"}, "isolation_forest": {"is_anomaly"}}
    for kind, columns in kinds.items():
        assert run(["train", query, "--model-type", kind, "--db", "m.duckdb"]) == OK
        capsys.readouterr()
        assert run(["predict", kind, f"{query} LIMIT 1", "--json", "--db", "m.duckdb"]) == OK
        assert columns <= set(json.loads(said(capsys)[0])[0])


def test_a_model_without_an_expression_says_so(folder, capsys):
    query = "SELECT area, built FROM 'houses.csv'"
    assert run(["train", query, "--model-type", "gaussian_mixture", "-o", "num_clusters=2", "--db", "m.duckdb"]) == OK
    capsys.readouterr()
    assert run(["export", "gaussian_mixture", "--db", "m.duckdb"]) == USER_ERROR
    _, err = said(capsys)
    assert "cannot be written as a query: what it computes is no expression over the columns" in err
    assert "covariance_type = 'diag' in training, or dbml predict gaussian_mixture DATA" in err


@pytest.mark.parametrize("dialect", ["duckdb", "sqlite"])
def test_anomalies_cannot_be_exported_which_is_told(folder, capsys, dialect):
    options = ["--model-type", "isolation_forest", "-o", "n_estimators=3", "--db", "m.duckdb"]
    assert run(["train", "houses.csv", *options, "--name", "odd"]) == OK
    said(capsys)
    assert run(["export", "odd", "--db", "m.duckdb", "--dialect", dialect]) == USER_ERROR
    _, err = said(capsys)
    assert "model 'odd' (IsolationForest) cannot be written as a query" in err
    assert "dbml predict odd DATA" in err
    assert run(["predict", "odd", "houses.csv", "--db", "m.duckdb"]) == OK
