"""Matrix factorization: factors beside a closed form, both solvers, keys of any type, recommendations, SQL."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from sklearn.metrics import ndcg_score

import dbml
from dbml import MatrixFactorization
from dbml.engine.local import LocalEngine
from dbml.errors import DbmlError, ExhaustedMemory, InvalidData, InvalidParameter, UnknownName, UnsupportedColumn
from dbml.estimators.discovery import model_types
from dbml.passes.engine import using
from dbml.passes.memory import memory_limited

MOVIES = Path(__file__).parent.parent.parent / "shared" / "data" / "movielens_small_ratings.parquet"


def ratings(n=900, users=40, items=30, seed=0):
    """Pairs without repetition, and ratings with biases and two factors."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(users * items)[:n]
    user, item = chosen // items, chosen % items
    P, Q = rng.normal(size=(users, 2)), rng.normal(size=(items, 2))
    value = 3.0 + rng.normal(size=users)[user] + rng.normal(size=items)[item] + (P[user] * Q[item]).sum(axis=1)
    return np.column_stack([user * 10, item + 500]), value + 0.1 * rng.normal(size=n)


def held_out(model, X, y):
    return float(np.sqrt(np.mean((model.predict(X) - y) ** 2)))


# factors -------------------------------------------------------------------------------------------------------------


def test_the_last_side_is_the_closed_form_of_ridge_regression():
    X, y = ratings()
    model = MatrixFactorization(3, regularization=0.2, bias_regularization=0.05, max_iter=4, tol=0.0).fit(X, y)
    user = np.searchsorted(model.users_, X[:, 0])
    for item in (0, 7, 29):
        rows = X[:, 1] == model.items_[item]
        design = np.column_stack([model.user_factors_[user[rows]], np.ones(rows.sum())]).astype(float)
        target = y[rows] - model.mean_ - model.user_bias_[user[rows]]
        penalty = rows.sum() * np.diag([0.2, 0.2, 0.2, 0.05])
        expected = np.linalg.solve(design.T @ design + penalty, design.T @ target)
        np.testing.assert_allclose(model.item_factors_[item], expected[:3], atol=1e-4)
        assert model.item_bias_[item] == pytest.approx(expected[3], abs=1e-4)
    assert model.loss_ == pytest.approx(np.mean((model.predict(X) - y) ** 2), rel=1e-3)
    assert model.mean_ == pytest.approx(y.mean())


def test_implicit_factors_are_the_closed_form_over_all_pairs():
    X, y = ratings(300)
    counts = np.rint(np.abs(y))
    model = MatrixFactorization(3, feedback="implicit", regularization=2.0, alpha=5.0, max_iter=3).fit(X, counts)
    user = np.searchsorted(model.users_, X[:, 0])
    P = model.user_factors_.astype(float)
    for item in (0, 11):
        rows = (X[:, 1] == model.items_[item]) & (counts > 0)
        confidence = np.ones(len(P))
        confidence[user[rows]] += 5.0 * counts[rows]
        wanted = np.zeros(len(P))
        wanted[user[rows]] = 1.0
        expected = np.linalg.solve((P.T * confidence) @ P + 2.0 * np.eye(3), (P.T * confidence) @ wanted)
        np.testing.assert_allclose(model.item_factors_[item], expected, atol=1e-4)
    assert not model.item_bias_.any()
    assert model.mean_ == 0.0


@pytest.mark.parametrize("feedback", ["explicit", "implicit"])
def test_passes_find_what_memory_finds(feedback):
    X, y = ratings(400)
    weight = np.random.default_rng(1).integers(0, 3, 400)
    how = {"feedback": feedback, "max_iter": 3, "tol": 0.0}
    for given in (None, weight):
        memory = MatrixFactorization(3, solver="memory", **how).fit(X, np.abs(y), sample_weight=given)
        passes = MatrixFactorization(3, solver="passes", **how).fit(X, np.abs(y), sample_weight=given)
        np.testing.assert_allclose(memory.user_factors_, passes.user_factors_, atol=2e-4)
        np.testing.assert_allclose(memory.predict(X), passes.predict(X), atol=1e-4)
        assert memory.loss_ == pytest.approx(passes.loss_, rel=1e-4)


