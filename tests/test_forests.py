"""Single trees, random forests and extra trees: splits and accuracy beside scikit-learn, laws, memory, bad input."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn import ensemble, tree
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

import dbml
from dbml import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from dbml.engine.local import LocalEngine
from dbml.errors import InterruptedTraining, InvalidData, InvalidParameter
from dbml.estimators.trees.forest import Forest
from dbml.passes.engine import using
from dbml.passes.memory import memory_limited


def whole_numbers(n=1_500, seed=0):
    """Few values of each column, so that bins are exact; the labels are noisy."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 20, (n, 5)).astype(float)
    score = X[:, 0] + X[:, 1] * X[:, 2]
    return X, score, (score > rng.normal(100, 40, n)).astype(int)


def nasty(n=6_000, seed=0):
    """Missing values, a constant column, one that is all missing, heavy tails, ties, and a category of many levels."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    X[:, 1] = np.exp(10 * X[:, 1])
    X[:, 2] = np.round(X[:, 2])
    X[rng.random((n, 6)) < 0.1] = np.nan
    X[:, 3], X[:, 4] = 7.0, np.nan
    level = rng.integers(0, 60, n)
    z = np.nan_to_num(X[:, 0]) + np.sin(level) + rng.normal(size=n)
    columns = {f"x{i}": np.ascontiguousarray(X[:, i]) for i in range(6)}
    return pa.table({**columns, "level": [f"l{k}" for k in level]}), z


def arrays_of(model):
    return model.trees_.arrays()


def assert_same_trees(found, expected):
    for name, array in arrays_of(expected).items():
        assert array.tobytes() == arrays_of(found)[name].tobytes(), name


# single trees, beside scikit-learn -------------------------------------------------------------------------------

LIMITS = [
    {"max_depth": 4},
    {"max_leaf_nodes": 10},
    {"ccp_alpha": 0.002},
    {"min_weight_fraction_leaf": 0.05},
    {"min_samples_leaf": 40},
    {"min_samples_leaf": 0.03, "min_samples_split": 0.1},
    {"criterion": "entropy", "max_depth": 4},
    {"class_weight": {0: 1.0, 1: 3.5}, "max_depth": 4},
    {"class_weight": "balanced", "max_leaf_nodes": 8},
    {"min_impurity_decrease": 0.003},
]


@pytest.mark.parametrize("params", LIMITS, ids=str)
def test_a_classification_tree_is_scikit_learns(params):
    X, _, y = whole_numbers()
    ours, theirs = (kind(**params).fit(X, y) for kind in (DecisionTreeClassifier, tree.DecisionTreeClassifier))
    assert (ours.get_depth(), ours.get_n_leaves()) == (theirs.get_depth(), theirs.get_n_leaves())
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-12)
    np.testing.assert_allclose(ours.feature_importances_, theirs.feature_importances_, atol=1e-3)


@pytest.mark.parametrize(
    "params",
    [
        {"max_depth": 5},
        {"max_leaf_nodes": 12},
        {"ccp_alpha": 20.0},
        {"min_samples_leaf": 40},
        {"min_impurity_decrease": 5.0},
        {"criterion": "poisson", "max_depth": 5},
    ],
    ids=str,
)
def test_a_regression_tree_is_scikit_learns(params):
    X, y, _ = whole_numbers()
    ours, theirs = (kind(**params).fit(X, y) for kind in (DecisionTreeRegressor, tree.DecisionTreeRegressor))
    assert ours.get_n_leaves() == theirs.get_n_leaves()
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-12)
    np.testing.assert_allclose(ours.feature_importances_, theirs.feature_importances_, atol=1e-9)


def test_thresholds_lie_half_way_between_values():
    X = np.array([[0.0], [1.0], [5.0], [5.0]])
    model = DecisionTreeClassifier().fit(X, [0, 0, 1, 1])
    assert model.trees_.threshold[0] == 3.0
    assert model.apply([[3.0], [3.1]]).ravel().tolist() == [1, 2]


def test_trees_grow_until_leaves_are_pure_also_through_splits_that_gain_nothing():
    X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]] * 3)
    y = (X[:, 0] != X[:, 1]).astype(int)
    assert DecisionTreeClassifier().fit(X, y).score(X, y) == 1.0
    X, z, _ = whole_numbers()
    z = z + np.random.default_rng(1).normal(size=z.size)
    assert DecisionTreeRegressor().fit(X, z).score(X, z) == pytest.approx(
        tree.DecisionTreeRegressor().fit(X, z).score(X, z)
    )


def test_three_classes_and_labels_that_are_text():
    X, y = load_wine(return_X_y=True)
    names = np.array(["a", "b", "c"])[y]
    for criterion in ("gini", "entropy"):
        model = DecisionTreeClassifier(criterion=criterion, max_depth=3).fit(X, names)
        assert model.predict_proba(X).shape == (len(y), 3)
        assert model.score(X, names) > 0.95


def test_one_column_of_missing_values_tells_classes_apart():
    X = np.array([[1.0], [1.0], [np.nan], [np.nan]] * 5)
    y = np.isnan(X[:, 0]).astype(int)
    for kind in (DecisionTreeClassifier, ExtraTreesClassifier, RandomForestClassifier):
        model = kind().fit(X, y)
        assert model.predict([[1.0], [np.nan]]).tolist() == [0, 1]
    first = arrays_of(DecisionTreeClassifier().fit(X, y))
    assert first["threshold"][0] == np.inf
    assert not first["missing_left"][0]


def test_a_missing_value_that_training_never_saw_goes_with_the_larger_side():
    X = np.arange(30.0).reshape(-1, 1)
    assert DecisionTreeClassifier().fit(X, X[:, 0] > 10).predict([[np.nan]]).tolist() == [True]
    assert DecisionTreeClassifier().fit(X, X[:, 0] > 20).predict([[np.nan]]).tolist() == [False]


def test_levels_are_split_by_their_targets_and_unseen_ones_are_missing():
    rng = np.random.default_rng(0)
    level = rng.integers(0, 30, 3_000)
    table = pa.table({"level": [f"l{k}" for k in level], "y": (level % 2).tolist()})
    with dbml.connect() as con:
        model = DecisionTreeClassifier().fit(con.from_arrow(table), y="y")
        assert model.get_n_leaves() == 2
        assert model.score(con.from_arrow(table), "y") == 1.0
        labels = model.predict(pa.table({"level": ["l0", "l7", "never", None]}))
        assert labels[:2].tolist() == [0, 1]
        assert labels[2] == labels[3]


def test_levels_of_three_classes_lie_on_the_line_that_tells_them_apart():
    level = np.tile(np.arange(30), 50)
    table = pa.table({"level": [f"l{k}" for k in level]})
    y = level % 3
    assert DecisionTreeClassifier(max_leaf_nodes=3).fit(table, y).score(table, y) == 1.0


# monotonic constraints -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DecisionTreeRegressor, RandomForestRegressor, ExtraTreesRegressor])
@pytest.mark.parametrize("way", [1, -1])
def test_predictions_follow_monotonic_constraints(kind, way):
    X, y, _ = whole_numbers()
    model = kind(monotonic_cst={"x0": way}, max_depth=8, max_features=None).fit(X, y)
    grid = np.repeat(X[:50], 20, axis=0)
    grid[:, 0] = np.tile(np.arange(20.0), 50)
    steps = np.diff(model.predict(grid).reshape(50, 20), axis=1) * way
    assert steps.min() >= -1e-9
    if way > 0:
        assert steps.max() > 1.0


def test_a_classifiers_probabilities_follow_monotonic_constraints():
    X, _, y = whole_numbers()
    for criterion in ("gini", "entropy"):
        model = RandomForestClassifier(10, criterion=criterion, monotonic_cst=[1, 0, 0, 0, -1]).fit(X, y)
        grid = np.repeat(X[:50], 20, axis=0)
        for column, way in ((0, 1), (4, -1)):
            moved = grid.copy()
            moved[:, column] = np.tile(np.arange(20.0), 50)
            p = model.predict_proba(moved)[:, 1].reshape(50, 20)
            assert (np.diff(p, axis=1) * way).min() >= -1e-12


# accuracy --------------------------------------------------------------------------------------------------------

FORESTS = [
    (RandomForestClassifier, ensemble.RandomForestClassifier, {}),
    (ExtraTreesClassifier, ensemble.ExtraTreesClassifier, {}),
    (RandomForestRegressor, ensemble.RandomForestRegressor, {"min_samples_leaf": 3, "max_features": 0.4}),
    (ExtraTreesRegressor, ensemble.ExtraTreesRegressor, {"min_samples_leaf": 3}),
]


@pytest.mark.parametrize(("ours", "theirs", "params"), FORESTS, ids=[row[0].__name__ for row in FORESTS])
def test_forests_are_as_accurate_as_scikit_learns(ours, theirs, params):
    load = load_breast_cancer if ours.task == "classification" else load_diabetes
    X, y = load(return_X_y=True)
    found, expected = [], []
    for seed in range(8):
        held = np.random.default_rng(seed).random(len(y)) < 0.3
        for kind, scores in ((ours, found), (theirs, expected)):
            model = kind(60, random_state=seed, **params).fit(X[~held], y[~held])
            scores.append(model.score(X[held], y[held]))
    assert np.mean(found) > np.mean(expected) - 0.012


@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
def test_a_forest_beats_one_tree_on_a_nasty_table(kind):
    X, z = nasty()
    y = z > 0
    train, test = X.slice(0, 4_000), X.slice(4_000)
    one = DecisionTreeClassifier().fit(train, y[:4_000]).score(test, y[4_000:])
    forest = kind(40).fit(train, y[:4_000])
    assert forest.score(test, y[4_000:]) > one + 0.03
    probabilities = forest.predict_proba(test)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
    assert forest.feature_importances_.sum() == pytest.approx(1.0)
    used = dict(zip(forest.terms_, forest.feature_importances_, strict=True))
    assert used["x3"] == used.get("x4", 0.0) == 0.0 < min(used["x0"], used["level"])


def test_votes_that_are_equal_go_to_the_first_class_in_any_order_of_the_trees():
    X = np.array([[0.0], [1.0]] * 4)
    model = RandomForestClassifier(100, max_depth=1).fit(X, [0, 1] * 4)
    trees = model.trees_
    trees.value[:] = 0.0
    share = np.floor(2.0**52 / 100) / 2.0**52
    for t in range(100):
        trees.value[trees.roots[t] : trees.roots[t + 1], t % 2] = share
    assert model.predict_proba([[0.0]])[0, 0] == model.predict_proba([[0.0]])[0, 1]
    assert model.predict([[0.0], [1.0]]).tolist() == [0, 0]


# laws ------------------------------------------------------------------------------------------------------------

KINDS = {
    "forest": (RandomForestClassifier, {"n_estimators": 5}),
    "balanced": (RandomForestClassifier, {"n_estimators": 4, "class_weight": "balanced_subsample"}),
    "three classes": (RandomForestClassifier, {"n_estimators": 4, "criterion": "entropy", "min_samples_leaf": 5}),
    "numbers": (RandomForestRegressor, {"n_estimators": 4, "min_samples_leaf": 3}),
    "Poisson": (RandomForestRegressor, {"n_estimators": 4, "criterion": "poisson", "max_leaf_nodes": 60}),
    "cuts": (ExtraTreesRegressor, {"n_estimators": 4, "max_features": 2, "monotonic_cst": {"x0": 1}}),
    "one tree": (DecisionTreeClassifier, {"max_features": "log2"}),
    "pruned": (DecisionTreeRegressor, {"ccp_alpha": 0.001, "min_weight_fraction_leaf": 0.001}),
}


def fitted(name, weighted=False):
    kind, params = KINDS[name]
    X, z = nasty()
    y = {"three classes": np.digitize(z, [-1, 1]), "Poisson": np.exp(z)}.get(name)
    if y is None:
        y = z > 0 if kind.task == "classification" else z
    weight = np.random.default_rng(1).random(len(z)) if weighted else None
    return kind(**params).fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_trees_are_the_same_however_few_of_their_rows_fit_in_memory(name, weighted, monkeypatch):
    whole = fitted(name, weighted)
    assert arrays_of(whole)["left"].size > 3
    for most in (2_500, 150):
        monkeypatch.setattr(Forest, "most_rows", lambda self, most=most: most)
        assert_same_trees(fitted(name, weighted), whole)


@pytest.mark.parametrize("name", ["forest", "numbers", "one tree"])
def test_trees_are_the_same_for_any_number_of_threads(name, monkeypatch):
    models = []
    for threads, most in ((1, 10**9), (2, 10**9), (7, 10**9), (1, 500), (7, 500)):
        monkeypatch.setattr(Forest, "most_rows", lambda self, most=most: most)
        with using(LocalEngine(threads)):
            models.append(fitted(name))
    for model in models[1:]:
        assert_same_trees(model, models[0])


def test_a_table_beyond_the_memory_limit_trains_the_same_trees():
    with dbml.connect() as con:
        more = ", ".join(f"hash(i + {k}) % {k} AS c{k}" for k in range(10, 52))
        con.execute(
            f"""CREATE TABLE t AS SELECT hash(i) % 1000 AS a, hash(i + 7) % 50 AS b, {more},
            (hash(i) % 1000 + hash(i + 7) % 50 * 10 > 700) AS y FROM range(600_000) r(i)"""
        )
        params = {"n_estimators": 2, "max_depth": 9}
        # As many trees as threads would share the work by levels in memory, too.
        whole = RandomForestClassifier(**params, n_jobs=1).fit(con.table("t"), y="y")
        with memory_limited("64MiB"):
            small = RandomForestClassifier(**params).fit(con.table("t"), y="y")
        assert "spilled" in str(small.explain())
        assert "trees: sums of upper nodes" in str(small.explain())
        assert "trees: sums of upper nodes" not in str(whole.explain())
        assert_same_trees(small, whole)


@pytest.mark.parametrize("kind", [DecisionTreeClassifier, ExtraTreesClassifier])
def test_weights_are_repetitions(kind):
    X, _, y = whole_numbers(800)
    weight = np.random.default_rng(0).integers(0, 4, len(y))
    models = [
        kind(max_depth=6).fit(X, y, sample_weight=weight),
        kind(max_depth=6).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight)),
    ]
    assert_same_trees(*models)


def test_weights_of_any_size_give_the_same_tree_as_their_multiples():
    X, z, _ = whole_numbers(800)
    weight = np.random.default_rng(0).random(len(z))
    models = [DecisionTreeRegressor(max_depth=6).fit(X, z, sample_weight=weight * k) for k in (1.0, 1024.0, 2.0**-40)]
    for model in models[1:]:
        np.testing.assert_array_equal(model.trees_.left, models[0].trees_.left)
        np.testing.assert_allclose(model.predict(X), models[0].predict(X), rtol=1e-12)
    theirs = tree.DecisionTreeRegressor(max_depth=6).fit(X, z, sample_weight=weight)
    np.testing.assert_allclose(models[0].predict(X), theirs.predict(X), rtol=1e-9)


def test_targets_far_from_zero_are_split_as_well():
    X, z, _ = whole_numbers(800)
    near, far = (DecisionTreeRegressor(max_depth=6).fit(X, z + offset) for offset in (0.0, 1e8))
    np.testing.assert_array_equal(far.trees_.term, near.trees_.term)
    np.testing.assert_allclose(far.predict(X) - 1e8, near.predict(X), atol=1e-6)


def test_a_seed_gives_a_forest_and_another_seed_another():
    X, _, y = whole_numbers(400)
    a, b, c = (RandomForestClassifier(3, random_state=seed).fit(X, y) for seed in (1, 1, 2))
    assert_same_trees(a, b)
    assert arrays_of(a)["term"].tolist() != arrays_of(c)["term"].tolist()


# rows drawn, rows left out ---------------------------------------------------------------------------------------


def test_a_tree_draws_as_many_rows_as_it_is_told():
    X, _, y = whole_numbers(1_000)
    for max_samples, expected in ((None, 1_000), (0.25, 250), (10, 10), (1, 1)):
        model = RandomForestClassifier(4, max_samples=max_samples).fit(X, y)
        assert model.trees_.weight[model.trees_.roots[:-1]].tolist() == [expected] * 4
    assert ExtraTreesClassifier(2).fit(X, y).trees_.weight[0] == 1_000
    assert ExtraTreesClassifier(2, bootstrap=True, max_samples=0.5).fit(X, y).trees_.weight[0] == 500


def test_draws_are_even():
    X = np.arange(20_000.0).reshape(-1, 1)
    model = RandomForestRegressor(30, max_depth=1, max_samples=5_000).fit(X, X[:, 0])
    means = model.trees_.value[model.trees_.roots[:-1], 0] * 30
    assert np.abs(means.mean() - 9_999.5) < 4 * 5_773 / np.sqrt(30 * 5_000)
    assert 0.6 < means.std() / (5_773 / np.sqrt(5_000)) < 1.5


def test_rows_that_were_not_drawn_tell_how_good_the_forest_is():
    X, z = nasty()
    y = z > 0
    model = RandomForestClassifier(60, oob_score=True).fit(X.slice(0, 4_000), y[:4_000])
    assert model.oob_decision_function_.shape == (4_000, 2)
    assert model.oob_score_ == pytest.approx(model.score(X.slice(4_000), y[4_000:]), abs=0.03)
    numbers = RandomForestRegressor(40, oob_score=True).fit(X.slice(0, 4_000), z[:4_000])
    assert numbers.oob_prediction_.shape == (4_000,)
    assert numbers.oob_score_ == pytest.approx(numbers.score(X.slice(4_000), z[4_000:]), abs=0.05)


def test_rows_that_every_tree_drew_have_no_score():
    X, _, y = whole_numbers(200)
    with pytest.warns(UserWarning, match=r"rows were drawn by every tree and have no out of bag prediction"):
        model = RandomForestClassifier(2, oob_score=True).fit(X, y)
    assert np.isnan(model.oob_decision_function_).any()
    assert np.isfinite(model.oob_score_)


# going on, and stopping ------------------------------------------------------------------------------------------


def test_a_warm_start_ends_where_a_cold_one_does():
    X, _, y = whole_numbers(600)
    model = RandomForestClassifier(4, warm_start=True).fit(X, y)
    model.set_params(n_estimators=9).fit(X, y)
    cold = RandomForestClassifier(9).fit(X, y)
    np.testing.assert_array_equal(model.trees_.left, cold.trees_.left)
    np.testing.assert_allclose(model.predict_proba(X), cold.predict_proba(X), atol=1e-12)
    with pytest.raises(InvalidParameter, match="n_estimators must be at least the 9 trees"):
        model.set_params(n_estimators=3).fit(X, y)


def test_a_warm_start_lets_all_trees_vote_on_the_rows_that_they_did_not_draw():
    X, z, y = whole_numbers(300)
    for kind, target in ((RandomForestClassifier, y), (RandomForestRegressor, z)):
        model = kind(30, max_depth=3, warm_start=True, oob_score=True).fit(X, target)
        first = model.oob_score_
        assert model.fit(X, target).oob_score_ == pytest.approx(first)  # no new trees
        model.set_params(n_estimators=40).fit(X, target)
        cold = kind(40, max_depth=3, oob_score=True).fit(X, target)
        assert model.oob_score_ == pytest.approx(cold.oob_score_)
        np.testing.assert_array_equal(model.oob_votes_, cold.oob_votes_)
        with pytest.raises(InvalidData, match="goes on with the same rows, of which there were 300; got 299"):
            model.fit(X[1:], target[1:])
        model.set_params(oob_score=False).fit(X, target)
        assert not hasattr(model, "oob_score_")
        with pytest.raises(InvalidParameter, match="oob_score must be False where warm_start=True goes on from trees"):
            model.set_params(oob_score=True).fit(X, target)


def test_a_warm_start_balances_the_classes_of_its_own_rows():
    X, _, y = whole_numbers(600)
    model = ExtraTreesClassifier(1, max_depth=1, class_weight="balanced", warm_start=True).fit(X, y)
    rare = np.flatnonzero((y == 1) | (np.arange(600) < 100))
    model.set_params(n_estimators=2).fit(X[rare], y[rare])
    np.testing.assert_allclose(model.trees_.weight[model.trees_.roots[:-1]], [600, rare.size], rtol=1e-6)


def test_an_interrupt_keeps_the_trees_that_are_done(monkeypatch):
    X, _, y = whole_numbers(300)

    def interrupted(self, number, **values):
        raise KeyboardInterrupt

    monkeypatch.setattr(RandomForestClassifier, "_iteration", interrupted)
    with pytest.warns(InterruptedTraining):
        model = RandomForestClassifier(100).fit(X, y)
    assert 0 < model.trees_.n_trees < 100
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0, rtol=1e-12)


# SQL -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def con():
    with dbml.connect() as con:
        con.execute(
            """CREATE TABLE t AS SELECT i % 17 AS a, (i % 5)::VARCHAR AS g, i % 17 > 8 AS late, i % 17 * 2.0 AS y
            FROM range(500) r(i)"""
        )
        yield con


def test_forests_train_and_score_in_sql(con):
    con.execute(
        """CREATE MODEL f OPTIONS (model_type = 'random_forest_classifier', input_label_cols = ['late'],
        num_parallel_tree = 7, max_tree_depth = 4, subsample = 0.5, colsample_bynode = 1.0, min_tree_child_weight = 2,
        auto_class_weights = TRUE) AS SELECT a, g, late FROM t"""
    )
    model = con.load_model("f")
    assert repr(model) == (
        "RandomForestClassifier(n_estimators=7, max_depth=4, min_samples_leaf=2, max_features=1.0, "
        "class_weight='balanced', max_samples=0.5)"
    )
    assert con.execute("SELECT count(*) FROM ML.PREDICT(MODEL f, TABLE t) WHERE predicted_late = late").fetchone() == (
        500,
    )
    con.execute(
        """CREATE MODEL r OPTIONS (model_type = 'random_forest_regressor', input_label_cols = ['y'],
        num_parallel_tree = 20) AS SELECT a, g, y FROM t"""
    )
    assert con.execute("SELECT max(abs(predicted_y - y)) < 1.0 FROM ML.PREDICT(MODEL r, TABLE t)").fetchone() == (True,)
    for kind in ("decisiontreeclassifier", "extratreesclassifier"):
        con.execute(
            f"""CREATE OR REPLACE MODEL f OPTIONS (model_type = '{kind}', input_label_cols = ['late']) AS
            SELECT a, g, late FROM t"""
        )
        assert con.execute("SELECT r2 FROM (SELECT accuracy AS r2 FROM ML.EVALUATE(MODEL f, TABLE t))").fetchone() == (
            1.0,
        )


# bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        (
            RandomForestClassifier,
            {"bootstrap": False, "max_samples": 3},
            "max_samples must be None where bootstrap=False",
        ),
        (ExtraTreesRegressor, {"oob_score": True}, "oob_score must be False where bootstrap=False: out of bag"),
        (RandomForestRegressor, {"n_jobs": 0}, "n_jobs must be None, -1 or an integer >= 1; got 0"),
        (RandomForestRegressor, {"criterion": "absolute_error"}, "criterion must be one of 'squared_error', 'poisson'"),
        (DecisionTreeClassifier, {"min_samples_split": 1}, "min_samples_split must be an integer >= 2 or .*; got 1"),
        (DecisionTreeClassifier, {"max_bins": 256}, "max_bins must be an integer >= 2 and <= 255; got 256"),
        (DecisionTreeClassifier, {"max_features": 0.0}, "max_features must be one of 'sqrt', 'log2', None or"),
        (DecisionTreeClassifier, {"monotonic_cst": {"x9": 1}}, "monotonic_cst names 'x9', which is no column"),
        (DecisionTreeClassifier, {"class_weight": {5: 1.0}}, r"The classes, \[5\], are not in the data"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(kind, params, message):
    X, _, y = whole_numbers(50)
    with pytest.raises(InvalidParameter, match=f"{kind.__name__}: {message}"):
        kind(**params).fit(X, y)


def test_targets_that_cannot_be_learned_are_refused():
    X, z, _ = whole_numbers(50)
    with pytest.raises(InvalidData, match="at least 2 classes"):
        RandomForestClassifier().fit(X, np.ones(50))
    with pytest.raises(InvalidData, match=r"the target must be >= 0, and above 0 somewhere, for criterion='poisson'"):
        RandomForestRegressor(criterion="poisson").fit(X, z - 100.0)
    with pytest.raises(InvalidParameter, match="monotonic_cst must be None where there are more than two classes"):
        RandomForestClassifier(monotonic_cst=[1, 0, 0, 0, 0]).fit(X, np.arange(50) % 3)
    with pytest.raises(InvalidParameter, match="min_tree_child_weight must be a finite number >= 0"):
        RandomForestClassifier.from_options({"min_tree_child_weight": -1})


def test_one_row_of_each_class_and_weights_of_zero():
    model = RandomForestClassifier(20).fit([[0.0], [1.0]], [0, 1])
    assert model.predict_proba([[0.0]])[0, 0] > 0.5
    X, _, y = whole_numbers(60)
    model = RandomForestClassifier(3, max_samples=2).fit(
        X, y, sample_weight=np.eye(1, 60).ravel() + np.eye(1, 60, 59).ravel()
    )
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)


def test_models_are_the_same_after_the_registry(con):
    model = RandomForestClassifier(5).fit(con.table("t"), y="late")
    con.save_model("kept", model)
    assert_same_trees(con.load_model("kept"), model)
    scored = model.predict(con.table("t"))
    assert scored.columns == ["a", "g", "late", "y", "predicted_late"]


def test_fitted_attributes_of_scikit_learn():
    X = np.arange(60.0).reshape(-1, 1)
    for make in (dbml.RandomForestClassifier, dbml.DecisionTreeClassifier):
        model = make().fit(X, np.arange(60) % 3)
        assert (model.n_classes_, model.n_outputs_) == (3, 1)
    model = dbml.ExtraTreesRegressor(n_estimators=2).fit(X, X[:, 0])
    assert model.n_outputs_ == 1 and not hasattr(model, "n_classes_")
