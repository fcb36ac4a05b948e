"""SGDClassifier and SGDRegressor: the minimum of their objective, any scale, any order, batch by batch."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from dbml_kernels.sgd import implicit_step, loss_slopes

from dbml import ElasticNet, Lasso, LinearRegression, LogisticRegression, SGDClassifier, SGDRegressor
from dbml.errors import ConvergenceWarning, InterruptedTraining, InvalidParameter
from dbml.estimators.solvers.sgd import LOSSES, Validation
from dbml.passes.block import Block
from dbml.passes.progress import Listener, listening


def table(n=20_000, p=6, classes=2, seed=0):
    """Columns of very different scales and offsets."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * np.exp(rng.normal(size=p) * 3) + rng.normal(size=p) * 1000
    W = rng.normal(size=(classes, p)) / X.std(axis=0)
    return X, np.argmax((X - X.mean(axis=0)) @ W.T + rng.gumbel(size=(n, classes)), axis=1)


def log_loss(model, X, y, alpha):
    eta = X @ model.coef_[0] + model.intercept_[0]
    return np.logaddexp(0, -np.where(y == 1, 1, -1) * eta).mean() + alpha / 2 * (model.coef_**2).sum()


def test_the_objective_comes_close_to_its_minimum_on_columns_nobody_scaled():
    X, y = table()
    alpha = 1e-4
    best = LogisticRegression(C=1 / (alpha * len(X))).fit(X, y)
    model = SGDClassifier(loss="log_loss", alpha=alpha).fit(X, y)
    assert log_loss(model, X, y, alpha) <= log_loss(best, X, y, alpha) * (1 + 1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_classifies_about_as_well_as_logistic_regression(loss):
    X, y = table()
    best = LogisticRegression().fit(X, y).score(X, y)
    assert SGDClassifier(loss=loss, alpha=1e-7, max_iter=30, tol=None).fit(X, y).score(X, y) > best - 0.005


def test_rows_sorted_by_label_lose_at_most_half_a_point():
    X, y = table(classes=3)
    order = np.argsort(y, kind="stable")
    for loss in ("hinge", "log_loss"):
        mixed = SGDClassifier(loss=loss, alpha=1e-7).fit(X, y).score(X, y)
        assert SGDClassifier(loss=loss, alpha=1e-7).fit(X[order], y[order]).score(X, y) > mixed - 0.005


@pytest.mark.parametrize("loss", ["squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"])
def test_regression_takes_targets_of_any_unit(loss):
    X, _ = table()
    rng = np.random.default_rng(1)
    signal = (X - X.mean(axis=0)) @ (rng.normal(size=X.shape[1]) / X.std(axis=0)) + 0.1 * rng.normal(size=len(X))
    for unit in (1e-5, 1e5):
        y = (signal + 100) * unit
        model = SGDRegressor(loss=loss, alpha=0.0, epsilon=0.1 * unit).fit(X, y)
        assert model.score(X, y) > LinearRegression().fit(X, y).score(X, y) - 0.005


@pytest.mark.parametrize("rate", ["constant", "optimal", "invscaling", "adaptive"])
def test_scikit_learns_schedules_work_too(rate):
    X, y = table()
    model = SGDClassifier(loss="log_loss", learning_rate=rate, alpha=1e-4, max_iter=40, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    assert model.score(X, y) > LogisticRegression().fit(X, y).score(X, y) - 0.02


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    X, y = table(n=3000)
    one, two, other = (SGDClassifier(random_state=seed).fit(X, y) for seed in (1, 1, 2))
    assert one.coef_.tobytes() == two.coef_.tobytes()
    assert one.coef_.tobytes() != other.coef_.tobytes()


def test_batch_by_batch_reaches_what_fit_reaches():
    X, y = table(classes=3)
    names = np.array(["a", "b", "c"])[y]
    model = SGDClassifier(loss="log_loss", alpha=1e-6)
    for start in range(0, len(X), 500):
        part = slice(start, start + 500)
        model.partial_fit(X[part], names[part], classes=["a", "b", "c"])
    assert model.t_ == len(X) + 1
    assert model.score(X, names) > LogisticRegression().fit(X, names).score(X, names) - 0.01
    first = SGDClassifier(alpha=1e-6).partial_fit(X[y == 0][:50], names[y == 0][:50], classes=["a", "b", "c"])
    assert first.classes_.tolist() == ["a", "b", "c"]


def test_batches_of_a_regression():
    X, _ = table()
    y = (X - X.mean(axis=0)) @ (np.ones(X.shape[1]) / X.std(axis=0)) * 1e4
    model = SGDRegressor(alpha=0.0)
    for start in range(0, len(X), 1000):
        model.partial_fit(X[start : start + 1000], y[start : start + 1000])
    assert model.score(X, y) > 0.99


def test_partial_fit_refuses_what_it_cannot_do():
    X, y = table(n=200)
    with pytest.raises(InvalidParameter, match="class_weight 'balanced' is not supported for partial_fit"):
        SGDClassifier(class_weight="balanced").partial_fit(X, y)
    with pytest.raises(InvalidParameter, match="partial_fit needs early_stopping=False"):
        SGDClassifier(early_stopping=True).partial_fit(X, y)
    model = SGDClassifier().partial_fit(X, y, classes=[0, 1])
    with pytest.raises(InvalidParameter, match=r"classes must be those of the first call .*\[0, 1\]; got \[0, 1, 2\]"):
        model.partial_fit(X, y, classes=[0, 1, 2])


def test_sparse_and_dense_rows_are_the_same_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 30)) * (rng.random((5000, 30)) < 0.2)
    y = (X[:, 0] - X[:, 1] + 0.3 * rng.logistic(size=5000) > 0).astype(int)
    best = LogisticRegression(C=1 / (1e-4 * 5000)).fit(X, y)
    for rows in (X, sp.csr_array(X)):
        model = SGDClassifier(loss="log_loss").fit(rows, y)
        assert log_loss(model, X, y, 1e-4) <= log_loss(best, X, y, 1e-4) * 1.005


