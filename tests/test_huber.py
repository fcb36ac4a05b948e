"""HuberRegressor against scikit-learn and against outliers."""

import warnings

import numpy as np
import pytest

from dbml import HuberRegressor, LinearRegression
from dbml.errors import ConvergenceWarning
from dbml.estimators.solvers.minimise import Settings, warn_of_missed
from dbml.estimators.solvers.newton import Solution

peers = pytest.importorskip("sklearn.linear_model")


def table(n=500, p=4, outliers=0.1, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    coef = rng.normal(size=p) * 3
    y = X @ coef + 50 + rng.normal(size=n) * 2
    bad = rng.random(n) < outliers
    y[bad] += rng.exponential(100, size=bad.sum())
    return X, y, coef, rng.random(n) * 2


def objective(model, X, y, weight):
    size, scale, epsilon = np.abs(y - X @ model.coef_ - model.intercept_), model.scale_, model.epsilon
    loss = np.where(size <= epsilon * scale, size**2 / scale, 2 * epsilon * size - scale * epsilon**2)
    return weight.sum() * scale + weight @ loss + model.alpha * model.coef_ @ model.coef_


@pytest.mark.parametrize(
    "settings",
    [{}, {"epsilon": 1.0, "alpha": 1.0}, {"epsilon": 3.0, "alpha": 0.0}, {"fit_intercept": False}],
    ids=str,
)
def test_the_minimum_is_at_or_below_scikit_learns(settings):
    X, y, _, weight = table()
    ours = HuberRegressor(**settings).fit(X, y, weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peers.HuberRegressor(**settings, max_iter=10_000, tol=1e-10).fit(X, y, weight)
    corner = settings.get("epsilon") == 1.0  # the scale goes to 0, where the objective has corners
    assert objective(ours, X, y, weight) <= objective(theirs, X, y, weight) * (1 + (1e-4 if corner else 1e-8))
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-1 if corner else 2e-2)
    assert corner or ours.scale_ == pytest.approx(theirs.scale_, rel=1e-2)


def test_outliers_move_it_less_than_least_squares():
    X, y, coef, _ = table(outliers=0.2)
    robust, plain = HuberRegressor().fit(X, y), LinearRegression().fit(X, y)
    assert np.abs(robust.coef_ - coef).max() < 0.3 < np.abs(plain.coef_ - coef).max()


def test_more_rows_than_the_sample_take_few_passes():
    X, y, coef, _ = table(n=150_000)
    model = HuberRegressor().fit(X, y)
    assert len(model.explain().passes) <= 3
    np.testing.assert_allclose(model.coef_, coef, atol=0.05)


def test_units_of_target_and_columns_do_not_matter():
    X, y, _, _ = table()
    one = HuberRegressor(alpha=0.0).fit(X, y)
    other = HuberRegressor(alpha=0.0).fit(X * 1e3 + 1e6, y * 1e-6)
    np.testing.assert_allclose(other.coef_ * 1e9, one.coef_, rtol=1e-3)
    assert other.scale_ * 1e6 == pytest.approx(one.scale_, rel=1e-4)


def test_a_target_that_never_varies():
    model = HuberRegressor().fit(np.arange(10.0)[:, None], np.full(10, 7.0))
    np.testing.assert_allclose(model.predict([[3.0]]), 7.0, atol=1e-3)


def exact(n=500, outliers=40):
    """Return rows that a plane holds exactly, but for gross outliers."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    y = X @ [2.0, 5.0, 0.5] + 3.0
    y[rng.choice(n, outliers, replace=False)] += rng.normal(100.0, 30.0, outliers)
    return X, y


@pytest.mark.parametrize("settings", [{}, {"alpha": 0.0}, {"epsilon": 2.0}, {"fit_intercept": False}], ids=str)
@pytest.mark.parametrize("noise", [0.0, 1e-12, 1e-8, 1e-6, 1e-3])
def test_rows_that_are_exact_but_for_outliers(noise, settings):
    X, y = exact()
    y += noise * np.random.default_rng(1).normal(size=len(y)) - 3.0 * (not settings.get("fit_intercept", True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = HuberRegressor(**settings).fit(X, y)
    theirs = peers.HuberRegressor(**settings, max_iter=10_000).fit(X, y)
    weight = np.ones(len(y))
    assert objective(model, X, y, weight) <= objective(theirs, X, y, weight) * (1 + 1e-8)
    np.testing.assert_allclose(model.coef_, [2.0, 5.0, 0.5], atol=1e-5 + noise)
    assert model.scale_ < 1e-6 + 2 * noise
    assert model.outliers_.sum() >= 40


def test_exact_rows_without_outliers():
    X, y = exact(outliers=0)
    model = HuberRegressor().fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, atol=1e-6)
    assert 0.0 < model.scale_ < 1e-6


@pytest.mark.parametrize("shape", [(30, 25), (30, 40)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_hardly_more_rows_than_columns(shape, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=shape)
    y = X @ rng.normal(size=shape[1]) + 0.1 * rng.normal(size=shape[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = HuberRegressor(max_iter=200).fit(X, y)
        theirs = peers.HuberRegressor(max_iter=10_000).fit(X, y)
    weight = np.ones(len(y))
    assert objective(ours, X, y, weight) <= objective(theirs, X, y, weight) * (1 + 1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("unit, alpha", [(1e-6, 1e-4), (1.0, 0.0)])
@pytest.mark.parametrize("n", [30, 40, 60])
def test_rows_of_constant_slope_leave_directions_without_curvature(n, unit, alpha):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 40))
    y = (X[:, :4] @ [1.0, 2.0, 3.0, 4.0] + rng.standard_t(1.5, n)) * unit
    ours = HuberRegressor(alpha=alpha).fit(X, y)
    theirs = peers.HuberRegressor(alpha=alpha).fit(X, y)
    weight = np.ones(n)
    assert objective(ours, X, y, weight) <= objective(theirs, X, y, weight) * (1 + 1e-6)
    assert ours.score(X, y) > 0.8


def test_exact_rows_beyond_the_sample():
    X, y = exact(140_000, 10_000)
    model = HuberRegressor().fit(X, y)
    np.testing.assert_allclose(model.coef_, [2.0, 5.0, 0.5], atol=1e-6)


def test_a_stall_is_told_from_too_few_iterations():
    solution = Solution(np.zeros(1), 1.0, 1.0, False, 7)
    for max_iter, advice in ((7, "raise max_iter"), (100, "raise tol")):
        settings = Settings("newton", 1e-5, max_iter, "HuberRegressor", lambda number, best: None)
        with pytest.warns(ConvergenceWarning, match=f"after 7 iterations .*{advice}"):
            warn_of_missed([solution], settings)


def test_warm_start_goes_on_from_the_last_fit():
    X, y, _, _ = table()
    model = HuberRegressor(warm_start=True).fit(X, y)
    first = len(model.training_)
    model.fit(X, y)
    assert len(model.training_) <= 2 < first
