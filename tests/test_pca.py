"""Principal components: scikit-learn's results by every solver, real tables, missing values, weights, memory."""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from sklearn import decomposition

import dbml
from dbml import PCA
from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.components.spectrum import likeliest_number
from dbml.passes.memory import memory_limited

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
SOLVERS = ("covariance_eigh", "full", "blockwise", "randomized")
FITTED = (
    "components_",
    "explained_variance_",
    "explained_variance_ratio_",
    "singular_values_",
    "mean_",
    "noise_variance_",
    "n_components_",
    "n_samples_",
)


def correlated(n=500, p=12, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, p)) @ rng.normal(size=(p, p)) + 3.0


def assert_alike(ours, theirs, names=FITTED, tolerance=1e-8):
    for name in names:
        found, expected = getattr(ours, name), getattr(theirs, name)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n", [None, 4])
def test_every_solver_gives_the_results_of_scikit_learn(solver, n):
    X = correlated()
    ours = PCA(n, svd_solver=solver, tol=0.0).fit(X)
    theirs = decomposition.PCA(n, svd_solver="full").fit(X)
    assert_alike(ours, theirs, tolerance=1e-7)
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), atol=1e-6)
    np.testing.assert_allclose(ours.inverse_transform(ours.transform(X)), theirs.inverse_transform(theirs.transform(X)))
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-8)
    assert ours.score(X) == pytest.approx(theirs.score(X))
    np.testing.assert_allclose(ours.get_covariance(), theirs.get_covariance(), atol=1e-6)
    np.testing.assert_allclose(ours.get_precision() @ ours.get_covariance(), np.eye(12), atol=1e-6)
    assert ours.solver_ == ("blockwise" if solver == "full" else solver)
    assert ours.get_feature_names_out().tolist() == [f"pca{i}" for i in range(ours.n_components_)]


@pytest.mark.parametrize("n", [0.7, 0.95, 0.999999, "mle"])
@pytest.mark.parametrize("solver", ["covariance_eigh", "blockwise"])
def test_how_many_are_kept_is_what_scikit_learn_keeps(n, solver):
    X = correlated() * np.geomspace(1.0, 0.05, 12) + np.random.default_rng(1).normal(size=(500, 12)) * 0.2
    assert_alike(PCA(n, svd_solver=solver).fit(X), decomposition.PCA(n, svd_solver="full").fit(X), tolerance=1e-7)


def test_the_likeliest_number_finds_a_planted_one():
    variances = np.append([9.0, 7.0, 5.0], np.linspace(1.1, 0.9, 7))
    assert likeliest_number(variances, 500) == 3


def test_whitened_outputs_have_variance_one_and_lead_back():
    X = correlated()
    ours = PCA(whiten=True).fit(X)
    outputs = ours.transform(X)
    np.testing.assert_allclose(np.cov(outputs.T), np.eye(12), atol=1e-9)
    np.testing.assert_allclose(outputs, decomposition.PCA(whiten=True, svd_solver="full").fit_transform(X), atol=1e-8)
    np.testing.assert_allclose(ours.inverse_transform(outputs), X)
    np.testing.assert_allclose(ours.get_covariance(), np.cov(X.T))
    assert ours.score(X) == pytest.approx(PCA().fit(X).score(X))


