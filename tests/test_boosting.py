"""Boosting: derivatives and losses, accuracy beside scikit-learn, early stopping, warm starts, weights, bad input."""

from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from dbml_kernels import losses as codes
from dbml_kernels.tree_gradients import (
    ABSOLUTE_ERROR,
    GRADIENT_STEPS,
    HESSIAN_STEPS,
    QUANTILE,
    gradients_quantize,
    gradients_write,
    softmax_quantize,
    softmax_write,
)
from sklearn import ensemble
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.metrics import log_loss, mean_squared_error, roc_auc_score
from threadpoolctl import threadpool_limits

import dbml
from dbml import HistGradientBoostingClassifier as Classifier
from dbml import HistGradientBoostingRegressor as Regressor
from dbml.errors import DbmlError, InterruptedTraining, InvalidData, InvalidParameter
from dbml.estimators.trees.binning import Binning
from dbml.estimators.trees.boosting import bin_rows
from dbml.estimators.trees.losses import LOGISTIC
from dbml.estimators.trees.sampling import Held
from dbml.passes.dispatch import as_data

KERNELS = {
    "squared error": (codes.SQUARED_ERROR, 0.0),
    "absolute error": (ABSOLUTE_ERROR, 0.0),
    "quantile": (QUANTILE, 0.2),
    "Poisson": (codes.POISSON, 0.0),
    "gamma": (codes.GAMMA, 0.0),
    "log loss": (codes.LOGISTIC, 0.0),
}


def friedman(n=4_000, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.random((n, 8))
    y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2 + 10 * X[:, 3] + 5 * X[:, 4]
    return X, y + rng.normal(size=n)


# derivatives -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KERNELS)
def test_gradients_are_differences_of_the_loss(name):
    code, a = KERNELS[name]
    rng = np.random.default_rng(0)
    scores, w = rng.normal(size=1_001), rng.integers(0, 3, 1_001).astype(float)
    y = np.sign(rng.normal(size=1_001)) if name == "log loss" else rng.random(1_001) + 0.5
    g, h, out = np.empty(1_001), np.empty(1_001), np.empty(2)

    def loss(shift, i):
        return gradients_write(code, a, scores[i : i + 1] + shift, y[i : i + 1], w[i : i + 1], out[:1], out[1:])

    total = gradients_write(code, a, scores, y, w, g, h)
    assert total == pytest.approx(sum(loss(0.0, i) for i in range(1_001)))
    for i in range(0, 1_001, 91):
        assert g[i] == pytest.approx((loss(1e-6, i) - loss(-1e-6, i)) / 2e-6, abs=1e-6)
        if name not in ("absolute error", "quantile"):
            assert h[i] == pytest.approx((loss(1e-3, i) - 2 * loss(0.0, i) + loss(-1e-3, i)) / 1e-6, abs=1e-4)


def test_gradients_of_many_classes_are_differences_of_the_loss():
    rng = np.random.default_rng(0)
    scores, y, w = rng.normal(size=(4, 50)), rng.integers(0, 4, 50).astype(float), rng.random(50)
    g, h = np.empty((4, 50)), np.empty((4, 50))
    total = softmax_write(scores, y, w, g, h)
    p = np.exp(scores) / np.exp(scores).sum(axis=0)
    assert total == pytest.approx(-(w * np.log(p[y.astype(int), np.arange(50)])).sum())
    for k in range(4):
        np.testing.assert_allclose(g[k], w * (p[k] - (y == k)))
        np.testing.assert_allclose(h[k], w * p[k] * (1 - p[k]))


@pytest.mark.parametrize("name", [*KERNELS, "many classes"])
def test_words_are_the_derivatives_rounded_without_bias_whatever_the_cut(name):
    rng = np.random.default_rng(0)
    n, no_weights = 4_000, np.empty(0)
    y = rng.integers(0, 3, n).astype(float) if name == "many classes" else np.where(rng.random(n) < 0.4, 1.0, 0.5)
    y = 2.0 * (y > 0.7) - 1.0 if name == "log loss" else y
    scores = 0.3 * rng.normal(size=(3 if name == "many classes" else 1, n))
    g, h = np.empty_like(scores), np.empty_like(scores)
    words = np.empty(scores.shape, np.int32)
    if name == "many classes":
        softmax_write(scores, y, no_weights, g, h)
        units = 1.0 / GRADIENT_STEPS, 0.25 / HESSIAN_STEPS

        def quantize(first, last):
            part = np.empty((3, last - first), np.int32)
            softmax_quantize(
                np.ascontiguousarray(scores[:, first:last]), y[first:last], no_weights, first, 7, *units, part
            )
            words[:, first:last] = part
    else:
        code, a = KERNELS[name]
        gradients_write(code, a, scores[0], y, no_weights, g[0], h[0])
        units = np.abs(g).max() / GRADIENT_STEPS, h.max() / HESSIAN_STEPS

        def quantize(first, last):
            gradients_quantize(
                code, a, scores[0, first:last], y[first:last], no_weights, first, 7, *units, words[0, first:last]
            )

    quantize(0, n)
    whole = words.copy()
    quantize(0, 1_234), quantize(1_234, n)
    assert (words == whole).all()
    for found, exact, unit in ((words >> 16, g, units[0]), (words & 0xFFFF, h, units[1])):
        assert np.abs(found * unit - exact).max() <= unit * (1 + 1e-9)
        assert abs((found * unit - exact).sum()) <= 5 * unit * np.sqrt(exact.size / 4)


# losses ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "best"),
    [
        ({}, np.mean),
        ({"loss": "absolute_error"}, np.median),
        ({"loss": "quantile", "quantile": 0.8}, lambda y: np.quantile(y, 0.8, method="inverted_cdf")),
        ({"loss": "poisson"}, np.mean),
        ({"loss": "gamma"}, np.mean),
    ],
)
def test_without_anything_to_split_by_the_best_constant_is_predicted(params, best):
    y = np.random.default_rng(0).gamma(2.0, size=301)
    X = np.arange(301.0).reshape(-1, 1)
    model = Regressor(max_iter=3, min_samples_leaf=301, **params).fit(X, y)
    assert model.predict(X[:1])[0] == pytest.approx(best(y), rel=1e-4)  # three trees of a rounding error


