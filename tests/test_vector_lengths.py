"""Lists in place of the vectors that a model was trained on: of their length, or an error in every way of scoring."""

from __future__ import annotations

import pytest

import dbml

MODELS = ("linear_reg", "logistic_reg", "naive_bayes", "boosted_tree_classifier", "kmeans", "pca", "knn_classifier")
WORDS = "column 'v' must hold vectors of 2 numbers; got one of {}"


@pytest.fixture(scope="module")
def con():
    with dbml.connect() as con:
        con.execute("""CREATE TABLE t AS SELECT [i % 7, i % 5]::DOUBLE[2] AS v, i % 7 > 3 AS late, i % 7 * 2 AS y
            FROM range(80) s(i)""")
        yield con


@pytest.mark.parametrize("type_", MODELS)
def test_a_list_of_another_length_is_an_error(con, type_):
    label = {"linear_reg": "y", "kmeans": None, "pca": None}.get(type_, "late")
    given = f", input_label_cols = ['{label}']" if label else ", num_clusters = 2" if type_ == "kmeans" else ""
    given += ", num_principal_components = 1" if type_ == "pca" else ""
    columns = f"v, {label}" if label else "v"
    con.execute(f"CREATE OR REPLACE MODEL m OPTIONS (model_type = '{type_}'{given}) AS SELECT {columns} FROM t")
    model = con.load_model("m")
    call = "transform" if type_ == "pca" else "predict"
    rows = "FROM (VALUES ({})) r(v)"
    ways = [
        lambda query: con.execute(f"SELECT {call}('m', r) {query}").fetchall(),
        lambda query: con.execute(f"FROM ML.PREDICT(MODEL m, (SELECT * {query}))").fetchall(),
        lambda query: con.execute(f"SELECT dbml_{call}('m', v) {query}").fetchall(),
        lambda query: getattr(model, call)(con.sql(f"SELECT * {query}")).fetchall(),
        lambda query: getattr(model, call)(con.sql(f"SELECT * {query}").to_arrow_table()),
    ]
    for way in ways:
        fixed, listed = (
            str(way(rows.format(f"[3, 1]::DOUBLE[{n}]"))).replace("(3.0, 1.0)", "[3.0, 1.0]") for n in ("2", "")
        )
        assert fixed == listed
        for value, length in (("[3.0, 1.0, 999.0]::DOUBLE[]", 3), ("[3.0]::DOUBLE[]", 1), ("[]::DOUBLE[]", 0)):
            with pytest.raises(Exception, match=WORDS.format(length)):
                way(rows.format(value))
    missing = rows.format("NULL::DOUBLE[]")
    assert len(con.execute(f"SELECT {call}('m', r) {missing}").fetchall()) == 1
