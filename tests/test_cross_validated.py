"""RidgeCV, LassoCV, ElasticNetCV: the errors of every penalty and fold are those of separate fits."""

import numpy as np
import pytest
from sklearn import linear_model
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold

import dbml
from dbml import ElasticNetCV, LassoCV, RidgeCV
from dbml.errors import ExhaustedMemory, InvalidData, InvalidParameter
from dbml.passes.memory import memory_limited


def table(n=240, p=10, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) + 3.0
    coef = np.where(np.arange(p) < 4, rng.normal(size=p), 0.0)
    return X, X @ coef + rng.normal(size=n) + 100.0


SPLITS = list(KFold(4).split(np.empty(240)))


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_lasso_path_is_scikit_learns_on_the_same_splits(fit_intercept):
    X, y = table()
    how = {"cv": SPLITS, "fit_intercept": fit_intercept, "tol": 1e-8}
    ours, theirs = LassoCV(**how).fit(X, y), linear_model.LassoCV(**how, max_iter=10_000).fit(X, y)
    np.testing.assert_allclose(ours.alphas_, theirs.alphas_, rtol=1e-9)
    np.testing.assert_allclose(ours.mse_path_, theirs.mse_path_, rtol=1e-4)
    assert ours.alpha_ == pytest.approx(theirs.alpha_)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)


def test_the_best_share_of_l1_is_scikit_learns():
    X, y = table()
    how = {"cv": SPLITS, "l1_ratio": [0.2, 0.9], "tol": 1e-8}
    ours, theirs = ElasticNetCV(**how).fit(X, y), linear_model.ElasticNetCV(**how).fit(X, y)
    assert (ours.l1_ratio_, ours.alpha_) == (theirs.l1_ratio_, pytest.approx(theirs.alpha_))
    np.testing.assert_allclose(ours.mse_path_, theirs.mse_path_, rtol=1e-5)
    assert ours.mse_path_.shape == (2, 100, 4)


@pytest.mark.parametrize("ours, theirs", [(LassoCV, linear_model.LassoCV), (ElasticNetCV, linear_model.ElasticNetCV)])
def test_the_path_of_positive_coefficients_is_not_that_of_a_larger_negative_one(ours, theirs):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(240, 2)) * [1.0, 1e4]
    y = 2.0 * X[:, 0] - X[:, 1] / 1e3 + 0.1 * rng.normal(size=240)
    how = {"cv": SPLITS, "positive": True, "tol": 1e-8}
    one, other = ours(**how).fit(X, y), theirs(**how).fit(X, y)
    np.testing.assert_allclose(one.alphas_, other.alphas_, rtol=1e-9)
    np.testing.assert_allclose(one.coef_, other.coef_, atol=1e-6)
    assert one.coef_[0] > 1.0


def test_no_coefficient_can_be_positive():
    X = table()[0][:, :1]
    one, other = (make(cv=SPLITS, positive=True).fit(X, -X[:, 0]) for make in (LassoCV, linear_model.LassoCV))
    np.testing.assert_allclose(one.alphas_, other.alphas_)
    assert one.coef_ == other.coef_ == 0.0


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_leaving_one_row_out_is_what_fits_without_it_give(fit_intercept, weighted):
    X, y = table(40, 5)
    w = np.random.default_rng(1).random(40) + 0.1 if weighted else np.ones(40)
    model = RidgeCV([0.1, 5.0], fit_intercept=fit_intercept).fit(X, y, w)
    for number, alpha in enumerate([0.1, 5.0]):
        errors = []
        for row in range(40):
            rest = np.arange(40) != row
            one = linear_model.Ridge(alpha, fit_intercept=fit_intercept).fit(X[rest], y[rest], w[rest])
            errors.append((y[row] - one.predict(X[[row]])[0]) ** 2)
        assert model.mse_path_[number] == pytest.approx(np.average(errors, weights=w), rel=1e-7)
    assert model.best_score_ == -model.mse_path_.min()


def test_ridge_folds_agree_with_scikit_learn():
    X, y = table()
    ours = RidgeCV([0.1, 1.0, 50.0], cv=SPLITS).fit(X, y)
    theirs = linear_model.RidgeCV([0.1, 1.0, 50.0], cv=SPLITS, scoring="neg_mean_squared_error").fit(X, y)
    assert ours.alpha_ == theirs.alpha_
    assert ours.best_score_ == pytest.approx(theirs.best_score_, rel=1e-9)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-9)


