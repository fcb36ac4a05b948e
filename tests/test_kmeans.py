"""k-means: beside scikit-learn's, on samples and passes, bad input, missing values, categories, SQL forms."""

import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from dbml_kernels.centre_distance import SLICE, centre_distances
from sklearn import cluster
from sklearn.metrics import adjusted_rand_score

import dbml
from dbml import KMeans, MiniBatchKMeans
from dbml.data.array import ArrayData
from dbml.engine.local import LocalEngine
from dbml.errors import ConvergenceWarning, ExhaustedMemory, InvalidData, InvalidParameter, NotFitted
from dbml.estimators.clusters import rows as rows_module
from dbml.estimators.clusters import training
from dbml.estimators.clusters.centres import Centres, CentreStep, WeightedDrawStep
from dbml.estimators.clusters.rows import rows_in_memory
from dbml.estimators.clusters.start import plus_plus
from dbml.estimators.clusters.tracking import Tracked
from dbml.passes.block import Block
from dbml.passes.engine import using
from dbml.passes.memory import memory_limited

DATA = Path(__file__).parent.parent.parent / "shared" / "data"


def groups(n=3_000, k=6, p=5, seed=0, spread=6.0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(k, p)) * spread
    label = rng.integers(0, k, n)
    return centres[label] + rng.normal(size=(n, p)), label


@pytest.fixture
def sampled(monkeypatch):
    """As if few rows fitted in memory: samples and passes over all rows take over."""
    monkeypatch.setattr(rows_module, "_MOST_BYTES", 1_500 * 56)
    monkeypatch.setattr(training, "_FIRST_ROWS", 300)


# beside scikit-learn ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_lloyds_algorithm_is_scikit_learns_from_the_same_centres(offset):
    X, _ = groups()
    X += offset
    ours = KMeans(6, init=X[:6], tol=0.0).fit(X)
    theirs = cluster.KMeans(6, init=X[:6] - offset, n_init=1, tol=0.0, algorithm="lloyd").fit(X - offset)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-6)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_ - offset, theirs.cluster_centers_, atol=1e-6 if offset else 1e-9)
    np.testing.assert_array_equal(ours.predict(X), ours.labels_)
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X - offset), atol=1e-6 if offset else 1e-9)
    assert ours.score(X) == pytest.approx(-ours.inertia_)


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans])
def test_every_start_finds_groups_that_are_far_apart(kind, init):
    X, label = groups(spread=12.0)
    model = kind(6, init=init, random_state=1).fit(X)
    assert adjusted_rand_score(label, model.labels_) == pytest.approx(1.0)
    assert model.cluster_weights_.sum() == len(X)
    within = np.array(
        [np.linalg.norm(X[model.labels_ == q] - model.cluster_centers_[q], axis=1).mean() for q in range(6)]
    )
    np.testing.assert_allclose(model.mean_distances_, within)


def test_weights_of_whole_numbers_are_repetitions():
    X, _ = groups(400)
    weight = np.random.default_rng(1).integers(0, 4, len(X))
    weighted = KMeans(6, init=X[:6], tol=0.0).fit(X, sample_weight=weight)
    repeated = KMeans(6, init=X[:6], tol=0.0).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(weighted.cluster_centers_, repeated.cluster_centers_, rtol=1e-9)
    assert weighted.inertia_ == pytest.approx(repeated.inertia_)
    assert len(weighted.labels_) == len(X)


def test_sparse_rows_are_dense_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 30)) * (rng.random((500, 30)) < 0.2)
    dense, sparse = (KMeans(4, init=X[:4], tol=0.0).fit(rows) for rows in (X, sp.csr_array(X)))
    np.testing.assert_array_equal(dense.labels_, sparse.labels_)
    np.testing.assert_allclose(dense.cluster_centers_, sparse.cluster_centers_, atol=1e-12)
    np.testing.assert_allclose(dense.transform(X), sparse.transform(sp.csr_array(X)), atol=1e-7)


# samples and passes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [6.0, 0.3])
def test_samples_and_passes_end_where_lloyds_algorithm_ends(sampled, spread):
    X, _ = groups(9_000, spread=spread)
    model = KMeans(6).fit(X)
    assert "nested samples" in str(model.explain())
    assert 1 <= model.n_iter_ < 150
    again = cluster.KMeans(6, init=model.cluster_centers_, n_init=1).fit(X)
    best = min(cluster.KMeans(6, n_init=1, random_state=seed).fit(X).inertia_ for seed in range(3))
    assert model.inertia_ == pytest.approx(-again.score(X), rel=1e-3)  # a fixed point
    assert model.inertia_ <= best * 1.01
    assert model.inertia_ == pytest.approx(-model.score(X))


