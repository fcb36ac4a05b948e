"""Truncated singular value decomposition: scikit-learn's results, sparse rows of every kind, batches in sequence."""

from pathlib import Path

import duckdb
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import decomposition

from dbml import IncrementalPCA, TruncatedSVD
from dbml.errors import InvalidData, InvalidParameter

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
FITTED = ("components_", "explained_variance_", "explained_variance_ratio_", "singular_values_")
BATCHED = (*FITTED, "mean_", "var_", "noise_variance_", "n_samples_seen_", "n_components_")


def dense():
    rng = np.random.default_rng(0)
    return rng.normal(size=(500, 12)) @ rng.normal(size=(12, 12)) + 3.0


def sparse():
    rows = sp.random(400, 300, 0.05, format="csr", random_state=0)
    return rows @ sp.diags_array(np.geomspace(10.0, 0.1, 300))


def assert_alike(ours, theirs, names, tolerance):
    for name in names:
        np.testing.assert_allclose(
            getattr(ours, name), getattr(theirs, name), rtol=tolerance, atol=tolerance, err_msg=name
        )


@pytest.mark.parametrize("offset", [1e2, 1e6, 1e9])
@pytest.mark.parametrize("many", [1, 20])
def test_columns_far_from_zero_keep_their_variance(offset, many):
    X = np.tile(dense(), (many, 1)) + offset
    ours = TruncatedSVD(5).fit(X)
    theirs = decomposition.TruncatedSVD(5, algorithm="arpack", random_state=0).fit(X)
    np.testing.assert_allclose(ours.explained_variance_ratio_, theirs.explained_variance_ratio_, rtol=1e-4)
    np.testing.assert_allclose(ours.singular_values_, theirs.singular_values_, rtol=1e-5)
    assert ours.explained_variance_ratio_.sum() <= 1.0 + 1e-9


@pytest.mark.parametrize("rows", [dense, sparse])
@pytest.mark.parametrize("algorithm", ["auto", "randomized", "arpack"])
def test_every_algorithm_gives_the_singular_vectors_of_scikit_learn(algorithm, rows):
    X = rows()
    ours = TruncatedSVD(5, algorithm=algorithm, tol=0.0).fit(X)
    theirs = decomposition.TruncatedSVD(5, algorithm="arpack").fit(X)
    assert_alike(ours, theirs, FITTED, 1e-5)
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), atol=1e-4)
    np.testing.assert_allclose(
        ours.inverse_transform(ours.transform(X)), theirs.inverse_transform(theirs.transform(X)), atol=1e-4
    )
    np.testing.assert_allclose(ours.singular_values_, np.linalg.norm(ours.transform(X), axis=0), rtol=1e-6)
    assert ours.get_feature_names_out()[0] == "truncatedsvd0"


def test_more_passes_find_more_and_the_plan_counts_them():
    X = np.random.default_rng(0).normal(size=(2_000, 400))
    found = [TruncatedSVD(5, algorithm="randomized", n_iter=n).fit(X) for n in (0, 2)]
    assert [model.n_iter_ for model in found] == [1, 3]
    assert found[0].singular_values_.sum() < found[1].singular_values_.sum()
    exact = np.linalg.svd(X, compute_uv=False)[:5]
    assert (found[1].singular_values_ <= exact * (1 + 1e-9)).all()


def test_weights_are_repetitions():
    X, weight = dense()[:90], np.arange(90) % 4
    weighted = TruncatedSVD(3).fit(X, sample_weight=weight)
    repeated = TruncatedSVD(3).fit(X.repeat(weight, axis=0))
    assert_alike(weighted, repeated, FITTED, 1e-8)


