"""Nystroem and RBFSampler: products of features are values of the kernel, as in scikit-learn."""

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

import dbml
from dbml import Nystroem, RBFSampler
from dbml.errors import DbmlWarning, InvalidData, InvalidParameter

pairwise = pytest.importorskip("sklearn.metrics.pairwise")
approximation = pytest.importorskip("sklearn.kernel_approximation")

KERNELS = [
    {"kernel": "rbf", "gamma": 0.2},
    {"kernel": "rbf"},
    {"kernel": "laplacian"},
    {"kernel": "poly", "gamma": 0.1, "degree": 2},
    {"kernel": "sigmoid", "gamma": 0.01, "coef0": 0.5},
    {"kernel": "linear"},
]


def table(n=120, p=5):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, p)) * np.linspace(0.5, 2.0, p) + np.arange(p)


@pytest.mark.parametrize("settings", KERNELS, ids=str)
@pytest.mark.parametrize("sparse", [False, True])
def test_features_of_some_rows_are_scikit_learns(settings, sparse):
    X = table() * (np.random.default_rng(1).random((120, 5)) < 0.5)
    X = X + 1e-3 * np.arange(120)[:, None]  # no two rows are equal
    rows = sp.csr_array(X) if sparse else X
    model = Nystroem(**settings, n_components=12).fit(rows)
    np.testing.assert_allclose(model.components_, X[model.component_indices_], atol=1e-12)
    theirs = approximation.Nystroem(**settings, n_components=12)
    values = theirs.set_params(n_components=12)._get_kernel_params()
    known = {name: value for name, value in settings.items() if name != "kernel"}
    K = pairwise.pairwise_kernels(model.components_, metric=settings["kernel"], **known)
    U, S, V = np.linalg.svd(K)
    root = (U / np.sqrt(np.maximum(S, 1e-12))) @ V
    assert values == known
    if S.min() > 1e-8 * S.max():
        np.testing.assert_allclose(model.normalization_, root, atol=1e-6 * np.abs(root).max())
        expected = pairwise.pairwise_kernels(X, model.components_, metric=settings["kernel"], **known) @ root.T
        np.testing.assert_allclose(model.transform(rows), expected, atol=1e-6 * np.abs(expected).max())


def test_all_rows_give_the_kernel_itself():
    X = table(40)
    features = Nystroem(gamma=0.3, n_components=40).fit_transform(X)
    np.testing.assert_allclose(features @ features.T, pairwise.rbf_kernel(X, gamma=0.3), atol=1e-9)


def test_the_rows_drawn_depend_on_neither_order_nor_repetition():
    X = table(500)
    model = Nystroem(n_components=20, random_state=3).fit(X)
    order = np.random.default_rng(0).permutation(500)
    for rows in (X[order], np.repeat(X, 2, axis=0)):
        again = Nystroem(n_components=20, random_state=3, gamma=model.gamma_).fit(rows)
        np.testing.assert_allclose(again.components_, model.components_, rtol=1e-12)
    other = Nystroem(n_components=20, random_state=4).fit(X)
    assert set(other.component_indices_) != set(model.component_indices_)
    weight = (np.arange(500) < 100).astype(float)
    assert Nystroem(n_components=20).fit(X, sample_weight=weight).component_indices_.max() < 100


def test_more_components_than_rows_are_warned_about():
    with pytest.warns(DbmlWarning, match=r"Nystroem: n_components is 100, and array .* has 30 different rows"):
        model = Nystroem().fit(table(30))
    assert model.transform(table(5)).shape == (5, 30)
    assert model.get_feature_names_out()[:2].tolist() == ["nystroem0", "nystroem1"]


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_random_features_are_scikit_learns(offset):
    X = table() + offset
    ours, theirs = (kind(gamma=0.2, random_state=5).fit(X) for kind in (RBFSampler, approximation.RBFSampler))
    np.testing.assert_allclose(ours.random_weights_, theirs.random_weights_, rtol=1e-12)
    np.testing.assert_allclose(ours.random_offset_, theirs.random_offset_, rtol=1e-12)
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), atol=1e-12 if offset == 0.0 else 1e-5)
    scale = [
        kind(gamma="scale", random_state=5).fit(table()).random_weights_
        for kind in (RBFSampler, approximation.RBFSampler)
    ]
    np.testing.assert_allclose(*scale, rtol=1e-10)


def test_missing_values_and_categories_are_terms():
    rows = pa.table({"x": [1.0, None, 3.0, 5.0], "kind": ["a", "b", "a", None]})
    for model in (Nystroem(n_components=4), RBFSampler(n_components=7)):
        features = model.fit_transform(rows)
        assert features.shape == (4, model.n_components)
        assert np.isfinite(features).all()
        again = type(model).from_state(model.get_state())
        assert np.array_equal(again.transform(rows), features)
        assert not np.allclose(features[0], features[1])


@pytest.mark.parametrize(("kind", "options"), [("Nystroem", "gamma = 0.3"), ("RBFSampler", "gamma = 'scale'")])
def test_sql_the_function_and_python_agree(kind, options):
    rows = pa.table({"x": [1.0, None, 3.0, 5.0], "kind": ["a", "b", "a", None]})
    with dbml.connect() as con:
        con.execute("CREATE TABLE t AS FROM rows")
        con.execute(f"CREATE MODEL m OPTIONS (model_type = '{kind}', n_components = 4, {options}) AS FROM t")
        model = con.load_model("m")
        values = model.transform(rows)
        assert values.shape == (4, 4)
        stored = np.array(con.sql("SELECT transform('m', t) FROM t").fetchall())[:, 0]
        np.testing.assert_allclose(stored.tolist(), values, rtol=1e-9, atol=1e-9)
        by_row = [row[-4:] for row in con.sql("FROM ML.TRANSFORM(MODEL m, TABLE t)").fetchall()]
        np.testing.assert_allclose(by_row, values, rtol=1e-9, atol=1e-9)
        assert model.transform(con.table("t")).columns == ["x", "kind", *model.get_feature_names_out()]


def test_bad_parameters_and_rows():
    with pytest.raises(InvalidParameter, match="Nystroem: degree must be None for kernel='rbf', which has none; got 2"):
        Nystroem(degree=2).fit(table())
    with pytest.raises(InvalidParameter, match="RBFSampler: gamma must be one of 'scale' or a finite number > 0"):
        RBFSampler(gamma=0.0).fit(table())
    for model in (Nystroem(), RBFSampler()):
        with pytest.raises(InvalidData, match="at least one positive weight"):
            model.fit(table(3), sample_weight=np.zeros(3))
    assert "standardise the columns" in str(RBFSampler().fit(table() * [1, 1, 1, 1, 1e6]).explain())