def test_no_intercept_means_zero_where_the_columns_are_zero():
    X, y = table(n=5000)
    model = SGDClassifier(fit_intercept=False).fit(X, y)
    assert model.intercept_.tolist() == [0.0]
    assert model.decision_function(np.zeros((1, X.shape[1]))) == pytest.approx(0.0, abs=1e-9)


def test_probabilities_for_the_losses_that_have_them():
    X, y = table(n=5000, classes=3)
    for loss in ("log_loss", "modified_huber"):
        proba = SGDClassifier(loss=loss).fit(X, y).predict_proba(X)
        np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-12)
        assert proba.min() >= 0
    assert not hasattr(SGDClassifier().fit(X, y), "predict_proba")


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_l1_zeroes_the_coefficients_that_the_lasso_zeroes(average, fit_intercept):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 20)) * np.exp(rng.normal(size=20)) + 0.3
    y = X[:, :3] @ [3.0, 2.0, 1.0] / X[:, :3].std(axis=0).max() + rng.normal(size=5000)
    settings = {"alpha": 0.1, "fit_intercept": fit_intercept}
    best = Lasso(**settings, tol=1e-8).fit(X, y)
    model = SGDRegressor(penalty="l1", average=average, tol=1e-5, **settings).fit(X, y)
    assert 0 < (best.coef_ == 0).sum() < 20
    np.testing.assert_array_equal(model.coef_ == 0, best.coef_ == 0)


def test_the_elastic_net_of_sgd_zeroes_what_elastic_net_zeroes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 12))
    y = X[:, :3] @ [3.0, 2.0, 1.0] + rng.normal(size=5000)
    best = ElasticNet(0.2, l1_ratio=0.5).fit(X, y)
    model = SGDRegressor(penalty="elasticnet", alpha=0.2, l1_ratio=0.5).fit(X, y)
    np.testing.assert_array_equal(model.coef_ == 0, best.coef_ == 0)
    assert (best.coef_ == 0).sum() == 9


@pytest.mark.parametrize("how", [{"alpha": 1e-3}, {"loss": "log_loss", "penalty": "l1", "alpha": 0.1}], ids=str)
def test_a_class_weight_is_that_of_the_class_against_the_rest(how):
    X, y = table(3000, classes=3)
    y = np.where(np.arange(len(y)) % 5 > 0, 0, y)
    weights = {0: 0.4, 1: 5.0, 2: 6.0}
    how = {**how, "max_iter": 5, "tol": None}
    model = SGDClassifier(class_weight=weights, **how).fit(X, y)
    for k in range(3):
        one = SGDClassifier(class_weight={1: weights[k]}, **how).fit(X, (y == k).astype(int))
        np.testing.assert_allclose(model.coef_[k], one.coef_[0], rtol=1e-9)
        np.testing.assert_allclose(model.intercept_[k], one.intercept_[0], rtol=1e-9)


