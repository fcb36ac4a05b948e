"""LogisticRegression against scikit-learn, closed forms and nasty data."""

import warnings
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

import dbml
from dbml import LogisticRegression
from dbml.errors import ConvergenceWarning, InterruptedTraining, InvalidData, InvalidParameter
from dbml.passes.progress import Listener, listening

sklearn = pytest.importorskip("sklearn.linear_model")

SHARED = Path(__file__).parents[2] / "shared" / "data"


def table(n=400, p=5, classes=2, seed=0, scale=2.0, offset=10.0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * np.exp(rng.normal(size=p) * scale) + rng.normal(size=p) * offset
    W = rng.normal(size=(classes, p)) / X.std(axis=0)
    return X, np.argmax((X - X.mean(axis=0)) @ W.T + rng.gumbel(size=(n, classes)), axis=1)


def objective(model, X, y, C=1.0, l1_ratio=0.0, weight=None):
    """scikit-learn's objective, in plain NumPy."""
    weight = np.ones(len(y)) if weight is None else weight
    eta = np.asarray(X @ model.coef_.T) + model.intercept_
    if eta.shape[1] == 1:
        loss = np.logaddexp(0.0, -np.where(y == model.classes_[1], 1, -1) * eta[:, 0])
    else:
        top = eta.max(axis=1)
        label = np.searchsorted(model.classes_, y)
        loss = np.log(np.exp(eta - top[:, None]).sum(axis=1)) + top - eta[np.arange(len(y)), label]
    penalty = (1 - l1_ratio) / 2 * (model.coef_**2).sum() + l1_ratio * np.abs(model.coef_).sum()
    return C * weight @ loss + penalty


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("intercept", [True, False])
def test_l2_is_scikit_learns_minimum(classes, C, intercept):
    X, y = table(classes=classes, scale=0.7, offset=1.0)
    weight = np.random.default_rng(0).random(len(y)) * 3
    ours = LogisticRegression(C=C, fit_intercept=intercept, tol=1e-7).fit(X, y, weight)
    theirs = sklearn.LogisticRegression(C=C, fit_intercept=intercept, solver="newton-cholesky", tol=1e-12)
    theirs.fit(X, y, weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(ours.decision_function(X), X @ ours.coef_.T[:, 0] + ours.intercept_, atol=1e-8) if (
        classes == 2
    ) else None


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_l1_and_elastic_net_are_at_or_below_scikit_learn(classes, l1_ratio):
    X, y = table(classes=classes, scale=0.5, offset=0.0, p=8)
    X[:, 5:] = np.random.default_rng(5).normal(size=(len(X), 3))
    ours = LogisticRegression(C=0.05, l1_ratio=l1_ratio).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = sklearn.LogisticRegression(C=0.05, l1_ratio=l1_ratio, solver="saga", tol=1e-8, max_iter=5000).fit(X, y)
    mine, peer = (objective(m, X, y, 0.05, l1_ratio) for m in (ours, theirs))
    assert mine <= peer * (1 + 1e-7)
    if l1_ratio == 1.0:
        assert (ours.coef_ == 0).any()


def test_passes_over_more_rows_than_the_sample_end_where_rows_in_memory_do():
    X, y = table(n=150_000, p=4, scale=1.0)
    streamed = LogisticRegression().fit(X, y)
    purposes = [done.purpose for done in streamed.explain().passes]
    assert len(purposes) == 1
    theirs = sklearn.LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10).fit(X, y)
    assert objective(streamed, X, y) <= objective(theirs, X, y) * (1 + 1e-9)
    np.testing.assert_allclose(streamed.coef_, theirs.coef_, atol=1e-5)


def test_what_the_sample_has_not_seen_takes_another_pass():
    X, y = table(n=150_000, p=3, scale=1.0)
    rare = np.zeros(len(X))
    rare[np.random.default_rng(1).choice(len(X), 8, replace=False)] = 1.0
    y = np.where(rare > 0, y.max(), y)
    X = np.column_stack([X, rare])
    streamed = LogisticRegression(C=10.0).fit(X, y)
    assert len(streamed.explain().passes) > 1
    theirs = sklearn.LogisticRegression(C=10.0, solver="newton-cholesky", tol=1e-10).fit(X, y)
    assert objective(streamed, X, y, 10.0) <= objective(theirs, X, y, 10.0) * (1 + 1e-9)


def test_wide_rows_of_mostly_zeros_converge_by_default():
    rng = np.random.default_rng(0)
    X = np.where(rng.random((1_500, 1_100)) < 0.03, rng.integers(1, 9, size=(1_500, 1_100)), 0).astype(float)
    y = (X[:, :20].sum(axis=1) + rng.normal(size=len(X)) > X[:, :20].sum(axis=1).mean()).astype(int)
    ours = LogisticRegression().fit(X, y)
    theirs = sklearn.LogisticRegression(solver="newton-cholesky", tol=1e-10).fit(X, y)
    assert objective(ours, X, y) <= objective(theirs, X, y) * (1 + 1e-7)
    assert "most values 0" in str(ours.explain())


def test_more_wide_rows_than_the_sample_converge_by_default():
    rng = np.random.default_rng(0)
    X = np.where(rng.random((17_000, 1_050)) < 0.02, rng.integers(1, 50, size=(17_000, 1_050)), 0).astype(float)
    y = (X[:, :20].sum(axis=1) + 30 * rng.logistic(size=len(X)) > X[:, :20].sum(axis=1).mean()).astype(int)
    ours = LogisticRegression().fit(X, y)
    assert "Hessian of a sample" in str(ours.explain())
    residual = 1 / (1 + np.exp(-(X @ ours.coef_[0] + ours.intercept_[0]))) - y
    slope = np.append(X.T @ residual + ours.coef_[0], residual.sum()) / len(X)
    assert np.abs(slope / np.append(X.std(axis=0), 1.0)).max() < 2e-4


def test_an_offset_of_1e8_changes_nothing_but_the_intercept():
    X, y = table(scale=0.0, offset=0.0)
    near, far = LogisticRegression().fit(X, y), LogisticRegression().fit(X + 1e8, y)
    np.testing.assert_allclose(far.coef_, near.coef_, rtol=1e-5)
    np.testing.assert_allclose(far.predict_proba(X + 1e8), near.predict_proba(X), atol=1e-6)


def test_collinear_constant_and_repeated_columns():
    X, y = table(scale=0.0)
    X = np.column_stack([X, X[:, 0], X[:, 0] + X[:, 1], np.full(len(X), 3.0)])
    for C in (1.0, np.inf):
        ours = LogisticRegression(C=C).fit(X, y)
        assert np.isfinite(ours.coef_).all()
        assert ours.coef_[0, -1] == pytest.approx(0.0, abs=1e-9)
        assert ours.coef_[0, 0] == pytest.approx(ours.coef_[0, 5], rel=1e-6)
    theirs = sklearn.LogisticRegression(solver="newton-cholesky", tol=1e-12).fit(X, y)
    np.testing.assert_allclose(LogisticRegression(tol=1e-7).fit(X, y).coef_, theirs.coef_, atol=1e-6)


def test_separable_rows_without_penalty_give_a_finite_model_that_separates():
    X = np.array([[-2.0, 1], [-1, 0], [1, 0], [2, 5]])
    model = LogisticRegression(C=np.inf).fit(X, [0, 0, 1, 1])
    assert np.isfinite(model.coef_).all()
    assert model.score(X, [0, 0, 1, 1]) == 1.0


def test_two_rows_are_enough():
    model = LogisticRegression().fit([[0.0], [1.0]], ["no", "yes"])
    assert model.predict([[0.0], [1.0]]).tolist() == ["no", "yes"]


@pytest.mark.parametrize("class_weight", ["balanced", {0: 3.0, 1: 0.5, 2: 1.0}, {1: 4}])
def test_class_weights_are_scikit_learns(class_weight):
    X, y = table(classes=3, scale=0.3)
    weight = np.random.default_rng(1).random(len(y))
    ours = LogisticRegression(class_weight=class_weight, tol=1e-7).fit(X, y, weight)
    theirs = sklearn.LogisticRegression(class_weight=class_weight, solver="newton-cholesky", tol=1e-10)
    theirs.fit(X, y, weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)


@pytest.mark.parametrize(
    "spelling", ["{'true': 3, 'false': 0.5}", "[('true', 3), ('false', 0.5)]", "{'True': 3, 'False': 0.5}"]
)
def test_class_weights_of_boolean_labels_are_spelled_as_in_sql(spelling):
    with dbml.connect() as con:
        con.execute("CREATE TABLE t AS SELECT i::DOUBLE AS x, hash(i) % 50 < i AS late FROM range(60) r(i)")
        con.execute(
            "CREATE MODEL m OPTIONS (model_type = 'logistic_reg', input_label_cols = ['late'], "
            f"class_weights = {spelling}) AS FROM t"
        )
        expected = LogisticRegression(class_weight={True: 3, False: 0.5}).fit(con.table("t"), y="late")
        assert con.load_model("m").coef_.tolist() == expected.coef_.tolist()


def test_class_weight_of_no_class_is_refused_by_name():
    X, y = table()
    with pytest.raises(InvalidParameter, match=r"LogisticRegression: The classes, \['yes'\], are not in the data"):
        LogisticRegression(class_weight={"yes": 2.0}).fit(X, y)
    with pytest.raises(InvalidParameter, match=r"class_weight\[1\] must be a finite number >= 0; got -1"):
        LogisticRegression(class_weight={1: -1}).fit(X, y)


@pytest.mark.parametrize("class_weight", [{0: 1.0, 1: 2.0, 2: 3.0}, {"0": 1.0, "1": 2.0, "rare": 3.0}], ids=str)
def test_the_weight_of_a_class_without_rows_is_ignored_where_all_others_have_one(class_weight):
    X, y = table()
    ours = LogisticRegression(class_weight=class_weight).fit(X, y)
    theirs = LogisticRegression(class_weight={0: 1.0, 1: 2.0}).fit(X, y)
    np.testing.assert_array_equal(ours.coef_, theirs.coef_)
    for make in (LogisticRegression, sklearn.LogisticRegression):
        with pytest.raises(ValueError, match="The classes, "):
            make(class_weight={1: 2.0, 2: 3.0}).fit(X, y)


def test_folds_without_a_rare_class_take_its_weight():
    from sklearn.model_selection import KFold, cross_val_score

    X, y = table(200)
    y = np.where(np.arange(len(y)) < 10, 2, y)
    scores = cross_val_score(LogisticRegression(class_weight={0: 1, 1: 2, 2: 3}), X, y, cv=KFold(5))
    assert np.isfinite(scores).all()


def test_sparse_and_dense_rows_give_the_same_model():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 20)) * (rng.random((500, 20)) < 0.2)
    y = (X[:, :5].sum(axis=1) + rng.logistic(size=500) > 0).astype(int)
    for settings in ({}, {"l1_ratio": 1.0, "C": 0.2}, {"fit_intercept": False}, {"solver": "lbfgs"}):
        tol = 1e-7 if settings.get("solver") == "lbfgs" else 1e-6
        dense = LogisticRegression(tol=tol, **settings).fit(X, y)
        sparse = LogisticRegression(tol=tol, **settings).fit(sp.csr_array(X), y)
        np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=1e-5)
        np.testing.assert_allclose(sparse.predict_proba(sp.csr_array(X)), dense.predict_proba(X), atol=1e-5)


