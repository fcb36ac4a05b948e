"""Nonnegative factorizations: losses beside scikit-learn's, penalties, sparse and missing values, partial fits."""

import warnings

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from scipy.optimize import nnls
from sklearn import decomposition

import dbml
from dbml import NMF, MiniBatchNMF
from dbml.engine.local import LocalEngine
from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.nonnegative import nndsvd
from dbml.estimators.sparse_codes import improve_codes, sweep_nonnegative
from dbml.passes.engine import using
from dbml.passes.memory import memory_limited

pytestmark = pytest.mark.filterwarnings("ignore::dbml.errors.ConvergenceWarning", "ignore:Maximum number of iter")


def parts(n=300, p=12, k=3, seed=0):
    """Rows that are sums of few parts, with a little noise."""
    rng = np.random.default_rng(seed)
    W = rng.random((n, k)) * (rng.random((n, k)) < 0.6)
    H = rng.random((k, p)) * (rng.random((k, p)) < 0.5)
    return W @ H + 0.01 * rng.random((n, p))


def objective(model, X, alpha_W=0.0, alpha_H=0.0, l1_ratio=0.0):
    W, H = model.transform(X), model.components_
    n, p = X.shape
    size = lambda A: l1_ratio * A.sum() + 0.5 * (1.0 - l1_ratio) * (A * A).sum()  # noqa: E731
    return 0.5 * ((X - W @ H) ** 2).sum() + alpha_W * p * size(W) + alpha_H * n * size(H)


def test_codes_are_nonnegative_least_squares():
    rng = np.random.default_rng(0)
    H, X = rng.random((4, 9)), rng.random((20, 9))
    codes = np.zeros((20, 4))
    improve_codes(H @ H.T, X @ H.T, 0.0, True, 5_000, 1e-12, codes)
    np.testing.assert_allclose(codes, [nnls(H.T, x)[0] for x in X], atol=1e-8)


