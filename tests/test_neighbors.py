"""Nearest neighbours: exact as brute force in NumPy, for all metrics, dense and sparse; approximate, and its recall."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from dbml import KNeighborsClassifier, KNeighborsRegressor, NearestNeighbors
from dbml.engine.local import LocalEngine
from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.neighbors.held import ResidentRows, SpilledRows
from dbml.passes.engine import using
from dbml.passes.memory import memory_limited

METRICS = ("euclidean", "cosine", "inner_product", "manhattan")
SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


def all_distances(X, Q, metric):
    """The dumb way: every difference, in double precision."""
    if metric == "euclidean":
        return np.sqrt(((Q[:, None] - X[None]) ** 2).sum(axis=2))
    if metric == "manhattan":
        return np.abs(Q[:, None] - X[None]).sum(axis=2)
    if metric == "inner_product":
        return -Q @ X.T
    lengths = np.linalg.norm(Q, axis=1)[:, None] * np.linalg.norm(X, axis=1)[None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(lengths > 0.0, 1.0 - (Q @ X.T) / lengths, 1.0)


def brute(X, Q, metric, k):
    distances = all_distances(X, Q, metric)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, 1), order


def clumps(n, d=6, seed=0):
    centres = np.random.default_rng(9).normal(size=(12, d)) * 4
    rng = np.random.default_rng(seed)
    return centres[rng.integers(0, 12, n)] + rng.normal(size=(n, d))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("algorithm", ["brute", "index"])
@pytest.mark.parametrize("n_queries", [3, 40])
def test_neighbours_are_those_of_brute_force(metric, algorithm, n_queries):
    X, Q = clumps(900), clumps(n_queries, seed=1)
    distance, index = NearestNeighbors(n_neighbors=6, algorithm=algorithm, metric=metric).fit(X).kneighbors(Q)
    expected, order = brute(X, Q, metric, 6)
    np.testing.assert_array_equal(index, order)
    np.testing.assert_allclose(distance, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("algorithm", ["brute", "index"])
def test_far_from_zero_neighbours_are_still_exact(algorithm):
    X, Q = clumps(400) + 1e8, clumps(20, seed=1) + 1e8
    _, index = NearestNeighbors(algorithm=algorithm).fit(X).kneighbors(Q)
    np.testing.assert_array_equal(index, brute(X, Q, "euclidean", 5)[1])


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("metric", METRICS)
def test_beyond_single_precision_neighbours_are_still_exact(scale, metric):
    X, Q = clumps(300) * scale, clumps(20, seed=1) * scale
    _, index = NearestNeighbors(metric=metric, algorithm="brute").fit(X).kneighbors(Q)
    np.testing.assert_array_equal(index, brute(X / scale, Q / scale, metric, 5)[1])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("algorithm", ["brute", "index"])
def test_of_equally_near_rows_the_earlier_one_comes_first(metric, algorithm):
    X = np.repeat(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5]]), 30, axis=0)
    X = X[np.random.default_rng(0).permutation(90)]
    _, index = NearestNeighbors(n_neighbors=40, algorithm=algorithm, metric=metric, n_cells=None).fit(X).kneighbors(X)
    np.testing.assert_array_equal(index, brute(X, X, metric, 40)[1])


def test_a_zero_vector_is_at_cosine_distance_1_from_all():
    X = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [-1.0, 0.0]])
    for algorithm in ("brute", "index"):
        model = NearestNeighbors(n_neighbors=4, metric="cosine", algorithm=algorithm).fit(X)
        distance, index = model.kneighbors([[0.0, 0.0], [2.0, 0.0]])
        np.testing.assert_allclose(distance[0], 1.0)
        np.testing.assert_array_equal(index[1], [1, 2, 0, 3])
        np.testing.assert_allclose(distance[1], [0.0, 1.0 - np.sqrt(0.5), 1.0, 2.0], atol=1e-15)


def test_single_precision_columns_are_kept_as_such(raw):
    X = clumps(300).astype(np.float32)
    model = NearestNeighbors(algorithm="brute").fit(X)
    assert model.stored_type_ == "float32"
    assert NearestNeighbors().fit(X.astype(float)).stored_type_ == "float64"
    distance, index = model.kneighbors(X)
    assert (index[:, 0] == np.arange(300)).all()
    assert (distance[:, 0] == 0.0).all()


def test_categories_and_missing_numbers_become_terms(raw):
    rows = raw.sql("SELECT * FROM (VALUES (1.0, 'a'), (2.0, 'b'), (NULL, 'b'), (9.0, NULL)) t(x, c)")
    model = NearestNeighbors(n_neighbors=4).fit(rows)
    queries = np.array([[1.0, 0.0, 1.0, 0.0], [2.0, 0.0, 0.0, 1.0], [4.0, 1.0, 0.0, 1.0], [9.0, 0.0, 0.0, 0.0]])
    assert model.terms_[:2] == ("x", "x IS NULL")
    distance, index = model.kneighbors(rows)
    own = model._own_rows()
    np.testing.assert_allclose(own[:, :2], queries[:, :2])
    np.testing.assert_array_equal(index, brute(own, own, "euclidean", 4)[1])
    np.testing.assert_allclose(distance, brute(own, own, "euclidean", 4)[0])


def test_sparse_rows_are_vectors_too():
    X = sp.random(400, 30, density=0.2, random_state=0, format="csr")
    dense = X.toarray()
    for algorithm in ("brute", "index"):
        model = NearestNeighbors(algorithm=algorithm).fit(X)
        np.testing.assert_array_equal(model.kneighbors(X[:25])[1], brute(dense, dense[:25], "euclidean", 5)[1])


@pytest.mark.parametrize("algorithm", ["brute", "index"])
@pytest.mark.parametrize("metric", METRICS)
def test_all_rows_within_a_distance(metric, algorithm):
    X, Q = clumps(500), clumps(15, seed=1)
    distances = all_distances(X, Q, metric)
    radius = float(np.quantile(distances, 0.05))
    model = NearestNeighbors(metric=metric, algorithm=algorithm, radius=radius).fit(X)
    found, index = model.radius_neighbors(Q, sort_results=True)
    for i in range(15):
        inside = np.flatnonzero(distances[i] <= radius)
        np.testing.assert_array_equal(np.sort(index[i]), inside)
        np.testing.assert_allclose(found[i], np.sort(distances[i][inside]), rtol=1e-9, atol=1e-12)
    graph = model.radius_neighbors_graph(Q, mode="distance")
    assert graph.shape == (15, 500)
    assert graph.nnz == (distances <= radius).sum()


def test_without_queries_a_row_is_not_its_own_neighbour():
    X = np.array([[0.0], [0.0], [1.0], [3.0]])
    model = NearestNeighbors(n_neighbors=2).fit(X)
    np.testing.assert_array_equal(model.kneighbors()[1], [[1, 2], [0, 2], [0, 1], [2, 0]])
    assert [list(one) for one in model.radius_neighbors(radius=1.0)[1]] == [[1, 2], [0, 2], [0, 1], []]
    np.testing.assert_array_equal(model.kneighbors_graph(n_neighbors=1).toarray().argmax(axis=1), [1, 0, 0, 2])


def test_results_and_cells_are_the_same_for_any_number_of_threads():
    X, Q = clumps(3_000), clumps(100, seed=1)
    found = []
    for threads in (1, 2, 7):
        with using(LocalEngine(threads)):
            model = NearestNeighbors(algorithm="index", nprobe=2).fit(X)
            found.append([model.cell_centers_, *model.kneighbors(Q)])
    for other in found[1:]:
        for left, right in zip(found[0], other, strict=True):
            assert left.tobytes() == right.tobytes()


def test_nprobe_finds_most_and_says_how_much():
    X, Q = clumps(4_000), clumps(200, seed=1)
    exact = brute(X, Q, "euclidean", 10)[1]
    shares = []
    for nprobe in (1, 4, 63):
        model = NearestNeighbors(n_neighbors=10, nprobe=nprobe).fit(X)
        index = model.kneighbors(Q)[1]
        shares.append(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(index, exact, strict=True)]))
        assert model.recall_ == pytest.approx(shares[-1], abs=0.06)
        assert f"about {model.recall_:.3f}" in str(model.explain())
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert 0.3 < shares[0] < 1.0


def test_nprobe_finds_k_rows_also_where_its_cells_hold_fewer():
    X = np.concatenate([np.zeros((2, 2)), np.full((50, 2), 9.0) + clumps(50, 2)])
    model = NearestNeighbors(n_neighbors=10, n_cells=5, nprobe=1).fit(X)
    assert (model.kneighbors([[0.0, 0.0]])[1] >= 0).all()


def test_rows_beyond_the_memory_limit_are_spilled_and_found():
    X, Q = clumps(80_000, 32).astype(np.float32), clumps(30, 32, seed=1).astype(np.float32)
    held = NearestNeighbors(algorithm="index", n_cells=20).fit(X)
    with memory_limited("64MiB"):
        wide = np.concatenate([X, X + 50, X - 50])
        spilled = NearestNeighbors(algorithm="index", n_cells=20).fit(wide)
        assert isinstance(spilled._vectors, SpilledRows)
        found = spilled.kneighbors(Q)
    np.testing.assert_array_equal(found[1], held.kneighbors(Q)[1])
    copy = pickle.loads(pickle.dumps(spilled))
    assert isinstance(copy._vectors, ResidentRows)
    np.testing.assert_array_equal(copy.kneighbors(Q)[1], found[1])


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
def test_predictions_are_those_of_scikit_learn(weights, metric):
    neighbors = pytest.importorskip("sklearn.neighbors")
    X, Q = clumps(600), clumps(50, seed=1)
    y = X[:, 0] + X[:, 1] ** 2
    labels = np.array(["low", "mid", "high"])[np.digitize(y, [0.0, 5.0])]
    how = {"n_neighbors": 7, "weights": weights, "metric": metric}
    for queries in (Q, X[:50]):  # the second at distance 0 of a row
        theirs = neighbors.KNeighborsClassifier(**how, algorithm="brute").fit(X, labels)
        ours = KNeighborsClassifier(**how, algorithm="index").fit(X, labels)
        if metric != "cosine" or queries is Q:  # near 0 the cosines differ in the last bits
            # Its distances to a row itself are 0 but for the rounding of a difference of squares.
            near = 1e-9 if queries is Q else 1e-6
            np.testing.assert_allclose(ours.predict_proba(queries), theirs.predict_proba(queries), atol=near)
            value = neighbors.KNeighborsRegressor(**how).fit(X, y).predict(queries)
            np.testing.assert_allclose(KNeighborsRegressor(**how).fit(X, y).predict(queries), value, rtol=1e-7)
        assert ours.score(queries, labels[:50]) == pytest.approx(theirs.score(queries, labels[:50]))


def test_a_real_table_is_classified_as_by_scikit_learn(raw):
    neighbors = pytest.importorskip("sklearn.neighbors")
    path = SHARED / "dry_bean.parquet"
    if not path.exists():
        pytest.skip("the shared tables are absent")
    columns = [c for c in raw.sql(f"FROM '{path}'").columns if c.lower() != "class"]
    label = next(c for c in raw.sql(f"FROM '{path}'").columns if c.lower() == "class")
    named = ", ".join(f'"{c}"' for c in columns)
    rows = raw.sql(
        f"SELECT {named}, \"{label}\" AS label FROM '{path}' USING SAMPLE reservoir(3000 ROWS) REPEATABLE (1)"
    )
    frame = rows.df()
    ours = KNeighborsClassifier().fit(frame[columns], frame["label"])
    theirs = neighbors.KNeighborsClassifier(algorithm="brute").fit(frame[columns], frame["label"])
    assert (ours.predict(frame[columns][:500]) == theirs.predict(frame[columns][:500])).mean() > 0.995


def test_one_row_a_constant_column_and_no_row(raw):
    model = NearestNeighbors(n_neighbors=1).fit([[3.0, 1.0]])
    np.testing.assert_array_equal(model.kneighbors([[3.0, 2.0]])[1], [[0]])
    X = np.column_stack([np.ones(50), np.arange(50.0)])
    for algorithm in ("brute", "index"):
        found = NearestNeighbors(n_neighbors=2, algorithm=algorithm).fit(X).kneighbors(X[:1])
        np.testing.assert_array_equal(found[1], [[0, 1]])
    assert model.kneighbors(raw.sql("SELECT 1.0 AS x0, 2.0 AS x1 WHERE false"))[1].shape == (0, 1)


def test_what_cannot_be_asked_is_refused_with_words():
    X = clumps(20)
    with pytest.raises(
        InvalidData, match="n_neighbors must be at most the number of rows; got 21 neighbors of 20 rows"
    ):
        NearestNeighbors(n_neighbors=21).fit(X).kneighbors(X)
    with pytest.raises(InvalidParameter, match="nprobe is a number of cells, and algorithm='brute' has none"):
        NearestNeighbors(algorithm="brute", nprobe=2).fit(X)
    with pytest.raises(InvalidParameter, match="weights='distance' must go with a metric that is a distance"):
        KNeighborsRegressor(weights="distance", metric="inner_product").fit(X, X[:, 0])
    with pytest.raises(InvalidParameter, match="radius must be a finite number; got nan"):
        NearestNeighbors().fit(X).radius_neighbors(X, float("nan"))
    with pytest.raises(InvalidParameter, match="mode must be one of 'connectivity', 'distance'; got 'both'"):
        NearestNeighbors().fit(X).kneighbors_graph(X, mode="both")
