"""Importances of columns, for scikit-learn's selection of features: of models whose columns have several terms."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.feature_selection import RFE, SelectFromModel

from dbml import LinearRegression, LogisticRegression, Ridge, StandardScaler

HOLES = np.random.default_rng(0).normal(size=(300, 4))
Y = 0.1 * HOLES[:, 0] + 5.0 * HOLES[:, 3] + 2.0 * HOLES[:, 2]
HOLES[::7, 0] = np.nan
HOLES[::11, 1] = np.nan
GETTER = {"importance_getter": "column_importances_"}


def test_selection_finds_the_columns_where_some_are_missing():
    model = LinearRegression().fit(HOLES, Y)
    assert model.coef_.size > 4
    assert model.column_importances_.shape == (4,)
    chosen = SelectFromModel(LinearRegression(), max_features=2, threshold=-np.inf, **GETTER).fit(HOLES, Y)
    assert chosen.get_support().tolist() == [False, False, True, True]
    assert chosen.transform(HOLES).shape == (300, 2)
    assert RFE(LinearRegression(), n_features_to_select=2, **GETTER).fit(HOLES, Y).ranking_.tolist()[2:] == [1, 1]


def test_selection_of_columns_of_text():
    words = np.random.default_rng(1).choice(["a", "b", "c"], 300)
    frame = pd.DataFrame({"n": HOLES[:, 1], "word": words, "x": HOLES[:, 2]})
    y = 9.0 * (words == "b") + 1e-3 * HOLES[:, 2]
    chosen = SelectFromModel(Ridge(), max_features=1, threshold=-np.inf, **GETTER).fit(frame, y)
    assert chosen.get_feature_names_out().tolist() == ["word"]
    several = LogisticRegression().fit(frame, words)
    assert several.column_importances_.shape == (3, 3)
    np.testing.assert_allclose(several.column_importances_.sum(), np.abs(several.coef_).sum())


def test_importances_of_plain_columns_are_those_of_coefficients():
    model = Ridge().fit(HOLES[:, 2:], Y)
    np.testing.assert_array_equal(model.column_importances_, np.abs(model.coef_))
    assert not hasattr(StandardScaler().fit(HOLES), "column_importances_")
    with pytest.raises(AttributeError, match="StandardScaler has no coefficient or importance of each term"):
        StandardScaler().fit(HOLES).column_importances_  # noqa: B018


def test_columns_keep_their_order_whatever_the_order_of_their_terms():
    rows = [{"bag": {"only": float(i % 5)}, "x": float(i % 3)} for i in range(60)]
    table = pa.table(
        {
            "bag": pa.array([list(row["bag"].items()) for row in rows], pa.map_(pa.string(), pa.float64())),
            "x": pa.array([row["x"] for row in rows]),
        }
    )
    model = Ridge(1e-6).fit(table, [3.0 * row["bag"]["only"] + row["x"] for row in rows])
    assert model.terms_ == ("x", "bag[only]")
    np.testing.assert_allclose(model.column_importances_, [3.0, 1.0], atol=1e-3)