def test_slices_of_users_are_all_users():
    rng = np.random.default_rng(2)
    X = np.column_stack([np.arange(6_000) % 3_000, rng.integers(0, 5, 6_000)])
    y = rng.normal(size=6_000)
    how = {"max_iter": 1, "solver": "passes"}
    with memory_limited("64MiB"):  # 8 MB of equations: those of some of the users
        few = MatrixFactorization(20, **how).fit(X, y)
    whole = MatrixFactorization(20, **how).fit(X, y)
    assert [p.times for p in few.explain().passes if "of users" in p.purpose] > [1]
    np.testing.assert_array_equal(few.user_factors_, whole.user_factors_)


def test_whole_weights_are_repetitions():
    X, y = ratings(200, users=12, items=20)
    weight = np.arange(200) % 3
    assert np.unique(X[weight > 0, 0]).size == 12
    assert np.unique(X[weight > 0, 1]).size == 20
    for how in ({"solver": "memory"}, {"solver": "passes"}, {"n_factors": 24}, {"feedback": "implicit"}):
        made = [MatrixFactorization(**{"n_factors": 2, "max_iter": 3, "tol": 0.0, **how}) for _ in range(4)]
        target = np.abs(y)
        weighted = made[0].fit(X, target, sample_weight=weight)
        repeated = made[1].fit(np.repeat(X, weight, axis=0), np.repeat(target, weight))
        assert weighted.mean_ == pytest.approx(repeated.mean_)
        assert weighted.loss_ == pytest.approx(repeated.loss_, rel=1e-4)
        np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-3)
        if "feedback" not in how:  # of explicit feedback, weights have no unit
            small = made[2].fit(X, target, sample_weight=1e-9 * weight)
            np.testing.assert_allclose(small.predict(X), weighted.predict(X), atol=1e-3)
        # a user all of whose ratings weigh nothing is one that never rated
        only = made[3].fit(X, target, sample_weight=weight * (X[:, 0] > 0))
        assert not only.user_factors_[0].any()


def test_threads_do_not_change_the_model():
    X, y = ratings()
    found = []
    for threads in (1, 2, 7):
        with using(LocalEngine(threads)):
            found.append(MatrixFactorization(4, max_iter=3).fit(X, y))
    for model in found[1:]:
        np.testing.assert_array_equal(model.item_factors_, found[0].item_factors_)
        assert model.loss_ == found[0].loss_


def test_factors_must_fit_in_memory():
    X = np.column_stack([np.arange(40_000), np.arange(40_000) % 7])
    with (
        memory_limited("64MiB"),
        pytest.raises(ExhaustedMemory, match=r"40,000 users and 7 items take .* Lower n_factors"),
    ):
        MatrixFactorization(500).fit(X, np.ones(40_000))


@pytest.mark.skipif(not MOVIES.exists(), reason="needs the shared tables")
def test_movies_are_predicted_better_than_by_biases(raw):
    raw.execute(f"CREATE TABLE r AS SELECT userId, movieId, rating, hash(userId, movieId) % 10 AS part FROM '{MOVIES}'")
    how = {"user_col": "userId", "item_col": "movieId"}
    model = MatrixFactorization(8, **how).fit(raw.sql("FROM r WHERE part > 0"))
    test = raw.sql("FROM r WHERE part = 0").df()
    assert held_out(model, test, test.rating) < 0.88


# keys ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "item"),
    [
        ("user", "item"),
        ("'u' || user", "item::UTINYINT"),
        ("user::BIGINT + 9007199254740993", "'it''s \"' || item"),
        ("DATE '2020-01-01' + user::INTEGER", "md5(item::VARCHAR)::UUID"),
        ("user::DECIMAL(9, 2) / 100", "(item % 30)::VARCHAR"),
    ],
)
def test_keys_of_any_type_make_the_same_model(raw, user, item):
    X, y = ratings(300, 20, 15)
    raw.register("given", pa.table({"user": X[:, 0], "item": X[:, 1] - 500, "rating": y}))
    raw.execute("CREATE TABLE plain AS FROM given")
    raw.execute(f'CREATE TABLE "a b" AS SELECT {user} AS "User", {item} AS item, rating, now() AS noted FROM plain')
    # Biases alone: factors end in other places where items are in another order.
    how = {"regularization": 1e6, "bias_regularization": 0.01, "max_iter": 60, "tol": 0.0}
    expected = MatrixFactorization(1, **how).fit(raw.table("plain"))
    model = MatrixFactorization(1, **how).fit(raw.table('"a b"'))
    rows = model.predict(raw.table('"a b"'))
    assert rows.columns == ["User", "item", "rating", "noted", "predicted_rating"]
    np.testing.assert_allclose(
        rows.fetchnumpy()["predicted_rating"],
        expected.predict(raw.table("plain")).fetchnumpy()["predicted_rating"],
        atol=1e-4,
    )
    assert len(model.users_) == len(expected.users_)