def test_starts_share_the_passes(sampled):
    X, _ = groups(20_000, spread=0.5)
    one, several = KMeans(6).fit(X), KMeans(6, n_init=4).fit(X)
    assert several.inertia_ <= one.inertia_ * (1 + 1e-3)
    passes = [done for done in several.explain().passes if done.purpose.startswith("centres")]
    assert sum(done.times for done in passes) < 4 * one.n_iter_ + 10


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
def test_the_same_bits_for_any_number_of_threads(sampled, init):
    X, _ = groups(6_000)
    found = []
    for threads in (1, 2, 7):
        with using(LocalEngine(threads)):
            found.append(KMeans(6, init=init).fit(X))
            found.append(MiniBatchKMeans(6, init=init).fit(X))
    for model, first in zip(found[2:], found[:2] * 2, strict=True):
        assert model.cluster_centers_.tobytes() == first.cluster_centers_.tobytes()
        assert model.inertia_ == first.inertia_
        assert model.score_quantiles_ == first.score_quantiles_


def test_rows_that_a_sample_misses_are_found_by_passes(sampled):
    X = np.zeros((30_000, 2))
    X[:15_000, 0] = 5.0
    X[29_990:] = [50.0, 50.0]  # the third group is ten rows
    model = KMeans(3).fit(X)
    assert sorted(model.cluster_weights_.tolist()) == [10.0, 14_990.0, 15_000.0]
    assert model.inertia_ == pytest.approx(0.0, abs=1e-12)


def test_a_small_memory_limit_is_enough(raw):
    raw.execute(
        "CREATE TABLE t AS SELECT random() AS a, random() AS b, random() + (i % 2) * 5 AS c FROM range(50000) r(i)"
    )
    with memory_limited("64MiB"):
        model = KMeans(2).fit(raw.sql("FROM t"))
    assert sorted(model.cluster_weights_) == [25_000.0, 25_000.0]
    with pytest.raises(NotFitted, match="labels_ are there after fit on arrays"):
        _ = model.labels_
    wide = sp.csr_array((np.ones(5), (np.arange(5), np.arange(5))), shape=(5, 100_000))
    with (
        memory_limited("64MiB"),
        pytest.raises(ExhaustedMemory, match="KMeans: the sums of 4 centres of 100,000 terms"),
    ):
        KMeans(4).fit(wide)


# pieces ----------------------------------------------------------------------------------------------------------


def test_distances_are_exact_far_from_zero():
    rng = np.random.default_rng(0)
    X = np.asfortranarray(rng.normal(size=(SLICE + 3, 6)) + 1e8)
    centres = np.ascontiguousarray(X[:5] + 0.25)
    x, found, scratch = X.reshape(-1, order="F"), np.empty((5, len(X))), np.empty((6, SLICE))
    x.flags.writeable = False
    none = np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0)
    centre_distances(x, len(X), 6, centres, np.zeros(5), *none, scratch, found)
    np.testing.assert_allclose(found, ((X[None] - centres[:, None]) ** 2).sum(axis=2), rtol=1e-14)


@pytest.mark.parametrize("weighted", [False, True])
def test_bounds_give_the_sums_of_a_whole_look(weighted):
    X, _ = groups(2_000, k=7)
    weight = np.random.default_rng(0).random(len(X)) if weighted else None
    block = Block(np.asfortranarray(X), None, None, weight, 0)
    rows = rows_module.Rows([block], 5, True)
    centres = Centres(X[:7].copy(), 5)
    tracked = Tracked(rows, centres)
    for _ in range(12):
        tracked.look(centres)
        (whole,) = rows.fold(CentreStep(centres))
        np.testing.assert_allclose(tracked.sums, whole["sums"], atol=1e-9)
        np.testing.assert_allclose(tracked.weight, whole["totals"][0], atol=1e-9)
        centres = centres.at(centres.means(whole["sums"], whole["totals"][0]))
    rows.close()


def test_rows_are_drawn_in_proportion_to_their_mass():
    X = np.array([[0.0], [1.0], [2.0]] * 2_000)
    block = Block(np.asfortranarray(X), None, None, None, 0)
    step = WeightedDrawStep(Centres(np.zeros((1, 1)), 1), 1, 0)
    drawn = []
    for seed in range(400):
        step.seed = seed
        state = step.start()
        step.update(state, block)
        drawn.append(state["rows"][0, 0])
    assert set(drawn) == {1.0, 2.0}
    assert np.mean(np.array(drawn) == 2.0) == pytest.approx(0.8, abs=0.06)


