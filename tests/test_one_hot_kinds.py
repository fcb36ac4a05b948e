"""Categories of the one-hot encoder by the kind of their column: what is told apart, and what they are called."""

import numpy as np
import pandas as pd
import pytest
from sklearn import preprocessing

import dbml
from dbml import OneHotEncoder
from dbml.errors import InvalidData

LARGE = 2**53


@pytest.fixture(scope="module")
def con():
    with dbml.connect() as con:
        yield con


@pytest.mark.parametrize(
    "value", ["i + 9007199254740992", "(i - 9007199254740994)::HUGEINT", "(i + 9e14)::DECIMAL(38, 2)"]
)
def test_numbers_that_doubles_do_not_tell_apart_are_refused(con, value):
    with pytest.raises(InvalidData, match=r"OneHotEncoder: numbers must be within 2\^53 .*'k' of the query, "):
        OneHotEncoder().fit(con.sql(f"SELECT {value} AS k FROM range(3) r(i)"))
    as_text = con.sql(f"SELECT ({value})::VARCHAR AS k FROM range(3) r(i)")
    assert len(OneHotEncoder().fit(as_text).categories_[0]) == 3


def test_large_numbers_of_an_array():
    with pytest.raises(InvalidData, match="'x0' of array of 3 x 1"):
        OneHotEncoder().fit(LARGE + np.arange(3)[:, None])
    just = LARGE - 3 + np.arange(3)[:, None]
    np.testing.assert_array_equal(OneHotEncoder(sparse_output=False).fit_transform(just), np.eye(3))


KINDS = pd.DataFrame(
    {
        "year": [2020, 2021, 2020],
        "ok": [True, False, True],
        "share": [1.5, 2.0, 1.5],
        "word": ["a", "b", "a"],
    }
)


@pytest.mark.parametrize(
    "columns", [["year"], ["ok"], ["share"], ["year", "ok"], ["year", "share"], ["year", "ok", "share", "word"]]
)
def test_names_categories_and_their_types_are_those_of_scikit_learn(con, columns):
    rows = KINDS[columns]
    ours, theirs = OneHotEncoder().fit(rows), preprocessing.OneHotEncoder().fit(rows)
    assert ours.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()
    for mine, other in zip(ours.categories_, theirs.categories_, strict=True):
        assert mine.dtype == other.dtype or mine.dtype.kind == "O"
        assert mine.tolist() == other.tolist()
    made = ours.transform(rows)
    mine, other = ours.inverse_transform(made), theirs.inverse_transform(made)
    assert mine.dtype == other.dtype
    assert mine.tolist() == other.tolist()
    con.duckdb.register("frame", rows)
    con.save_model("kinds", OneHotEncoder().fit(con.sql("FROM frame")))
    names = con.sql("FROM ML.TRANSFORM(MODEL kinds, (FROM frame))").columns
    assert set(ours.get_feature_names_out()) <= set(names)
    assert con.load_model("kinds").categories_[0].tolist() == ours.categories_[0].tolist()


def test_missing_values_among_integers_and_booleans(con):
    rows = con.sql("SELECT * FROM (VALUES (1, true), (NULL, NULL), (7, false)) r(n, b)")
    model = OneHotEncoder(sparse_output=False).fit(rows)
    assert model.get_feature_names_out().tolist() == ["n_1", "n_7", "n_nan", "b_False", "b_True", "b_None"]
    numbers, truths = model.categories_
    np.testing.assert_array_equal(numbers, [1.0, 7.0, np.nan])
    assert truths.tolist() == [False, True, None]
    back = model.inverse_transform(model.transform(rows.df()))
    assert back[[0, 2]].tolist() == [[1, True], [7, False]]
    assert np.isnan(back[1, 0])
    assert back[1, 1] is None
    unknown = OneHotEncoder(handle_unknown="ignore").fit(KINDS[["year"]])
    assert np.isnan(unknown.inverse_transform([[0.0, 0.0]])).all()
    with pytest.raises(InvalidData, match="found unknown categories in column year: 1999"):
        OneHotEncoder().fit(KINDS[["year"]]).transform(pd.DataFrame({"year": [1999]}))


def test_zeros_alone_are_turned_back_only_where_they_mean_something():
    rows, zeros = KINDS[["word", "share"]], np.array([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
    with pytest.raises(InvalidData, match=r"OneHotEncoder: samples 1 can not be inverted .* 'word' .* all zeros"):
        OneHotEncoder().fit(rows).inverse_transform(zeros)
    for params in ({"handle_unknown": "ignore"}, {"drop": "first"}):
        ours, theirs = OneHotEncoder(**params).fit(rows), preprocessing.OneHotEncoder(**params).fit(rows)
        made = zeros if "drop" not in params else zeros[:, [1, 3]]
        assert ours.inverse_transform(made).tolist() == theirs.inverse_transform(made).tolist()
