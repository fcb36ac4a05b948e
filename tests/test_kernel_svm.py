"""SVC and SVR against scikit-learn's LIBSVM: the same dual, decisions and support vectors; nasty rows; many rows."""

import warnings
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

import dbml
from dbml import SVC, SVR
from dbml.errors import ConvergenceWarning, ExhaustedMemory, InvalidData, InvalidParameter
from dbml.estimators.kernel_machines import dual, kernel_model
from dbml.passes.memory import memory_limited

svm = pytest.importorskip("sklearn.svm")

SHARED = Path(__file__).parents[2] / "shared" / "data"


def table(n=300, p=4, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * np.linspace(0.5, 2.0, p) + np.arange(p)
    signal = X[:, 0] * X[:, 1] + 0.3 * rng.normal(size=n)
    y = np.digitize(signal, np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1]))
    return X, y, rng.integers(1, 4, size=n).astype(float)


def dual_objective(model, X, y, settings=None):
    """Of two classes or a regression, by scikit-learn's own kernel."""
    coef, vectors = model.dual_coef_[0], X[model.support_]
    peer = (svm.SVR if isinstance(model, (SVR, svm.SVR)) else svm.SVC)(**(settings or {}))
    from sklearn.metrics.pairwise import pairwise_kernels

    K = pairwise_kernels(vectors, metric=peer.kernel, filter_params=True, gamma=peer.gamma, coef0=peer.coef0, degree=3)
    smooth = 0.5 * coef @ K @ coef
    if isinstance(peer, svm.SVC):
        return smooth - np.abs(coef).sum()
    return smooth - coef @ y[model.support_] + peer.epsilon * np.abs(coef).sum()


SETTINGS = [
    {"kernel": "rbf", "gamma": 0.1},
    {"kernel": "rbf", "gamma": 0.5, "C": 20.0},
    {"kernel": "linear"},
    {"kernel": "poly", "gamma": 0.1, "coef0": 1.0},
    {"kernel": "sigmoid", "gamma": 0.02},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_two_classes_are_libsvms_dual(settings, weighted):
    X, y, weight = table()
    weight = weight if weighted else None
    ours = SVC(**settings, tol=1e-4).fit(X, y, weight)
    theirs = svm.SVC(**settings, tol=1e-5).fit(X, y, weight)
    mine, peer = (dual_objective(m, X, y, settings) for m in (ours, theirs))
    assert mine == pytest.approx(peer, rel=1e-5)
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=2e-3)
    assert abs(ours.dual_coef_.sum()) < 1e-9 * np.abs(ours.dual_coef_).sum()
    assert (ours.predict(X) == theirs.predict(X)).mean() > 0.99


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_regression_is_libsvms_dual(settings):
    X, _, weight = table()
    y = X[:, 0] ** 2 + 1e3
    ours = SVR(**settings, tol=1e-4).fit(X, y, weight)
    theirs = svm.SVR(**settings, tol=1e-5).fit(X, y, weight)
    assert dual_objective(ours, X, y - 1e3, settings) == pytest.approx(
        dual_objective(theirs, X, y - 1e3, settings), rel=1e-4
    )
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=5e-3)
    assert ours.n_support_.tolist() == [len(ours.support_)]


@pytest.mark.parametrize("shape", ["ovr", "ovo"])
@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_several_classes_are_told_apart_in_pairs(shape, kernel):
    X, y, weight = table(classes=4)
    how = {"kernel": kernel, "gamma": 0.1, "decision_function_shape": shape}
    ours, theirs = (kind(**how, tol=1e-5).fit(X, y, weight) for kind in (SVC, svm.SVC))
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-3)
    assert (ours.predict(X) == theirs.predict(X)).all()
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-3)
    if kernel == "linear":
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-3)
        return
    assert ours.n_support_.tolist() == theirs.n_support_.tolist()
    assert ours.support_.tolist() == theirs.support_.tolist()
    np.testing.assert_allclose(ours.dual_coef_, theirs.dual_coef_, atol=1e-3)
    np.testing.assert_allclose(ours.support_vectors_, X[ours.support_], rtol=1e-12)


def test_ties_of_votes_are_broken_by_confidence():
    X, y, _ = table(classes=5)
    model = SVC(break_ties=True).fit(X, y)
    assert (model.predict(X) == model.decision_function(X).argmax(axis=1)).all()
    with pytest.raises(InvalidParameter, match="SVC: break_ties must be False when decision_function_shape is 'ovo'"):
        SVC(break_ties=True, decision_function_shape="ovo").fit(X, y)


