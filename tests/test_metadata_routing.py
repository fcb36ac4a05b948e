"""Weights that scikit-learn's pipelines and searches pass on, where its metadata routing is on."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline

from dbml import PCA, GaussianNB, LogisticRegression, Ridge, StandardScaler
from dbml.errors import InvalidParameter

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
WEIGHT = RNG.integers(1, 4, 60).astype(float)
Y = X @ [1.0, -2.0] + RNG.normal(size=60)


@pytest.fixture(autouse=True)
def routing():
    with config_context(enable_metadata_routing=True):
        yield


def test_a_pipeline_passes_weights_to_those_that_ask():
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    made = make_pipeline(scaler, Ridge().set_fit_request(sample_weight=True)).fit(X, Y, sample_weight=WEIGHT)
    expected = Ridge().fit(StandardScaler().fit_transform(X), Y, WEIGHT)
    np.testing.assert_allclose(made[-1].coef_, expected.coef_, rtol=1e-12)
    with pytest.raises(ValueError, match=r"sample_weight.*not explicitly set as requested or not"):
        make_pipeline(scaler, Ridge()).fit(X, Y, sample_weight=WEIGHT)


def test_a_search_passes_weights_to_training_and_score():
    model = Ridge().set_fit_request(sample_weight=True).set_score_request(sample_weight="importance")
    params = {"sample_weight": WEIGHT, "importance": WEIGHT}
    scores = cross_validate(clone(model), X, Y, params=params, cv=2)["test_score"]
    expected = Ridge().fit(X[30:], Y[30:], WEIGHT[30:]).score(X[:30], Y[:30], WEIGHT[:30])
    assert scores[0] == pytest.approx(expected)


def test_requests_are_those_of_methods_that_take_weights():
    asked = GaussianNB().set_partial_fit_request(sample_weight=True).get_metadata_routing()
    assert asked.partial_fit.requests == {"sample_weight": True}
    assert asked.fit.requests == {"sample_weight": None}
    assert LogisticRegression().get_metadata_routing().score.requests == {"sample_weight": None}
    model = LogisticRegression().set_fit_request(sample_weight=True)
    assert model.set_fit_request().get_metadata_routing().fit.requests == {"sample_weight": True}
    with pytest.raises(InvalidParameter, match="LogisticRegression: partial_fit takes no sample_weight"):
        LogisticRegression().set_partial_fit_request(sample_weight=True)
    with pytest.raises(InvalidParameter, match="PCA: score takes no sample_weight"):
        PCA().set_score_request(sample_weight=True)
