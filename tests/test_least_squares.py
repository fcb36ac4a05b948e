"""LinearRegression and Ridge against closed forms and scikit-learn: solvers, offsets, collinear columns."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import linear_model

import dbml
from dbml import LinearRegression, Ridge
from dbml.errors import ConvergenceWarning, ExhaustedMemory, InvalidData, InvalidParameter
from dbml.passes.memory import memory_limited

SOLVERS = ["cholesky", "svd", "sparse_cg"]


def table(n=300, p=6, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * rng.uniform(0.1, 10, p) + rng.normal(size=p)
    return X, X @ rng.normal(size=p) + rng.normal(size=n) + 5.0, rng.random(n)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_every_solver_agrees_with_scikit_learn(solver, fit_intercept, weighted, alpha):
    X, y, w = table()
    w = w if weighted else None
    ours = Ridge(alpha, fit_intercept=fit_intercept, solver=solver, tol=1e-12).fit(X, y, w)
    theirs = linear_model.Ridge(max(alpha, 1e-15), fit_intercept=fit_intercept).fit(X, y, w)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-6)
    np.testing.assert_allclose(ours.score(X, y, w), theirs.score(X, y, w), rtol=1e-9)
    assert ours.solver_ == solver


@pytest.mark.parametrize("solver", SOLVERS)
def test_sparse_rows_give_what_dense_ones_give(solver):
    rng = np.random.default_rng(1)
    S = sp.random_array((200, 30), density=0.2, format="csr", rng=rng)
    y = S @ rng.normal(size=30) + 0.1 * rng.normal(size=200)
    ours = Ridge(0.5, solver=solver, tol=1e-12).fit(S, y)
    theirs = linear_model.Ridge(0.5).fit(S.toarray(), y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-8)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("offset", [1e2, 1e6, 1e8])
def test_ridge_through_the_origin_keeps_the_spread_of_columns_far_from_it(offset, weighted):
    rng = np.random.default_rng(0)
    Z = rng.integers(-50, 50, (300, 4)).astype(float)
    X, y = Z + offset, Z @ [1.0, 2.0, 3.0, 4.0] + rng.normal(size=300)
    w = rng.random(300) if weighted else None
    ours = Ridge(fit_intercept=False).fit(X, y, w)
    theirs = linear_model.Ridge(fit_intercept=False, solver="svd").fit(X, y, w)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e8])
def test_offsets_of_columns_and_target_cost_no_digits_that_the_data_have(offset):
    rng = np.random.default_rng(2)
    Z = rng.integers(-50, 50, (2_000, 4)).astype(float)  # whole numbers: an offset of 1e8 keeps them exact
    true = np.array([1.0, -2.0, 3.0, 0.5])
    model = LinearRegression().fit(Z + offset, Z @ true + offset)
    np.testing.assert_allclose(model.coef_, true, rtol=1e-10)
    np.testing.assert_allclose(model.predict(Z + offset), Z @ true + offset, rtol=1e-13, atol=1e-9)
    assert model.score(Z + offset, Z @ true + offset) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("solver", ["cholesky", "sparse_cg"])
def test_units_of_a_column_do_not_decide_on_another(solver):
    rng = np.random.default_rng(8)
    share = rng.random(300)
    X = np.column_stack([rng.integers(0, 10**15, 300), share, np.full(300, 0.1), 1e-9 * rng.random(300)])
    y = X @ [1e-15, 2.0, 5.0, 1e9]
    weight = rng.random(300)  # sums of which are not exact
    model = LinearRegression(solver=solver, tol=1e-12).fit(X, y, weight)
    np.testing.assert_allclose(model.coef_, [1e-15, 2.0, 0.0, 1e9], rtol=1e-6)
    assert solver == "sparse_cg" or model.rank_ == 3


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n", [30, 300])
def test_collinear_columns_get_the_solution_of_smallest_norm(solver, n):
    X, y, _ = table(n, 5, 3)
    X = np.column_stack([X, X[:, 0] * 3.0, X[:, 1] + X[:, 2], np.full(n, 7.0)])
    X[:, :5] /= X[:, :5].std(axis=0)  # conjugate gradients look for it in terms of unit variance
    X[:, 5:7] /= X[:, 5:7].std(axis=0)
    C = X - X.mean(axis=0)
    expected = np.linalg.pinv(C, rcond=1e-10) @ (y - y.mean())
    model = LinearRegression(solver=solver, tol=1e-13).fit(X, y)
    np.testing.assert_allclose(model.coef_, expected, atol=1e-8)
    if solver != "sparse_cg":
        assert model.rank_ == 5


def test_more_terms_than_rows_interpolate_with_the_smallest_norm():
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(40, 300)), rng.normal(size=40)
    model = LinearRegression().fit(X, y)
    assert model.solver_ == "svd"
    theirs = linear_model.LinearRegression().fit(X, y)
    np.testing.assert_allclose(model.coef_, theirs.coef_, atol=1e-10)


def test_singular_values_of_many_rows_are_taken_from_the_gram_matrix():
    X, y, _ = table(4_000, 5)
    X = np.column_stack([X, X[:, 0] + X[:, 1]])
    model = LinearRegression(solver="svd").fit(X, y)
    assert model.solver_ == "cholesky"
    assert "the Gram matrix of 6 terms says what singular values of 4,000 rows would" in str(model.explain())
    np.testing.assert_allclose(model.coef_, linear_model.LinearRegression().fit(X, y).coef_, atol=1e-8)
    assert Ridge(solver="svd").fit(X, y).coef_ == pytest.approx(Ridge(solver="cholesky").fit(X, y).coef_)
    wide = sp.csr_array((np.ones(2_000), (np.arange(2_000), np.arange(2_000))), shape=(2_000, 5_000))
    with (
        memory_limited("64MiB"),
        pytest.raises(ExhaustedMemory, match=r"products of 2,000 rows .*sparse_cg"),
    ):
        Ridge(solver="svd").fit(wide, np.arange(2_000.0))


def test_nearly_collinear_columns_are_refined_by_a_second_pass():
    rng = np.random.default_rng(5)
    z = rng.normal(size=(5_000, 2))
    X = np.column_stack([z[:, 0], z[:, 0] + 1e-6 * z[:, 1]])
    y = X @ [1.0, 2.0]
    model = LinearRegression().fit(X, y)
    assert [p.purpose for p in model.explain().passes] == ["gram", "refinement"]
    np.testing.assert_allclose(model.coef_, [1.0, 2.0], rtol=1e-6)


@pytest.mark.parametrize("estimator", [LinearRegression(positive=True), Ridge(2.0, positive=True)])
def test_positive_coefficients_satisfy_the_optimality_conditions(estimator):
    X, y, w = table(200, 7, 6)
    model = estimator.fit(X, y, w)
    alpha = getattr(model, "alpha", 0.0)
    C, c = X - w @ X / w.sum(), y - w @ y / w.sum()
    slope = C.T @ (w * (c - C @ model.coef_)) - alpha * model.coef_
    assert (model.coef_ >= 0.0).all()
    assert 0 < (model.coef_ > 0.0).sum() < 7
    np.testing.assert_allclose(slope[model.coef_ > 0.0], 0.0, atol=1e-8)
    assert (slope[model.coef_ == 0.0] <= 1e-8).all()


def test_a_weight_is_a_repetition_and_weight_zero_is_absence():
    X, y, _ = table(60)
    w = np.arange(60) % 4
    repeated = LinearRegression().fit(np.repeat(X, w, axis=0), np.repeat(y, w))
    np.testing.assert_allclose(LinearRegression().fit(X, y, w).coef_, repeated.coef_, rtol=1e-10)


def test_missing_numbers_take_the_mean_and_are_flagged():
    X, y, _ = table(400, 2, 7)
    holes = X.copy()
    holes[::5, 0] = np.nan
    holes[1::7, 1] = np.inf
    model = LinearRegression().fit(holes, y)
    known = np.isfinite(holes)
    fill = [holes[known[:, j], j].mean() for j in range(2)]
    design = np.column_stack([np.where(known, holes, fill), ~known])[:, [0, 2, 1, 3]].astype(float)
    expected = linear_model.LinearRegression().fit(design, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-7)
    np.testing.assert_allclose(model.predict(holes), expected.predict(design), rtol=1e-8)
    assert model.terms_ == ("x0", "x0 IS NULL", "x1", "x1 IS NULL")


def test_one_row_is_predicted_by_itself():
    model = LinearRegression().fit([[1.0, 2.0]], [3.0])
    assert model.coef_.tolist() == [0.0, 0.0]
    assert model.predict([[9.0, 9.0]]).tolist() == [3.0]


def test_it_learns_from_a_table_of_strings_and_numbers(raw):
    raw.execute(
        "CREATE TABLE t AS SELECT i % 3 AS a, ['x', 'y', 'z'][1 + i % 3] AS c, i * 0.5 AS b FROM range(300) r(i)"
    )
    model = LinearRegression().fit(raw.sql("SELECT *, b * 2 + CASE c WHEN 'x' THEN 1 ELSE 0 END AS y FROM t"), y="y")
    assert model.score(raw.sql("SELECT *, b * 2 + CASE c WHEN 'x' THEN 1 ELSE 0 END AS y FROM t"), y="y") > 1 - 1e-12
    assert model.feature_names_in_.tolist() == ["a", "c", "b"]


def test_conjugate_gradients_say_when_they_stop_early():
    X, y, _ = table(300, 6, 8)
    X *= 10.0 ** np.arange(6)
    X[:, 5] = X[:, 4] + 1e-3 * X[:, 5]
    with pytest.warns(ConvergenceWarning, match="Ridge: conjugate gradients stopped after 2 passes"):
        Ridge(1e-9, solver="sparse_cg", max_iter=2, tol=1e-12).fit(X, y)


def test_a_gram_matrix_beyond_the_memory_limit_is_refused_or_avoided():
    S = sp.csr_array((np.ones(50), (np.arange(50), np.arange(50) * 60)), shape=(50, 3_000))
    y = np.arange(50.0)
    with memory_limited("64MiB"):
        with pytest.raises(ExhaustedMemory, match="Gram matrix of 3,000 terms"):
            Ridge(solver="cholesky").fit(S, y)
        assert Ridge(solver="auto").fit(S, y).solver_ != "cholesky"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ridge(alpha=-1.0), "Ridge: alpha must be a finite number >= 0; got -1.0"),
        (
            lambda: Ridge(solver="saga"),
            "Ridge: solver must be one of 'auto', .*; got 'saga'",
        ),
        (lambda: LinearRegression(positive=True, solver="svd"), "LinearRegression: positive=True needs solver"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(InvalidParameter, match=message):
        make().fit([[1.0], [2.0]], [1.0, 2.0])


def test_all_weights_zero_are_refused():
    with pytest.raises(InvalidData, match="weight"):
        LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0], [0.0, 0.0])


@pytest.mark.parametrize(
    ("options", "kind", "params"),
    [
        ({}, "LinearRegression", {}),
        ({"l2_reg": 0.5}, "Ridge", {"alpha": 0.5}),
        ({"l1_reg": 0.5, "max_iterations": 50}, "Lasso", {"alpha": 0.5, "max_iter": 50}),
        ({"l1_reg": 1, "l2_reg": 3}, "ElasticNet", {"alpha": 4.0, "l1_ratio": 0.25}),
        ({"L2_REG": 0.0, "fit_intercept": False}, "LinearRegression", {"fit_intercept": False}),
        ({"optimize_strategy": "NORMAL_EQUATION"}, "LinearRegression", {"solver": "cholesky"}),
    ],
)
def test_bigquery_options_choose_class_and_parameters(options, kind, params):
    from dbml.estimators.discovery import from_options

    model = from_options("LINEAR_REG", options)
    assert type(model) is getattr(dbml, kind)
    assert {name: model.get_params()[name] for name in params} == params


def test_unknown_options_and_model_types_name_the_nearest():
    from dbml.errors import UnknownName
    from dbml.estimators.discovery import from_options

    with pytest.raises(UnknownName, match="no option 'l2_regg'; did you mean 'l2_reg'"):
        from_options("linear_reg", {"l2_regg": 1.0})
    with pytest.raises(UnknownName, match="no model type 'liner_reg'; did you mean 'linear_reg'"):
        from_options("liner_reg", {})
    with pytest.raises(InvalidParameter, match="l2_reg must be a finite number >= 0; got -1"):
        from_options("linear_reg", {"l2_reg": -1})