@pytest.mark.parametrize("n_classes", [2, 3])
def test_without_anything_to_split_by_shares_are_predicted(n_classes):
    y = np.arange(300) % 10 % n_classes
    model = Classifier(max_iter=3, min_samples_leaf=300).fit(np.arange(300.0).reshape(-1, 1), y)
    assert model.predict_proba([[1.0]])[0] == pytest.approx(np.bincount(y) / 300, rel=1e-4)


@pytest.mark.parametrize("params", [{"loss": "absolute_error"}, {"loss": "quantile", "quantile": 0.3}])
def test_leaves_take_the_quantile_of_their_residuals(params):
    rng = np.random.default_rng(0)
    X = np.repeat([0.0, 1.0], 200).reshape(-1, 1)
    y = rng.normal(size=400) + 5 * X[:, 0]
    model = Regressor(max_iter=1, learning_rate=1.0, **params).fit(X, y)
    level = params.get("quantile", 0.5)
    expected = [np.quantile(y[X[:, 0] == x], level, method="inverted_cdf") for x in (0.0, 1.0)]
    np.testing.assert_allclose(model.predict([[0.0], [1.0]]), expected)


# accuracy ----------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def one_thread_for_scikit_learn():
    """Threads of OpenMP that wait for each other on a busy machine take a hundred times as long."""
    with threadpool_limits(1):
        yield


def held(X, y, seed=0):
    test = np.random.default_rng(seed).random(len(y)) < 0.3
    return X[~test], y[~test], X[test], y[test]


POLICIES = [{}, {"grow_policy": "depthwise"}, {"grow_policy": "symmetric"}, {"precision": "float64"}]