@pytest.mark.parametrize("n", [1, 31, 32, 70])
def test_sweeps_over_many_rows_side_by_side_are_those_over_each(n):
    rng = np.random.default_rng(n)
    H, X = rng.random((5, 9)), rng.random((n, 9))
    H[2] = 0.0
    gram, projection, start = H @ H.T, X @ H.T, rng.random((n, 5))
    codes = start.copy()
    sweep_nonnegative(gram, projection, 0.1, 2, codes)
    start[:, 2] = 0.0
    for _ in range(2):
        for j in (0, 1, 3, 4):
            moved = start[:, j] + (projection[:, j] - 0.1 - start @ gram[j]) / gram[j, j]
            start[:, j] = np.maximum(moved, 0.0)
    np.testing.assert_allclose(codes, start, rtol=1e-12, atol=1e-14)
    sweep_nonnegative(gram, projection, 0.1, 5_000, codes)
    exact = np.zeros_like(codes)
    improve_codes(gram, projection, 0.1, True, 5_000, 1e-12, exact)
    np.testing.assert_allclose(codes, exact, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("penalties", [{}, {"alpha_W": 1e-3, "l1_ratio": 0.5}, {"alpha_W": 2e-3, "alpha_H": 1e-4}])
def test_the_loss_is_that_of_scikit_learn_or_less(penalties):
    X = parts()
    ours = NMF(3, tol=1e-6, max_iter=500, **penalties).fit(X)
    theirs = decomposition.NMF(3, tol=1e-6, max_iter=3_000, init="nndsvda", **penalties).fit(X)
    weights = {"alpha_H": penalties.get("alpha_W", 0.0), **penalties}
    assert objective(ours, X, **weights) <= 1.001 * objective(theirs, X, **weights)
    if not penalties:
        left = X - ours.transform(X) @ ours.components_
        assert ours.reconstruction_err_ == pytest.approx(np.linalg.norm(left), rel=1e-6)


def test_the_divergence_is_that_of_scikit_learn_or_less():
    X = parts()
    how = {"solver": "mu", "beta_loss": "kullback-leibler", "init": "nndsvda", "max_iter": 400, "tol": 1e-7}
    ours, theirs = NMF(3, **how).fit(X), decomposition.NMF(3, **how).fit(X)
    assert ours.reconstruction_err_ <= 1.01 * theirs.reconstruction_err_
    fitted = ours.transform(X) @ ours.components_
    divergence = np.sum(X * np.log(np.maximum(X, 1e-300) / fitted) * (X > 0) - X + fitted)
    assert ours.reconstruction_err_ == pytest.approx(np.sqrt(2 * divergence), rel=1e-3)


@pytest.mark.parametrize("max_iter", [20, 200])
def test_the_error_under_the_divergence_is_that_of_the_codes_that_are_returned(max_iter):
    rng = np.random.default_rng(0)
    X = rng.poisson(np.abs(rng.normal(size=(200, 12))) @ np.abs(rng.normal(size=(12, 20)))).astype(float)
    ours = NMF(8, solver="mu", beta_loss="kullback-leibler", max_iter=max_iter)
    fitted = np.maximum(ours.fit_transform(X) @ ours.components_, 1e-300)
    divergence = np.sum(X * np.log(np.maximum(X, 1e-300) / fitted) * (X > 0) - X + fitted)
    assert ours.reconstruction_err_ == pytest.approx(np.sqrt(2 * divergence), rel=1e-6)


def test_first_atoms_are_those_of_scikit_learn():
    X = parts(60, 8)
    _, expected = decomposition._nmf._initialize_nmf(X, 3, init="nndsvd", random_state=0)
    np.testing.assert_allclose(nndsvd(X, 3), expected, atol=1e-6)


@pytest.mark.parametrize("kind", [NMF, MiniBatchNMF])
@pytest.mark.parametrize("init", ["random", "nndsvda", "nndsvdar"])
def test_every_start_ends_near_the_same_loss(kind, init):
    X = parts(200)
    best = NMF(3, max_iter=300).fit(X).reconstruction_err_
    assert kind(3, init=init, max_iter=300, tol=1e-6).fit(X).reconstruction_err_ < 3.0 * best + 0.05


@pytest.mark.parametrize("seed", range(8))
def test_no_atom_of_a_random_start_stays_unused(seed):
    rng = np.random.default_rng(0)
    X = np.abs(rng.normal(size=(300, 12))) @ np.abs(rng.normal(size=(12, 20)))
    ours = NMF(8, init="random", random_state=seed).fit(X)
    assert ours.components_.max(axis=1).min() > 0.0
    theirs = decomposition.NMF(8, init="random", random_state=seed).fit(X)
    assert ours.reconstruction_err_ <= 1.03 * theirs.reconstruction_err_


@pytest.mark.parametrize("loss", ["frobenius", "kullback-leibler"])
@pytest.mark.parametrize("kind", [NMF, MiniBatchNMF])
def test_sparse_rows_are_dense_rows(kind, loss):
    rng = np.random.default_rng(1)
    X = parts(200, 40, 4) * (rng.random((200, 40)) < 0.2)
    how = {"max_iter": 20, "beta_loss": loss, **({"solver": "mu"} if kind is NMF and loss != "frobenius" else {})}
    dense, sparse = kind(4, **how).fit(X), kind(4, **how).fit(sp.csr_array(X))
    np.testing.assert_allclose(dense.components_, sparse.components_, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(dense.transform(X), sparse.transform(sp.csr_array(X)), rtol=1e-4, atol=1e-5)


def test_minibatches_come_near_the_loss_of_passes():
    X = parts(3_000)
    ours = MiniBatchNMF(3, batch_size=256, max_iter=100, tol=0.0, max_no_improvement=None).fit(X)
    theirs = decomposition.MiniBatchNMF(3, batch_size=256, max_iter=100, init="nndsvda", random_state=0).fit(X)
    assert objective(ours, X) <= 1.05 * objective(theirs, X)
    assert ours.n_steps_ == 100 * 12


def test_partial_fits_go_on_also_after_loading(raw):
    X = parts(600)
    model = MiniBatchNMF(3, batch_size=100)
    model.partial_fit(X[:300])
    first = np.linalg.norm(X - model.inverse_transform(model.transform(X)))
    con = dbml.attach(raw)
    con.save_model("parts", model)
    again = con.load_model("parts")
    for part in (X[300:], X[:300]):
        model.partial_fit(part)
        again.partial_fit(part)
    np.testing.assert_array_equal(model.components_, again.components_)
    assert model.n_steps_ == 9
    assert np.linalg.norm(X - model.inverse_transform(model.transform(X))) < first


def test_values_below_0_are_an_error_that_names_the_column():
    table = pa.table({"a": [1.0, 2.0, 3.0], 'b"c': [1.0, -0.5, 2.0]})
    for kind in (NMF, MiniBatchNMF):
        with pytest.raises(
            InvalidData, match=r'Negative values in data passed to .*: columns .* b"c \(least value -0.5'
        ):
            kind(1).fit(table)
    model = NMF(1).fit(pa.table({"a": [1.0, 2.0], 'b"c': [1.0, 0.0]}))
    with pytest.raises(InvalidData, match=r"Negative values in data passed to NMF.transform"):
        model.transform(table)


def test_bad_parameters_say_what_goes_together():
    X = parts(20)
    with pytest.raises(InvalidParameter, match="needs solver = 'mu'; got 'cd'"):
        NMF(2, beta_loss="kullback-leibler").fit(X)
    with pytest.raises(InvalidParameter, match=r"init = 'nndsvd' needs n_components <= min\(n_samples, n_features\)"):
        NMF(15, init="nndsvd").fit(X)


def test_missing_values_categories_and_constant_columns_are_read():
    rng = np.random.default_rng(2)
    n = 200
    table = pa.table(
        {
            "a": pa.array([None if i % 7 == 0 else float(v) for i, v in enumerate(rng.random(n))]),
            "constant": np.full(n, 3.0),
            "kind": [("x", "y", "z")[i % 3] for i in range(n)],
            "far": 1e8 + rng.random(n),
        }
    )
    model = NMF(4, max_iter=50).fit(table)
    assert model.terms_ == ("a", "a IS NULL", "constant", "far", "kind = x", "kind = y", "kind = z")
    assert model.transform(table).shape == (n, 4)
    assert np.isfinite(model.components_).all()
    fitted = model.inverse_transform(model.transform(table))
    assert np.abs(fitted[:, 3] / 1e8 - 1.0).max() < 1e-4


@pytest.mark.parametrize("kind", [NMF, MiniBatchNMF])
def test_threads_and_memory_do_not_change_the_model(kind):
    X = parts(700)
    found = []
    for threads in (1, 3):
        with using(LocalEngine(threads)):
            found.append(kind(3, max_iter=8).fit(X))
    np.testing.assert_array_equal(found[0].components_, found[1].components_)


def test_codes_that_do_not_fit_in_memory_are_found_anew():
    X = parts(180_000, 6, 2)
    with memory_limited("64MiB"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        anew = NMF(6, init="random", max_iter=2).fit(X)
    kept = NMF(6, init="random", max_iter=2).fit(X)
    assert "found anew" in str(anew.explain())
    assert "kept from pass to pass" in str(kept.explain())
    assert anew.reconstruction_err_ <= 1.05 * kept.reconstruction_err_


@pytest.mark.parametrize("kind", [NMF, MiniBatchNMF])
def test_sql_and_relations_transform_as_arrays_do(kind, raw):
    con = dbml.attach(raw)
    raw.register("given", pa.table({"a b": parts(50)[:, 0], "c": parts(50)[:, 1], "d": parts(50)[:, 2]}))
    raw.execute("CREATE TABLE t AS FROM given")
    name = f"{kind.__name__.lower()}"
    con.execute(f"CREATE MODEL m OPTIONS (model_type = '{kind.model_types[0]}', num_components = 2) AS FROM t")
    model = con.load_model("m")
    expected = model.transform(raw.table("t").df())
    by_relation = model.transform(con.table("t")).fetchnumpy()
    by_sql = con.sql("FROM ML.TRANSFORM(MODEL m, TABLE t)").fetchnumpy()
    for found in (by_relation, by_sql):
        np.testing.assert_allclose(np.column_stack([found[f"{name}{j}"] for j in range(2)]), expected, atol=1e-9)


def test_names_and_shapes():
    X = parts(30)
    model = NMF(2).fit(X)
    assert model.get_feature_names_out().tolist() == ["nmf0", "nmf1"]
    assert NMF().fit(X[:, :3]).n_components_ == 3
    assert model.fit_transform(X).shape == (30, 2)
    one = NMF(1).fit(X[:1])
    np.testing.assert_allclose(one.inverse_transform(one.transform(X[:1])), X[:1], rtol=1e-5)