def test_greedy_starts_beat_random_ones():
    X, _ = groups(2_000, k=20, p=2, spread=10.0)
    rows = rows_module.Rows([Block(np.asfortranarray(X), None, None, None, 0)], 2, True)
    careful = [
        -cluster.KMeans(20, init=plus_plus(rows, 20, seed), n_init=1, max_iter=1).fit(X).score(X) for seed in range(5)
    ]
    random = [-cluster.KMeans(20, init=X[seed * 20 :][:20], n_init=1, max_iter=1).fit(X).score(X) for seed in range(5)]
    assert np.mean(careful) < 0.7 * np.mean(random)


def test_small_samples_are_drawn_without_repetition():
    X, _ = groups(5_000)
    X[:, 0] = np.arange(5_000)
    data = ArrayData(X, KMeans(2).fit(X).schema_)
    rows = rows_in_memory(data, Centres(np.zeros((0, 5)), 5), 0)
    part = rows.drawn(1_000, 3)
    assert rows.whole
    assert part.n_rows == 1_000
    assert len(np.unique(np.concatenate([p.X[:, 0] for p in part.parts]))) == 1_000


# mini-batches ----------------------------------------------------------------------------------------------------


def test_mini_batches_come_close_to_scikit_learns():
    X, _ = groups(6_000, k=8, spread=2.0)
    ours = np.mean([MiniBatchKMeans(8, random_state=seed).fit(X).inertia_ for seed in range(3)])
    theirs = np.mean([cluster.MiniBatchKMeans(8, random_state=seed, n_init=1).fit(X).inertia_ for seed in range(3)])
    assert ours < theirs * 1.05


def test_partial_fit_goes_on():
    X, label = groups(4_000, spread=12.0)
    model = MiniBatchKMeans(6, batch_size=200)
    for start in range(0, 4_000, 1_000):
        model.partial_fit(X[start : start + 1_000])
    assert adjusted_rand_score(label, model.predict(X)) == pytest.approx(1.0)
    assert model.n_steps_ == 20
    assert model.counts_.sum() == 4_000
    again = MiniBatchKMeans.from_state(model.get_state()).partial_fit(X[:1_000])
    model.partial_fit(X[:1_000])
    np.testing.assert_array_equal(again.cluster_centers_, model.cluster_centers_)


def test_centres_of_little_weight_start_anew():
    X, _ = groups(3_000, k=4, spread=15.0)
    init = np.vstack([X[:3], np.full((1, 5), 1e4)])  # the last one is nearest to nothing
    model = MiniBatchKMeans(4, init=init).fit(X)
    assert (model.cluster_weights_ > 0).all()
    assert np.abs(model.cluster_centers_).max() < 100


# bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans])
def test_more_centres_than_rows_are_an_error_and_than_different_rows_a_warning(kind):
    with pytest.raises(
        InvalidData, match=rf"{kind.__name__}: n_clusters=8 must be at most the number of rows .*n_samples=1"
    ):
        kind().fit([[1.0, 2.0]])
    X = np.repeat([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]], 5, axis=0)
    with pytest.warns(ConvergenceWarning, match="has only 3 groups of different rows, n_clusters=5 asks for more"):
        model = kind(5).fit(X)
    assert model.inertia_ == 0.0
    assert sorted(model.cluster_weights_) == [0.0, 0.0, 5.0, 5.0, 5.0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"init": np.zeros((2, 3))}, r"init must have the shape \(n_clusters, terms\) = \(2, 5\); got \(2, 3\)"),
        ({"init": np.full((2, 5), np.nan)}, "init must hold finite numbers"),
        ({"init": [["a"] * 5] * 2}, "init must be an array of numbers"),
        ({"init": "kmeans"}, "init must be one of"),
        ({"n_clusters": 0}, "n_clusters must be an integer >= 1; got 0"),
    ],
)
def test_bad_parameters_are_named(params, message):
    with pytest.raises(InvalidParameter, match=message):
        KMeans(**{"n_clusters": 2, **params}).fit(groups(50)[0])


