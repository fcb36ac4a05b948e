"""Bins: values to bytes by quantiles, codes as they are, and terms that share a column."""

import numpy as np
import pytest
import scipy.sparse as sp
from dbml_kernels.radix_sort import finite_sort
from dbml_kernels.tree_codes import rank_column
from dbml_kernels.tree_split import BINS, FIRST, MISSED, ZERO

from dbml import HistGradientBoostingClassifier
from dbml.estimators.trees.binning import Binning, quantile_edges
from dbml.passes.dispatch import as_data


def learn(X, share=False, max_bins=255):
    data = as_data(X, np.arange(X.shape[0]) % 2.0, task="regression", encode="values")
    sample = data.sample(100_000, 0)
    return Binning.learn(sample, data.schema.encoding, max_bins, share), sample


def ranks(binning, bins):
    """What each term's bins say: its own bin, 255 where missing; the dumb way back from the layout."""
    found = np.empty((len(bins), binning.n_terms), int)
    for term, place in enumerate(binning.layout):
        column = bins[:, binning.columns[term]].astype(int)
        if place[FIRST] < 0:
            found[:, term] = column
            continue
        own = [b for b in range(place[BINS]) if b != place[ZERO]]
        found[:, term] = place[ZERO]
        for k, b in enumerate(own):
            found[column == place[FIRST] + k, term] = b
        if place[MISSED] >= 0:
            found[column == place[MISSED], term] = 255
    return found


def expected_ranks(binning, X):
    found = np.column_stack([np.searchsorted(edges, X[:, j], side="left") for j, edges in enumerate(binning.edges)])
    return np.where(np.isfinite(X), found, 255)


# edges ---------------------------------------------------------------------------------------------------------------


def test_few_values_have_a_bin_each():
    edges = quantile_edges(np.array([3.0, 1.0, np.nan, 1.0, 7.0, np.inf]), 255)
    assert edges.tolist() == [2.0, 5.0]


def test_many_values_have_bins_of_equal_size():
    values = np.random.default_rng(0).lognormal(size=100_000)
    edges = quantile_edges(values, 64)
    counts = np.bincount(np.searchsorted(edges, values), minlength=64)
    assert edges.size == 63
    assert counts.min() > 0.95 * values.size / 64
    assert counts.max() < 1.05 * values.size / 64


def test_an_edge_between_neighbouring_doubles_separates_them():
    low = 1e8
    high = np.nextafter(low, np.inf)
    edges = quantile_edges(np.array([low, high]), 255)
    assert low <= edges[0] < high


@pytest.mark.parametrize("values", [[], [np.nan, np.inf], [5.0, 5.0]])
def test_nothing_to_tell_apart_gives_no_edge(values):
    assert quantile_edges(np.array(values), 255).size == 0


def test_a_frequent_value_does_not_cost_the_others_their_bins():
    values = np.concatenate([np.zeros(90_000), np.arange(10_000.0)])
    edges = quantile_edges(values, 10)
    assert 1 <= edges.size <= 9
    assert edges[0] < 1.0


# bins ----------------------------------------------------------------------------------------------------------------


def test_bins_are_ranks_among_the_edges_and_the_last_is_of_missing_values():
    X = np.random.default_rng(0).normal(size=(3_000, 4))
    X[::5, 1], X[::7, 2], X[::11, 2] = np.nan, np.inf, -np.inf
    binning, sample = learn(X, max_bins=40)
    assert (binning.bins_of(sample) == expected_ranks(binning, X)).all()


def test_categories_are_their_codes(raw):
    raw.execute(
        "CREATE TABLE t AS SELECT CASE i % 7 WHEN 0 THEN NULL WHEN 1 THEN 'b' ELSE 'a' END c, i y FROM range(700) r(i)"
    )
    with as_data(raw.table("t"), "y", task="regression", encode="values") as data:
        sample = data.sample(1_000, 0)
        binning = Binning.learn(sample, data.schema.encoding, 255)
    assert binning.categorical.all()
    expected = np.where(np.arange(700) % 7 == 0, 255, np.arange(700) % 7 == 1)
    assert (binning.bins_of(sample)[:, 0] == expected).all()


# shared columns ------------------------------------------------------------------------------------------------------


def one_hot(n=4_000, sizes=(40, 300), seed=0):
    """One-hot columns of some categories: those of one never meet."""
    rng = np.random.default_rng(seed)
    first = np.cumsum([0, *sizes])[:-1]
    terms = np.column_stack([rng.integers(0, size, n) + begin for begin, size in zip(first, sizes, strict=True)])
    return sp.csr_array((np.ones(terms.size), (np.repeat(np.arange(n), len(sizes)), terms.ravel())), (n, sum(sizes)))


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_one_hot_columns_share_bytes_and_nothing_is_lost(kind):
    X = one_hot()
    binning, sample = learn(X if kind == "sparse" else X.toarray(), share=True)
    assert binning.n_columns <= 12
    assert (ranks(binning, binning.bins_of(sample)) == expected_ranks(binning, X.toarray())).all()


