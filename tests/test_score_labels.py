"""Labels that a classifier is scored against: which can be compared with its classes, alike in arrays and tables."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

import dbml
from dbml import LogisticRegression
from dbml.errors import InvalidData

X = np.random.default_rng(0).normal(size=(80, 1))
CODES = (X[:, 0] + 0.2 * np.sin(40 * X[:, 0]) > 0).astype(int)
WHOLE = CODES + 2 * (X[:, 0] > 1)  # 0, 1 and 3

COMPARABLE = {
    "integers": CODES,
    "small integers": CODES.astype(np.int8),
    "floats": CODES.astype(float),
    "booleans": CODES == 1,
    "objects": CODES.astype(object),
    "other classes": CODES + 1,
}
REFUSED = {
    "text": (CODES.astype(str), r"numbers \(0, 1\); got text"),
    "text objects": (CODES.astype(str).astype(object), r"numbers \(0, 1\); got text"),
    "NaN": (np.where(X[:, 0] > 1, np.nan, CODES), r"contains NaN, infinity or None: \d+ labels are missing"),
    "infinity": (np.where(X[:, 0] > 1, np.inf, CODES), r"contains NaN, infinity or None: \d+ labels are missing"),
    "fractions": (X[:, 0], "must hold classes, but holds fractions such as"),
    "dates": (np.full(80, "2020-01-01", "M8[us]"), r"numbers \(0, 1\); got (datetime64\[us\]|TIMESTAMP)"),
}


def in_table(con, y):
    frame = pd.DataFrame({"x0": X[:, 0], "y": y})
    con.duckdb.register("frame", frame)
    con.execute("CREATE OR REPLACE TABLE t AS FROM frame")
    return con.table("t")


@pytest.fixture(scope="module")
def con():
    with dbml.connect() as con:
        yield con


@pytest.fixture(scope="module")
def model(con):
    return LogisticRegression().fit(in_table(con, CODES), "y")


@pytest.mark.parametrize("labels", COMPARABLE)
def test_numbers_and_booleans_are_compared_by_value(con, model, labels):
    y = COMPARABLE[labels]
    frame = pd.DataFrame({"x0": X[:, 0]})
    wanted = accuracy_score(y.astype(int), model.predict(frame))
    assert model.score(frame, y) == pytest.approx(wanted)
    assert model.score(in_table(con, y), "y") == pytest.approx(wanted)


@pytest.mark.parametrize("labels", REFUSED)
def test_labels_that_cannot_be_compared_are_refused(con, model, labels):
    y, words = REFUSED[labels]
    with pytest.raises(InvalidData, match=f"LogisticRegression: y .*{words}"):
        model.score(pd.DataFrame({"x0": X[:, 0]}), y)
    if y.dtype.kind != "f" or not np.isnan(y).any():  # DuckDB reads NaN in a frame as NULL
        with pytest.raises(InvalidData, match=f"the target 'y' of t .*{words}"):
            model.score(in_table(con, y), "y")


def test_nan_of_a_table_is_refused_and_null_left_out(con, model):
    in_table(con, CODES)
    with pytest.raises(InvalidData, match="contains NaN"):
        model.score(con.sql("SELECT x0, if(x0 > 1, 'nan'::DOUBLE, y) AS y FROM t"), "y")
    some = X[:, 0] <= 1
    wanted = model.score(pd.DataFrame({"x0": X[some, 0]}), CODES[some])
    assert model.score(con.sql("SELECT x0, if(x0 > 1, NULL, y) AS y FROM t"), "y") == pytest.approx(wanted)
    missing = np.array([None if x > 1 else code for x, code in zip(X[:, 0], CODES, strict=True)], object)
    with pytest.raises(InvalidData, match="contains NaN, infinity or None"):
        model.score(pd.DataFrame({"x0": X[:, 0]}), missing)


def test_text_is_compared_with_text_alone(con):
    names = np.where(CODES == 1, "yes", "no")
    model = LogisticRegression().fit(in_table(con, names), "y")
    frame = pd.DataFrame({"x0": X[:, 0]})
    same = model.score(frame, names)
    assert same > 0.5
    assert model.score(frame, pd.Categorical(names)) == same
    assert model.score(con.sql("SELECT x0, y::ENUM('no', 'yes') AS y FROM t"), "y") == same
    with pytest.raises(InvalidData, match=r"text \('no', 'yes'\); got numbers"):
        model.score(frame, CODES)
    with pytest.raises(InvalidData, match=r"text \('no', 'yes'\); got numbers"):
        model.score(in_table(con, CODES), "y")


@pytest.mark.parametrize("kind", ["BIGINT", "DOUBLE", "DECIMAL(9, 2)", "UHUGEINT"])
def test_the_type_of_the_column_changes_nothing(con, kind):
    model = LogisticRegression().fit(in_table(con, WHOLE), "y")
    many = con.sql(f"SELECT x0, y::{kind} AS y FROM t")
    assert model.score(many, "y") == pytest.approx(model.score(pd.DataFrame({"x0": X[:, 0]}), WHOLE))
    learned = LogisticRegression().fit(con.sql(f"SELECT x0, ((x0 * 9)::INTEGER + 30)::{kind} AS y FROM t"), "y")
    assert len(learned.classes_) > 8
    rows = con.sql("SELECT x0, (x0 * 9)::INTEGER + 30 AS y FROM t")
    assert learned.score(rows, "y") == pytest.approx((learned.predict(rows.df()) == rows.df()["y"]).mean())


def test_classes_that_are_fractions_are_compared_with_fractions(con):
    halves = in_table(con, CODES / 2)
    model = LogisticRegression().fit(halves, "y")
    assert model.score(halves, "y") == model.score(pd.DataFrame({"x0": X[:, 0]}), CODES / 2) > 0.5


@pytest.mark.parametrize("labels", [(2**63, 2**63 + 1), (7, 2**63 + 1), (2**64 - 2, 2**64 - 1)])
def test_labels_of_64_bits_without_a_sign_stay_apart(con, labels):
    y = np.where(CODES == 1, np.uint64(labels[1]), np.uint64(labels[0]))
    frame = pd.DataFrame({"x0": X[:, 0]})
    for model in (LogisticRegression().fit(X, y), LogisticRegression().fit(X, y.tolist())):
        assert model.classes_.tolist() == list(labels)
        assert set(model.predict(X).tolist()) == set(labels)
        assert model.score(X, y) == model.score(X, y.tolist()) == (model.predict(X) == y).mean() < 1.0
        assert type(model).from_state(model.get_state()).classes_.tolist() == list(labels)
    rows = in_table(con, y)
    model = LogisticRegression().fit(rows, "y")
    assert model.classes_.tolist() == list(labels)
    assert model.score(rows, "y") == model.score(frame, y) == (model.predict(frame) == y).mean() < 1.0
    assert model.score(frame, np.full(80, float(labels[1]))) < 1.0


def test_labels_on_both_sides_of_zero_and_63_bits_are_objects(con):
    in_table(con, CODES)
    con.execute("CREATE OR REPLACE TABLE wide AS SELECT x0, if(y = 1, 9223372036854775809, -1)::HUGEINT AS y FROM t")
    model = LogisticRegression().fit(con.table("wide"), "y")
    assert model.classes_.tolist() == [-1, 2**63 + 1]
    assert model.score(con.table("wide"), "y") == LogisticRegression().fit(X, CODES).score(X, CODES)