def test_balanced_classes_are_predicted_as_well_as_by_scikit_learn():
    from sklearn.linear_model import SGDClassifier as Peer

    rng = np.random.default_rng(0)
    y = rng.choice(3, 6000, p=[0.8, 0.15, 0.05])
    X = rng.normal(size=(6000, 4)) + np.array([[0, 0, 0, 0], [1.5, 0, 1, 0], [0, 1.5, 0, 1]])[y]
    how = {"class_weight": "balanced", "alpha": 1e-3}
    ours, theirs = SGDClassifier(**how).fit(X, y), Peer(**how, average=True, random_state=0).fit(X, y)
    assert ours.score(X, y) > theirs.score(X, y) - 0.02


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "perceptron"])
@pytest.mark.parametrize("sparse", [False, True])
def test_l1_zeroes_useless_terms_under_every_loss(loss, sparse):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6000, 13))
    y = (X[:, :3] + rng.normal(size=(6000, 3))).argmax(axis=1)
    rows = sp.csr_matrix(X) if sparse else X
    alpha = {"huber": 0.01, "squared_hinge": 0.1, "modified_huber": 0.1, "squared_epsilon_insensitive": 0.1}.get(
        loss, 0.05
    )
    model = SGDClassifier(loss=loss, penalty="l1", alpha=alpha).fit(rows, y)
    assert (model.coef_[:, 3:] == 0).all()
    assert (model.coef_[:, :3].diagonal() > 0).all()
    strong = SGDClassifier(loss=loss, penalty="l1", alpha=1e9).fit(rows, y)
    assert (strong.coef_ == 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_slopes_are_finite_differences_of_the_loss(loss):
    eta = np.linspace(-3.0, 3.0, 41) + 0.013
    y = np.where(np.arange(41) % 3 == 0, 1.0, -1.0)
    slopes, step = np.empty(41), 1e-6
    value = lambda at: np.array([implicit_step(LOSSES[loss], 0.4, e, t, 1.0, 1.0)[0] for e, t in zip(at, y)])  # noqa: E731, B905
    loss_slopes(LOSSES[loss], 0.4, eta, y, np.full(41, 2.0), slopes)
    np.testing.assert_allclose(slopes, 2.0 * (value(eta + step) - value(eta - step)) / (2 * step), atol=1e-4)


def test_early_stopping_judges_by_rows_it_does_not_learn_from():
    X, y = table(n=5000)
    model = SGDClassifier(early_stopping=True, alpha=1e-6).fit(X, y)
    assert model.score(X, y) > LogisticRegression().fit(X, y).score(X, y) - 0.01
    rate = SGDRegressor(early_stopping=True, alpha=0.0).fit(X, X[:, 0] * 5)
    assert rate.score(X, X[:, 0] * 5) > 0.99


def test_held_out_rows_do_not_depend_on_their_order():
    rng = np.random.default_rng(0)
    X, y = np.asfortranarray(rng.normal(size=(4000, 3))), rng.normal(size=4000)
    chosen = Validation(0.1, 7).chosen(Block(X, None, y, None, 0))
    assert 0.08 < chosen.mean() < 0.12
    order = rng.permutation(4000)
    again = Validation(0.1, 7).chosen(Block(np.asfortranarray(X[order]), None, y[order], None, -1))
    np.testing.assert_array_equal(again, chosen[order])


def test_too_few_epochs_warn():
    X, y = table(n=2000)
    with pytest.warns(ConvergenceWarning, match="SGDClassifier: stopped after max_iter=2 epochs"):
        SGDClassifier(max_iter=2).fit(X, y)


@pytest.mark.parametrize("kind", [SGDClassifier, SGDRegressor])
def test_a_warm_start_keeps_the_encoding_that_its_iterate_belongs_to(kind):
    X, y = table(n=2_000)
    model = kind(warm_start=True, max_iter=3, tol=None, average=False).fit(X, y)
    encoding, before = model.schema_.encoding, model.coef_ @ X.T + np.reshape(model.intercept_, (-1, 1))
    model.set_params(learning_rate="constant", eta0=1e-12, max_iter=1)  # it stays where it is
    model.fit(X[X[:, 0] > X[:, 0].mean()], y[X[:, 0] > X[:, 0].mean()])
    assert model.schema_.encoding == encoding
    np.testing.assert_allclose(model.coef_ @ X.T + np.reshape(model.intercept_, (-1, 1)), before, atol=1e-3)


class _Interrupt(Listener):
    def iteration(self, number, **values):
        raise KeyboardInterrupt


def test_an_interrupted_training_keeps_what_it_had():
    X, y = table(n=3000)
    model = SGDClassifier(warm_start=True).fit(X, y)
    before = model.coef_.copy()
    with pytest.raises(KeyboardInterrupt), listening(_Interrupt()):
        SGDClassifier().fit(X, y)

    class Second(Listener):
        def iteration(self, number, **values):
            if number == 2:
                raise KeyboardInterrupt

    with pytest.warns(InterruptedTraining), listening(Second()):
        model.fit(X, y)
    assert model.coef_.shape == before.shape