@pytest.mark.skipif(not DATA.exists(), reason="no real tables")
@pytest.mark.parametrize("algorithm", ["auto", "randomized"])
def test_lists_of_a_real_table_are_the_sparse_matrix_they_spell(algorithm):
    con = duckdb.connect()
    table = con.sql(f"SELECT idx, val::DOUBLE[] AS val FROM '{DATA / 'a9a.parquet'}' LIMIT 4000")
    rows = table.fetchall()
    first = min(min(idx) for idx, _ in rows)
    width = max(max(idx) for idx, _ in rows) - first + 1
    indices = np.concatenate([idx for idx, _ in rows]) - first
    values, indptr = np.concatenate([val for _, val in rows]), np.cumsum([0, *(len(idx) for idx, _ in rows)])
    X = sp.csr_array((values, indices, indptr), shape=(len(rows), width))
    ours = TruncatedSVD(4, algorithm=algorithm, tol=1e-9).fit(table)
    theirs = decomposition.TruncatedSVD(4, algorithm="arpack").fit(X)
    assert_alike(ours, theirs, FITTED[1:], 1e-5)


def test_maps_are_read_by_their_keys(raw):
    raw.execute("""CREATE TABLE words AS SELECT MAP {'a': i % 5, 'b': (i % 3) * 2.0} AS counts FROM range(60) r(i)""")
    model = TruncatedSVD(1).fit(raw.table("words"))
    X = np.array([[i % 5, (i % 3) * 2.0] for i in range(60)])
    theirs = decomposition.TruncatedSVD(1, algorithm="arpack").fit(X)
    order = [model.terms_.index(f"counts[{key}]") for key in "ab"]
    np.testing.assert_allclose(model.components_[:, order], theirs.components_, atol=1e-9)
    np.testing.assert_allclose(model.explained_variance_, theirs.explained_variance_)


def test_bad_numbers_are_named():
    with pytest.raises(InvalidParameter, match=r"n_components must be at most 12 with algorithm='auto'.*; got 13"):
        TruncatedSVD(13).fit(dense())
    with pytest.raises(InvalidParameter, match=r"at most 11 with algorithm='arpack'"):
        TruncatedSVD(12, algorithm="arpack").fit(dense())
    with pytest.raises(InvalidParameter, match=r"at most 5, the 5 rows of a batch of .*; got 6"):
        IncrementalPCA(6, batch_size=5).fit(dense())
    with pytest.raises(InvalidData, match=r"at least 4 rows at first; got n_samples=3"):
        IncrementalPCA(4).fit(dense()[:3])


@pytest.mark.parametrize("batch", [50, 73, 500])
def test_batches_give_the_components_of_scikit_learn(batch):
    X = dense()
    ours = IncrementalPCA(4, batch_size=batch).fit(X)
    theirs = decomposition.IncrementalPCA(4, batch_size=batch).fit(X)
    assert_alike(ours, theirs, BATCHED, 1e-8)
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), atol=1e-8)
    np.testing.assert_allclose(ours.get_covariance(), theirs.get_covariance(), atol=1e-8)


def test_batches_of_a_table_are_those_of_its_array(raw):
    X = dense()
    raw.register("rows_of_x", frame_of(X))
    raw.execute("CREATE TABLE t AS FROM rows_of_x")
    ours = IncrementalPCA(3, batch_size=100).fit(raw.table("t"))
    assert_alike(ours, decomposition.IncrementalPCA(3, batch_size=100).fit(X), BATCHED, 1e-8)


def frame_of(X):
    import pandas as pd

    return pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])


def test_partial_fits_go_on_from_each_other_and_from_a_saved_model():
    X = dense() + 1e6
    ours, theirs = IncrementalPCA(4), decomposition.IncrementalPCA(4)
    for start in range(0, 500, 60):
        ours.partial_fit(X[start : start + 60])
        theirs.partial_fit(X[start : start + 60])
        ours = IncrementalPCA.from_state(ours.get_state())
    assert_alike(ours, theirs, BATCHED, 1e-6)
    with pytest.raises(InvalidParameter, match="n_components must stay 4, as in the first call"):
        ours.set_params(n_components=2).partial_fit(X)


def test_whitened_batches_have_variance_one():
    X = dense()
    for weight in (None, np.full(len(X), 1.0 / len(X))):  # shares of 1 are as good as a row each
        outputs = IncrementalPCA(whiten=True).fit(X, sample_weight=weight).transform(X)
        np.testing.assert_allclose(np.cov(outputs.T), np.eye(12), atol=1e-8)