def test_scaled_features_are_those_of_standardised_columns():
    X = correlated() * np.geomspace(1.0, 1e4, 12)
    scaled = (X - X.mean(axis=0)) / X.std(axis=0, ddof=1)
    theirs = decomposition.PCA(5, svd_solver="full").fit(scaled)
    for solver in ("covariance_eigh", "blockwise", "randomized"):
        ours = PCA(5, scale_features=True, svd_solver=solver, tol=0.0).fit(X)
        assert_alike(ours, theirs, FITTED[:4], 1e-7)
        np.testing.assert_allclose(ours.transform(X), theirs.transform(scaled), atol=1e-6)
        np.testing.assert_allclose(ours.scale_, X.std(axis=0, ddof=1))
        back = theirs.inverse_transform(theirs.transform(scaled)) * X.std(axis=0, ddof=1) + X.mean(axis=0)
        np.testing.assert_allclose(ours.inverse_transform(ours.transform(X)), back, rtol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_offset_of_1e8_costs_no_digits(solver):
    X = correlated()
    plain, shifted = (PCA(3, svd_solver=solver, tol=0.0).fit(X + offset) for offset in (0.0, 1e8))
    np.testing.assert_allclose(shifted.explained_variance_, plain.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(shifted.components_, plain.components_, atol=1e-6)
    np.testing.assert_allclose(shifted.transform(X + 1e8), plain.transform(X), atol=1e-5)


def test_triangles_keep_variances_that_squares_lose():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3_000, 3)) * [1e6, 1.0, 0.1] @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    exact = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(PCA(svd_solver="blockwise").fit(X).singular_values_, exact, rtol=1e-6)
    whitened = PCA(whiten=True).fit(X)
    assert whitened.solver_ == "blockwise"
    assert "no digit of them left" in str(whitened.explain())
    np.testing.assert_allclose(np.cov(whitened.transform(X).T), np.eye(3), atol=1e-3)


def test_fewer_rows_than_terms_are_decomposed_in_memory():
    X = correlated(40, 100)
    ours, theirs = PCA(10).fit(X), decomposition.PCA(10, svd_solver="full").fit(X)
    assert ours.solver_ == "full"
    assert_alike(ours, theirs)
    assert PCA().fit(X).n_components_ == 40


def test_a_wide_table_is_sketched_and_explains_as_much():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6_000, 40)) * np.geomspace(10.0, 1.0, 40) @ rng.normal(size=(40, 700))
    X += rng.normal(size=X.shape) * 3.0
    ours, theirs = PCA(5, svd_solver="randomized").fit(X), decomposition.PCA(5, svd_solver="covariance_eigh").fit(X)
    assert ours.explained_variance_ratio_.sum() == pytest.approx(theirs.explained_variance_ratio_.sum(), rel=1e-3)
    assert ours.n_iter_ == len(ours.training_) <= 3
    assert ours.noise_variance_ == pytest.approx(theirs.noise_variance_, rel=1e-3)
    one = PCA(5, svd_solver="randomized", iterated_power=0).fit(X)
    assert one.n_iter_ == 1
    np.testing.assert_array_equal(PCA(5, svd_solver="randomized").fit(X).components_, ours.components_)


@pytest.mark.parametrize("solver", [*SOLVERS, "auto"])
def test_sparse_rows_give_what_dense_ones_do(solver):
    X = sp.random(300, 60, 0.1, format="csr", random_state=0)
    ours = PCA(4, svd_solver=solver, tol=0.0).fit(X)
    theirs = decomposition.PCA(4, svd_solver="full").fit(X.toarray())
    assert_alike(ours, theirs, tolerance=1e-6)
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X.toarray()), atol=1e-6)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X.toarray()), rtol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_weights_are_repetitions(solver):
    X = correlated(60, 5)
    weight = np.arange(60) % 4
    weighted = PCA(3, svd_solver=solver, tol=0.0).fit(X, sample_weight=weight)
    repeated = PCA(3, svd_solver=solver, tol=0.0).fit(X.repeat(weight, axis=0))
    assert_alike(weighted, repeated, tolerance=1e-8)


@pytest.mark.parametrize("solver", SOLVERS)
def test_scaled_terms_have_no_unit(solver):
    X = correlated(60, 4)
    how = {"svd_solver": solver, "tol": 0.0, "scale_features": True}
    units = PCA(3, **how).fit(X * [1e15, 1.0, 1e-3, 1.0])
    assert_alike(units, PCA(3, **how).fit(X), ("components_", "explained_variance_ratio_"))


@pytest.mark.parametrize("solver", SOLVERS)
def test_weights_below_one_have_no_unit(solver):
    X = correlated(64, 5)
    same = (*FITTED[:3], "noise_variance_", "n_samples_", "scale_")
    plain = PCA(3, svd_solver=solver, tol=0.0, scale_features=True).fit(X)
    for unit in (1.0 / 64.0, (1.0 + 2.0**-50) / 64.0, 1e-3):  # sums of 1, a little more than 1, and any other
        shares = PCA(3, svd_solver=solver, tol=0.0, scale_features=True).fit(X, sample_weight=np.full(64, unit))
        assert_alike(shares, plain, same)


