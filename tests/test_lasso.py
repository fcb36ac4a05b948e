"""Lasso and ElasticNet: scikit-learn's objective, at or below its value, from a Gram matrix and from columns."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import linear_model

from dbml import ElasticNet, Lasso, Ridge
from dbml.errors import ConvergenceWarning, InvalidParameter

SHARED = Path(__file__).parents[2] / "shared" / "data"


def table(n=200, p=60, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) + rng.normal(size=p)
    X[:, 5] = X[:, 4]  # redundant features: equal, and nearly so
    X[:, 6] = X[:, 3] + X[:, 2] + 1e-4 * rng.normal(size=n)
    coef = np.where(rng.random(p) < 0.2, rng.normal(size=p), 0.0)
    return X, X @ coef + rng.normal(size=n) + 20.0, rng.random(n)


def objective(model, X, y, w, alpha, l1_ratio):
    residual = y - X @ model.coef_ - model.intercept_
    penalty = l1_ratio * np.abs(model.coef_).sum() + 0.5 * (1.0 - l1_ratio) * model.coef_ @ model.coef_
    return (w @ residual**2) / (2.0 * w.sum()) + alpha * penalty


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("precompute", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize(("l1_ratio", "weighted"), [(1.0, False), (0.4, True)])
@pytest.mark.parametrize("alpha", [0.01, 0.3])
def test_the_objective_is_at_or_below_scikit_learns(alpha, l1_ratio, weighted, positive, fit_intercept, precompute):
    X, y, w = table()
    w = w if weighted else np.ones(len(y))
    how = {"alpha": alpha, "l1_ratio": l1_ratio, "fit_intercept": fit_intercept, "positive": positive}
    ours = ElasticNet(precompute=precompute, **how).fit(X, y, w)
    theirs = linear_model.ElasticNet(**how).fit(X, y, w)
    exact = linear_model.ElasticNet(tol=1e-10, max_iter=100_000, **how).fit(X, y, w)
    reached = objective(ours, X, y, w, alpha, l1_ratio)
    assert reached <= objective(theirs, X, y, w, alpha, l1_ratio) * (1.0 + 1e-12)
    assert reached == pytest.approx(objective(exact, X, y, w, alpha, l1_ratio), rel=1e-6)
    assert not positive or (ours.coef_ >= 0.0).all()
    assert 0.0 <= ours.dual_gap_ <= 1e-4 * np.average((y - y.mean() * fit_intercept) ** 2, weights=w) * 1.01


def test_gram_and_columns_agree_on_sparse_rows():
    rng = np.random.default_rng(3)
    S = sp.random_array((400, 150), density=0.1, format="csr", rng=rng)
    y = S @ np.where(rng.random(150) < 0.1, 5.0, 0.0) + 0.1 * rng.normal(size=400)
    gram = Lasso(0.002, precompute=True, tol=1e-8).fit(S, y)
    columns = Lasso(0.002, precompute=False, tol=1e-8).fit(S, y)
    np.testing.assert_allclose(gram.coef_, columns.coef_, atol=1e-7)
    np.testing.assert_allclose(gram.intercept_, columns.intercept_, atol=1e-7)
    assert 0 < np.count_nonzero(gram.coef_) < 100


def test_only_the_working_set_is_scanned_and_the_plan_says_how_many_columns():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(100, 1_000))
    y = X[:, :3] @ [3.0, -2.0, 1.0] + 0.01 * rng.normal(size=100)
    model = Lasso(0.1).fit(X, y)
    decisions = {decision.subject: decision for decision in model.explain().decisions}
    assert "working set" in decisions["solver"].choice
    scanned = [int(n.replace(",", "")) for n in decisions["columns scanned"].choice.split(", ")]
    assert scanned[0] == 1_000
    assert min(scanned[1:]) <= 64
    assert sum(scanned[1:]) < 4_000
    assert set(np.flatnonzero(model.coef_)) >= {0, 1, 2}
    assert [entry["columns"] for entry in model.training_] == scanned[1::2]


def test_a_penalty_at_the_largest_correlation_leaves_nothing():
    X, y, _ = table()
    largest = np.abs((X - X.mean(axis=0)).T @ (y - y.mean())).max() / len(y)
    for precompute in (True, False):
        assert not Lasso(largest * 1.0001, precompute=precompute).fit(X, y).coef_.any()
        assert Lasso(largest * 0.99, precompute=precompute).fit(X, y).coef_.any()


def test_without_an_l1_penalty_it_is_ridge():
    X, y, w = table(100, 10)
    net = ElasticNet(0.5, l1_ratio=0.0).fit(X, y, w)
    np.testing.assert_allclose(net.coef_, Ridge(0.5 * w.sum()).fit(X, y, w).coef_, rtol=1e-9)
    exact = ElasticNet(0.5, l1_ratio=0.0, positive=True).fit(X, y, w)
    assert (exact.coef_ >= 0.0).all()
    X = np.random.default_rng(1).normal(size=(200, 100))  # more columns than a working set begins with
    for without in (ElasticNet(0.01, l1_ratio=0.0, precompute=False), Lasso(0.0, precompute=False)):
        np.testing.assert_allclose(without.fit(X, X[:, 99]).coef_[99], 1.0, rtol=0.05)
        assert "no column can be left out" in str(without.explain())


def test_constant_columns_and_a_constant_target_get_no_coefficient():
    X, y, _ = table(50, 10)
    X[:, 0] = 4.0
    for precompute in (True, False):
        assert Lasso(0.01, precompute=precompute).fit(X, y).coef_[0] == 0.0
        model = Lasso(0.01, precompute=precompute).fit(X, np.full(50, 3.0))
        assert not model.coef_.any()
        assert model.predict(X[:2]) == pytest.approx([3.0, 3.0])


@pytest.mark.parametrize("precompute", [True, False])
def test_a_warm_start_begins_at_the_last_solution(precompute):
    X, y, _ = table()
    model = Lasso(0.05, warm_start=True, precompute=precompute, tol=1e-9).fit(X, y)
    first = model.coef_
    assert model.n_iter_ > 1
    model.fit(X, y)
    np.testing.assert_allclose(model.coef_, first, atol=1e-9)
    assert model.n_iter_ == 1


def test_random_selection_is_reproducible_and_finds_the_same():
    X, y, _ = table()
    one, two = (Lasso(0.05, selection="random", random_state=1, tol=1e-9).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(one.coef_, two.coef_)
    np.testing.assert_allclose(one.predict(X), Lasso(0.05, tol=1e-9).fit(X, y).predict(X), atol=1e-6)


def test_too_few_sweeps_are_announced():
    X, y, _ = table()
    with pytest.warns(ConvergenceWarning, match="Lasso: stopped after 1 sweeps with a duality gap of"):
        Lasso(1e-3, max_iter=1, tol=1e-12).fit(X, y)
    with pytest.raises(InvalidParameter, match=r"Lasso: max_iter must be an integer >= 1; got 0"):
        Lasso(max_iter=0).fit(X, y)


@pytest.mark.parametrize("share", [0.1, 0.003])
def test_wide_real_table_reaches_scikit_learns_objective(raw, share):
    path = SHARED / "grants_wide.parquet"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside the project")
    raw.execute(f"CREATE TABLE g AS SELECT * EXCLUDE (rownames) FROM '{path}'")
    kinds = raw.sql("SELECT column_name FROM (DESCRIBE g) WHERE column_type = 'INTEGER'").fetchall()
    names = [name for (name,) in kinds]
    listed = ", ".join(f'"{name}"' for name in names)
    rows = raw.sql(f"SELECT {listed}, (class = 'successful')::DOUBLE AS won FROM g")
    fetched = rows.fetchnumpy()
    X, y = np.column_stack([fetched[name] for name in names]).astype(float), fetched["won"]
    alpha = share * np.abs((X - X.mean(axis=0)).T @ (y - y.mean())).max() / len(y)
    ours, theirs = Lasso(alpha).fit(rows, y="won"), linear_model.Lasso(alpha).fit(X, y)
    assert ours.terms_ == tuple(names)
    ones = np.ones(len(y))
    assert objective(ours, X, y, ones, alpha, 1.0) <= objective(theirs, X, y, ones, alpha, 1.0) * (1.0 + 1e-12)
    scanned = next(d.choice for d in ours.explain().decisions if d.subject == "columns scanned")
    assert scanned.startswith(f"{len(names):,}, ")


def test_sparse_real_table_reaches_scikit_learns_objective(raw):
    path = SHARED / "a9a.parquet"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside the project")
    rows = raw.sql(f"SELECT idx, val, label::DOUBLE AS label FROM '{path}'")
    fetched = rows.fetchall()
    first = min(min(idx) for idx, _, _ in fetched)
    indices = np.concatenate([idx for idx, _, _ in fetched]) - first
    indptr = np.cumsum([0, *(len(idx) for idx, _, _ in fetched)])
    indices, indptr = indices.astype(np.int32), indptr.astype(np.int32)
    S = sp.csr_array((np.concatenate([val for _, val, _ in fetched]).astype(float), indices, indptr))
    y = np.array([label for _, _, label in fetched])
    theirs = linear_model.Lasso(1e-3).fit(S, y)
    for ours in (Lasso(1e-3).fit(rows, y="label"), Lasso(1e-3, precompute=False).fit(S, y)):
        ones = np.ones(len(y))
        assert objective(ours, S, y, ones, 1e-3, 1.0) <= objective(theirs, S, y, ones, 1e-3, 1.0) * (1.0 + 1e-12)