def test_more_texts_than_a_table_of_codes_holds(raw):
    rows = "'u' || (i % 9000) AS user, 'i' || (i % 7) AS item, i % 5 AS rating"
    raw.execute(f"CREATE TABLE t AS SELECT {rows} FROM range(18000) r(i)")
    model = MatrixFactorization(2, max_iter=2).fit(raw.table("t"))
    assert len(model.users_) == 9_000
    mine = raw.sql("SELECT 'u8999' AS user, 'i3' AS item UNION ALL SELECT 'never', 'i3' UNION ALL SELECT NULL, NULL")
    found = model.predict(mine).fetchnumpy()["predicted_rating"]
    user, item = model.users_.tolist().index("u8999"), model.items_.tolist().index("i3")
    known = model.mean_ + model.user_bias_[user] + model.item_bias_[item]
    known += float(model.user_factors_[user].astype(float) @ model.item_factors_[item])
    np.testing.assert_allclose(found, [known, model.mean_ + model.item_bias_[item], model.mean_], rtol=1e-6)


def test_the_unknown_and_the_missing_have_the_mean_and_the_known_bias():
    X, y = ratings()
    model = MatrixFactorization(2, max_iter=5).fit(X, y)
    asked = np.array([[10, 501], [11, 501], [10, 9], [np.nan, np.nan]])
    found = model.predict(asked)
    user, item = model.user_bias_[model.users_ == 10][0], model.item_bias_[model.items_ == 501][0]
    np.testing.assert_allclose(found[1:], [model.mean_ + item, model.mean_ + user, model.mean_])
    implicit = MatrixFactorization(2, feedback="implicit", max_iter=2).fit(X, np.abs(y))
    np.testing.assert_array_equal(implicit.predict(asked)[1:], 0.0)


def test_rows_without_user_item_or_rating_are_left_out(raw):
    raw.execute("CREATE TABLE t AS SELECT i % 7 AS user, i % 5 AS item, (i % 4)::DOUBLE AS rating FROM range(60) r(i)")
    clean = MatrixFactorization(2, max_iter=3).fit(raw.table("t"))
    raw.execute("INSERT INTO t VALUES (NULL, 1, 5.0), (1, NULL, 5.0), (1, 1, NULL), (NULL, NULL, NULL)")
    spoiled = MatrixFactorization(2, max_iter=3).fit(raw.table("t"))
    np.testing.assert_array_equal(clean.user_factors_, spoiled.user_factors_)
    np.testing.assert_array_equal(clean.users_, spoiled.users_)


def test_one_user_and_one_rating(raw):
    one = MatrixFactorization(2).fit(pa.table({"user": ["me"], "item": [1], "rating": [4.0]}))
    assert one.predict(pa.table({"user": ["me"], "item": [1]})).tolist() == [4.0]
    items, scores = one.recommend(["me", "you"], 5)
    assert items.tolist() == [[1], [1]]
    np.testing.assert_allclose(scores, 4.0)


# recommendations -----------------------------------------------------------------------------------------------------


def test_recommended_are_the_highest_predictions():
    X, y = ratings()
    model = MatrixFactorization(3, max_iter=5).fit(X, y)
    items, scores = model.recommend([10, 390], 4)
    for user, row, best in zip((10, 390), items, scores, strict=True):
        every = model.predict(np.column_stack([np.full(30, user), model.items_]))
        np.testing.assert_allclose(best, np.sort(every)[::-1][:4], rtol=1e-6)
        np.testing.assert_array_equal(row, model.items_[np.argsort(-every, kind="stable")[:4]])
    rest, _ = model.recommend([10], 30, exclude=X)
    seen = set(X[X[:, 0] == 10, 1].tolist())
    left = rest[0][~np.isnan(model.recommend([10], 30, exclude=X)[1][0])]
    assert set(left.tolist()) == set(model.items_.tolist()) - seen
    assert model.recommend(n=3)[0].shape == (40, 3)
    np.testing.assert_array_equal(model.recommend([10], 30, exclude=(X[:, 0], X[:, 1]))[0], rest)