def friedman_error(kind, **params):
    """Return the mean squared error over three tables."""
    errors = []
    for seed in range(3):
        train, y, test, expected = held(*friedman(3_000, seed), seed)
        model = kind(max_iter=60, early_stopping=False, random_state=seed, **params).fit(train, y)
        errors.append(mean_squared_error(expected, model.predict(test)))
    return np.mean(errors)


@cache
def scikit_learns_friedman_error():
    return friedman_error(ensemble.HistGradientBoostingRegressor)


@pytest.mark.parametrize("params", POLICIES)
def test_as_accurate_as_scikit_learn_on_a_number(params):
    assert friedman_error(Regressor, **params) < 1.03 * scikit_learns_friedman_error()


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_as_accurate_as_scikit_learn_on_classes(load):
    X, y = load(return_X_y=True)
    ours, theirs = [], []
    for seed in range(5):
        train, known, test, expected = held(X, y, seed)
        for found, make in ((ours, Classifier), (theirs, ensemble.HistGradientBoostingClassifier)):
            p = make(max_iter=60, early_stopping=False).fit(train, known).predict_proba(test)
            found.append(log_loss(expected, p))
    assert np.mean(ours) < 1.1 * np.mean(theirs) + 0.01


def test_as_accurate_as_scikit_learn_on_diabetes():
    X, y = load_diabetes(return_X_y=True)
    ours, theirs = [], []
    for seed in range(5):
        train, known, test, expected = held(X, y, seed)
        for found, make in ((ours, Regressor), (theirs, ensemble.HistGradientBoostingRegressor)):
            found.append(mean_squared_error(expected, make(max_iter=40).fit(train, known).predict(test)))
    assert np.mean(ours) < 1.03 * np.mean(theirs)


def test_samples_cost_little_accuracy():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 8))
    y = (X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) + X[:, 3] + rng.normal(size=20_000) > 0).astype(int)
    train, known, test, expected = held(X, y)

    def auc(**params):
        model = Classifier(max_iter=60, early_stopping=False, **params).fit(train, known)
        return roc_auc_score(expected, model.predict_proba(test)[:, 1])

    whole = auc()
    assert auc(subsample=0.5) > whole - 0.005
    assert auc(sampling_method="goss") > whole - 0.005
    assert auc(sampling_method="goss", precision="float64") > whole - 0.005
    assert auc(sampling_method="goss", top_rate=0.1, other_rate=0.01) > whole - 0.1  # other_rate: words are coarser


def test_rounded_gradients_are_as_good_as_whole_ones():
    """Over seeds, so that what is measured is the rounding, not one draw of it."""
    differences = []
    for seed in range(3):
        train, y, test, expected = held(*friedman(3_000, seed), seed)
        errors = [
            mean_squared_error(
                expected,
                Regressor(max_iter=50, early_stopping=False, precision=precision, random_state=seed)
                .fit(train, y)
                .predict(test),
            )
            for precision in ("quantized", "float64")
        ]
        differences.append(errors[0] / errors[1] - 1.0)
    assert np.mean(differences) < 0.01


@pytest.mark.parametrize(
    ("loss", "huge"), [("gamma", [1e5] * 3), ("gamma", [1e6]), ("poisson", [1e7]), ("squared_error", [1e7])]
)
def test_a_few_huge_targets_leave_the_others_as_they_are_without_rounding(loss, huge):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6_000, 5))
    mean = 100 * np.exp(X[:, 0] + 0.5 * X[:, 1])
    y = rng.gamma(2, mean / 2) + 0.1
    y[: len(huge)] = huge

    def error(precision, seed=0):
        model = Regressor(loss, max_iter=30, early_stopping=False, precision=precision, random_state=seed)
        assert ("32 bits in" in str(model.fit(X[:4_000], y[:4_000]).explain())) == (precision == "quantized")
        return np.median(np.abs(model.predict(X[4_000:]) - mean[4_000:]))

    assert np.mean([error("quantized", seed) for seed in range(4)]) < 1.1 * error("float64")