def test_categories_and_missing_values_are_terms(raw):
    raw.execute("""CREATE TABLE t AS SELECT CASE WHEN i % 7 = 0 THEN NULL ELSE sin(i) * 3 END AS "odd ""name",
        (i % 3 = 0)::BOOLEAN AS b, 'level ' || (i * i % 5) AS c FROM range(400) r(i)""")
    model = PCA(3).fit(raw.table("t"))
    frame = raw.table("t").df()
    missing = frame['odd "name'].isna()
    columns = {
        'odd "name': frame['odd "name'].fillna(frame['odd "name'].mean()),
        'odd "name IS NULL': missing,
        "b": frame["b"],
        **{f"c = level {level}": frame["c"] == f"level {level}" for level in (0, 1, 4)},
    }
    assert set(model.terms_) == set(columns)
    dense = np.column_stack([columns[term].astype(float) for term in model.terms_])
    theirs = decomposition.PCA(3, svd_solver="full").fit(dense)
    assert_alike(model, theirs, FITTED[:5], 1e-7)
    projected = model.transform(raw.table("t").df())
    np.testing.assert_allclose(projected, theirs.transform(dense), atol=1e-8)
    np.testing.assert_allclose(model.inverse_transform(projected), theirs.inverse_transform(projected), atol=1e-8)


@pytest.mark.skipif(not DATA.exists(), reason="no real tables")
def test_a_real_table_is_decomposed_as_scikit_learn_does():
    con = duckdb.connect()
    frame = con.sql(f"FROM '{DATA / 'dry_bean.parquet'}'").df().select_dtypes("number")
    table = con.sql("SELECT * FROM frame")
    for scaled in (False, True):
        X = frame.to_numpy(float)
        X = (X - X.mean(axis=0)) / X.std(axis=0, ddof=1) if scaled else X
        theirs = decomposition.PCA(4, svd_solver="full").fit(X)
        ours = PCA(4, scale_features=scaled).fit(table)
        assert_alike(ours, theirs, FITTED[1:4], 1e-6)
        np.testing.assert_allclose(np.abs(np.sum(ours.components_ * theirs.components_, axis=1)), 1.0, atol=1e-6)


def test_constant_columns_are_components_of_their_own():
    X = correlated(50, 3)
    X[:, 1] = 7.0
    model = PCA(whiten=True).fit(X)
    np.testing.assert_allclose(model.components_[2], [0.0, 1.0, 0.0], atol=1e-12)
    assert model.explained_variance_[2] == pytest.approx(0.0, abs=1e-20)
    assert np.isfinite(model.transform(X)).all()
    flat = PCA().fit(np.full((10, 3), 2.0))
    assert flat.explained_variance_ratio_.tolist() == [0.0, 0.0, 0.0]
    np.testing.assert_array_equal(flat.transform(np.full((2, 3), 2.0)), np.zeros((2, 3)))


def test_bad_input_is_named(raw):
    with pytest.raises(InvalidParameter, match=r"PCA: n_components must be at most 3, which 3 terms of .* have; got 4"):
        PCA(4).fit(correlated(20, 3))
    with pytest.raises(InvalidParameter, match=r"at most 2, which 2 rows of 3 terms .* have; got 3"):
        PCA(3).fit(correlated(2, 3))
    with pytest.raises(InvalidData, match=r"PCA: components need at least 2 rows; .* has n_samples=1"):
        PCA().fit(correlated(1, 3))
    raw.execute("CREATE TABLE empty (a DOUBLE, b DOUBLE)")
    with pytest.raises(InvalidData, match=r"no rows"):
        PCA().fit(raw.table("empty"))
    with pytest.raises(
        InvalidParameter, match=r"svd_solver='randomized' needs an integer n_components or None; got 0.5"
    ):
        PCA(0.5, svd_solver="randomized").fit(correlated())
    with pytest.raises(InvalidParameter, match="'mle' needs at least as many rows as terms; got 5 rows of 12 terms"):
        PCA("mle").fit(correlated(5))
    with pytest.raises(InvalidData, match="inverse_transform takes what transform returned, an array of 2 columns"):
        PCA(2).fit(correlated()).inverse_transform(np.zeros((3, 5)))
    with pytest.raises(InvalidData, match="too large"):
        PCA().fit(correlated() * 1e160)


