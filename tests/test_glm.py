"""PoissonRegressor, GammaRegressor and TweedieRegressor against scikit-learn."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from dbml import GammaRegressor, PoissonRegressor, TweedieRegressor
from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.generalized_linear import unit_deviance

peers = pytest.importorskip("sklearn.linear_model")

SHARED = Path(__file__).parents[2] / "shared" / "data"


def table(n=500, p=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * np.exp(rng.normal(size=p)) + rng.normal(size=p) * 5
    eta = (X - X.mean(axis=0)) @ (rng.normal(size=p) / X.std(axis=0)) * 0.4 + 1
    return X, eta, rng.random(n) * 2, rng


CASES = [
    (PoissonRegressor, {"alpha": 0.0}),
    (PoissonRegressor, {"alpha": 1.0}),
    (PoissonRegressor, {"alpha": 0.1, "fit_intercept": False}),
    (GammaRegressor, {"alpha": 0.0}),
    (GammaRegressor, {"alpha": 1.0}),
    (TweedieRegressor, {"power": 0}),
    (TweedieRegressor, {"power": 1.5, "alpha": 0.1}),
    (TweedieRegressor, {"power": 1.9, "alpha": 0.1}),
    (TweedieRegressor, {"power": 3, "alpha": 0.1}),
    (TweedieRegressor, {"power": 0, "alpha": 0.01, "link": "log"}),
    (TweedieRegressor, {"power": 1, "alpha": 0.01, "link": "identity"}),
    (TweedieRegressor, {"power": 2, "alpha": 0.01, "link": "identity"}),
]


@pytest.mark.parametrize(("kind", "settings"), CASES, ids=lambda v: v.__name__ if isinstance(v, type) else str(v))
def test_the_minimum_is_scikit_learns(kind, settings):
    X, eta, weight, rng = table()
    y = rng.poisson(np.exp(eta)).astype(float) if kind is PoissonRegressor else rng.gamma(2.0, np.exp(eta) / 2)
    if settings.get("link") == "identity":
        y = eta - eta.min() + 1 + rng.gamma(1.0, size=len(y))
    ours = kind(tol=1e-8, **settings).fit(X, y, weight)
    theirs = getattr(peers, kind.__name__)(solver="newton-cholesky", tol=1e-9, max_iter=1000, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-3)
    assert ours.score(X, y, weight) == pytest.approx(theirs.score(X, y, weight), rel=1e-4)


def test_passes_over_more_rows_than_the_sample_are_few_and_end_at_the_minimum():
    X, eta, _, rng = table(n=150_000)
    y = rng.poisson(np.exp(eta)).astype(float)
    ours = PoissonRegressor(alpha=1e-3).fit(X, y)
    assert len(ours.explain().passes) <= 3
    theirs = peers.PoissonRegressor(alpha=1e-3, solver="newton-cholesky", tol=1e-10).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-5)


def test_unit_deviance_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    y, mean = rng.gamma(1.0, size=100), rng.gamma(1.0, size=100) + 0.1
    for power in (-1, 0, 1, 1.5, 2, 3):
        expected = metrics.mean_tweedie_deviance(y, mean, power=power)
        assert unit_deviance(y, mean, power).mean() == pytest.approx(expected, rel=1e-10)
    assert unit_deviance(np.zeros(1), np.ones(1), 1) == 2.0


def test_the_domain_of_the_target_is_checked():
    X = [[0.0], [1.0], [2.0]]
    with pytest.raises(InvalidData, match=r"PoissonRegressor: .*y must be >= 0; the smallest is -1"):
        PoissonRegressor().fit(X, [1.0, -1.0, 2.0])
    with pytest.raises(InvalidData, match=r"GammaRegressor: .*y must be > 0; the smallest is 0"):
        GammaRegressor().fit(X, [1.0, 0.0, 2.0])
    with pytest.raises(InvalidData, match=r"TweedieRegressor: .*y must be > 0"):
        TweedieRegressor(power=2.5).fit(X, [1.0, 0.0, 2.0])
    with pytest.raises(InvalidParameter, match=r"power must be a finite number <= 0 or a finite number >= 1; got 0\.5"):
        TweedieRegressor(power=0.5).fit(X, [1.0, 1.0, 2.0])


def test_counts_that_are_all_zero_or_almost_predict_about_zero():
    X = np.arange(20.0)[:, None]
    assert PoissonRegressor().fit(X, np.zeros(20)).predict(X).max() < 1e-6
    one = np.zeros(20)
    one[7] = 1
    assert PoissonRegressor().fit(X, one).predict(X).sum() == pytest.approx(1.0, rel=1e-6)


def test_large_offsets_and_large_targets():
    X, eta, _, rng = table()
    y = rng.gamma(5.0, np.exp(eta) / 5)
    near = GammaRegressor(alpha=0).fit(X, y)
    far = GammaRegressor(alpha=0).fit(X + 1e8, y * 1e9)
    np.testing.assert_allclose(far.coef_, near.coef_, rtol=1e-4)
    np.testing.assert_allclose(far.predict(X + 1e8), near.predict(X) * 1e9, rtol=1e-4)


def test_the_form_has_the_link():
    X, eta, _, _ = table()
    assert PoissonRegressor().fit(X, np.exp(eta)).form().link == "log"
    assert TweedieRegressor().fit(X, eta).form().link == "identity"


@pytest.mark.skipif(not SHARED.exists(), reason="the real tables of ../shared/data are not here")
def test_claims_with_exposure_as_weight(raw):
    query = f"SELECT veh_value, agecat, veh_age, exposure, numclaims FROM '{SHARED}/insurance_datacar.parquet'"
    rows = raw.sql(query).fetchnumpy()
    X = np.column_stack([rows["veh_value"], rows["agecat"], rows["veh_age"]]).astype(float)
    rate, exposure = rows["numclaims"] / rows["exposure"], np.asarray(rows["exposure"])
    ours = PoissonRegressor(alpha=1e-4).fit(X, rate, exposure)
    theirs = peers.PoissonRegressor(alpha=1e-4, solver="newton-cholesky", tol=1e-10).fit(X, rate, exposure)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-5)
    assert ours.predict(X) @ exposure == pytest.approx(rows["numclaims"].sum(), rel=1e-8)