def test_a_few_huge_weights_leave_the_others_as_they_are_without_rounding():
    X, y = friedman(4_000)
    y = (y > 14).astype(int)
    w = np.ones(y.size)
    w[[y.argmin(), y.argmax()]] = 1e4

    def quality(precision):
        model = Classifier(max_iter=30, l2_regularization=1.0, precision=precision).fit(X, y, sample_weight=w)
        return roc_auc_score(y[w == 1.0], model.decision_function(X)[w == 1.0])

    assert quality("quantized") > quality("float64") - 0.005


def test_sparse_terms_as_accurate_as_scikit_learn_on_the_same_columns():
    rng = np.random.default_rng(0)
    level = rng.integers(0, 60, 6_000)
    effect = rng.normal(size=60)
    y = (effect[level] + rng.normal(size=6_000) > 0).astype(int)
    X = np.eye(60)[level]
    table = pa.table({"idx": [[int(i)] for i in level], "val": [[1.0]] * 6_000, "y": y})
    train = np.arange(6_000) < 4_000
    common = {"max_iter": 60, "early_stopping": False}
    ours = Classifier(**common).fit(table.filter(pa.array(train)), y="y")
    theirs = ensemble.HistGradientBoostingClassifier(**common).fit(X[train], y[train])
    found = roc_auc_score(y[~train], ours.predict_proba(table.filter(pa.array(~train)))[:, 1])
    assert found > roc_auc_score(y[~train], theirs.predict_proba(X[~train])[:, 1]) - 0.003


# weights -----------------------------------------------------------------------------------------------------------


def test_weights_of_whole_numbers_are_repetitions():
    X, y = friedman(2_000)
    X = np.round(X, 1)  # the same bins
    w = np.random.default_rng(0).integers(0, 3, 2_000)
    common = {"max_iter": 20, "min_samples_leaf": 1, "min_child_weight": 20.5, "early_stopping": False}
    weighted = Regressor(**common, precision="float64").fit(X, y, sample_weight=w)
    repeated = Regressor(**common, precision="float64").fit(np.repeat(X, w, axis=0), np.repeat(y, w))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-9)


def test_equal_weights_change_nothing():
    X, y = friedman(600)
    plain = Regressor(max_iter=20).fit(X, y).predict(X)
    np.testing.assert_allclose(Regressor(max_iter=20).fit(X, y, sample_weight=np.full(600, 4.0)).predict(X), plain)


def test_class_weights_are_row_weights():
    X, y = load_breast_cancer(return_X_y=True)
    by_class = Classifier(max_iter=10, class_weight={0: 3.0, 1: 0.5}).fit(X, y)
    by_row = Classifier(max_iter=10).fit(X, y, sample_weight=np.where(y == 0, 3.0, 0.5))
    assert (by_class.predict_proba(X) == by_row.predict_proba(X)).all()


# rounds ------------------------------------------------------------------------------------------------------------


def test_early_stopping_ends_training_and_keeps_the_best_rounds():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2_000, 4)), rng.normal(size=2_000)  # nothing to learn
    model = Regressor(max_iter=200, early_stopping=True, n_iter_no_change=5).fit(X, y)
    assert model.n_iter_ < 20
    assert model.trees_.n_trees == model.n_iter_
    assert "rows held out" in str(model.explain())
    assert Regressor(max_iter=30, early_stopping=False).fit(X, y).n_iter_ == 30


def test_early_stopping_holds_out_a_tenth_by_position(monkeypatch):
    X, y = friedman(3_000)
    model = Regressor(max_iter=3, early_stopping=True, validation_fraction=0.2, warm_start=True).fit(X, y)
    assert model.trees_.weight[model.trees_.roots[:-1]] == pytest.approx(2_400, abs=100)
    stages = [np.full(len(y), model.baseline_[0]), *model.staged_predict(X)]
    losses = np.array([np.mean((stage - y) ** 2) / 2 for stage in stages])
    share = 1.0 - model.trees_.weight[0] / len(y)
    whole = (1.0 - share) * model.train_score_ + share * model.validation_score_
    np.testing.assert_allclose(whole, -losses, rtol=1e-6)
    assert (model.train_score_[1:] > model.train_score_[:-1]).all()
    assert model.set_params(max_iter=4).fit(X, y).validation_score_.shape == (5,)
    assert Regressor(max_iter=1, early_stopping=False).fit(X, y).train_score_.size == 0