def test_recommending_says_what_is_wrong():
    X, y = ratings(100)
    model = MatrixFactorization(2, max_iter=1).fit(X, y)
    with pytest.raises(InvalidParameter, match="n must be an integer >= 1; got 0"):
        model.recommend(n=0)
    with pytest.raises(InvalidParameter, match=r"exclude must hold pairs of user and item, shape \(n, 2\)"):
        model.recommend(exclude=[1, 2, 3])


# SQL -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def movies(raw):
    """A connection with ratings and a model of them."""
    X, y = ratings(300, 20, 15)
    con = dbml.attach(raw)
    table = pa.table({"userId": X[:, 0], "Movie": [f"m{i}" for i in X[:, 1]], "stars": y})
    raw.register("given", table)
    raw.execute("CREATE TABLE r AS FROM given")
    con.execute(
        """CREATE MODEL likes OPTIONS (model_type = 'matrix_factorization', user_col = 'userId', item_col = 'movie',
        rating_col = 'stars', num_factors = 3, l2_reg = 0.2, feedback_type = 'EXPLICIT', max_iterations = 5)
        AS FROM r"""
    )
    return con


def test_three_ways_of_predicting_agree(movies):
    model = movies.load_model("likes")
    assert (model.n_factors, model.regularization, model.feedback, model.n_iter_) == (3, 0.2, "explicit", 5)
    by_relation = model.predict(movies.table("r")).fetchnumpy()["predicted_stars"]
    by_function = movies.sql("SELECT predict('likes', r) AS p FROM r").fetchnumpy()["p"]
    by_name = movies.sql("SELECT predict('likes', userId, Movie) AS p FROM r").fetchnumpy()["p"]
    by_table = movies.sql("FROM ML.PREDICT(MODEL likes, TABLE r)").fetchnumpy()["predicted_stars"]
    for found in (by_function, by_name, by_table):
        np.testing.assert_allclose(found, by_relation, rtol=0.0, atol=1e-9)
    ((error,),) = movies.sql("SELECT mean_squared_error FROM ML.EVALUATE(MODEL likes, TABLE r)").fetchall()
    assert error == pytest.approx(np.mean((by_relation - movies.table("r").fetchnumpy()["stars"]) ** 2))
    assert model.score(movies.table("r"), "stars") > 0.5


def test_recommend_pairs_what_is_asked_with_all_that_there_is(movies):
    every = movies.sql("FROM ML.RECOMMEND(MODEL likes)")
    assert every.columns == ["userId", "Movie", "predicted_stars"]
    assert [str(t) for t in every.types] == ["BIGINT", "VARCHAR", "DOUBLE"]
    assert len(every.fetchall()) == 20 * 15
    users = movies.sql("SELECT * FROM ML.RECOMMEND(MODEL likes, (SELECT 10 AS USERID, 'x' AS other)) ORDER BY Movie")
    assert len(rows := users.fetchall()) == 15
    assert {row[0] for row in rows} == {10}
    movies.execute("CREATE TABLE items AS SELECT * FROM (VALUES ('m501'), ('m502'), ('never')) t(movie)")
    assert len(movies.sql("FROM ML.RECOMMEND(MODEL likes, TABLE items)").fetchall()) == 60
    pairs = movies.sql("FROM ML.RECOMMEND(MODEL likes, (SELECT userId, Movie FROM r))").fetchall()
    assert len(pairs) == 300
    expected = movies.sql("SELECT userId, Movie, predicted_stars FROM ML.PREDICT(MODEL likes, TABLE r)").fetchall()
    assert sorted(pairs) == sorted(expected)
    with pytest.raises(Exception, match="the rows must have a column userId or Movie, or both"):
        movies.sql("FROM ML.RECOMMEND(MODEL likes, (SELECT 1 AS nothing))").fetchall()


