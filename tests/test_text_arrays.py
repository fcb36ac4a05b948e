"""Arrays of text and objects, for estimators that take categories: columns of a kind each, as in scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn import preprocessing
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

import dbml
from dbml import OneHotEncoder
from dbml.errors import UnsupportedColumn

ARRAYS = {
    "objects": np.array([["a", 1, 5], ["b", 2, 5], ["a", 3, 5]], object),
    "text": np.array([["a", "z"], ["b", "z"]]),
    "a list": [["a", "x"], ["b", "y"]],
    "numbers among objects": np.array([[1, 2], [3, 4]], object),
    "booleans": np.array([["a", True], ["b", False]], object),
}


@pytest.mark.parametrize("array", ARRAYS)
def test_categories_of_an_array_are_those_of_scikit_learn(array):
    X = ARRAYS[array]
    ours, theirs = OneHotEncoder(sparse_output=False).fit(X), preprocessing.OneHotEncoder(sparse_output=False).fit(X)
    made = ours.transform(X)
    np.testing.assert_array_equal(made, theirs.transform(X))
    assert ours.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()
    assert [c.tolist() for c in ours.categories_] == [c.tolist() for c in theirs.categories_]
    assert ours.inverse_transform(made).tolist() == theirs.inverse_transform(made).tolist()
    assert ours.n_features_in_ == theirs.n_features_in_
    assert not hasattr(ours, "feature_names_in_")
    again = OneHotEncoder.from_state(ours.get_state())
    np.testing.assert_array_equal(again.transform(X), made)


def test_a_pipeline_of_scikit_learn_fills_text_first():
    frame = pd.DataFrame({"kind": ["x", "y", np.nan, "x"], "size": ["u", np.nan, "v", "v"]}, dtype=object)
    first = SimpleImputer(strategy="most_frequent")
    ours = make_pipeline(first, OneHotEncoder(sparse_output=False)).fit(frame)
    theirs = make_pipeline(first, preprocessing.OneHotEncoder(sparse_output=False)).fit(frame)
    np.testing.assert_array_equal(ours.transform(frame), theirs.transform(frame))
    assert ours.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()


def test_missing_texts_of_an_array_are_a_category():
    X = np.array([["a"], [np.nan], ["b"], [None]], object)
    model = OneHotEncoder(sparse_output=False).fit(X)
    assert model.categories_[0].tolist() == ["a", "b", None]
    assert model.transform(X).tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1]]


def test_a_column_of_text_and_numbers_is_refused():
    with pytest.raises(UnsupportedColumn, match="X must hold values of one kind in each column, numbers or text"):
        OneHotEncoder().fit(np.array([["a"], [1]], object))
    with pytest.raises(UnsupportedColumn, match="must hold numbers"):
        dbml.StandardScaler().fit(np.array([["a"], ["b"]], object))


def test_a_column_without_any_value_is_refused_by_name():
    with pytest.raises(UnsupportedColumn, match="x1"):
        OneHotEncoder().fit(np.array([["a", None], ["b", None]], object))