def test_automatic_early_stopping_begins_above_ten_thousand_rows():
    X, y = friedman(10_001)
    assert Regressor(max_iter=1).fit(X, y).trees_.weight[0] < 9_500
    assert Regressor(max_iter=1).fit(X[:10_000], y[:10_000]).trees_.weight[0] == 10_000


@pytest.mark.parametrize("make", [Classifier, Regressor])
def test_a_warm_start_goes_on_from_the_trees_there_are(make):
    X, y = friedman(2_000)
    y = y if make is Regressor else np.digitize(y, [10, 16])
    model = make(max_iter=10, warm_start=True, precision="float64").fit(X, y)
    first = model.trees_.n_trees
    before = [model.trees_.value[:, 0].copy(), model.trees_.threshold.copy()]
    model.set_params(max_iter=25).fit(X, y)
    assert model.n_iter_ == 25
    early = make(max_iter=10, precision="float64").fit(X, y)
    for method in ("predict", "predict_proba", "decision_function"):
        if hasattr(model, method):
            stages = list(getattr(model, f"staged_{method}")(X[:200]))
            assert len(stages) == 25
            for stage, expected in ((stages[9], early), (stages[24], model)):
                at_once = getattr(expected, method)(X[:200])
                assert np.array_equal(stage, at_once) or np.allclose(stage, at_once, rtol=1e-12)
    n = before[0].size
    np.testing.assert_array_equal(model.trees_.value[:n, 0], before[0])
    np.testing.assert_array_equal(model.trees_.threshold[:n], before[1])
    assert model.trees_.n_trees == 25 * first // 10
    whole = make(max_iter=25, precision="float64").fit(X, y)
    assert (model.predict(X) == whole.predict(X)).mean() > 0.97 or np.allclose(
        model.predict(X).astype(float), whole.predict(X).astype(float), atol=1e-6
    )


@pytest.mark.parametrize("params", [{}, {"subsample": 0.5}, {"max_features": 0.5}, {"early_stopping": True}])
@pytest.mark.parametrize("huge", [0.0, 1e7])
def test_a_warm_start_draws_what_a_training_at_once_draws(params, huge):
    X, y = friedman(2_000)
    y[0] += huge
    model = Regressor(max_iter=10, warm_start=True, random_state=7, **params).fit(X, y)
    model.set_params(max_iter=25).fit(X, y)
    whole = Regressor(max_iter=25, random_state=7, **params).fit(X, y)
    np.testing.assert_array_equal(model.trees_.term, whole.trees_.term)
    np.testing.assert_allclose(model.predict(X), whole.predict(X), rtol=1e-12)


def test_a_warm_start_goes_on_with_new_rows_and_refuses_fewer_rounds():
    X, y = friedman(4_000)
    model = Regressor(max_iter=10, warm_start=True).fit(X[:2_000], y[:2_000])
    model.set_params(max_iter=60).fit(X[2_000:], y[2_000:])
    assert mean_squared_error(y, model.predict(X)) < 4.0
    with pytest.raises(
        InvalidParameter, match=r"max_iter must be at least the 60 iterations that warm_start=True goes"
    ):
        model.set_params(max_iter=5).fit(X, y)


def test_an_interrupt_keeps_the_rounds_so_far(monkeypatch):
    X, y = friedman(2_000)
    model = Regressor(max_iter=50)
    report = Regressor._report

    def interrupted(self, number, loss, of_held):
        report(self, number, loss, of_held)
        if number == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(Regressor, "_report", interrupted)
    with pytest.warns(InterruptedTraining, match="interrupted after 7 iterations; the best model so far is kept"):
        model.fit(X, y)
    assert model.n_iter_ == 7
    assert model.predict(X).shape == (2_000,)