@pytest.mark.parametrize("gamma", ["scale", "auto", 0.3])
def test_gamma_and_class_weights_mean_what_they_mean_in_scikit_learn(gamma):
    X, y, _ = table()
    y = np.where(y, "yes", "no")
    for class_weight in ({"yes": 5.0}, "balanced"):
        ours, theirs = (kind(gamma=gamma, class_weight=class_weight, tol=1e-5).fit(X, y) for kind in (SVC, svm.SVC))
        np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-3)
        assert ours.gamma_ == pytest.approx(theirs._gamma, rel=1e-12)


@pytest.mark.parametrize("C", [0.1, 100.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_optimum_holds_for_working_sets_smaller_than_the_rows(monkeypatch, C, seed):
    """The conditions of Karush, Kuhn and Tucker, in double precision, with and without shrinking and cached rows."""
    monkeypatch.setattr(dual, "_SET", 32)
    X, y, weight = table(n=400, seed=seed)
    weight -= 1.0  # some rows count for nothing
    y[:40] = 1 - y[:40]  # noise, so that many lie at the bound
    models = [
        SVC(C=C, gamma=0.3, shrinking=shrinking, cache_size=size).fit(X, y, weight)
        for shrinking in (False, True)
        for size in (0.06, 200)
    ]
    for model in models:
        alpha, bound = np.zeros(len(y)), C * weight
        alpha[model.support_] = np.abs(model.dual_coef_[0])
        margin = np.where(y == 1, 1, -1) * model.decision_function(X)
        used, tol = weight > 0, 2e-3
        assert (alpha <= bound + 1e-9).all()
        assert (margin[used & (alpha == 0)] > 1 - tol).all()
        assert (margin[used & (alpha == bound)] < 1 + tol).all()
        free = (alpha > 0) & (alpha < bound)
        np.testing.assert_allclose(margin[free], 1.0, atol=tol)
    values = [dual_objective(model, X, y, {"gamma": 0.3}) for model in models]
    np.testing.assert_allclose(values, values[0], rtol=1e-5)


def test_rows_with_opposite_labels_hold_each_other():
    X = np.repeat([[0.0], [1.0], [2.0]], 4, axis=0)
    y = np.tile([0, 1], 6)
    model = SVC(C=10.0).fit(X, y)
    assert model.fit_status_ == 0
    np.testing.assert_allclose(model.decision_function([[0.0], [5.0]]), 0.0, atol=1e-6)
    same = SVR(C=10.0).fit(np.ones((5, 2)), [0.0, 1.0, 2.0, 3.0, 10.0])
    assert 1.9 <= same.predict([[1.0, 1.0]])[0] <= 2.1


def test_an_offset_moves_nothing():
    X, y, _ = table()
    near, far = (SVC(gamma=0.2, tol=1e-6).fit(X + offset, y).decision_function(X + offset) for offset in (0.0, 1e8))
    np.testing.assert_allclose(far, near, atol=1e-4)


def test_probabilities_are_calibrated_as_platts():
    X, y, _ = table(n=600, classes=3)
    ours = SVC(probability=True).fit(X, y)
    proba = ours.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        theirs = svm.SVC(probability=True, random_state=0).fit(X, y)
        assert np.sign(ours.probA_).tolist() == np.sign(theirs.probA_).tolist()
    assert np.abs(proba - theirs.predict_proba(X)).mean() < 0.02
    np.testing.assert_allclose(ours.predict_log_proba(X), np.log(proba))
    again = type(ours).from_state(ours.get_state())
    assert np.array_equal(again.predict_proba(X), proba)
    with pytest.raises(AttributeError, match="predict_proba needs probability=True"):
        SVC().fit(X, y).predict_proba(X)


# many rows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("landmarks", "least"), [(150, 0.95), (None, 0.98)])
@pytest.mark.parametrize("classes", [2, 3])
def test_landmarks_come_near_the_exact_machine(classes, landmarks, least):
    X, y, weight = table(n=500, classes=classes)
    exact = SVC(gamma=0.2, C=5.0).fit(X, y, weight)
    model = SVC(gamma=0.2, C=5.0, solver="nystroem", n_components=landmarks, probability=True).fit(X, y, weight)
    assert model.solver_ == "nystroem"
    assert (model.predict(X) == exact.predict(X)).mean() > least
    assert model.landmarks_.shape == (landmarks or len(np.unique(X[weight > 0], axis=0)), 4)
    assert (model.predict_proba(X).argmax(axis=1) == model.predict(X)).mean() > 0.95
    again = SVC.from_state(model.get_state())
    assert np.array_equal(again.decision_function(X), model.decision_function(X))


def test_regression_by_landmarks():
    X, _, _ = table(n=500)
    y = np.sin(X[:, 0]) + X[:, 1]
    exact, model = (SVR(C=10.0, solver=solver, n_components=200).fit(X, y) for solver in ("exact", "nystroem"))
    assert np.abs(model.predict(X) - exact.predict(X)).mean() < 0.05


def test_a_linear_kernel_of_many_rows_is_solved_over_the_terms():
    X, _, _ = table(n=600)
    y = X[:, 0] + 0.5 * np.random.default_rng(0).normal(size=600) > 0.3
    exact, model = (SVC(kernel="linear", solver=solver).fit(X, y) for solver in ("exact", "nystroem"))
    assert model.solver_ == "primal"
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=0.03 * np.abs(exact.coef_).max())
    assert model.form().link == "margin"


def test_the_switch_is_told_and_explained(monkeypatch):
    X, y, _ = table()
    assert "few enough for the dual" in str(SVC().fit(X, y).explain())
    monkeypatch.setattr(kernel_model, "EXACT_ROWS", 100)
    told = str(SVC(n_components=20).fit(X, y).explain())
    assert "nystroem (20 landmarks" in told
    assert "300 rows: the exact dual takes too long beyond 100" in told
    uneven = SVC().fit(X * [1.0, 1.0, 1.0, 1e5], y).explain()
    assert "standardise the columns" in str(uneven)
    assert "standardise the columns" not in told
    wide = sp.csr_array(np.eye(3_000))
    with memory_limited("64MiB"), pytest.raises(ExhaustedMemory, match="SVC: solver='exact' keeps all rows"):
        SVC(solver="exact").fit(wide, np.arange(3_000) % 2)


# rows of all kinds --------------------------------------------------------------------------------------------------


def test_sparse_rows_are_dense_rows():
    X, y, weight = table(p=6)
    X = X * (np.random.default_rng(1).random(X.shape) < 0.4)
    for solver in ("exact", "nystroem"):
        dense, sparse = (
            SVC(solver=solver, gamma=0.1, n_components=50).fit(rows, y, weight) for rows in (X, sp.csr_array(X))
        )
        if solver == "exact":
            np.testing.assert_allclose(sparse.decision_function(sp.csr_array(X)), dense.decision_function(X), atol=2e-3)
        assert (sparse.predict(sp.csr_array(X)) == dense.predict(X)).mean() > 0.97


def test_missing_values_and_categories_are_terms():
    rng = np.random.default_rng(0)
    number = rng.normal(size=200)
    kind = rng.choice(["a", "b", "it's"], size=200)
    y = (number > 0) ^ (kind == "a")
    number[:20] = np.nan
    rows = pa.table({"num ber": number, "kind": kind, "label": y})
    model = SVC(C=10.0).fit(rows)
    assert model.terms_[:2] == ("num ber", "num ber IS NULL")
    assert model.score(rows) == (model.predict(rows) == y).mean() > 0.9
    # the same terms by hand
    mean = np.nanmean(number)
    levels = [kind == term.removeprefix("kind = ") for term in model.terms_[2:]]
    by_hand = np.column_stack([np.where(np.isnan(number), mean, number), np.isnan(number), *levels])
    theirs = svm.SVC(C=10.0).fit(by_hand, y)
    np.testing.assert_allclose(model.decision_function(rows), theirs.decision_function(by_hand), atol=3e-3)


@pytest.mark.parametrize(
    "settings", [{}, {"kernel": "linear"}, {"probability": True}, {"solver": "nystroem", "n_components": 30}]
)
@pytest.mark.parametrize("classes", [2, 3])
def test_sql_the_function_and_python_agree(settings, classes):
    X, y, _ = table(n=200, classes=classes)
    rows = pa.table({f"x{i}": X[:, i] for i in range(4)} | {"label": [f"c{k}" for k in y]})
    options = ", ".join(f"{name} = {value!r}" for name, value in settings.items())
    with dbml.connect() as con:
        con.execute("CREATE TABLE t AS FROM rows")
        con.execute(
            f"CREATE MODEL m OPTIONS (model_type = 'SVC', {options}) AS SELECT * FROM t"
            if options
            else "CREATE MODEL m OPTIONS (model_type = 'SVC') AS SELECT * FROM t"
        )
        model = SVC(**settings).fit(con.table("t"))
        expected = model.predict(con.sql("FROM t")).fetchnumpy()["predicted_label"]
        assert con.sql("SELECT predict('m', t) AS p FROM t").fetchnumpy()["p"].tolist() == expected.tolist()
        found = con.sql("FROM ML.PREDICT(MODEL m, TABLE t)").fetchnumpy()
        assert found["predicted_label"].tolist() == expected.tolist()
        assert ("predicted_label_probs" in found) == bool(settings.get("probability"))
        decision = model.decision_function(rows)
        stored = con.sql("SELECT * FROM t")
        again = model.decision_function(stored).fetchnumpy()
        flat = np.array(list(again[list(again)[-1]]), float)
        np.testing.assert_allclose(flat, decision, atol=1e-9)


def test_a_training_is_explained_before_it_runs():
    with dbml.connect() as con:
        con.execute("CREATE TABLE t AS SELECT random() AS x, range % 2 = 0 AS label FROM range(500)")
        told = str(con.execute("EXPLAIN CREATE MODEL m OPTIONS (model_type = 'svc') AS SELECT * FROM t").fetchall())
        assert "exact (sequential minimal optimisation)" in told
        told = str(
            con.execute(
                "EXPLAIN CREATE MODEL m OPTIONS (model_type = 'svr', solver = 'nystroem') "
                "AS SELECT x, x * x AS label FROM t"
            ).fetchall()
        )
        assert "nystroem (500 landmarks" in told


# bad input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SVC, SVR])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"C": 0.0}, "C must be a finite number > 0"),
        ({"gamma": -1.0}, "gamma must be one of 'scale', 'auto' or a finite number >= 0"),
    ],
)
def test_bad_parameters(kind, settings, message):
    X, y, _ = table(20)
    with pytest.raises(InvalidParameter, match=f"{kind.__name__}: {message}"):
        kind(**settings).fit(X, y)


