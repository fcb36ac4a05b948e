"""The Gram step: what it adds up, the merge law, folds, weights, sparse terms, large offsets."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from dbml.estimators.folds import Folds, Held, folds_of
from dbml.estimators.gram_step import GramStep, Moments
from dbml.estimators.leave_one_out import LeaveOneOutStep
from dbml.estimators.moment_steps import DiagonalStep, ResidualStep
from dbml.passes.block import Block, SparseRows
from dbml.passes.dispatch import as_data


def make_block(n, n_dense, n_sparse, seed, weighted, start=0, offset=0.0):
    """Rows with dense and sparse terms, and the same as one dense matrix."""
    rng = np.random.default_rng(seed)
    X = np.asfortranarray(rng.normal(size=(n, n_dense)))
    sparse, whole = None, X
    if n_sparse:
        S = sp.random_array((n, n_sparse), density=0.3, format="csr", rng=rng)
        S.sort_indices()
        sparse = SparseRows(S.indptr.astype(np.int64), (S.indices + n_dense).astype(np.int32), S.data)
        whole = np.hstack([X, S.toarray()])
    y = rng.normal(size=n) + offset
    weight = rng.integers(0, 3, n).astype(float) if weighted else None
    return Block(X, sparse, y, weight, start), whole


def part(block, first, last):
    """Rows first … last of a block."""
    sparse = block.sparse
    if sparse is not None:
        a, b = sparse.indptr[first], sparse.indptr[last]
        sparse = SparseRows(sparse.indptr[first : last + 1] - a, sparse.indices[a:b], sparse.values[a:b])
    weight = None if block.weight is None else block.weight[first:last]
    X = np.asfortranarray(block.X[first:last])
    return Block(X, sparse, block.y[first:last], weight, block.start + first)


def fold(step, blocks):
    state = None
    for block in blocks:
        own = step.start()
        step.update(own, block)
        state = own if state is None else step.merge(state, own)
    return step.start() if state is None else state


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("n", "n_dense", "n_sparse"),
    [(1, 1, 0), (7, 0, 3), (1500, 5, 0), (40, 6, 0), (40, 7, 0), (40, 8, 1), (2100, 9, 6), (3, 13, 2), (40, 28, 0)],
)
def test_moments_are_those_of_the_dense_matrix(n, n_dense, n_sparse, weighted):
    block, V = make_block(n, n_dense, n_sparse, 3, weighted)
    w = np.ones(n) if block.weight is None else block.weight
    if w.sum() == 0.0:
        w[:] = 1.0
        block.weight = w
    moments = Moments.of(fold(GramStep(n_dense + n_sparse), [block]))
    mean, y_mean = w @ V / w.sum(), w @ block.y / w.sum()
    C = V - mean
    np.testing.assert_allclose(moments.gram, C.T @ (w[:, None] * C), atol=1e-9)
    np.testing.assert_allclose(moments.xy, C.T @ (w * (block.y - y_mean)), atol=1e-9)
    np.testing.assert_allclose(moments.yy, w @ (block.y - y_mean) ** 2, atol=1e-9)
    np.testing.assert_allclose((moments.y_mean, moments.weight), (y_mean, w.sum()), atol=1e-12)
    assert moments.count == np.count_nonzero(w)
    raw = moments.about_zero(mean * 0.0 + 2.0)
    np.testing.assert_allclose(raw.gram, (V + 2.0).T @ (w[:, None] * (V + 2.0)), atol=1e-8)


def steps(p):
    folds = Folds(3, seed=5)
    rng = np.random.default_rng(0)
    moments = Moments(10.0, 10, np.zeros(p), 0.3, np.eye(p), np.zeros(p), 1.0)
    basis = np.linalg.qr(rng.normal(size=(p, p)))[0]
    shrunk = np.full((p, 2), 1e-3)
    return [
        GramStep(p),
        GramStep(p, folds),
        DiagonalStep(p),
        DiagonalStep(p, Held(folds, 1)),
        ResidualStep(rng.normal(size=p), 0.5),
        ResidualStep(rng.normal(size=p), 0.5, held=Held(folds, 0, inside=True)),
        LeaveOneOutStep(basis, shrunk, rng.normal(size=(p, 2)), np.zeros(p), moments, True),
    ]


@settings(max_examples=40)
@given(
    n=st.integers(0, 60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    shape=st.sampled_from([(3, 0), (0, 4), (5, 3)]),
    weighted=st.booleans(),
    offset=st.sampled_from([0.0, 1e8]),
)
def test_any_split_of_the_rows_gives_the_same_state(n, cuts, shape, weighted, offset):
    block, _ = make_block(n, *shape, 1, weighted, offset=offset)
    bounds = [0, *sorted(min(c, n) for c in cuts), n]
    parts = [part(block, a, b) for a, b in itertools.pairwise(bounds)]
    for step in steps(sum(shape)):
        if offset and isinstance(step, (ResidualStep, LeaveOneOutStep)):
            continue  # their residuals are small where a model was fitted; here they would be the offset
        whole, merged = fold(step, [block]), fold(step, parts)
        if isinstance(step, GramStep):
            if not whole["count"].any():
                assert not merged["count"].any()
                continue
            for name in ("gram", "xy", "yy", "y_mean"):
                left, right = getattr(Moments.of(whole), name), getattr(Moments.of(merged), name)
                np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-5 if offset else 1e-9)
        elif isinstance(step, DiagonalStep):
            np.testing.assert_allclose(whole["sums"], merged["sums"], atol=1e-9)
            np.testing.assert_array_equal(whole["count"], merged["count"])
        else:
            for name in whole:
                np.testing.assert_allclose(whole[name], merged[name], rtol=step.tolerance, atol=1e-8)


def test_folds_depend_on_the_position_of_a_row_alone_and_share_the_rows_evenly():
    folds = Folds(5, seed=1)
    block, _ = make_block(20_000, 1, 0, 0, False, start=0)
    whole = folds.of(block)
    np.testing.assert_array_equal(whole[777:900], folds.of(part(block, 777, 900)))
    assert np.abs(np.bincount(whole, minlength=5) - 4_000).max() < 250
    assert (whole != Folds(5, seed=2).of(block)).mean() > 0.7


def test_the_folds_of_one_pass_are_those_of_a_pass_each():
    block, V = make_block(500, 4, 3, 2, True)
    folds = Folds(4, seed=9)
    state = fold(GramStep(7, folds), [block])
    of_row = folds.of(block)
    for number in range(4):
        w = block.weight * (of_row != number)
        C = V - w @ V / w.sum()
        np.testing.assert_allclose(Moments.without(state, number).gram, C.T @ (w[:, None] * C), atol=1e-9)


def test_given_splits_become_folds_and_others_are_refused():
    splits = [(np.array([2, 3]), np.array([0, 1])), (np.array([0, 1]), np.array([2, 3]))]
    data = as_data(np.zeros((4, 1)), np.zeros(4), task="regression")
    assert folds_of(splits, 0, "LassoCV", data).assigned.tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="LassoCV: cv must be a number of folds"):
        folds_of([(np.array([2]), np.array([0, 1])), (np.array([0, 1]), np.array([2, 3]))], 0, "LassoCV", data)


def test_read_only_blocks_are_fine():
    block, _ = make_block(1200, 6, 3, 4, True)
    for array in (block.X, block.y, block.weight, *block.sparse):
        array.flags.writeable = False
    for step in steps(9):
        assert all(np.isfinite(array).all() for array in fold(step, [block]).values())