def test_fitted_attributes_of_scikit_learn():
    X, y = friedman(600)
    for labels, n_trees in ((np.digitize(y, [14]), 1), (np.digitize(y, [10, 16]), 3)):
        model = Classifier(max_iter=2).fit(X, labels)
        assert (model.n_trees_per_iteration_, model.do_early_stopping_) == (n_trees, False)
        assert model.is_categorical_ is None
    table = pa.table({"x": X[:, 0], "level": np.where(X[:, 1] > 0.5, "high", "low"), "z": X[:, 2]})
    model = Regressor(max_iter=2, early_stopping=True).fit(table, y)
    assert (model.n_trees_per_iteration_, model.do_early_stopping_) == (1, True)
    assert model.is_categorical_.tolist() == [False, True, False]


# shared bins -------------------------------------------------------------------------------------------------------


def test_settings_and_folds_share_the_bins():
    X, y = friedman(3_000)
    model = Classifier(max_iter=15, early_stopping=False, random_state=0)
    settings = ({}, {"max_leaf_nodes": 4, "learning_rate": 0.3, "max_iter": 10}, {})
    losses = model.cross_val_losses(X, y > 14, settings, cv=3)
    assert losses.shape == (3, 3, 15)
    np.testing.assert_array_equal(losses[0], losses[2])
    assert np.isnan(losses[1, :, 10:]).all()
    assert (losses[0, :, :10] != losses[1, :, :10]).all()
    assert (losses[0, :, -1] < 0.8 * losses[0, :, 0]).all()
    assert "trees_" not in vars(model)


def test_a_fold_is_what_a_training_holds_out():
    X, y = friedman(3_000)
    (losses,) = Regressor(max_iter=8, random_state=3).cross_val_losses(X, y, cv=5)
    model = Regressor(max_iter=8, random_state=3, early_stopping=True, validation_fraction=0.2).fit(X, y)
    np.testing.assert_array_equal(losses[0], [entry["validation_loss"] for entry in model.training_])


def test_settings_that_cannot_share_the_bins_are_refused():
    X, y = friedman(100)
    for setting, words in (({"max_bins": 9}, "'max_bins' cannot differ"), ({"lerning_rate": 1}, "learning_rate")):
        with pytest.raises(InvalidParameter, match=words):
            Regressor().cross_val_losses(X, y, [setting])
    with pytest.raises(InvalidParameter, match="cv must be"):
        Regressor().cross_val_losses(X, y, cv=1)


def test_folds_cover_every_row_once():
    n = 80_000
    X, y = np.zeros((n, 30)), np.arange(float(n))
    with as_data(X, y, task="regression", encode="values") as data:
        binning = Binning.learn(data.sample(n, 0), data.schema.encoding, 255)
        with bin_rows(data, binning, LOGISTIC, False, None, None) as shards:
            assert len(shards) == 2
            rows = [shard.start + Held(0.25, k / 4).find(shard) for k in range(4) for shard in (shards[0], shards[1])]
    assert sorted(np.concatenate(rows)) == list(range(n))


# the plan ----------------------------------------------------------------------------------------------------------


def test_the_plan_tells_bins_trees_and_samples():
    X, y = friedman(2_000)
    plan = str(Regressor(max_iter=4, subsample=0.5, grow_policy="symmetric", precision="float64").fit(X, y).explain())
    assert "8 terms in 8 columns of at most 255 bins and one for missing values" in plan
    assert "4 in 4 rounds, symmetric, depth 5" in plan
    assert "a share of 0.5" in plan
    assert "trees: split rows, add histograms" in plan
    hot = np.eye(40)[np.arange(2_000) % 40]
    plan = str(Classifier(max_iter=2, sampling_method="goss").fit(hot, np.arange(2_000) % 40 > 20).explain())
    assert "40 terms in 1 columns" in plan
    assert "1 shared by terms that rows rarely have together" in plan
    assert "the 0.2 of largest gradients, and 0.1 of all rows from the others" in plan