def test_missing_and_infinite_values_take_the_mean_and_are_marked():
    X = correlated(200, 3)
    X[::5, 0], X[3, 1] = np.nan, np.inf
    filled = np.where(np.isfinite(X), X, np.nan)
    flags = np.isnan(filled[:, :2]).astype(float)
    filled = np.where(np.isnan(filled), np.nanmean(filled, axis=0), filled)
    model = PCA(3).fit(X)
    order = [model.terms_.index(name) for name in ("x0", "x1", "x2", "x0 IS NULL", "x1 IS NULL")]
    theirs = decomposition.PCA(3, svd_solver="full").fit(np.column_stack([filled, flags]))
    np.testing.assert_allclose(model.components_[:, order], theirs.components_, atol=1e-7)
    np.testing.assert_allclose(model.explained_variance_, theirs.explained_variance_)


def test_reconstruction_errors_find_what_the_components_do_not_explain():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2_000, 2)) @ rng.normal(size=(2, 6)) + rng.normal(size=(2_000, 6)) * 0.1
    model = PCA(2).fit(X)
    X[7] += [3.0, -3.0, 3.0, -3.0, 3.0, -3.0]
    errors = np.concatenate(list(dbml.passes.dispatch.as_data(X, schema=model.schema_).map(model._anomaly_block)))
    back = model.inverse_transform(model.transform(X))
    np.testing.assert_allclose(errors, ((X - back) ** 2).mean(axis=1), atol=1e-10)
    assert errors.argmax() == 7
    assert np.mean(errors > -model.offset_) == pytest.approx(0.1, abs=0.01)
    assert model.score_quantiles_[500] == pytest.approx(np.median(errors), rel=0.05)


def test_a_saved_model_scores_bit_for_bit(raw, tmp_path):
    con = dbml.connect(str(tmp_path / "m.duckdb"))
    X = correlated()
    model = PCA(3, whiten=True, scale_features=True).fit(X)
    con.save_model("components", model)
    again = con.load_model("components")
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    assert again.score_quantiles_ == model.score_quantiles_
    con.close()


def test_options_of_a_model_statement():
    made = PCA.from_options({"num_principal_components": 3, "pca_solver": "RANDOMIZED", "scale_features": True})
    assert (made.n_components, made.svd_solver, made.scale_features) == (3, "randomized", True)
    assert PCA.from_options({"pca_explained_variance_ratio": 0.8}).n_components == 0.8
    with pytest.raises(InvalidParameter, match="pca_solver must be one of 'auto', 'full', 'randomized'; got 'LANCZOS'"):
        PCA.from_options({"pca_solver": "LANCZOS"})


def test_the_choice_is_by_cost_and_explained():
    narrow = PCA(2).fit(correlated())
    assert "one pass for their covariance" in str(narrow.explain())
    with memory_limited("64MiB"):
        wide = PCA(2).fit(np.random.default_rng(0).normal(size=(700, 600)))
    assert wide.solver_ == "randomized"
    assert "takes more than memory_limit leaves for it" in str(wide.explain())


