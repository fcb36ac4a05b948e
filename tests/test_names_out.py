"""Names of what transformers make, where the columns of training had no names of their own: as in scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn import preprocessing
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.pipeline import make_pipeline

import dbml
from dbml.errors import InvalidData

FRAME = pd.DataFrame({"age": [1.0, 9.0, 2.0, 7.0], "height": [1.0, 2.0, 3.0, 4.0], "rooms": [1.0, 2.0, 1.0, 1.0]})
Y = np.array([1.0, 2.0, 3.0, 4.1])


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("StandardScaler", {}),
        ("MinMaxScaler", {}),
        ("SimpleImputer", {}),
        ("KBinsDiscretizer", {"n_bins": 2, "encode": "ordinal"}),
    ],
)
def test_a_pipeline_names_the_columns_that_are_left(name, params):
    made = make_pipeline(SelectKBest(f_regression, k=1), getattr(dbml, name)(**params)).fit(FRAME, Y)
    assert made.get_feature_names_out().tolist() == ["height"]


def test_names_are_those_of_scikit_learn():
    X = FRAME[["rooms"]].to_numpy()
    ours, theirs = dbml.OneHotEncoder().fit(X), preprocessing.OneHotEncoder().fit(X)
    assert ours.get_feature_names_out(["rooms"]).tolist() == theirs.get_feature_names_out(["rooms"]).tolist()
    assert ours.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()
    assert dbml.PCA(1).fit(FRAME.to_numpy()).get_feature_names_out(list("abc")).tolist() == ["pca0"]


def test_names_that_do_not_fit_are_refused():
    model = dbml.StandardScaler().fit(FRAME.to_numpy())
    with pytest.raises(InvalidData, match=r"should have length equal to number of features \(3\), got 2"):
        model.get_feature_names_out(["a", "b"])
    model = dbml.StandardScaler().fit(FRAME)
    assert model.get_feature_names_out(list(FRAME)).tolist() == list(FRAME)
    with pytest.raises(InvalidData, match="input_features is not equal to feature_names_in_"):
        model.get_feature_names_out(["a", "b", "c"])
