"""Landmark machines: kernels against NumPy, passes against their laws, minima against brute force, hard problems."""

import functools
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from dbml_kernels.landmark_values import Landmarks, values_fill
from dbml_kernels.matrix_tile import PANEL

import dbml
from dbml import SVC, SVR
from dbml.engine.local import LocalEngine
from dbml.errors import ConvergenceWarning
from dbml.estimators.kernel_machines import over_features, streamed
from dbml.estimators.kernel_machines.kernel_function import KernelFunction, Vectors
from dbml.estimators.kernel_machines.landmark_step import LandmarkStep, PackedFeatures
from dbml.estimators.kernel_machines.landmarks import NystroemFeatures, principal_normalization
from dbml.estimators.kernel_machines.streamed import PairReading
from dbml.estimators.losses import hinge
from dbml.estimators.solvers.loss_step import LossStep
from dbml.passes.block import Block, SparseRows
from dbml.passes.engine import using
from dbml.passes.memory import memory_limited


def rows(n=400, p=5, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return np.asfortranarray(rng.normal(size=(n, p))), rng.integers(classes, size=n).astype(float)


def features_of(X, m, name="rbf", gamma=0.2):
    kernel = KernelFunction(name, gamma, 1.0)
    landmarks = Vectors(X[:m].copy(), np.zeros(X.shape[1]), kernel)
    return NystroemFeatures(landmarks, principal_normalization(landmarks))


def steps_of(m, hessian, seed=0):
    rng = np.random.default_rng(seed)
    return [
        LossStep(hinge(0.5), PairReading(i, None, j), rng.normal(size=m), 0.1 * i, 0.0, hessian)
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]


def folded(step, *blocks):
    states = []
    for block in blocks:
        states.append(step.start())
        step.update(states[-1], block)
    return step.split(functools.reduce(step.merge, states))


def by_hand(step, features, block):
    """The same sums over features in double precision."""
    state = step.start()
    step.update(state, Block(features.features(block), None, block.y, block.weight, block.start))
    return state


def assert_same(found, expected, rtol):
    for name, value in expected.items():
        part = np.tril(value) if name == "gram" else value
        if name == "gram":
            part[:, 1], part[1] = found[name][:, 1], found[name][1]  # of the ratio, which machines do not have
        scale = np.abs(part[np.isfinite(part)]).max(initial=1e-300)
        np.testing.assert_allclose(found[name], part, atol=rtol * scale, err_msg=name)


@pytest.mark.parametrize("m", [1, 15, 16, 40])
def test_values_are_those_of_the_kernel_for_rows_that_are_read_only(m):
    X, _ = rows(70)
    padded = np.zeros((-(-m // PANEL) * PANEL, 5), np.float32)
    padded[:m] = X[:m]
    panels = np.ascontiguousarray(padded.reshape(-1, PANEL, 5).transpose(0, 2, 1))
    flat, chosen = X.ravel(order="F"), np.array([3, 69, 0, 7, 8])
    for array in (flat, chosen, panels):
        array.flags.writeable = False
    values = np.full((8, len(padded)), np.nan, np.float32)
    values_fill(
        Landmarks(np.float32(0.3), panels, (padded**2).sum(axis=1)), flat, 70, chosen, np.empty(40, np.float32), values
    )
    expected = np.exp(-0.3 * ((X[chosen, None] - X[None, :m]) ** 2).sum(axis=2))
    np.testing.assert_allclose(values[:5, :m], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["rbf", "poly"])
@pytest.mark.parametrize("m", [7, 50])
def test_sums_are_those_of_linear_machines_over_the_features(name, m):
    X, y = rows()
    X[5] *= 40.0  # too far out for products in single precision
    features = features_of(X, m, name)
    block = Block(X, None, y, np.linspace(0.0, 2.0, len(y)), 0)
    steps = steps_of(features.n_out, True)
    for own, step in zip(folded(LandmarkStep(steps, PackedFeatures(features)), block), steps, strict=True):
        assert_same(own, by_hand(step, features, block), 1e-4)


def test_sparse_rows_sum_to_the_same():
    X, y = rows()
    X[np.abs(X) < 0.7] = 0.0
    S = sp.csr_array(X[:, 2:])
    dense = Block(X, None, y, None, 0)
    mixed = Block(X[:, :2], SparseRows(S.indptr.astype(np.int64), S.indices + 2, S.data), y, None, 0)
    features = features_of(X, 30)
    step = LandmarkStep(steps_of(features.n_out, True), PackedFeatures(features))
    for own, other in zip(folded(step, mixed), folded(step, dense), strict=True):
        assert_same(own, other, 1e-4)


@pytest.mark.parametrize("cuts", [[0], [1, 1], [130, 399], [64, 128, 300]])
def test_any_split_of_the_rows_merges_to_the_same_sums(cuts):
    X, y = rows()
    features = features_of(X, 20)
    step = LandmarkStep(steps_of(features.n_out, True), PackedFeatures(features))
    parts = [
        Block(np.asfortranarray(x), None, z, None, 0) for x, z in zip(np.split(X, cuts), np.split(y, cuts), strict=True)
    ]
    for own, other in zip(folded(step, *parts), folded(step, Block(X, None, y, None, 0)), strict=True):
        assert_same(own, other, 1e-6)  # sums of Hessians in single precision, by tiles of rows


def product_table(n, p, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    return X, X[:, 0] * X[:, 1] + 0.3 * rng.normal(size=n) > 0.0


@pytest.mark.parametrize("C", [1.0, 100.0])
def test_passes_end_at_the_minimum_that_newton_finds_in_memory(monkeypatch, C):
    X, y = product_table(3_000, 3)
    settings = {"solver": "nystroem", "n_components": 40, "C": C}
    whole = SVC(**settings).fit(X, y)
    assert "newton" in str(whole.explain())
    monkeypatch.setattr(streamed, "_LEAST_SAMPLE", 600)
    monkeypatch.setattr(streamed, "_ROWS_PER_TERM", 15)
    monkeypatch.setattr(over_features, "_LEAST_FEW", 200)
    passes = SVC(**settings).fit(X, y)
    assert "preconditioned by the Hessian of a sample" in str(passes.explain())
    scale = np.abs(whole.decision_function(X)).max()
    np.testing.assert_allclose(passes.decision_function(X), whole.decision_function(X), atol=0.02 * scale)


def test_the_same_bits_for_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(streamed, "_LEAST_SAMPLE", 2_000)
    X, y = product_table(30_000, 3)
    found = []
    for threads in (1, 2, 7):
        with using(LocalEngine(threads)):
            found.append(SVC(solver="nystroem", n_components=20).fit(X, y).landmark_coef_)
    assert all(np.array_equal(one, found[0]) for one in found)


def test_a_class_that_the_sample_lacks_is_learned_all_the_same(monkeypatch):
    monkeypatch.setattr(streamed, "_LEAST_SAMPLE", 600)
    monkeypatch.setattr(streamed, "_ROWS_PER_TERM", 1)
    X, y = product_table(20_000, 2)
    y = y.astype(int)
    y[::5_000], X[::5_000] = 2, [2.5, 2.5]
    model = SVC(solver="nystroem", n_components=30, class_weight={2: 2_000.0}).fit(X, y)
    assert "newton pass 1" in [done.purpose for done in model.explain().passes]
    assert model.predict([[2.5, 2.5], [1.0, 1.0], [1.0, -1.0]]).tolist() == [2, 1, 0]


@pytest.mark.parametrize("C", [1e3, 1e4])
def test_a_large_c_converges_or_warns(C):
    X, y = product_table(12_000, 4)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ConvergenceWarning)
        model = SVC(solver="nystroem", n_components=60, C=C).fit(X, y)
    assert bool(told) == bool(model.fit_status_)
    assert (model.predict(X) == (X[:, 0] * X[:, 1] > 0.0)).mean() > 0.95


def test_the_number_of_landmarks_is_chosen_and_explained():
    X, y = product_table(2_000, 2)
    told = str(SVC(solver="nystroem").fit(X, y).explain())
    assert "nystroem (500 landmarks" in told
    with memory_limited("64MiB"):
        few = str(SVR(solver="nystroem").fit(X, y.astype(float)).explain())
    assert "nystroem (362 landmarks" in few
    assert "of memory_limit are for their Hessians" in few
    assert "7 landmarks" in str(SVC(solver="nystroem", n_components=7).fit(X, y).explain())


def test_landmarks_beyond_the_rows_are_all_of_them():
    X, y = product_table(80, 2)
    model = SVC(solver="nystroem").fit(X, y)
    assert len(model.landmarks_) == 80
    assert "there are 80 different rows" in str(model.explain())
    assert (model.predict(X) == SVC().fit(X, y).predict(X)).mean() > 0.95
    assert dbml.SVC(solver="nystroem").fit(np.ones((50, 2)), np.arange(50) % 2).landmarks_.shape == (1, 2)
