"""LinearSVC and LinearSVR against scikit-learn's liblinear: the same objective, at or below its value."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp

import dbml
from dbml import LinearSVC, LinearSVR
from dbml.errors import InvalidParameter, StatementError
from dbml.estimators.far_columns import FarFromZero

svm = pytest.importorskip("sklearn.svm")


def table(n=600, p=5, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * np.exp(rng.normal(size=p) * 0.5) + rng.normal(size=p)
    W = rng.normal(size=(classes, p)) / X.std(axis=0)
    y = np.argmax((X - X.mean(axis=0)) @ W.T + rng.gumbel(size=(n, classes)), axis=1)
    return X, y, rng.random(n) * 2, rng


def penalty(model, k, settings):
    scaling = settings.get("intercept_scaling", 1.0)
    coefs = np.atleast_2d(model.coef_)
    w = np.append(coefs[k], np.broadcast_to(model.intercept_, len(coefs))[k] / scaling)
    return np.abs(w).sum() if settings.get("penalty") == "l1" else 0.5 * w @ w


def svc_objective(model, X, y, weight, settings):
    total = 0.0
    for k in range(len(model.coef_)):
        sign = np.where(y == (1 if len(model.coef_) == 1 else k), 1, -1)
        short = np.maximum(
            0.0, 1.0 - sign * (X @ model.coef_[k] + np.broadcast_to(model.intercept_, len(model.coef_))[k])
        )
        loss = short if settings.get("loss") == "hinge" else short**2
        total += settings.get("C", 1.0) * weight @ loss + penalty(model, k, settings)
    return total


def svr_objective(model, X, y, weight, settings):
    over = np.maximum(0.0, np.abs(y - X @ model.coef_ - model.intercept_) - settings.get("epsilon", 0.0))
    loss = over**2 if "squared" in settings.get("loss", "") else over
    return settings.get("C", 1.0) * weight @ loss + penalty(model, 0, settings)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    "settings",
    [{}, {"C": 0.01}, {"penalty": "l1", "C": 0.1}, {"fit_intercept": False}, {"intercept_scaling": 10.0}],
    ids=str,
)
def test_squared_hinge_is_liblinears_minimum(classes, settings):
    X, y, weight, _ = table(classes=classes)
    ours = LinearSVC(**settings).fit(X, y, weight)
    theirs = svm.LinearSVC(**settings, dual=False, tol=1e-8, max_iter=50_000).fit(X, y, weight)
    mine, peer = (svc_objective(m, X, y, weight, settings) for m in (ours, theirs))
    assert mine <= peer * (1 + 1e-7)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-3 * np.abs(theirs.coef_).max())


@pytest.mark.parametrize("class_weight", ["balanced", {0: 5.0, 2: 0.5}, {1: 0.0}], ids=str)
@pytest.mark.parametrize("classes", [2, 3])
def test_class_weights_are_liblinears(class_weight, classes):
    X, y, _, _ = table(classes=classes)
    y = np.where(y == 0, 0, np.minimum(y + (np.arange(len(y)) % 4 == 0), classes - 1))  # unbalanced
    if classes == 2 and isinstance(class_weight, dict):
        class_weight = {1: 3.0}
    how = {"class_weight": class_weight, "C": 0.1}
    ours = LinearSVC(**how).fit(X, y)
    theirs = svm.LinearSVC(**how, dual=False, tol=1e-8, max_iter=50_000).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-3 * np.abs(theirs.coef_).max())
    assert (ours.predict(X) == theirs.predict(X)).mean() > 0.995


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_the_hinge_is_within_a_thousandth_of_liblinear(classes, scale):
    X, y, weight, _ = table(classes=classes)
    settings = {"loss": "hinge", "C": 0.1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = svm.LinearSVC(**settings, tol=1e-6, max_iter=100_000).fit(X * scale, y, weight)
    ours = LinearSVC(**settings).fit(X * scale, y, weight)
    mine, peer = (svc_objective(m, X * scale, y, weight, settings) for m in (ours, theirs))
    assert mine <= peer * (1 + 1e-3)


def test_more_rows_than_the_sample_take_few_passes_shared_by_all_classes():
    X, y, weight, _ = table(n=150_000, p=4, classes=3)
    ours = LinearSVC().fit(X, y, weight)
    assert len(ours.explain().passes) <= 3
    theirs = svm.LinearSVC(dual=False, tol=1e-5).fit(X, y, weight)
    assert svc_objective(ours, X, y, weight, {}) <= svc_objective(theirs, X, y, weight, {}) * (1 + 1e-7)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"epsilon": 0.5, "C": 0.1},
        {"fit_intercept": False},
        {"loss": "squared_epsilon_insensitive", "epsilon": 0.1},
        {"loss": "squared_epsilon_insensitive", "C": 10.0, "intercept_scaling": 5.0},
    ],
    ids=str,
)
def test_regression_is_liblinears_minimum(settings):
    X, _, weight, rng = table()
    y = (X - X.mean(axis=0)) @ rng.normal(size=5) * 5 + rng.standard_t(3, size=len(X)) + 3
    ours = LinearSVR(**settings).fit(X, y, weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = svm.LinearSVR(**settings, dual="auto", tol=1e-7, max_iter=100_000).fit(X, y, weight)
    mine, peer = (svr_objective(m, X, y, weight, settings) for m in (ours, theirs))
    assert mine <= peer * (1 + (1e-6 if "loss" in settings else 1e-3))


def test_targets_of_any_size():
    X, _, _, rng = table()
    y = X @ rng.normal(size=5) + rng.normal(size=len(X)) * 0.1
    for factor in (1e-6, 1e6):
        scaled = LinearSVR(C=1000.0 * factor, intercept_scaling=1e4).fit(X, y * factor)
        assert scaled.score(X, y * factor) > 0.99


def test_sparse_and_dense_rows_give_the_same_model():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 15)) * (rng.random((400, 15)) < 0.3)
    y = (X[:, 0] + 0.3 * rng.normal(size=400) > 0).astype(int)
    for settings in ({}, {"penalty": "l1", "C": 0.3}):
        dense, sparse = (LinearSVC(tol=1e-6, **settings).fit(rows, y) for rows in (X, sp.csr_array(X)))
        np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=1e-5)


def test_labels_keep_their_type_and_forms_their_link():
    X, y, _, _ = table(classes=3)
    names = np.array(["a", "b", "c"])[y]
    many = LinearSVC().fit(X, names)
    assert set(many.predict(X)) <= set(names)
    assert many.form().link == "margin"
    assert LinearSVC().fit(X, y > 0).form().link == "margin"
    assert LinearSVC().fit(X, y > 0).predict(X).dtype == bool


MACHINES = ["'LinearSVC'", "'SGDClassifier', loss = 'hinge'", "'SGDClassifier', loss = 'log_loss'"]


@pytest.mark.parametrize("settings", MACHINES)
def test_sql_makes_up_no_probabilities_of_several_classes(settings):
    with dbml.connect() as con:
        con.execute("CREATE TABLE t AS SELECT i::DOUBLE AS x, i // 20 AS c FROM range(60) r(i)")
        con.execute(f"CREATE MODEL m OPTIONS (model_type = {settings}, input_label_cols = ['c']) AS FROM t")
        has = "log_loss" in settings
        evaluated = con.sql("SELECT log_loss IS NOT NULL, roc_auc IS NOT NULL FROM ML.EVALUATE(MODEL m, TABLE t)")
        assert evaluated.fetchall() == [(has, has)]
        assert ("predicted_c_probs" in con.sql("FROM ML.PREDICT(MODEL m, TABLE t)").columns) == has
        # As dbml 0.1 stored it of machines too.
        con.execute("UPDATE ml.model_versions SET link = 'one_vs_rest'")
        if has:
            assert con.sql("SELECT sum(predict_proba('m', t)['0']) > 10 FROM t").fetchall() == [(True,)]
        else:
            with pytest.raises(StatementError, match="m is a model without probabilities"):
                con.sql("SELECT predict_proba('m', t) FROM t")


def test_what_cannot_be_solved_is_refused():
    with pytest.raises(InvalidParameter, match="LinearSVC: penalty='l1' needs loss='squared_hinge'"):
        LinearSVC(penalty="l1", loss="hinge").fit([[0.0], [1.0]], [0, 1])


@pytest.mark.filterwarnings("ignore::dbml.errors.ConvergenceWarning")
@pytest.mark.parametrize("make", [LinearSVC, LinearSVR])
def test_columns_too_far_from_zero_for_a_penalised_intercept_are_named(make):
    X, y, _, _ = table(n=300)
    with pytest.warns(FarFromZero, match=f"{make.__name__}: columns lie so far from 0"):
        make().fit(X + 1e8, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FarFromZero)
        make().fit(X + 1e5, y)