def test_bigquerys_options():
    made = KMeans.from_options({"num_clusters": 3, "kmeans_init_method": "KMEANS++", "distance_type": "EUCLIDEAN"})
    assert (made.n_clusters, made.init) == (3, "k-means++")
    assert KMeans.from_options({"standardize_features": True}).standardize_features
    with pytest.raises(InvalidParameter, match="distance_type must be 'EUCLIDEAN'; got 'COSINE'"):
        KMeans.from_options({"distance_type": "COSINE"})
    with pytest.raises(InvalidParameter, match="kmeans_init_method must be"):
        KMeans.from_options({"kmeans_init_method": "CUSTOM"})


def test_no_rows_one_row_and_constant_columns():
    empty = pa.table({"a": pa.array([], pa.float64())})
    with pytest.raises(InvalidData):
        KMeans(1).fit(empty)
    one = KMeans(1).fit([[3.0, 4.0]])
    assert (one.inertia_, one.cluster_centers_.tolist()) == (0.0, [[3.0, 4.0]])
    X, _ = groups(300, k=2)
    X[:, 1] = 7.0
    model = KMeans(2, standardize_features=True).fit(X)
    np.testing.assert_allclose(model.cluster_centers_[:, 1], 7.0)
    with pytest.raises(InvalidData):
        KMeans(2).fit(X, sample_weight=np.zeros(300))


# missing values, categories, scales ------------------------------------------------------------------------------


def mixed(n=1_200):
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, n)
    number = kind * 4.0 + rng.normal(size=n) * 0.5
    number[::50] = np.nan
    names = np.array(["red", "green", "blue"])[kind]
    return pa.table(
        {
            'a "number"': pa.array(number, from_pandas=True),
            "colour": pa.array([None if i % 70 == 0 else name for i, name in enumerate(names)]),
            "wide": pa.array(rng.normal(size=n) * 100 + 1e6),
        }
    ), kind


def design(table, schema):
    """The terms, by hand."""
    number = table.column(0).to_numpy()
    missing = np.isnan(number)
    fill = schema.encoding.features[0].fill[0]
    columns = [np.where(missing, fill, number), missing.astype(float), table.column(2).to_numpy()]
    colour = np.array(["NULL" if c is None else c for c in table.column(1).to_pylist()])
    levels = schema.encoding.features[1].levels
    return np.column_stack([*columns, *[(colour == level).astype(float) for level in (*levels, "NULL")]])


@pytest.mark.parametrize("standardised", [False, True])
def test_missing_values_and_categories_are_terms(standardised):
    table, kind = mixed()
    model = KMeans(3, standardize_features=standardised, tol=0.0).fit(table)
    assert model.terms_[:3] == ('a "number"', 'a "number" IS NULL', "wide")
    centre = np.array(model.schema_.encoding.centre())
    X = design(table, model.schema_) - centre
    scale = np.ones(X.shape[1])
    scale[:3] = model.scale_
    theirs = cluster.KMeans(3, init=model.centred_centers_ / scale, n_init=1).fit(X / scale)
    np.testing.assert_allclose(theirs.cluster_centers_ * scale + centre, model.cluster_centers_, rtol=1e-8, atol=1e-8)
    assert model.inertia_ == pytest.approx(theirs.inertia_)
    np.testing.assert_allclose(model.transform(table), theirs.transform(X / scale), rtol=1e-5)
    if standardised:
        assert model.scale_[1] == 1.0  # a flag is no number
        assert adjusted_rand_score(kind, model.labels_) > 0.4  # what is wide does not drown what is narrow
    else:
        assert adjusted_rand_score(kind, model.labels_) < 0.1


def formed(form, X):
    """What SQL makes of a form, by hand; X holds centred terms."""
    d = len(form.origin[0])
    difference = X[:, None, :d] - np.array(form.origin)
    return np.array(form.intercept) + X @ np.array(form.coef).T + (np.array(form.square) * difference**2).sum(axis=2)


@pytest.mark.parametrize("standardised", [False, True])
def test_the_form_is_the_squared_distance(standardised):
    table, _ = mixed()
    model = KMeans(4, standardize_features=standardised).fit(table)
    centred = design(table, model.schema_) - np.array(model.schema_.encoding.centre())
    eta = formed(model.form(), centred)
    np.testing.assert_allclose(np.sqrt(np.maximum(eta, 0.0)), model.transform(table), rtol=1e-9, atol=1e-6)
    np.testing.assert_array_equal(eta.argmin(axis=1), model.predict(table))
    assert KMeans(2).fit(sp.csr_array(np.eye(300))).form() is None