def test_lbfgs_and_newton_find_the_same_minimum_on_badly_scaled_columns():
    X, y = table(n=1000, classes=3, scale=3.0, offset=100.0)
    newton = LogisticRegression(solver="newton").fit(X, y)
    quasi = LogisticRegression(solver="lbfgs", tol=1e-6, max_iter=2000).fit(X, y)
    assert objective(quasi, X, y) == pytest.approx(objective(newton, X, y), rel=1e-6)


def test_wide_rows_choose_lbfgs_and_say_why():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 1200)), rng.integers(0, 2, 60)
    model = LogisticRegression(C=0.01).fit(X, y)
    (decision,) = (d for d in model.explain().decisions if d.subject == "solver")
    assert decision.choice == "lbfgs"
    assert "1,201 parameters" in decision.reason
    theirs = sklearn.LogisticRegression(C=0.01, tol=1e-8, max_iter=1000).fit(X, y)
    assert objective(model, X, y, 0.01) <= objective(theirs, X, y, 0.01) * (1 + 1e-5)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_l1_on_wide_rows_scans_a_growing_set_of_terms(classes, kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 500)) * (rng.random((300, 500)) < 0.5) + 0.1
    margin = 2 * X[:, 0] - 2 * X[:, 7] + X[:, 499] + 0.3 * rng.logistic(size=300)
    y = np.digitize(margin, np.quantile(margin, np.arange(1, classes) / classes))
    ours = LogisticRegression(C=0.1, l1_ratio=1.0).fit(kind(X), y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = sklearn.LogisticRegression(C=0.1, l1_ratio=1.0, solver="saga", tol=1e-6, max_iter=3000).fit(X, y)
    assert objective(ours, X, y, 0.1, 1.0) <= objective(theirs, X, y, 0.1, 1.0) * (1 + 1e-6)
    assert 0 < np.count_nonzero(ours.coef_) < 60 * classes


def test_warm_start_goes_on_from_the_last_fit():
    X, y = table(n=3000)
    model = LogisticRegression(warm_start=True).fit(X, y)
    first = len(model.training_)
    model.fit(X, y)
    assert len(model.training_) <= 2 < first


def test_too_few_iterations_warn_and_keep_the_best():
    X, y = table(n=2000)
    with pytest.warns(ConvergenceWarning, match=r"LogisticRegression: the solver stopped after 1 iterations"):
        model = LogisticRegression(max_iter=1).fit(X, y)
    assert model.score(X, y) > 0.5


class _Interrupt(Listener):
    def iteration(self, number, **values):
        if number == 3:
            raise KeyboardInterrupt


def test_interrupted_training_keeps_the_best_model_so_far():
    X, y = table(n=2000)
    with pytest.warns(InterruptedTraining, match="interrupted after 3 iterations"), listening(_Interrupt()):
        model = LogisticRegression().fit(X, y)
    assert model.predict_proba(X).shape == (2000, 2)


def test_bad_input_is_refused_with_words():
    X, y = table(n=50)
    with pytest.raises(InvalidData, match="at least 2 classes"):
        LogisticRegression().fit(X, np.zeros(50))
    with pytest.raises(InvalidData, match="weight"):
        LogisticRegression().fit(X, y, np.zeros(50))
    with pytest.raises(InvalidParameter, match="C must be a number > 0; got 0"):
        LogisticRegression(C=0).fit(X, y)
    with pytest.raises(InvalidParameter, match="solver must be 'proximal-newton' or 'auto' for this penalty"):
        LogisticRegression(l1_ratio=1.0, solver="newton").fit(X, y)


def test_statement_options_make_c_and_l1_ratio():
    model = LogisticRegression.from_options({"l1_reg": 1.0, "l2_reg": 3.0, "max_iterations": 7})
    assert (model.C, model.l1_ratio, model.max_iter) == (0.25, 0.25, 7)
    assert np.inf == LogisticRegression.from_options({"l2_reg": 0.0}).C
    with pytest.raises(InvalidParameter, match="l1_reg and l2_reg say what 'c' says"):
        LogisticRegression.from_options({"l2_reg": 1.0, "c": 2.0})


def test_the_form_scores_as_the_blocks_do():
    X, y = table(classes=3)
    model = LogisticRegression().fit(X, y)
    form = model.form()
    assert form.link == "softmax"
    eta = np.array(form.intercept) + (X - np.array(model.schema_.encoding.centre())) @ np.array(form.coef).T
    np.testing.assert_allclose(eta, model.decision_function(X), rtol=1e-9, atol=1e-9)


@pytest.mark.skipif(not SHARED.exists(), reason="the real tables of ../shared/data are not here")
@pytest.mark.parametrize(("name", "target"), [("mammography", "class"), ("dry_bean", "Class")])
def test_real_tables_of_numbers_are_at_or_below_scikit_learn(raw, name, target):
    rows = raw.sql(f"SELECT * FROM '{SHARED / name}.parquet'").to_arrow_table()
    y = rows[target].to_numpy(zero_copy_only=False)
    X = np.column_stack([rows[c].to_numpy() for c in rows.column_names if c != target]).astype(float)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    ours = LogisticRegression(C=1.0).fit(Z, y)
    theirs = sklearn.LogisticRegression(C=1.0, tol=1e-8, max_iter=5000).fit(Z, y)
    assert objective(ours, Z, y) <= objective(theirs, Z, y) * (1 + 1e-7)
    unscaled = LogisticRegression(C=1e4).fit(X, y)  # no scaling by hand is needed
    assert unscaled.score(X, y) > theirs.score(Z, y) - 0.01


def test_l1_over_many_terms_starts_from_a_sample_and_tells_its_sets():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90_000, 230))
    y = (X[:, :3].sum(axis=1) + rng.logistic(size=len(X)) > 0).astype(int)
    con = duckdb.connect()
    frame = pa.table({**{f"x{j}": X[:, j] for j in range(X.shape[1])}, "y": y})  # noqa: F841
    con.execute("CREATE TABLE t AS FROM frame")
    ours = LogisticRegression(C=1e-3, l1_ratio=1.0).fit(con.table("t"), y="y")
    decisions = {d.subject: d.choice for d in ours.explain().decisions}
    assert "columns scanned" in decisions
    eta = X @ ours.coef_[0] + ours.intercept_[0]
    slope = np.abs(X.T @ (1 / (1 + np.exp(-eta)) - y))
    assert slope.max() <= 1e3 * (1 + 1e-3)
    used = ours.coef_[0] != 0
    np.testing.assert_allclose(slope[used], 1e3, rtol=1e-3)