def test_bad_rows():
    with pytest.raises(InvalidData, match="y must hold at least 2 classes; got 1 class"):
        SVC().fit([[1.0], [2.0]], [1, 1])
    with pytest.raises(InvalidData, match="SVC: every class must have rows of positive weight; 1 has none"):
        SVC().fit([[1.0], [2.0]], [0, 1], [1.0, 0.0])
    with pytest.raises(InvalidData, match="sample_weight must have at least one positive weight"):
        SVR().fit([[1.0], [2.0]], [0.0, 1.0], [0.0, 0.0])
    with pytest.raises(InvalidData, match="NaN"):
        SVR().fit([[1.0], [2.0]], [0.0, np.nan])
    assert SVR().fit([[1.0]], [3.0]).predict([[7.0]]).tolist() == [3.0]


def test_few_steps_are_warned_about():
    X, y, _ = table()
    with pytest.warns(ConvergenceWarning, match="SVC: the solver stopped after 5 steps before it reached tol=0.001"):
        model = SVC(max_iter=5).fit(X, y)
    assert model.fit_status_ == 1
    assert model.n_iter_.tolist() == [5]


# real tables --------------------------------------------------------------------------------------------------------


def rows_of(name, query):
    if not (SHARED / f"{name}.parquet").exists():
        pytest.skip("../shared/data is absent")
    return duckdb.sql(query.format(f"'{SHARED / name}.parquet'")).to_arrow_table()


def test_mammography_beans_and_incomes_are_classified_as_by_libsvm():
    tables = {
        "mammography": "SELECT * REPLACE (class::VARCHAR AS class) FROM {} LIMIT 2000",
        "dry_bean": "SELECT * FROM {} USING SAMPLE reservoir(1500 ROWS) REPEATABLE (1)",
    }
    for name, query in tables.items():
        rows = rows_of(name, query)
        target = rows.column_names[-1]
        frame = rows.to_pandas()
        X = frame.drop(columns=target).to_numpy(float)
        X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-12)
        y = frame[target].to_numpy().astype(str)
        ours, theirs = (kind(C=10.0).fit(X, y) for kind in (SVC, svm.SVC))
        assert (ours.predict(X) == theirs.predict(X)).mean() > 0.998, name
    rows = rows_of("adult", "SELECT * EXCLUDE (split) FROM {} LIMIT 2000")
    model = SVC(C=10.0, gamma=1e-5).fit(rows, y="income")
    assert (model.predict(rows) == rows["income"].to_numpy(zero_copy_only=False)).mean() > 0.75