def test_counts_and_missing_values_in_a_shared_column():
    rng = np.random.default_rng(0)
    owner = rng.integers(0, 12, 5_000)
    X = np.where(owner[:, None] == np.arange(12), rng.integers(-2, 4, (5_000, 12)), 0.0)
    X[(owner == 3) & (rng.random(5_000) < 0.5), 3] = np.nan
    binning, sample = learn(X, share=True)
    assert binning.n_columns == 1
    assert (ranks(binning, binning.bins_of(sample)) == expected_ranks(binning, X)).all()


def test_terms_that_meet_do_not_share():
    X = sp.random_array((3_000, 30), density=0.3, rng=np.random.default_rng(0), format="csr")
    X.data[:] = 1.0
    binning, sample = learn(X, share=True)
    assert (ranks(binning, binning.bins_of(sample)) == expected_ranks(binning, X.toarray())).all()


def test_of_terms_that_meet_only_where_no_sample_was_the_last_stays():
    X = one_hot(sizes=(5,))
    binning, _ = learn(X, share=True)
    assert binning.n_columns == 1
    both = np.zeros((1, 5))
    both[0, [1, 3]] = 1.0
    data = as_data(sp.csr_array(both), np.zeros(1), task="regression", encode="values")
    found = ranks(binning, binning.bins_of(data.sample(1, 0)))[0]
    assert found.tolist() == [0, 0, 0, 1, 0]


def test_without_sharing_a_column_is_a_term():
    X = one_hot(sizes=(6, 4))
    binning, sample = learn(X)
    assert binning.n_columns == binning.n_terms == 10
    assert (binning.bins_of(sample) == expected_ranks(binning, X.toarray())).all()


def test_sharing_changes_no_tree(monkeypatch):
    X = one_hot(6_000, (30, 20))
    y = (X @ np.random.default_rng(1).normal(size=50) > 0).astype(int)
    make = HistGradientBoostingClassifier(max_iter=10, early_stopping=False)
    shared = make.fit(X, y).predict_proba(X)
    monkeypatch.setattr("dbml.estimators.trees.binning.find_bundles", lambda *_: [])
    alone = make.fit(X, y).predict_proba(X)
    np.testing.assert_allclose(shared, alone, rtol=1e-9)


def test_twenty_thousand_terms_fit_in_some_hundred_bytes_a_row():
    X = one_hot(20_000, (12_000, 7_000, 1_000))
    binning, sample = learn(X, share=True)
    assert binning.n_terms == 20_000
    assert binning.n_columns < 120
    assert binning.bins_of(sample).shape == (20_000, binning.n_columns)


# kernels: sorting, ranking -----------------------------------------------------------------------------------------

SHAPES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "skewed": lambda rng, n: rng.lognormal(sigma=2.0, size=n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(n),
    "whole": lambda rng, n: rng.integers(-300, 300, n).astype(float),
    "single precision": lambda rng, n: rng.normal(size=n).astype(np.float32).astype(float),
    "one value": lambda rng, n: np.full(n, -7.0),
    "two values": lambda rng, n: rng.integers(0, 2, n) * 1e300,
    "zeros of both signs": lambda rng, n: rng.choice([0.0, -0.0, 1.0, -1.0], n),
    "whole range": lambda rng, n: rng.choice([-1.7e308, -1.0, 5e-324, 1.7e308], n),
    "tiny": lambda rng, n: rng.normal(size=n) * 1e-310,
    "times": lambda rng, n: 1.7e9 + rng.random(n),
}


@pytest.mark.parametrize("n", [0, 1, 2, 5_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_finite_values_are_sorted(shape, n):
    rng = np.random.default_rng(0)
    values = SHAPES[shape](rng, n)
    values[rng.random(n) < 0.1] = np.nan
    values[rng.random(n) < 0.05] = np.inf
    values[rng.random(n) < 0.05] = -np.inf
    expected = np.sort(values[np.isfinite(values)])
    np.testing.assert_array_equal(finite_sort(values.copy(), np.empty(n)), expected)


@pytest.mark.parametrize("n_edges", [0, 1, 7, 8, 30, 254, 3_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_are_ranked_among_edges(shape, n_edges):
    rng = np.random.default_rng(1)
    values = SHAPES[shape](rng, 20_000)
    edges = np.unique(rng.choice(values, n_edges)) if n_edges else np.empty(0)
    values = np.concatenate([values, edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf)])
    values[::50] = np.tile([np.nan, np.inf, -np.inf], len(values))[: len(values[::50])]
    for part in (values, values[:40]):  # few values are ranked another way than many
        out = np.zeros(3 * len(part), np.uint16)
        rank_column(part, edges, 3, 1, out)
        expected = np.where(np.isfinite(part), np.searchsorted(edges, part, side="left"), 0xFFFF)
        np.testing.assert_array_equal(out[1::3], expected)
        assert not out[::3].any() and not out[2::3].any()
