"""Solvers on objectives: derivatives by finite differences, minima by another solver, trouble on purpose."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbml.engine.local import LocalEngine
from dbml.errors import InvalidData
from dbml.estimators import losses
from dbml.estimators.penalties import Penalty
from dbml.estimators.solvers.curvature import sample_curvature
from dbml.estimators.solvers.held_rows import HeldRows, spread_rows
from dbml.estimators.solvers.lbfgs import Preconditioner, lbfgs
from dbml.estimators.solvers.loss_step import RowReading, weighted_median
from dbml.estimators.solvers.newton import newton, solve_scaled
from dbml.estimators.solvers.objective import Objective, Request, SoftmaxObjective
from dbml.estimators.solvers.packing import pack
from dbml.estimators.solvers.remainder import sample_remainder
from dbml.estimators.solvers.run import run
from dbml.passes.block import Block, SparseRows
from dbml.passes.engine import using


def block(n=300, d=4, sparse=3, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    X = np.asfortranarray(rng.normal(size=(n, d)))
    level = rng.integers(0, sparse, size=n)
    rows = SparseRows(np.arange(n + 1), (d + level).astype(np.int32), np.ones(n))
    margin = X[:, 0] - 0.5 * level + rng.logistic(size=n)
    y = np.digitize(margin, np.quantile(margin, np.arange(1, classes) / classes)).astype(float)
    return Block(X, rows, y, rng.random(n) * 2, 0)


def objective(kind=Objective, loss=losses.LOGISTIC, penalty=None, intercept=True, reading=None, outputs=1, terms=7):
    reading = RowReading(1) if reading is None else reading
    penalty = penalty or Penalty(l2=0.1)
    centre = np.linspace(-1, 2, terms)
    return kind(loss, penalty, terms, centre, intercept, reading, owner="Test", n_outputs=outputs)


def evaluation(what, rows, theta):
    request = Request(theta, True)
    return what.evaluate(request, HeldRows(rows).fold(what.step(request))[0])


CASES = {
    "logistic": {},
    "no intercept": {"intercept": False},
    "penalised intercept": {"penalty": Penalty(l2=0.3, intercept_l2=0.2, per_sum=True)},
    "Poisson": {"loss": losses.POISSON, "reading": RowReading()},
    "Huber": {"loss": losses.huber(1.35), "reading": RowReading()},
    "Huber without intercept": {"loss": losses.huber(1.35), "reading": RowReading(), "intercept": False},
    "class weights": {"reading": RowReading(1, np.array([0.5, 2.0]))},
    "softmax": {"kind": SoftmaxObjective, "outputs": 3, "reading": RowReading()},
    "softmax without intercept": {
        "kind": SoftmaxObjective,
        "outputs": 3,
        "reading": RowReading(None, np.array([0.5, 2.0, 1.0])),
        "intercept": False,
    },
}


@pytest.mark.parametrize("case", CASES)
def test_gradient_and_hessian_are_finite_differences(case):
    what = objective(**CASES[case])
    rows = HeldRows(block(classes=3 if "softmax" in case else 2))
    rng = np.random.default_rng(1)
    theta = rng.normal(size=what.size) * 0.3
    if what.has_scale:
        theta[-1] = 0.8

    def at(theta, hessian=False):
        request = Request(theta, hessian)
        return what.evaluate(request, rows.fold(what.step(request))[0])

    here, h = at(theta, True), 1e-5
    for j in range(what.size):
        move = h * np.eye(what.size)[j]
        up, down = at(theta + move), at(theta - move)
        assert (up.value - down.value) / (2 * h) == pytest.approx(here.gradient[j], abs=1e-8, rel=1e-5)
        np.testing.assert_allclose((up.gradient - down.gradient) / (2 * h), here.hessian[j], atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_newton_and_lbfgs_agree(case):
    what = objective(**CASES[case])
    rows = HeldRows(block(classes=3 if "softmax" in case else 2))
    start = np.zeros(what.size)
    start[-1] = 1.0 if what.has_scale else 0.0
    silent = lambda number, best: None  # noqa: E731
    (a,) = run(rows, [what], [newton([start], 1e-7, 100)], "", silent)
    (b,) = run(rows, [what], [lbfgs([start], np.ones(what.size), 1e-9, 1000)], "", silent)
    assert a.converged
    assert b.converged
    (w, c, scale), (v, d, other) = what.split(a.theta), what.split(b.theta)
    np.testing.assert_allclose(w, v, atol=1e-5)
    assert scale == pytest.approx(other, abs=1e-5)
    if "softmax" in case:  # what all classes have in common changes nothing
        c, d = c - c.mean(), d - d.mean()
    np.testing.assert_allclose(c, d, atol=1e-5)


def test_lbfgs_with_an_inverse_hessian_takes_few_steps():
    what, rows = objective(), block(n=2000)
    rows.X[:, 1] *= 1e3
    start, scale = np.zeros(what.size), np.ones(8)
    scale[1] = 1e3
    here = evaluation(what, rows, start)
    solve = lambda q: np.linalg.solve(here.hessian, q)  # noqa: E731
    silent = lambda number, best: None  # noqa: E731
    found = [
        run(HeldRows(rows), [what], [lbfgs([start], scale, 1e-8, 200, p)], "", silent)[0]
        for p in (None, Preconditioner(lambda theta: solve))
    ]
    assert all(solution.converged for solution in found)
    assert found[1].iterations < found[0].iterations
    assert found[1].value == pytest.approx(found[0].value, rel=1e-10)


def one_hot_block(n=3000, levels=40, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    X = np.asfortranarray(rng.normal(size=(n, 4)))
    level = (levels * rng.random(n) ** 2).astype(np.int32)
    score = X[:, :1] * np.arange(classes) + rng.normal(size=(levels, classes))[level]
    y = (score + rng.gumbel(size=score.shape)).argmax(axis=1).astype(float)
    sparse = SparseRows(np.arange(n + 1), (level + 4).astype(np.int32), np.ones(n))
    return Block(X, sparse, y, None, 0)


def shares(rows, n_terms=44):
    return np.bincount(rows.sparse.indices, minlength=n_terms) / rows.n_rows


def softmax_objective(rows, n_terms, fit_intercept):
    penalty = Penalty(l2=1.0, per_sum=True)
    return SoftmaxObjective(losses.LOGISTIC, penalty, n_terms, np.zeros(n_terms), fit_intercept, n_outputs=3)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("levels", [slice(4, 44), slice(0, 0)], ids=["levels eliminated", "whole"])
def test_the_curvature_of_rows_inverts_the_blocks_of_their_hessian(fit_intercept, levels):
    rows = one_hot_block()
    what = softmax_objective(rows, 44, fit_intercept)
    theta = 0.3 * np.random.default_rng(1).normal(size=what.size)
    inverse = sample_curvature(what, rows, 3000.0, levels, shares(rows)[levels])(theta)
    hessian = evaluation(what, rows, theta).hessian
    m = what.size // 3
    for k in range(3):
        part = slice(k * m, (k + 1) * m)
        for q in np.eye(what.size)[part][:: m // 4]:
            solved = inverse(hessian[:, part] @ q[part])[part]
            np.testing.assert_allclose(solved, q[part], atol=1e-2)


def test_curvature_of_rows_makes_softmax_over_many_levels_converge_in_few_passes():
    rows = one_hot_block()
    what = softmax_objective(rows, 44, True)
    scale = np.ones(what.size)
    at = sample_curvature(what, rows, 3000.0, slice(4, 44), shares(rows)[4:])
    silent = lambda number, best: None  # noqa: E731
    start = np.zeros(what.size)
    found = [
        run(HeldRows(rows), [what], [lbfgs([start], scale, 1e-8, 500, p)], "", silent)[0]
        for p in (None, Preconditioner(at, (0, 5)))
    ]
    assert all(solution.converged for solution in found)
    assert found[1].iterations < found[0].iterations / 2
    assert found[1].value == pytest.approx(found[0].value, rel=1e-9)


@pytest.mark.parametrize("dear", ["terms", "rest", "bytes", "rows", "weight"])
def test_curvature_that_would_cost_too_much_is_not_taken(dear):
    rows = one_hot_block(n=0 if dear == "rows" else 30)
    if dear == "weight":
        rows.weight = np.zeros(30)
    n_terms = {"terms": 2_600, "rest": 1_100}.get(dear, 44)
    what = softmax_objective(rows, n_terms, True)
    shared = 10**6 if dear == "bytes" else 1
    levels = slice(4, 2_600) if dear == "terms" else slice(4, 44)
    assert sample_curvature(what, rows, 30.0, levels, np.zeros(n_terms)[levels], shared) is None


def test_spread_rows_keep_what_belongs_together():
    rows = one_hot_block(n=100)
    few = spread_rows(rows, 7)
    chosen = np.arange(7) * 100 // 7
    np.testing.assert_array_equal(few.X, rows.X[chosen])
    np.testing.assert_array_equal(few.y, rows.y[chosen])
    np.testing.assert_array_equal(few.sparse.indices, rows.sparse.indices[chosen])
    np.testing.assert_array_equal(few.sparse.indptr, np.arange(8))
    assert spread_rows(rows, 100) is rows


def test_parameters_come_back_from_theta():
    for case in CASES.values():
        what = objective(**case)
        rng = np.random.default_rng(0)
        coef, intercept = rng.normal(size=(what.n_outputs, 7)), rng.normal(size=what.n_outputs)
        if not what.fit_intercept:
            intercept = coef @ what.centre
        back = what.split(what.theta(coef, intercept, 2.0))
        np.testing.assert_allclose(back[0], coef)
        np.testing.assert_allclose(back[1], intercept, atol=1e-12)


def test_newton_stops_without_a_wasted_pass_and_never_goes_up():
    what, rows = objective(), HeldRows(block(n=2000))
    values = []
    solver = newton([np.zeros(what.size)], 1e-4, 100)
    (solution,) = run(rows, [what], [solver], "", lambda number, best: values.append(best[0].value))
    assert solution.converged
    assert len(values) == solution.iterations
    assert values == sorted(values, reverse=True)
    request = Request(solution.theta, False)
    here = what.evaluate(request, rows.fold(what.step(request))[0])
    assert np.abs(here.gradient).max() < 1e-6


@pytest.mark.parametrize("case", ["logistic", "penalised intercept", "Poisson", "class weights", "softmax"])
def test_the_remainder_of_all_rows_is_the_gradient_after_the_step(case):
    what = objective(**CASES[case])
    rows = block(n=2000, classes=3 if "softmax" in case else 2)
    theta = np.random.default_rng(1).normal(size=what.size) * 0.1
    before, after = (evaluation(what, rows, theta + move) for move in (0.0, 0.01))
    step = np.full(what.size, 0.01)
    remainder = sample_remainder(what, HeldRows(rows))(before, step)
    np.testing.assert_allclose(before.gradient + before.hessian @ step + remainder, after.gradient, atol=1e-12)


def test_a_sample_says_nothing_of_long_steps_and_of_terms_it_lacks():
    what, rows = objective(), block(n=2000)
    rows.X[:, 2] = 0.0
    here = evaluation(what, rows, np.zeros(what.size))
    remainder = sample_remainder(what, HeldRows(rows))
    small = np.full(what.size, 1e-3)
    assert remainder(here, small) is None
    small[2] = 0.0
    assert np.abs(remainder(here, small)).max() < 1e-4
    assert remainder(here, 1e3 * small) is None


def test_newton_on_separable_rows_without_penalty_stays_finite():
    X = np.asfortranarray([[-2.0], [-1.0], [1.0], [2.0]])
    rows = HeldRows(Block(X, None, np.array([0.0, 0, 1, 1]), None, 0))
    what = objective(penalty=Penalty(), terms=1)
    (solution,) = run(rows, [what], [newton([np.zeros(2)], 1e-4, 100)], "", lambda number, best: None)
    assert np.isfinite(solution.theta).all()
    assert solution.theta[0] > 1


def test_a_start_outside_the_domain_is_left_for_the_next():
    what = objective(loss=losses.tweedie(1, "identity"), reading=RowReading(), penalty=Penalty(), terms=1)
    rows = HeldRows(Block(np.asfortranarray([[0.0], [1.0], [2.0]]), None, np.array([1.0, 2.0, 3.0]), None, 0))
    starts = [np.array([0.0, -5.0]), np.array([0.0, 2.0])]
    (solution,) = run(rows, [what], [newton(starts, 1e-8, 100)], "", lambda number, best: None)
    np.testing.assert_allclose(solution.theta, [1.0, 1.0], atol=1e-6)


def test_a_target_outside_the_domain_and_weights_of_zero_are_named():
    what = objective(loss=losses.GAMMA, reading=RowReading(), terms=1)
    X = np.asfortranarray([[0.0], [1.0]])
    request = Request(np.zeros(2), False)
    with pytest.raises(InvalidData, match=r"Test: .*gamma: y must be > 0; the smallest is -1"):
        what.evaluate(request, HeldRows(Block(X, None, np.array([1.0, -1.0]), None, 0)).fold(what.step(request))[0])
    nothing = HeldRows(Block(X, None, np.ones(2), np.zeros(2), 0))
    with pytest.raises(InvalidData, match="Test: the weights of the rows must not all be 0"):
        what.evaluate(request, nothing.fold(what.step(request))[0])


def test_solve_scaled_takes_any_scaling_and_singular_matrices():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(50, 5)) * 10.0 ** np.array([-6, -3, 0, 3, 6])
    H, x = A.T @ A, rng.normal(size=5)
    size = np.sqrt(H.diagonal())
    step = solve_scaled(H, H @ (x / size)) * size
    np.testing.assert_allclose(step, x, rtol=1e-8)
    A[:, 4] = A[:, 3]
    A[:, 0] = 0.0
    H = A.T @ A
    step = solve_scaled(H, H @ x)
    np.testing.assert_allclose(H @ step, H @ x, rtol=1e-7, atol=1e-20)
    assert step[0] == 0.0
    assert step[3] == pytest.approx(step[4])


def test_solve_scaled_of_a_wide_matrix():
    A = np.random.default_rng(0).normal(size=(900, 300))
    x = np.arange(300) / 100
    np.testing.assert_allclose(solve_scaled(A.T @ A, A.T @ (A @ x)), x, rtol=1e-8, atol=1e-12)


def mostly_zero(n=400, classes=2):
    rng = np.random.default_rng(3)
    base = block(n=n, d=70, sparse=3, classes=classes)
    values = np.where(rng.random((n, 70)) < 0.05, rng.integers(1, 4, size=(n, 70)), 0.0)
    values[:, 7] = 1e6 + rng.normal(size=n)
    centre = np.append(values.mean(axis=0), [0.0, 0.0, 0.0])
    return Block(np.asfortranarray(values - centre[:70]), base.sparse, base.y, base.weight, 0), centre


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("Huber")])
def test_packed_rows_have_the_same_objective(case):
    rows, centre = mostly_zero(classes=3 if "softmax" in case else 2)
    what = replace(objective(**CASES[case], terms=73), centre=centre)
    packed_rows, packing = pack(rows, what)
    assert packed_rows.X.shape[1] == 1
    theta = np.random.default_rng(1).normal(size=what.size) * 0.1
    theta.reshape(what.n_outputs, -1)[:, 7] *= 1e-6
    packed = packing.packed(what, theta)
    np.testing.assert_allclose(packing.unpacked(what, packed), theta, atol=1e-12)
    smaller = packing.objective(what)
    a, b = evaluation(what, rows, theta), evaluation(smaller, packed_rows, packed)
    assert a.value == pytest.approx(b.value, rel=1e-9)
    step = np.random.default_rng(2).normal(size=what.size)
    there = packing.packed(what, theta + step) - packed
    assert a.gradient @ step == pytest.approx(b.gradient @ there, rel=1e-6)
    tolerance = 1e-6 * np.abs(b.gradient).max()
    np.testing.assert_allclose(packing.packed_gradient(what, a.gradient), b.gradient, rtol=1e-6, atol=tolerance)
    assert step @ a.hessian @ step == pytest.approx(there @ b.hessian @ there, rel=1e-6)


@pytest.mark.parametrize("d", [4, 70])
def test_rows_that_are_not_mostly_zero_are_not_packed(d):
    rows = block(d=d)
    same, packing = pack(rows, objective(terms=d + 3))
    assert same is rows
    assert packing.n_packed == 0


@settings(max_examples=25)
@given(st.integers(1, 50), st.integers(0, 2**31))
def test_weighted_median_is_that_of_repeated_rows(n, seed):
    rng = np.random.default_rng(seed)
    values, weight = rng.normal(size=n), rng.integers(0, 4, size=n)
    weight[0] += 1
    repeated = np.sort(np.repeat(values, weight))
    assert weighted_median(values, weight.astype(float)) == repeated[(len(repeated) - 1) // 2]


def test_held_rows_give_what_one_block_gives():
    rows = block(n=5000, d=2, sparse=3)
    held, pieces = HeldRows(rows), HeldRows(rows, piece_bytes=700 * 16)
    assert len(held.blocks) == 1
    assert len(pieces.blocks) == 8
    what = objective(terms=5)
    request = Request(np.arange(6) / 10, True)
    a, b = (what.evaluate(request, h.fold(what.step(request))[0]) for h in (held, pieces))
    assert a.value == pytest.approx(b.value, rel=1e-12)
    np.testing.assert_allclose(a.hessian, b.hessian, rtol=1e-10, atol=1e-14)


def test_held_rows_give_the_same_bits_with_any_number_of_threads():
    rows, what = block(n=5000, d=2, sparse=3), objective(terms=5)
    request, seen = Request(np.arange(6) / 10, True), []
    for threads in (1, 3):
        with using(LocalEngine(threads=threads)):
            seen.append(HeldRows(rows, piece_bytes=700 * 16).fold(what.step(request))[0])
    for name, array in seen[0].items():
        assert array.tobytes() == seen[1][name].tobytes(), name
