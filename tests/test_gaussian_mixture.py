"""Gaussian mixtures: beside scikit-learn's, on samples and passes, bad input, missing values, categories, the form."""

import warnings

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from sklearn import mixture
from sklearn.metrics import adjusted_rand_score

import dbml
from dbml import GaussianMixture
from dbml.engine.local import LocalEngine
from dbml.errors import ConvergenceWarning, ExhaustedMemory, InvalidData, InvalidParameter
from dbml.estimators.clusters import rows as rows_module
from dbml.estimators.clusters import training
from dbml.passes.engine import using
from dbml.passes.memory import memory_limited

KINDS = ["full", "tied", "diag", "spherical"]


def groups(n=2_000, k=3, p=5, seed=0):
    rng = np.random.default_rng(seed)
    centres, shapes = rng.normal(size=(k, p)) * 4, rng.normal(size=(k, p, p)) * 0.5
    label = rng.integers(0, k, n)
    return centres[label] + np.einsum("nij,nj->ni", shapes[label], rng.normal(size=(n, p))), label, centres


@pytest.fixture
def sampled(monkeypatch):
    """As if few rows fitted in memory: samples and passes over all rows take over."""
    monkeypatch.setattr(rows_module, "_MOST_BYTES", 1_500 * 56)
    monkeypatch.setattr(training, "_FIRST_ROWS", 300)


@pytest.mark.parametrize("offset", [0.0, 1e8])
@pytest.mark.parametrize("kind", KINDS)
def test_the_maximum_is_scikit_learns(kind, offset):
    X, label, centres = groups()
    settings = {"covariance_type": kind, "tol": 1e-9, "max_iter": 1_000}
    ours = GaussianMixture(3, means_init=centres + offset, **settings).fit(X + offset)
    theirs = mixture.GaussianMixture(3, means_init=centres, **settings).fit(X)
    close = {"atol": 1e-5, "rtol": 1e-5} if offset else {"atol": 1e-6, "rtol": 1e-6}
    np.testing.assert_allclose(ours.means_ - offset, theirs.means_, **close)
    for name in ("weights_", "covariances_", "precisions_", "precisions_cholesky_"):
        assert getattr(ours, name).shape == getattr(theirs, name).shape
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), **close)
    np.testing.assert_allclose(ours.predict_proba(X + offset), theirs.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(ours.score_samples(X + offset), theirs.score_samples(X), **close)
    assert ours.lower_bound_ == pytest.approx(theirs.lower_bound_)
    for criterion in ("score", "bic", "aic"):
        assert getattr(ours, criterion)(X + offset) == pytest.approx(getattr(theirs, criterion)(X))
    assert adjusted_rand_score(label, ours.fit_predict(X + offset)) > 0.9
    assert ours.converged_


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random_from_data"])
def test_every_start_is_as_likely_as_scikit_learns(init):
    X, _, _ = groups()
    best = max(mixture.GaussianMixture(3, random_state=seed).fit(X).lower_bound_ for seed in range(3))
    found = GaussianMixture(3, init_params=init, n_init=4, max_iter=500).fit(X)
    assert found.lower_bound_ > best - 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_samples_and_passes_are_as_likely(sampled, kind):
    X, _, _ = groups(20_000)
    model = GaussianMixture(3, covariance_type=kind).fit(X)
    assert "nested samples" in str(model.explain())
    assert 2 <= model.n_iter_ <= 10
    theirs = mixture.GaussianMixture(3, covariance_type=kind, n_init=3, random_state=0).fit(X)
    assert model.score(X) > theirs.score(X) - 0.005


def test_the_same_bits_for_any_number_of_threads(sampled):
    X, _, _ = groups(6_000)
    found = []
    for threads in (1, 2, 7):
        with using(LocalEngine(threads)):
            found.append(GaussianMixture(3).fit(X))
    for model in found[1:]:
        assert model.covariances_.tobytes() == found[0].covariances_.tobytes()
        assert model.score_quantiles_ == found[0].score_quantiles_


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_whole_numbers_are_repetitions(kind):
    X, _, centres = groups(400)
    weight = np.random.default_rng(1).integers(0, 4, len(X))
    settings = {"covariance_type": kind, "means_init": centres, "tol": 1e-12, "max_iter": 2_000}
    weighted = GaussianMixture(3, **settings).fit(X, sample_weight=weight)
    repeated = GaussianMixture(3, **settings).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(weighted.means_, repeated.means_, atol=1e-7)
    np.testing.assert_allclose(weighted.covariances_, repeated.covariances_, atol=1e-7)
    assert weighted.score(X, sample_weight=weight) == pytest.approx(repeated.score(np.repeat(X, weight, axis=0)))


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_maps_are_sparse_terms(kind, raw):
    rows = raw.sql(
        "SELECT CASE WHEN i % 3 > 0 THEN MAP {'a': sin(i), 'b': cos(i * i)} ELSE MAP {'a': sin(i)} END AS m "
        "FROM range(500) r(i)"
    )
    X = np.array([[row.get("a", 0.0), row.get("b", 0.0)] for (row,) in rows.fetchall()])
    settings = {"covariance_type": kind, "means_init": X[[1, 2, 3]], "reg_covar": 1e-2}
    dense, sparse = GaussianMixture(3, **settings).fit(X), GaussianMixture(3, **settings).fit(rows)
    assert sparse.terms_ == ("m[a]", "m[b]")
    np.testing.assert_allclose(dense.means_, sparse.means_, atol=1e-9)
    np.testing.assert_allclose(dense.covariances_, sparse.covariances_, atol=1e-9)
    np.testing.assert_allclose(dense.score_samples(X), sparse.score_samples(rows.to_arrow_table()), atol=1e-8)
    assert sparse.form() is None


@pytest.mark.parametrize("kind", KINDS)
def test_draws_have_the_moments_of_the_mixture(kind):
    X, _, _ = groups()
    model = GaussianMixture(3, covariance_type=kind, random_state=0).fit(X)
    drawn, label = model.sample(20_000)
    assert drawn.shape == (20_000, 5)
    np.testing.assert_allclose(np.bincount(label) / 20_000, model.weights_, atol=0.02)
    np.testing.assert_allclose(drawn.mean(axis=0), model.weights_ @ model.means_, atol=0.15)
    assert model.score(drawn) == pytest.approx(model.score(X), abs=0.1)
    assert np.array_equal(model.sample(5)[0], model.sample(5)[0])
    model.set_params(random_state=None)
    assert not np.array_equal(model.sample(5)[0], model.sample(5)[0])


# missing values, categories, stored ------------------------------------------------------------------------------


def mixed(n=900):
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, n)
    number = kind * 4.0 + rng.normal(size=n) * 0.5
    number[::50] = np.nan
    colour = np.array(["red", "green", "blue"])[(kind + (rng.random(n) < 0.1)) % 3]
    return pa.table(
        {
            'a "number"': pa.array(number, from_pandas=True),
            "colour": pa.array([None if i % 70 == 0 else name for i, name in enumerate(colour)]),
        }
    ), kind