@pytest.mark.parametrize("kind", [RidgeCV, LassoCV, ElasticNetCV])
def test_splitters_and_iterators_are_the_splits_they_make(kind, raw):
    X, y = table()
    expected = kind(cv=SPLITS).fit(X, y)
    for cv in (KFold(4), KFold(4).split(X), iter(SPLITS), tuple(SPLITS)):
        model = kind(cv=cv).fit(X, y)
        np.testing.assert_array_equal(model.mse_path_, expected.mse_path_)
        assert model.alpha_ == expected.alpha_
    con = dbml.attach(raw)
    con.save_model("split", kind(cv=KFold(4)).fit(X, y))
    loaded = con.load_model("split")
    assert loaded.cv is None
    np.testing.assert_array_equal(loaded.coef_, expected.coef_)


def test_splitters_that_are_no_partition_or_need_labels_are_refused():
    X, y = table()
    with pytest.raises(InvalidParameter, match="LassoCV: cv must be a number of folds >= 2, or at least two"):
        LassoCV(cv=ShuffleSplit(3, random_state=0)).fit(X, y)
    with pytest.raises(InvalidParameter, match="LassoCV: cv must split rows by their number alone"):
        LassoCV(cv=StratifiedKFold(3)).fit(X, y)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_ridge_folds_take_a_penalty_of_0(fit_intercept):
    X, y = table()
    how = {"alphas": [0.0, 1.0, 1e4], "cv": SPLITS, "fit_intercept": fit_intercept}
    ours = RidgeCV(**how).fit(X, y)
    theirs = linear_model.RidgeCV(**how, scoring="neg_mean_squared_error").fit(X, y)
    assert ours.alpha_ == theirs.alpha_
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-8)
    with pytest.raises(InvalidParameter, match="alphas must be numbers > 0 where cv is None"):
        RidgeCV([0.0, 1.0]).fit(X, y)


def test_hashed_folds_of_a_table_take_one_pass_and_one_result(raw):
    raw.execute(
        "CREATE TABLE t AS SELECT sin(i) AS a, cos(3 * i) AS b, 2 * sin(i) + random() AS y FROM range(500) r(i)"
    )
    rows = raw.sql("FROM t")
    one, two = (LassoCV(random_state=3).fit(rows, y="y") for _ in range(2))
    assert [done.purpose for done in one.explain().passes] == ["gram of folds"]
    np.testing.assert_array_equal(one.mse_path_, two.mse_path_)
    assert (LassoCV(random_state=4).fit(rows, y="y").mse_path_ != one.mse_path_).any()
    assert [entry["iteration"] for entry in one.training_] == [1, 2, 3, 4, 5]


def test_designs_too_wide_for_gram_matrices_are_solved_by_their_columns():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(60, 400))
    y = X[:, :2] @ [3.0, -2.0] + 0.1 * rng.normal(size=60)
    how = {"cv": 3, "alphas": [1.0, 0.3], "tol": 1e-8}
    whole = LassoCV(**how).fit(X, y)
    with memory_limited("64MiB"):
        columns = LassoCV(**how).fit(X, y)
        for without in (LassoCV(cv=3, alphas=[1.0, 0.0]), ElasticNetCV(cv=3, alphas=[1.0], l1_ratio=[0.5, 0.0])):
            with pytest.raises(ExhaustedMemory, match=r"without an l1 part .* need the Gram matrices of 400 terms"):
                without.fit(X, y)
    assert "Gram matrices" in whole.explain().decisions[-1].choice
    assert any("working sets" in decision.choice for decision in columns.explain().decisions)
    np.testing.assert_allclose(whole.mse_path_, columns.mse_path_, rtol=1e-6)
    np.testing.assert_allclose(whole.coef_, columns.coef_, atol=1e-6)


@pytest.mark.parametrize("model", [RidgeCV(cv=5), LassoCV()])
def test_fewer_rows_than_folds_are_refused(model):
    with pytest.raises(InvalidData, match="needs at least 5 rows"):
        model.fit([[1.0], [2.0], [3.0]], [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (RidgeCV(alphas=[1.0, 0.0]), "RidgeCV: alphas must be numbers > 0"),
        (LassoCV(alphas=[-1.0]), "LassoCV: alphas must be numbers >= 0"),
        (ElasticNetCV(l1_ratio=[0.5, 1.5]), "ElasticNetCV: l1_ratio must be between 0 and 1"),
        (ElasticNetCV(l1_ratio=0.0), "ElasticNetCV: alphas must be a list where l1_ratio is 0"),
        (LassoCV(cv=1), "LassoCV: cv must be an integer >= 2"),
        (LassoCV(cv=[(np.arange(3), np.arange(3))]), "LassoCV: cv must be a number of folds"),
    ],
)
def test_bad_parameters_are_named(model, message):
    with pytest.raises(InvalidParameter, match=message):
        model.fit([[1.0], [2.0], [3.0]], [1.0, 2.0, 3.0])