@pytest.mark.parametrize(
    ("n", "params", "expected"),
    [
        (1_000, {}, None),
        (10_000, {}, "the 0.2 of largest gradients, and 0.1 of all rows from the others"),
        (4_000, {}, "the 0.333 of largest gradients, and 0.167 of all rows from the others"),
        (2_300, {}, None),  # most of them would be drawn
        (10_000, {"subsample": 0.5}, "a share of 0.5, drawn anew"),
        (10_000, {"loss": "absolute_error"}, None),
        (10_000, {"sampling_method": "uniform"}, None),
    ],
)
def test_rows_are_drawn_where_they_are_many(n, params, expected, monkeypatch):
    monkeypatch.setattr("dbml.estimators.trees.gradient_boosting._TREE_ROWS", 2_000)
    X, y = friedman(n)
    plan = str(Regressor(max_iter=2, **params).fit(X, y).explain())
    assert ("rows of a tree" in plan) == (expected is not None)
    assert expected is None or expected in plan


# bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"max_bins": 1}, "max_bins must be"),
        ({"max_bins": 256}, "max_bins must be"),
        ({"subsample": 0.0}, "subsample must be"),
        ({"top_rate": 0.0}, "top_rate must be"),
        ({"max_features": 0.0}, "max_features must be"),
        ({"grow_policy": "oblivious"}, "grow_policy must be"),
        ({"sampling_method": "goss", "subsample": 0.5}, "subsample must be 1.0 with sampling_method='goss'"),
        ({"sampling_method": "goss", "loss": "absolute_error"}, "sampling_method must be 'uniform'"),
        ({"sampling_method": "goss", "top_rate": 0.6, "other_rate": 0.5}, r"top_rate \+ other_rate must be at most 1"),
        ({"loss": "quantile"}, r"quantile must be a number in \[0, 1\]"),
        ({"monotonic_cst": {"x9": 1}}, "monotonic_cst names 'x9', which is no column"),
        ({"monotonic_cst": {"x0": 2}}, "monotonic_cst of 'x0' must be -1, 0 or 1; got 2"),
        ({"monotonic_cst": [1]}, "one entry for each of the 3 columns; got 1"),
        ({"monotonic_cst": {"c": 1}}, "monotonic_cst must be 0 for 'c': it is a category"),
        ({"interaction_cst": [{"x0", "x9"}]}, "interaction_cst names 'x9', which is no column"),
        ({"interaction_cst": [{0, 7}]}, "interaction_cst names 7, which is no column"),
        ({"interaction_cst": ["x0"]}, "interaction_cst must be a list of sets of columns"),
        ({"interaction_cst": "all"}, "interaction_cst must be"),
    ],
)
def test_hyperparameters_that_cannot_be(params, message):
    table = pa.table({"x0": np.arange(50.0), "x1": np.arange(50.0) % 7, "c": ["a", "b"] * 25, "y": np.arange(50.0)})
    with pytest.raises(DbmlError, match=message):
        Regressor(max_iter=1, **params).fit(table, y="y")


def test_targets_that_cannot_be():
    X = np.arange(50.0).reshape(-1, 1)
    with pytest.raises(DbmlError, match=r"NaN|missing"):
        Regressor().fit(X, np.where(X[:, 0] == 3, np.nan, 1.0))
    with pytest.raises(DbmlError, match="class"):
        Classifier().fit(X, np.ones(50))
    with pytest.raises(InvalidData, match=r"the target must be >= 0 for loss='poisson'; its smallest value is -1"):
        Regressor(loss="poisson").fit(X, X[:, 0] - 1)
    with pytest.raises(InvalidData, match=r"the target must be > 0 for loss='gamma'; its smallest value is 0"):
        Regressor(loss="gamma").fit(X, X[:, 0])
    with pytest.raises(InvalidParameter, match="monotonic_cst must be None where there are more than two classes"):
        Classifier(monotonic_cst=[1]).fit(X, np.arange(50) % 3)


