"""Losses against finite differences, the functions they vectorise, and what a person would write in NumPy."""

import numpy as np
import pytest
from dbml_kernels.exponential import exponential_rows, log1p_unit, logistic_rows
from dbml_kernels.losses import loss_rows
from dbml_kernels.penalties import quadratic_descent, soft_threshold
from dbml_kernels.sgd import implicit_step
from dbml_kernels.softmax import softmax_curvature, softmax_loss, softmax_rows
from hypothesis import given
from hypothesis import strategies as st

from dbml.estimators import losses

EXACT = [
    losses.SQUARED_ERROR,
    losses.LOGISTIC,
    losses.POISSON,
    losses.GAMMA,
    losses.tweedie(1.5, "log"),
    losses.SQUARED_HINGE,
    losses.hinge(0.5),
    losses.epsilon_insensitive(0.3, 0.2),
    losses.squared_epsilon_insensitive(0.3),
]
EXPECTED = [losses.tweedie(p, link) for p, link in ((0, "log"), (3, "log"), (1, "identity"), (2.5, "identity"))]


def evaluate(loss, eta, y, w=None, scale=None):
    n = len(eta)
    w = np.ones(n) if w is None else w
    gradient, curvature, ratio, slope = np.empty(n), np.empty(n), np.zeros(n), np.zeros(1)
    b = loss.b if scale is None else scale
    total = loss_rows(loss.code, loss.a, b, eta, y, w, gradient, curvature, ratio, slope)
    return total, gradient, curvature, ratio, slope[0]


def rows(loss, n=400):
    rng = np.random.default_rng(3)
    eta = rng.normal(size=n) * 1.5
    y = np.where(rng.random(n) < 0.5, 1.0, -1.0) if loss.signed else rng.gamma(1.0, size=n) + 0.01
    return (np.abs(eta) + 0.3 if "identity" in loss.name else eta), y


@pytest.mark.parametrize("loss", EXACT + EXPECTED, ids=lambda loss: loss.name)
def test_gradients_are_the_slopes_of_the_values(loss):
    eta, y = rows(loss)
    gradient, h = evaluate(loss, eta, y)[1], 1e-6
    for i in range(100):
        low, high = (evaluate(loss, eta[i : i + 1] + s, y[i : i + 1])[0] for s in (-h, h))
        assert (high - low) / (2 * h) == pytest.approx(gradient[i], abs=1e-6, rel=1e-5)


@pytest.mark.parametrize("loss", EXACT, ids=lambda loss: loss.name)
def test_curvatures_are_the_slopes_of_the_gradients_away_from_corners(loss):
    eta, y = rows(loss)
    curvature, h = evaluate(loss, eta, y)[2], 1e-6
    slope = (evaluate(loss, eta + h, y)[1] - evaluate(loss, eta - h, y)[1]) / (2 * h)
    assert np.mean(np.isclose(slope, curvature, rtol=1e-4, atol=1e-6)) > 0.99


@pytest.mark.parametrize("loss", EXACT + EXPECTED, ids=lambda loss: loss.name)
def test_curvatures_are_never_negative_and_weights_scale_everything(loss):
    eta, y = rows(loss)
    w = np.random.default_rng(0).random(len(eta))
    one, weighted = evaluate(loss, eta, y), evaluate(loss, eta, y, w)
    assert (one[2] >= 0).all()
    np.testing.assert_allclose(weighted[1], w * one[1], rtol=1e-12)
    np.testing.assert_allclose(weighted[2], w * one[2], rtol=1e-12)
    doubled = evaluate(loss, eta, y, np.full(len(eta), 2.0))[0]
    assert doubled == pytest.approx(2 * one[0], rel=1e-12)


def test_the_logistic_loss_is_exact_where_it_overflows_or_vanishes():
    eta = np.array([0.0, 800.0, -800.0, 40.0, -40.0, 1e-9])
    y = np.ones(6)
    for i, expected in enumerate(np.logaddexp(0.0, -eta)):
        value, gradient, *_ = evaluate(losses.LOGISTIC, eta[i : i + 1], y[i : i + 1])
        assert value == pytest.approx(expected, rel=1e-14, abs=1e-300)
        assert -1.0 <= gradient[0] <= 0.0