def test_anomalies_are_far_from_their_centroid():
    X, _ = groups(2_000, spread=12.0)
    X[:20] += 40.0
    model = KMeans(6, init=X[100:106]).fit(X)
    threshold = np.interp(0.99, np.linspace(0, 1, 1001), model.score_quantiles_)
    scores = np.concatenate(
        [
            model._anomaly_block(b)
            for b in [Block(np.asfortranarray(X - model.schema_.encoding.centre()), None, None, None, 0)]
        ]
    )
    assert (scores > threshold)[:20].mean() > 0.9
    labels = model.labels_
    np.testing.assert_allclose(scores, model.transform(X)[np.arange(2_000), labels] / model.mean_distances_[labels])


# stored ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans])
def test_a_stored_model_predicts_the_same_bits(kind, tmp_path):
    table, _ = mixed()
    con = dbml.connect(tmp_path / "m.duckdb")
    model = kind(3, standardize_features=True).fit(table)
    con.save_model("m", model)
    con.close()
    again = dbml.connect(tmp_path / "m.duckdb").load_model("m")
    np.testing.assert_array_equal(again.transform(table), model.transform(table))
    assert again.inertia_ == model.inertia_
    with pytest.raises(NotFitted, match="labels_ are there after fit on arrays, DataFrames or Arrow only"):
        _ = again.labels_


@pytest.mark.parametrize("kind", ["kmeans", "MiniBatchKMeans"])
@pytest.mark.parametrize("standardised", ["true", "false"])
def test_sql_scores_as_python_does(kind, standardised):
    table, _ = mixed()
    with dbml.connect() as con:
        con.duckdb.register("mixed", table)
        con.execute("CREATE TABLE t AS FROM mixed UNION ALL BY NAME SELECT 'unseen' AS colour")
        con.execute(
            f"CREATE MODEL m OPTIONS (model_type = '{kind}', num_clusters = 4, standardize_features = {standardised}) "
            "AS FROM mixed"
        )
        model, rows = con.load_model("m"), con.table("t").to_arrow_table()
        groups, distances = model.predict(rows), model.transform(rows)
        columns = 'f."a ""number""", f.colour, f.wide'
        for query in (
            "SELECT predict('m', f) FROM t f",
            f"SELECT ml.predict_m({columns}) FROM t f",
            "SELECT centroid_id FROM ml.predict_m(t)",
            "SELECT centroid_id FROM ML.PREDICT(MODEL m, TABLE t)",
        ):
            assert [row[0] for row in con.execute(query).fetchall()] == groups.tolist()
        assert [row[0] for row in con.duckdb.execute("SELECT predict('m', f) FROM t f").fetchall()] == groups.tolist()
        for query in ("SELECT transform('m', f) FROM t f", f"SELECT ml.transform_m({columns}) FROM t f"):
            found = con.execute(query).fetchall()
            listed = [list(row[0].values()) if isinstance(row[0], dict) else row[0] for row in found]
            np.testing.assert_allclose(listed, distances, rtol=1e-9, atol=1e-9)
        centres = con.sql("SELECT numerical_value FROM ML.CENTROIDS(MODEL m) WHERE feature = 'wide'").fetchall()
        np.testing.assert_allclose([row[0] for row in centres], model.cluster_centers_[:, model.terms_.index("wide")])
        found = con.sql("FROM ML.DETECT_ANOMALIES(MODEL m, STRUCT(0.05 AS contamination), TABLE mixed)")
        assert len(found.filter("is_anomaly").fetchall()) == pytest.approx(60, abs=3)
        plan = con.execute("EXPLAIN CREATE MODEL n OPTIONS (model_type = 'kmeans') AS FROM mixed").fetchall()
        assert any("lloyd" in str(row) for row in plan)


def test_names_of_outputs():
    model = KMeans(2).fit(groups(50)[0])
    assert model.get_feature_names_out().tolist() == ["kmeans0", "kmeans1"]


@pytest.mark.skipif(not (DATA / "dry_bean.parquet").exists(), reason="the real tables are not there")
def test_dry_beans_beside_scikit_learn(raw):
    rows = raw.sql(f"SELECT * EXCLUDE (Class) FROM read_parquet('{DATA / 'dry_bean.parquet'}')")
    X = np.column_stack(list(rows.fetchnumpy().values())).astype(float)
    Z = (X - X.mean(0)) / X.std(0)
    best = min(cluster.KMeans(7, n_init=1, random_state=seed).fit(Z).inertia_ for seed in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = KMeans(7, n_init=3, standardize_features=True).fit(rows)
    assert model.inertia_ == pytest.approx(best, rel=0.01)