@pytest.mark.parametrize("kind", ["full", "diag", "spherical"])
def test_missing_values_and_categories_are_terms(kind):
    table, label = mixed()
    model = GaussianMixture(3, covariance_type=kind, reg_covar=1e-2).fit(table)
    assert model.means_.shape == (3, len(model.terms_))
    assert len(model.terms_) == 6
    assert adjusted_rand_score(label, model.predict(table)) > 0.8
    shares = model.predict_proba(table)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    np.testing.assert_array_equal(shares.argmax(axis=1), model.predict(table))


@pytest.mark.parametrize("kind", ["diag", "spherical"])
def test_the_form_is_the_log_density(kind):
    X, _, _ = groups()
    model = GaussianMixture(3, covariance_type=kind).fit(X)
    form, Z = model.form(), X - np.array(model.schema_.encoding.centre())
    eta = np.array(form.intercept) + (np.array(form.square) * (Z[:, None] - np.array(form.origin)) ** 2).sum(axis=2)
    np.testing.assert_allclose(np.logaddexp.reduce(eta, axis=1), model.score_samples(X))
    np.testing.assert_array_equal(eta.argmax(axis=1), model.predict(X))
    assert GaussianMixture(3).fit(X).form() is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_model_predicts_the_same_bits(kind, tmp_path):
    table, _ = mixed()
    con = dbml.connect(tmp_path / "m.duckdb")
    model = GaussianMixture(3, covariance_type=kind, reg_covar=1e-2).fit(table)
    con.save_model("m", model)
    con.close()
    again = dbml.connect(tmp_path / "m.duckdb").load_model("m")
    np.testing.assert_array_equal(again.predict_proba(table), model.predict_proba(table))
    assert (again.converged_, again.lower_bound_) == (model.converged_, model.lower_bound_)


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_sql_scores_as_python_does(kind):
    table, _ = mixed()
    with dbml.connect() as con:
        con.duckdb.register("mixed", table)
        con.execute("CREATE TABLE t AS FROM mixed UNION ALL BY NAME SELECT 'unseen' AS colour")
        options = f"model_type = 'gaussian_mixture', num_clusters = 3, covariance_type = '{kind}', reg_covar = 0.01"
        con.execute(f"CREATE MODEL m OPTIONS ({options}) AS FROM mixed")
        model, rows = con.load_model("m"), con.table("t").to_arrow_table()
        groups, shares = model.predict(rows), model.predict_proba(rows)
        queries = ["SELECT predict('m', f) FROM t f", "SELECT centroid_id FROM ML.PREDICT(MODEL m, TABLE t)"]
        if kind == "diag":
            queries += ["SELECT centroid_id FROM ml.predict_m(t)"]
        for query in queries:
            assert [row[0] for row in con.execute(query).fetchall()] == groups.tolist()
        for own in (con, con.duckdb):
            found = own.execute("SELECT predict_proba('m', f) FROM t f").fetchall()
            np.testing.assert_allclose([list(row[0].values()) for row in found], shares, rtol=1e-9, atol=1e-9)
        assert model.predict(con.table("t")).fetchall()[5][-1] == groups[5]
        found = con.sql("FROM ML.DETECT_ANOMALIES(MODEL m, STRUCT(0.05 AS contamination), TABLE mixed)")
        assert len(found.filter("is_anomaly").fetchall()) == pytest.approx(45, abs=3)