@pytest.mark.parametrize("make", [Classifier, Regressor])
def test_weights_that_are_all_zero(make):
    X = np.arange(50.0).reshape(-1, 1)
    with pytest.raises(DbmlError, match="weight"):
        make(max_iter=2).fit(X, np.arange(50) % 2, sample_weight=np.zeros(50))


def test_a_column_that_is_all_missing_says_nothing(raw):
    raw.execute("CREATE TABLE t AS SELECT i::DOUBLE x, NULL::DOUBLE gone, i % 2 y FROM range(500) r(i)")
    model = Classifier(max_iter=2).fit(raw.table("t"), y="y")
    assert "gone" in str(model.explain())
    with pytest.raises(DbmlError, match="no column is left to learn from"):
        Classifier().fit(raw.sql("SELECT gone, y FROM t"), y="y")
    X = np.column_stack([np.arange(500.0), np.full(500, np.nan)])
    assert Regressor(max_iter=2).fit(X, X[:, 0]).predict(X).shape == (500,)


def test_levels_beyond_254_share_one(raw):
    raw.execute("CREATE TABLE t AS SELECT 'l' || (i % 400) c, (i % 400 < 200)::INT y FROM range(8000) r(i)")
    raw.execute("INSERT INTO t SELECT 'l' || i, 1 FROM range(200) r(i)")
    model = Classifier(max_iter=20).fit(raw.table("t"), y="y")
    assert "rare levels" in str(model.explain())
    predicted = model.predict(pa.table({"c": ["l5", "l150", "never seen", None]}))
    assert predicted.to_pylist()[:2] == [1, 1] if hasattr(predicted, "to_pylist") else list(predicted[:2]) == [1, 1]


# nasty rows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["leafwise", "depthwise", "symmetric"])
def test_nasty_columns_train_and_score(policy):
    rng = np.random.default_rng(0)
    n = 500
    X = np.column_stack(
        [
            np.full(n, 3.0), 1e8 + 1e-7 * rng.normal(size=n), np.where(rng.random(n) < 0.5, np.nan, 1.0),
            np.where(rng.random(n) < 0.1, np.inf, rng.normal(size=n)), rng.integers(0, 2, n) * 1e300,
            np.full(n, np.nan),
        ]
    )  # fmt: skip
    y = X[:, 1] - 1e8 + np.isnan(X[:, 2])
    model = Regressor(max_iter=30, grow_policy=policy).fit(X, y)
    assert np.isfinite(model.predict(X)).all()
    assert mean_squared_error(y, model.predict(X)) < 0.05


def test_missing_values_learn_their_way():
    x = np.where(np.arange(600) % 3 == 0, np.nan, np.arange(600) % 3)
    for y in (np.isnan(x).astype(float), (x != 1).astype(float), (x != 2).astype(float)):
        model = Regressor(max_iter=1, learning_rate=1.0, max_leaf_nodes=4).fit(x.reshape(-1, 1), y)
        np.testing.assert_allclose(model.predict(x.reshape(-1, 1)), y, atol=1e-2)


def test_fewer_rows_than_a_leaf_needs_gives_the_mean():
    model = Regressor().fit([[1.0], [2.0], [3.0]], [1.0, 2.0, 6.0])
    assert model.predict([[9.0]])[0] == pytest.approx(3.0)


def test_sql_words_reach_the_hyperparameters():
    with dbml.connect(":memory:") as con:
        con.execute("CREATE TABLE t AS SELECT i::DOUBLE x, i % 2 y FROM range(400) r(i)")
        con.execute(
            "CREATE MODEL m OPTIONS (model_type = 'boosted_tree_classifier', input_label_cols=['y'], subsample = 0.5, "
            "data_sample_strategy = 'bagging', grow_policy = 'symmetric', max_iterations = 3) AS FROM t"
        )
        model = con.load_model("m")
    assert (model.subsample, model.sampling_method, model.grow_policy, model.n_iter_) == (
        0.5,
        "uniform",
        "symmetric",
        3,
    )