def test_native_sql_statements_and_python_agree():
    con = dbml.connect()
    con.execute("""CREATE TABLE t AS SELECT i, sin(i) * 3 + 1e8 AS a,
        CASE WHEN i % 7 = 0 THEN NULL ELSE cos(i) END AS b,
        'level ' || (i * i % 5) AS c FROM range(400) r(i)""")
    con.execute("""CREATE MODEL m OPTIONS (model_type = 'pca', num_principal_components = 3, scale_features = TRUE)
        AS SELECT a, b, c FROM t""")
    model = con.load_model("m")
    assert isinstance(model, PCA)
    expected = model.transform(con.sql("SELECT a, b, c FROM t").df())
    for rows in ("ml.transform_m(t)", "ML.TRANSFORM(MODEL m, TABLE t)"):
        found = con.sql(f"SELECT pca0, pca1, pca2 FROM {rows} ORDER BY i").fetchnumpy()
        np.testing.assert_allclose(np.column_stack(list(found.values())), expected, atol=1e-9)
    errors = con.sql("SELECT mean_squared_error, is_anomaly FROM ML.DETECT_ANOMALIES(MODEL m, TABLE t) ORDER BY i")
    errors = errors.fetchnumpy()
    assert 0.02 < np.mean(errors["is_anomaly"]) < 0.2
    np.testing.assert_array_equal(errors["is_anomaly"], errors["mean_squared_error"] > -model.offset_)
    shares = con.sql("SELECT explained_variance_ratio FROM ML.PRINCIPAL_COMPONENT_INFO(MODEL m)").fetchnumpy()
    np.testing.assert_allclose(shares["explained_variance_ratio"], model.explained_variance_ratio_)
    con.close()


def test_explaining_a_statement_names_solver_and_passes():
    con = dbml.connect()
    con.execute("CREATE TABLE t AS SELECT sin(i) AS a, cos(i) AS b FROM range(100) r(i)")
    plan = con.execute("EXPLAIN CREATE MODEL m OPTIONS (model_type = 'pca') AS SELECT a, b FROM t").fetchall()
    said = " ".join(str(row) for row in plan)
    assert "covariance_eigh" in said
    assert "second moments hold the components" in said
    con.close()


def wide_rows(n=4_000, p=300, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 20)) * np.geomspace(10.0, 1.0, 20) @ rng.normal(size=(20, p)) + rng.normal(size=(n, p))


def precision_of(model):
    return next(decision for decision in model.explain().decisions if decision.subject == "precision")


def test_products_in_single_precision_find_what_double_ones_do():
    X = wide_rows()
    single, double = (PCA(5, svd_solver="randomized", iterated_power=1, tol=tol).fit(X) for tol in (1e-3, 1e-9))
    assert (precision_of(single).choice, precision_of(double).choice) == ("single", "double")
    assert_alike(single, double, ("explained_variance_", "components_"), 1e-5)
    assert_alike(single, double, ("mean_", "n_samples_"), 1e-9)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda X: X * 1e20, "so large or small"),
        (lambda X: X * 1e-25, "so large or small"),
        (lambda X: np.hstack([X * 1e-6, np.random.default_rng(1).normal(size=(len(X), 1))]), "vary too little"),
    ],
)
def test_single_precision_is_left_where_its_digits_are_not_enough(change, reason):
    X = change(wide_rows())
    ours = PCA(5, svd_solver="randomized").fit(X)
    assert precision_of(ours).choice == "double"
    assert reason in precision_of(ours).reason
    theirs = decomposition.PCA(5, svd_solver="full").fit(X)
    np.testing.assert_allclose(ours.explained_variance_, theirs.explained_variance_, rtol=1e-3)


def test_a_pass_that_single_precision_overflows_is_made_in_double():
    X = wide_rows(60_000, 40)
    X[31_000] *= 1e25  # a row that no sample of a sixth of the rows needs to show
    relation = duckdb.connect().from_arrow(pa.table({f"x{j}": column for j, column in enumerate(X.T)}))
    ours = PCA(1, svd_solver="randomized").fit(relation)
    assert ours.explained_variance_ratio_[0] == pytest.approx(1.0)
    direction = X[31_000] / np.linalg.norm(X[31_000])
    assert abs(ours.components_[0] @ direction) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("n", [None, 4])
def test_likelihoods_leave_out_directions_without_variance(n):
    X = correlated(p=4)
    constant = np.column_stack([X, np.full(len(X), 7.0)])
    ours, theirs = PCA(n).fit(constant), decomposition.PCA(n).fit(X)
    np.testing.assert_allclose(ours.score_samples(constant), theirs.score_samples(X), rtol=1e-8)
    assert ours.score(constant) == pytest.approx(theirs.score(X))
    assert np.isfinite(PCA(2).fit(constant).score(constant))
