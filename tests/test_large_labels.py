"""Whole numbers as labels that no DOUBLE tells apart: predicted as they are in every way of scoring."""

from __future__ import annotations

import pytest

import dbml

# Neighbours beyond 2^53, and the ends of the types.
LARGE = {
    "BIGINT": (9007199254740993, 9007199254740995),
    "UBIGINT": (2**64 - 2, 2**64 - 1),
    "HUGEINT": (2**127 - 2, 2**127 - 1),
    "UHUGEINT": (2**128 - 2, 2**128 - 1),
}
TYPES = ("knn_classifier", "boosted_tree_classifier", "logistic_reg")


@pytest.fixture
def con():
    with dbml.connect() as con:
        yield con


@pytest.mark.parametrize("type_", LARGE)
def test_a_large_label_is_predicted_as_itself(con, type_):
    low, high = (f"CAST('{label}' AS {type_})" for label in LARGE[type_])
    con.execute(
        f"CREATE TABLE t AS SELECT i AS x, CASE WHEN i < 30 THEN {low} ELSE {high} END AS id FROM range(60) s(i)"
    )
    for model_type in TYPES:
        con.execute(
            f"CREATE OR REPLACE MODEL m OPTIONS (model_type = '{model_type}', input_label_cols = ['id']) AS FROM t"
        )
        wrong = "SELECT count(*) FILTER ({} IS DISTINCT FROM id), any_value(typeof({})) FROM {}"
        scored = "ML.PREDICT(MODEL m, TABLE t)"
        assert con.execute(wrong.format(*["predict('m', t)"] * 2, "t")).fetchone() == (0, type_)
        assert con.execute(wrong.format(*["predicted_id"] * 2, scored)).fetchone() == (0, type_)
        probable = "list_reduce(predicted_id_probs, lambda a, b: CASE WHEN a.prob >= b.prob THEN a ELSE b END).label"
        assert con.execute(wrong.format(*[probable] * 2, scored)).fetchone() == (0, type_)
        assert con.execute("SELECT accuracy FROM ML.EVALUATE(MODEL m, TABLE t)").fetchone() == (1.0,)
        table, model = con.table("t"), con.load_model("m")
        predicted = model.predict(table)
        assert predicted.filter("predicted_id IS DISTINCT FROM id").fetchall() == []
        assert str(predicted.types[-1]) == type_
        assert model.predict_proba(table).types[-1] == f'STRUCT("label" {type_}, prob DOUBLE)[]'


def test_predict_of_double_refuses_large_labels(con):
    con.execute("CREATE TABLE t AS SELECT i AS x, 9007199254740993 + i // 30 * 2 AS id FROM range(60) s(i)")
    con.execute("CREATE MODEL m OPTIONS (model_type = 'knn_classifier', input_label_cols = ['id']) AS FROM t")
    assert con.duckdb.execute("SELECT DISTINCT predict_label('m', x) FROM t WHERE x < 20").fetchall() == [
        ("9007199254740993",)
    ]
    with pytest.raises(
        Exception, match=r"beyond what DOUBLE tells apart .9007199254740993, 9007199254740995.: use pred"
    ):
        con.duckdb.execute("SELECT predict('m', x) FROM t")