def test_huber_by_scale_and_by_predictor():
    loss = losses.huber(1.35)
    rng = np.random.default_rng(0)
    eta, y, scale, h = rng.normal(size=50), rng.standard_t(1, size=50), 0.7, 1e-6
    total, gradient, curvature, ratio, slope = evaluate(loss, eta, y, scale=scale)
    size = np.abs(y - eta)
    inside = size <= 1.35 * scale
    expected = np.where(inside, size**2 / scale, 2 * 1.35 * size - scale * 1.35**2)
    assert total == pytest.approx(expected.sum(), rel=1e-12)
    up, down = (evaluate(loss, eta, y, scale=scale + s) for s in (h, -h))
    assert (up[0] - down[0]) / (2 * h) == pytest.approx(slope, rel=1e-5)
    np.testing.assert_allclose((up[1] - down[1]) / (2 * h), curvature * ratio, atol=1e-3)
    assert gradient[size.argmax()] == pytest.approx(-2 * 1.35 * np.sign(y - eta)[size.argmax()])


@given(st.floats(-708, 709))
def test_exponential(x):
    out = np.empty(1)
    exponential_rows(np.array([x]), out)
    assert out[0] == pytest.approx(np.exp(x), rel=4e-16)


@given(st.floats(0, 1))
def test_log1p(u):
    assert log1p_unit(u) == pytest.approx(np.log1p(u), rel=5e-16, abs=1e-320)


@given(st.floats(-1e4, 1e4))
def test_logistic_function_never_overflows(x):
    out = np.empty(2)
    logistic_rows(np.array([x, -x]), out)
    assert out.sum() == pytest.approx(1.0, abs=1e-15)
    assert 0.0 <= out[0] <= 1.0


def test_softmax_against_numpy_at_any_offset():
    rng = np.random.default_rng(0)
    eta = rng.normal(size=(4, 3000)) * 3
    eta[:, 0] = [1000, -1000, 0, 1]
    eta[:, 1] += 1e8
    y, w = rng.integers(0, 4, 3000).astype(float), rng.random(3000)
    y[0] = 1.0
    proba, gradient = np.empty_like(eta), np.empty_like(eta)
    total = softmax_loss(eta, y, w, proba, gradient)
    shifted = eta - eta.max(axis=0)
    logs = shifted - np.log(np.exp(shifted).sum(axis=0))
    label = y.astype(int)
    assert total == pytest.approx(-(w * logs[label, np.arange(3000)]).sum(), rel=1e-12)
    np.testing.assert_allclose(proba, np.exp(logs), atol=1e-15)
    one = np.eye(4)[label].T
    np.testing.assert_allclose(gradient, w * (np.exp(logs) - one), atol=1e-14)
    h = np.empty(3000)
    softmax_curvature(w, proba[0], proba[1], 0.0, h)
    np.testing.assert_allclose(h, -w * proba[0] * proba[1], rtol=1e-12)
    softmax_rows(eta, eta)
    np.testing.assert_allclose(eta.sum(axis=0), 1.0, rtol=1e-14)


@given(st.floats(-10, 10), st.floats(0, 5))
def test_soft_threshold_minimises_its_definition(value, threshold):
    best = soft_threshold(value, threshold)
    grid = np.linspace(-11, 11, 2001)
    objective = (grid - value) ** 2 / 2 + threshold * np.abs(grid)
    assert (best - value) ** 2 / 2 + threshold * abs(best) <= objective.min() + 1e-12


def test_quadratic_descent_reaches_the_optimality_conditions():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(40, 12))
    A[:, 5] = A[:, 4]  # a redundant coordinate
    H, g, theta = A.T @ A / 40, rng.normal(size=12) * 0.3, rng.normal(size=12) * 0.1
    l1 = np.full(12, 0.1)
    l1[0] = 0.0
    step, slope = np.zeros(12), np.empty(12)
    quadratic_descent(H, g, theta, l1, 1e-16, 100_000, step, slope)
    result = theta + step
    np.testing.assert_allclose(slope, g + H @ step, atol=1e-10)
    free = result != 0
    np.testing.assert_allclose((slope + l1 * np.sign(result))[free], 0, atol=1e-6)
    assert (np.abs(slope[~free]) <= l1[~free] + 1e-6).all()
    assert (~free).any()


@pytest.mark.parametrize("code", range(9))
@given(eta=st.floats(-20, 20), rate=st.floats(1e-3, 1e3), norm=st.floats(0.01, 100), positive=st.booleans())
def test_a_stochastic_step_lowers_the_loss_of_its_row_and_never_passes_its_minimum(code, eta, rate, norm, positive):
    y = 1.0 if positive else -1.0
    loss, step = implicit_step(code, 0.1, eta, y, rate, norm)
    after, _ = implicit_step(code, 0.1, eta + step * norm, y, rate, norm)
    perceptron = code == 4  # its step does not depend on how far the row is off: it may pass
    if not perceptron:
        assert after <= loss * (1 + 1e-9) + 1e-9
    small = implicit_step(code, 0.1, eta, y, 1e-9, norm)[1] / 1e-9
    assert step * small >= 0.0