@pytest.mark.parametrize("whole", [131_072, 8_192], ids=["in memory", "passes"])
def test_three_classes_over_many_levels_converge_with_the_curvature_of_rows(whole, monkeypatch):
    monkeypatch.setattr("dbml.estimators.solvers.minimise._WHOLE_ROWS", whole)
    rng = np.random.default_rng(0)
    n, levels = 20_000, 400
    level = (levels * rng.random(n) ** 1.5).astype(int)
    x = rng.normal(size=n)
    score = rng.normal(size=(levels, 3))[level] + x[:, None] * np.array([0.0, 1.0, 2.0])
    label = (score + rng.gumbel(size=score.shape)).argmax(axis=1)
    rows = pa.table({"level": [f"L{v}" for v in level], "x": x, "label": label})
    model = LogisticRegression(tol=1e-6).fit(rows, "label")
    chosen = {decision.subject: decision.choice for decision in model.plan_.decisions}
    assert (chosen["solver"], chosen["preconditioner"]) == ("lbfgs", "Hessian of a sample")
    known = [t.removeprefix("level = ") for t in model.terms_[1:]]
    design = np.column_stack([x, np.array([f"L{v}" for v in level])[:, None] == np.array(known)])
    peer = sklearn.LogisticRegression(tol=1e-7, max_iter=2_000).fit(sp.csr_matrix(design), label)
    assert len(known) > 300
    np.testing.assert_allclose(model.predict_proba(rows), peer.predict_proba(design), atol=2e-3)
    assert model.n_iter_[0] < 50


@pytest.mark.parametrize("C", [1.0, np.inf])
def test_no_step_of_several_classes_needs_eigenvectors(monkeypatch, C):
    """Moving an intercept of all classes alike changes nothing: the Hessian is singular, and it is known where."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = (X @ rng.normal(size=(4, 3)) + rng.gumbel(size=(300, 3))).argmax(axis=1)
    monkeypatch.setattr(np.linalg, "eigh", None)
    model = LogisticRegression(C=C, solver="newton").fit(X, y)
    theirs = sklearn.LogisticRegression(C=C, solver="newton-cholesky", tol=1e-8).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), theirs.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(model.intercept_.sum(), 0.0, atol=1e-9)