def test_the_best_of_each_user_without_those_seen(movies):
    model = movies.load_model("likes")
    found = movies.sql(
        "FROM ML.RECOMMEND(MODEL likes, STRUCT(4 AS k)) ORDER BY userId, predicted_stars DESC"
    ).fetchall()
    items, scores = model.recommend(n=4)
    order = np.argsort(model.users_)
    assert [row[1] for row in found] == items[order].ravel().tolist()
    np.testing.assert_allclose([row[2] for row in found], scores[order].ravel(), rtol=1e-9)
    fresh = movies.sql(
        "FROM ML.RECOMMEND(MODEL likes, (SELECT DISTINCT userId FROM r), {'k': 3, 'exclude_seen': true})"
    ).fetchall()
    seen = set(movies.sql("SELECT userId, Movie FROM r").fetchall())
    assert not seen & {row[:2] for row in fresh}
    by_user = {}
    for user, *_ in fresh:
        by_user[user] = by_user.get(user, 0) + 1
    left = {user: 15 - sum(pair[0] == user for pair in seen) for user, _ in seen}
    assert by_user == {user: min(3, n) for user, n in left.items() if n}
    by_item = movies.sql("FROM ML.RECOMMEND(MODEL likes, (SELECT 'm501' AS Movie), STRUCT(2 AS k))").fetchall()
    assert len(by_item) == 2


def test_implicit_recommendations_are_confidences(raw):
    con = dbml.attach(raw)
    raw.execute("CREATE TABLE t AS SELECT i % 7 AS user, (i * 3) % 11 AS item, 1 + i % 3 AS rating FROM range(40) r(i)")
    con.execute(
        "CREATE MODEL plays OPTIONS (model_type = 'matrix_factorization', feedback_type = 'implicit', wals_alpha = 10) "
        "AS FROM t"
    )
    assert con.sql("FROM ML.RECOMMEND(MODEL plays)").columns == ["user", "item", "predicted_rating_confidence"]
    assert con.load_model("plays").alpha == 10


def test_weights_are_factors_and_biases(movies):
    model = movies.load_model("likes")
    rows = movies.sql("FROM ML.WEIGHTS(MODEL likes)").fetchall()
    assert movies.sql("FROM ML.WEIGHTS(MODEL likes)").columns == [
        "processed_input",
        "feature",
        "factor_weights",
        "intercept",
    ]
    assert len(rows) == 20 + 15 + 1
    assert rows[-1][0] == "global__intercept__"
    assert rows[-1][3] == pytest.approx(model.mean_)
    name, feature, weights, intercept = rows[0]
    assert (name, feature) == ("userId", str(model.users_[0]))
    assert intercept == pytest.approx(model.user_bias_[0])
    assert [w["factor"] for w in weights] == [1, 2, 3]
    np.testing.assert_allclose([w["weight"] for w in weights], model.user_factors_[0])