# bad input -------------------------------------------------------------------------------------------------------


def test_bad_input_is_named():
    X, _, _ = groups(200)
    with pytest.raises(InvalidData, match=r"n_components=4 must be at most the number of rows .*n_samples=1"):
        GaussianMixture(4).fit(X[:1])
    with pytest.raises(InvalidParameter, match=r"means_init must have the shape \(n_components, terms\) = \(2, 5\)"):
        GaussianMixture(2, means_init=X[:3]).fit(X)
    with pytest.raises(InvalidParameter, match="covariance_type must be one of 'full'"):
        GaussianMixture(covariance_type="round").fit(X)
    with pytest.raises(InvalidData, match="covariance of component 0 must be positive definite"):
        GaussianMixture(1, reg_covar=0.0).fit(np.column_stack([X, X[:, 0]]) * [1, 1, 1, 1, 1, 0])
    with pytest.warns(ConvergenceWarning, match="not converged after 1 iterations"):
        GaussianMixture(3, max_iter=1).fit(X)
    assert GaussianMixture(3, max_iter=2, tol=0.0).fit(X).n_iter_ == 2  # as asked: no warning
    wide = np.random.default_rng(0).normal(size=(5, 1_000))
    with memory_limited("64MiB"), pytest.raises(ExhaustedMemory, match="use covariance_type='diag'"):
        GaussianMixture(2).fit(wide)
    with pytest.raises(InvalidData, match="X must be dense, as means and covariances are; got a sparse matrix"):
        GaussianMixture(2).fit(sp.csr_array(X))


def test_constant_columns_and_equal_rows_are_no_trouble():
    X, _, _ = groups(300)
    X[:, 1] = 7.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = GaussianMixture(2, max_iter=500).fit(X)
    np.testing.assert_allclose(model.means_[:, 1], 7.0)
    equal = GaussianMixture(3).fit(np.repeat([[1.0, 2.0], [3.0, 4.0]], 10, axis=0))
    assert np.isfinite(equal.means_).all()
    assert equal.weights_.sum() == pytest.approx(1.0)


def test_bigquerys_options():
    made = GaussianMixture.from_options({"num_clusters": 4, "max_iterations": 7, "covariance_type": "diag"})
    assert (made.n_components, made.max_iter, made.covariance_type) == (4, 7, "diag")
