"""What `transform` gives, as `set_output` or scikit-learn's configuration says: frames with names."""

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context, preprocessing
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline

import dbml
from dbml.errors import InvalidData, InvalidParameter

FRAME = pd.DataFrame({"age": [1.0, 9.0, 2.0, 7.0], "height": [1.0, 2.0, 4.0, 3.0]}, index=[7, 5, 3, 1])
MODELS = [
    dbml.StandardScaler(),
    dbml.SimpleImputer(add_indicator=True),
    dbml.OneHotEncoder(sparse_output=False),
    dbml.KBinsDiscretizer(2, encode="onehot-dense"),
    dbml.KBinsDiscretizer(2, encode="ordinal"),
    dbml.PCA(1),
    dbml.KMeans(2, random_state=0),
]


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_frames_have_names_and_the_index_of_the_rows(model):
    plain = clone(model).fit(FRAME)
    ours = clone(clone(model).set_output(transform="pandas"))  # `clone` copies the choice
    for made in (ours.fit_transform(FRAME), ours.transform(FRAME)):
        assert isinstance(made, pd.DataFrame)
        assert made.columns.tolist() == plain.get_feature_names_out().tolist()
        assert made.index.tolist() == FRAME.index.tolist()
        np.testing.assert_array_equal(made.to_numpy(), plain.transform(FRAME))
    assert isinstance(ours.set_output(transform="default").transform(FRAME), np.ndarray)
    with config_context(transform_output="pandas"):
        assert isinstance(plain.transform(FRAME), pd.DataFrame)
        assert isinstance(ours.transform(FRAME), np.ndarray)
    assert isinstance(plain.set_output(transform=None).transform(FRAME), np.ndarray)


def test_frames_of_polars():
    polars = pytest.importorskip("polars")
    made = dbml.StandardScaler().set_output(transform="polars").fit_transform(FRAME)
    assert isinstance(made, polars.DataFrame)
    assert made.columns == ["age", "height"]


def test_pipelines_and_column_transformers_pass_the_choice_on():
    made = (
        make_pipeline(preprocessing.StandardScaler(), dbml.PCA(1)).set_output(transform="pandas").fit_transform(FRAME)
    )
    assert made.columns.tolist() == ["pca0"]
    some = ColumnTransformer([("scaled", dbml.StandardScaler(), ["height"])], remainder="passthrough")
    theirs = ColumnTransformer([("scaled", preprocessing.StandardScaler(), ["height"])], remainder="passthrough")
    made, expected = (one.set_output(transform="pandas").fit_transform(FRAME) for one in (some, theirs))
    pd.testing.assert_frame_equal(made, expected)


def test_relations_stay_relations():
    with dbml.connect() as con:
        con.duckdb.register("frame", FRAME)
        rows = con.sql("FROM frame")
        made = dbml.StandardScaler().set_output(transform="pandas").fit(rows).transform(rows)
        assert made.columns == ["age", "height"]
        assert not isinstance(made, pd.DataFrame)


def test_outputs_that_there_are_not():
    with pytest.raises(InvalidParameter, match=r"StandardScaler: set_output takes transform = one of .*; got 'arrow'"):
        dbml.StandardScaler().set_output(transform="arrow")
    with pytest.raises(InvalidData, match="OneHotEncoder: pandas output does not support sparse data"):
        dbml.OneHotEncoder().set_output(transform="pandas").fit_transform(FRAME)