def test_a_saved_model_is_the_same_bit_for_bit(movies):
    model = movies.load_model("likes")
    movies.save_model("again", model)
    again = movies.load_model("again")
    for name in ("user_factors_", "item_factors_", "user_bias_", "item_bias_", "user_keys_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(again, name))
    assert again.items_.tolist() == model.items_.tolist()


def test_statements_say_what_is_wrong(movies):
    options = "model_type = 'matrix_factorization', user_col = 'userId'"
    with pytest.raises(UnknownName, match="key column 'item'"):
        movies.execute(f"CREATE MODEL a OPTIONS ({options}, rating_col = 'stars') AS FROM r")
    with pytest.raises(UnknownName, match=r"the query has no column 'rating'.*rating_col"):
        movies.execute(f"CREATE MODEL a OPTIONS ({options}, item_col = 'Movie') AS FROM r")
    with pytest.raises(DbmlError, match="rating_col and input_label_cols both name the label"):
        movies.execute(
            f"CREATE MODEL a OPTIONS ({options}, rating_col = 'stars', input_label_cols = ['stars']) AS FROM r"
        )
    movies.execute(
        "CREATE MODEL line OPTIONS (model_type = 'linear_reg', input_label_cols = ['stars']) "
        "AS SELECT userId, stars FROM r"
    )
    with pytest.raises(DbmlError, match="line is no matrix factorization"):
        movies.sql("FROM ML.RECOMMEND(MODEL line)")
    plan = movies.sql(f"EXPLAIN CREATE MODEL a OPTIONS ({options}, item_col = 'Movie', rating_col = 'stars') AS FROM r")
    assert "alternating least squares" in str(plan.fetchall())


# what is refused -----------------------------------------------------------------------------------------------------


def test_bad_input_says_what_is_wrong(raw):
    X, y = ratings(60)
    fit = lambda *given, **how: MatrixFactorization(2, **how).fit(*given)  # noqa: E731
    with pytest.raises(
        InvalidData, match=r"X must have 2 columns of keys \(user and item\) where it is an array; got 3"
    ):
        fit(np.ones((5, 3)), np.ones(5))
    with pytest.raises(InvalidData, match="requires y to be passed"):
        fit(X)
    with pytest.raises(InvalidData, match=r"got a sparse matrix. Hint"):
        fit(sp.csr_array(np.eye(3)), np.ones(3))
    with pytest.raises(InvalidData, match=r"ratings must be >= 0 for feedback = 'implicit'; the least .* is -1"):
        fit([[1, 2], [2, 3]], [-1.0, 2.0], feedback="implicit")
    with pytest.raises(InvalidData, match="no rows to learn from"):
        fit(np.full((4, 2), np.nan), np.ones(4))
    with pytest.raises(InvalidData, match=r"keys of 'x0' must be less than 2\^53"):
        fit(np.array([[2**60, 1], [2**60 + 1, 2]]), [1.0, 2.0])
    with pytest.raises(InvalidParameter, match="biases must be False or 'auto' for implicit feedback"):
        fit(X, np.abs(y), feedback="implicit", biases=True)
    with pytest.raises(
        InvalidParameter, match=r"no encoding option 'max_levels' \(there are none for columns of keys\)"
    ):
        MatrixFactorization().fit(X, y, options={"max_levels": 3})
    with pytest.raises(InvalidData, match="must be different columns; 'user' is named twice"):
        fit(pa.table({"user": [1], "item": [1], "rating": [1.0]}), item_col="user")
    with pytest.raises(UnsupportedColumn, match="item BLOB is no key"):
        fit(pa.table({"user": [1], "item": [b"a"], "rating": [1.0]}))


def test_it_is_found_by_its_names():
    assert model_types()["matrix_factorization"] is MatrixFactorization


def test_few_ratings_have_the_factors_of_the_normal_equations():
    rng = np.random.default_rng(7)
    item = np.repeat(np.arange(40), np.arange(40) % 8)  # 0 to 7 ratings each
    X = np.column_stack([rng.integers(0, 25, item.size), item])
    y, weight = rng.normal(size=item.size), rng.integers(0, 3, item.size)
    for given in (None, weight):
        for factors in (1, 12):
            how = {"max_iter": 2, "tol": 0.0}
            few = MatrixFactorization(factors, solver="memory", **how).fit(X, y, sample_weight=given)
            plain = MatrixFactorization(factors, solver="passes", **how).fit(X, y, sample_weight=given)
            np.testing.assert_allclose(few.item_factors_, plain.item_factors_, atol=1e-4)
            np.testing.assert_allclose(few.item_bias_, plain.item_bias_, atol=1e-4)
            assert few.loss_ == pytest.approx(plain.loss_, rel=1e-4)


# rankings of implicit feedback --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clicks():
    with dbml.connect() as con:
        con.execute(
            """CREATE TABLE clicks AS SELECT u, 'i' || i AS i, 1 + hash(u, i) % 5 AS n
            FROM range(30) a(u), range(20) b(i) WHERE hash(i, u) % 4 = 0 OR (u + i) % 7 = 0"""
        )
        con.execute(
            """CREATE MODEL m OPTIONS (model_type = 'matrix_factorization', feedback_type = 'implicit', user_col = 'u',
            item_col = 'i', rating_col = 'n', num_factors = 3) AS FROM clicks"""
        )
        yield con


def rankings_by_hand(con, pairs):
    """Return the metrics from the whole matrix of predictions: scikit-learn's gain, the others from their sums."""
    model = con.load_model("m")
    scores = model.user_factors_.astype(float) @ model.item_factors_.astype(float).T
    ratings = np.zeros(scores.shape)
    for user, item, n in pairs:
        ratings[list(model.users_).index(user), list(model.items_).index(item)] += n
    precision, gain, weighted = [], [], 0.0
    for row, truth in zip(scores, ratings, strict=True):
        if not truth.any():
            continue
        places = np.empty(row.size)
        places[np.argsort(-row, kind="stable")] = np.arange(1, row.size + 1)
        came = np.sort(places[truth > 0])
        precision.append(np.mean(np.arange(1, came.size + 1) / came))
        gain.append(ndcg_score([truth], [row], ignore_ties=True))
        weighted += truth @ (places - 1) / (row.size - 1)
    known = ratings > 0
    error = np.mean((scores[known] - 1.0) ** 2)
    return np.mean(precision), error, np.mean(gain), weighted / ratings.sum()


METRICS = (
    "mean_average_precision",
    "mean_squared_error",
    "normalized_discounted_cumulative_gain",
    "average_rank",
)


def test_implicit_feedback_is_evaluated_by_rankings(clicks):
    found = clicks.sql("FROM ML.EVALUATE(MODEL m, TABLE clicks)")
    assert tuple(found.columns) == METRICS
    expected = rankings_by_hand(clicks, clicks.sql("SELECT u, i, n FROM clicks").fetchall())
    np.testing.assert_allclose(found.fetchall()[0], expected, rtol=1e-6)


def test_a_pair_that_comes_twice_is_one_pair_with_the_sum_of_both(clicks):
    once = clicks.sql("FROM ML.EVALUATE(MODEL m, (SELECT u, i, 2 * n AS n FROM clicks))").fetchall()
    twice = clicks.sql("FROM ML.EVALUATE(MODEL m, (FROM clicks UNION ALL FROM clicks))").fetchall()
    np.testing.assert_allclose(once[0], twice[0], rtol=1e-12)


def test_users_and_items_that_training_did_not_see_have_no_rank_but_an_error(clicks):
    query = "SELECT 999 AS u, 'i1' AS i, 3 AS n UNION ALL SELECT 1, 'new', 2 UNION ALL SELECT 1, NULL, 2"
    assert clicks.sql(f"FROM ML.EVALUATE(MODEL m, ({query}))").fetchall() == [(None, 1.0, None, None)]
    assert clicks.sql("FROM ML.EVALUATE(MODEL m, (FROM clicks LIMIT 0))").fetchall() == [(None,) * 4]


def test_metrics_of_held_out_pairs_are_those_of_the_rows(clicks):
    clicks.execute(
        """CREATE OR REPLACE MODEL held OPTIONS (model_type = 'matrix_factorization', feedback_type = 'implicit',
        user_col = 'u', item_col = 'i', rating_col = 'n', num_factors = 3, data_split_method = 'CUSTOM',
        data_split_col = 'out') AS SELECT *, (u + substr(i, 2)::INTEGER) % 5 = 0 AS out FROM clicks"""
    )
    stored = clicks.sql("FROM ML.EVALUATE(MODEL held)").fetchall()
    rows = "SELECT u, i, n FROM clicks WHERE (u + substr(i, 2)::INTEGER) % 5 = 0"
    np.testing.assert_allclose(stored, clicks.sql(f"FROM ML.EVALUATE(MODEL held, ({rows}))").fetchall(), rtol=1e-12)


def test_explicit_feedback_is_evaluated_like_any_regression(clicks):
    clicks.execute(
        """CREATE OR REPLACE MODEL stars OPTIONS (model_type = 'matrix_factorization', user_col = 'u', item_col = 'i',
        rating_col = 'n', num_factors = 2) AS FROM clicks"""
    )
    assert "r2_score" in clicks.sql("FROM ML.EVALUATE(MODEL stars, TABLE clicks)").columns


def test_evaluation_needs_the_ratings(clicks):
    with pytest.raises(UnknownName, match=r"model 'm' needs a column 'n' \(the label\)"):
        clicks.sql("FROM ML.EVALUATE(MODEL m, (SELECT u, i FROM clicks))")


def test_a_text_is_no_user_where_users_are_numbers():
    model = MatrixFactorization(2).fit([[1, 1], [1, 2], [2, 1]], [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(model.recommend(["nobody"], 1)[0], model.recommend([99], 1)[0])
