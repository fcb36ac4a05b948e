"""Isolation forest: scores beside scikit-learn's, missing values and categories, draws, ML.DETECT_ANOMALIES."""

import numpy as np
import pyarrow as pa
import pytest
from dbml_kernels.forest_isolate import isolation_grow, path_length
from sklearn import ensemble
from sklearn.metrics import roc_auc_score

import dbml
from dbml import IsolationForest
from dbml.engine.local import LocalEngine
from dbml.errors import DbmlError, ExhaustedMemory, InvalidParameter, StatementError
from dbml.passes.engine import using
from dbml.passes.memory import memory_limited


def planted(n=2_000, seed=0):
    """A cloud, and one row in twenty from far around it."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    odd = np.arange(n) % 20 == 0
    X[odd] = rng.uniform(-6, 6, (odd.sum(), 4))
    return X, odd


def test_scores_are_those_of_scikit_learn_but_for_the_draws():
    X, odd = planted()
    ours, theirs = (
        IsolationForest(n_estimators=300).fit(X),
        ensemble.IsolationForest(n_estimators=300, random_state=0).fit(X),
    )
    found, expected = ours.score_samples(X), theirs.score_samples(X)
    assert np.corrcoef(found, expected)[0, 1] > 0.99
    assert found.mean() == pytest.approx(expected.mean(), abs=0.01)
    assert roc_auc_score(odd, -found) == pytest.approx(roc_auc_score(odd, -expected), abs=0.01)
    assert ours.max_samples_ == theirs.max_samples_ == 256
    assert ours.offset_ == theirs.offset_ == -0.5
    np.testing.assert_array_equal(ours.predict(X) < 0, ours.decision_function(X) < 0)
    np.testing.assert_allclose(ours.decision_function(X), found - ours.offset_)


def test_a_tree_tells_rows_apart_by_values_between_them():
    X = np.array([[0.0], [1.0], [8.0], [9.0]])
    nodes, thresholds, lengths = np.empty((8, 6), np.int32), np.empty(8), np.empty(8)
    n = isolation_grow(X, np.arange(1), np.uint64(3), 10, nodes, thresholds, lengths)
    assert n == 7
    leaves = nodes[:n, 1] < 0
    assert (nodes[:n, 3] - nodes[:n, 2])[leaves].tolist() == [1] * 4
    assert lengths[:n][leaves].tolist() == nodes[:n, 4][leaves].tolist()
    assert ((thresholds[:n][~leaves] >= 0.0) & (thresholds[:n][~leaves] < 9.0)).all()
    shallow = isolation_grow(X, np.arange(1), np.uint64(3), 1, nodes, thresholds, lengths)
    rows = nodes[1:shallow, 3] - nodes[1:shallow, 2]
    assert lengths[1:shallow].tolist() == [1.0 + path_length(k) for k in rows]


def test_path_lengths_are_those_of_the_paper():
    harmonic = np.cumsum(1.0 / np.arange(1, 1_000))
    assert [path_length(n) for n in (0, 1, 2)] == [0.0, 0.0, 1.0]
    assert path_length(256) == pytest.approx(2 * harmonic[254] - 2 * 255 / 256, abs=5e-3)


def test_contamination_is_a_share_of_the_training_rows():
    X, odd = planted()
    model = IsolationForest(contamination=0.05).fit(X)
    flagged = model.predict(X) == -1
    assert flagged.mean() == pytest.approx(0.05, abs=1e-3)
    assert odd[flagged].mean() > 0.7
    assert (model.fit_predict(X) == model.predict(X)).all()


def test_missing_values_and_rare_levels_are_odd():
    rng = np.random.default_rng(0)
    x = rng.normal(size=1_000)
    x[:5] = np.nan
    level = np.where(np.arange(1_000) % 2, "common", "usual")
    level[10:15] = [f"rare {k}" for k in range(5)]
    table = pa.table({"x": x, "level": level})
    scores = -IsolationForest(n_estimators=200).fit(table).score_samples(table)
    typical = np.median(scores)
    assert np.mean(scores[:5]) > typical
    assert np.mean(scores[10:15]) > typical


def test_rows_without_weight_are_never_drawn_and_heavy_ones_more_often():
    X = np.append(np.linspace(0.0, 1.0, 400), 50.0).reshape(-1, 1)
    weight = np.append(np.ones(400), 0.0)
    model = IsolationForest().fit(X, sample_weight=weight)
    assert np.nanmax(model.trees_.threshold) <= 1.0
    heavy = np.append(np.ones(400), 4_000.0)
    few = {"max_samples": 8, "n_estimators": 200, "bootstrap": True}
    even, often = (IsolationForest(**few).fit(X, sample_weight=w).score_samples([[50.0]])[0] for w in (None, heavy))
    assert often > even + 0.1


@pytest.mark.parametrize(("value", "expected"), [("auto", 256), (64, 64), (0.5, 200), (1_000, 400), (1, 1)])
def test_rows_of_a_tree(value, expected):
    model = IsolationForest(n_estimators=3, max_samples=value).fit(np.random.default_rng(0).normal(size=(400, 3)))
    assert model.max_samples_ == expected
    assert model.trees_.weight[model.trees_.roots[:-1]].tolist() == [expected] * 3
    assert np.isfinite(model.score_samples(np.zeros((2, 3)))).all()


def test_columns_of_a_tree():
    X, _ = planted(400)
    model = IsolationForest(n_estimators=20, max_features=2).fit(X)
    trees = model.trees_
    tested = [set(trees.term[trees.roots[t] : trees.roots[t + 1]]) - {-1} for t in range(20)]
    assert max(map(len, tested)) == 2
    assert set().union(*tested) == {0, 1, 2, 3}


def test_a_seed_gives_a_forest_for_any_number_of_threads_and_blocks():
    X, _ = planted(30_000)
    models = []
    for threads in (1, 7):
        with using(LocalEngine(threads)):
            models.append(IsolationForest().fit(X))
    for name, array in models[0].trees_.arrays().items():
        assert array.tobytes() == models[1].trees_.arrays()[name].tobytes(), name
    assert IsolationForest(random_state=1).fit(X).trees_.threshold[0] != models[0].trees_.threshold[0]


def test_more_thresholds_than_a_walk_holds():
    X = np.random.default_rng(0).normal(size=(2_000, 1))
    model = IsolationForest(n_estimators=200, max_samples=2_000).fit(X)
    assert np.unique(model.trees_.threshold).size > 65_536
    whole, total, trees = -np.log2(-model.score_samples(X)), 0.0, model.trees_
    for first in range(0, 200, 20):
        model.trees_ = trees.take(slice(first, first + 20))
        total -= np.log2(-model.score_samples(X))
    np.testing.assert_allclose(whole, total, rtol=1e-12)


def test_rows_that_do_not_fit_are_refused():
    with memory_limited("64MiB"), pytest.raises(ExhaustedMemory, match=r"IsolationForest: the rows of 100 trees take"):
        IsolationForest(max_samples=1.0).fit(np.zeros((60_000, 40)) + np.arange(60_000)[:, None])


@pytest.mark.parametrize(("name", "value"), [("contamination", 0.6), ("contamination", 0.0), ("max_samples", "all")])
def test_parameters_that_make_no_sense_are_refused(name, value):
    with pytest.raises(InvalidParameter, match=f"IsolationForest: {name} must be .*; got {value!r}"):
        IsolationForest(**{name: value}).fit(planted(50)[0])


# SQL -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def con():
    with dbml.connect() as con:
        con.execute(
            """CREATE TABLE t AS SELECT i AS id, sin(i) AS a, i % 7 AS b FROM range(1000) r(i)
            UNION ALL SELECT 1000, 30.0, 70"""
        )
        con.execute("CREATE MODEL m OPTIONS (model_type = 'isolation_forest') AS SELECT a, b FROM t")
        con.execute(
            "CREATE MODEL linear OPTIONS (model_type = 'linear_reg', input_label_cols = ['b']) AS SELECT a, b FROM t"
        )
        yield con


def test_anomalies_in_sql_are_those_in_python(con):
    model = con.load_model("m")
    rows = con.execute(
        "FROM ML.DETECT_ANOMALIES(MODEL m, STRUCT(0.1 AS contamination), TABLE t) ORDER BY id"
    ).fetchall()
    assert [row[:3] for row in rows[-1:]] == [(1000, 30.0, 70)]
    scores = -model.score_samples(con.table("t").project("a, b").fetchdf().to_numpy())
    np.testing.assert_allclose([row[4] for row in rows], scores, rtol=1e-12)
    assert rows[-1][3] is True and rows[-1][4] == max(row[4] for row in rows)
    assert sum(row[3] for row in rows) == pytest.approx(100, abs=5)


def test_without_an_option_the_training_decides(con):
    flagged = "SELECT count(*) FILTER (is_anomaly) FROM ML.DETECT_ANOMALIES(MODEL {}, TABLE t)"
    con.execute(
        """CREATE MODEL few OPTIONS (model_type = 'isolation_forest', contamination = 0.02, num_parallel_tree = 50) AS
        SELECT a, b FROM t"""
    )
    assert con.execute(flagged.format("few")).fetchone()[0] == pytest.approx(20, abs=3)
    model = con.load_model("few")
    scored = model.predict(con.table("t"))
    assert scored.columns == ["id", "a", "b", "prediction"]
    negative = scored.filter("prediction = -1").aggregate("count(*)").fetchall()
    assert negative == con.execute(flagged.format("few")).fetchall()
    assert model.score_samples(con.table("t")).columns[-1] == "score_samples"
    query = "FROM ML.DETECT_ANOMALIES(MODEL few, (SELECT a, b FROM t WHERE id = 1000), {'contamination': 0.5})"
    assert con.execute(query).fetchone()[2] is True


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "FROM ML.DETECT_ANOMALIES(MODEL m, STRUCT(0.7 AS contamination), TABLE t)",
            "contamination must be a number > 0",
        ),
        ("FROM ML.DETECT_ANOMALIES(MODEL m, STRUCT(0.1 AS share), TABLE t)", r"no option share here \(options: contam"),
        ("FROM ML.DETECT_ANOMALIES(MODEL m)", "expected rows after the model: TABLE name or"),
        (
            "FROM ML.DETECT_ANOMALIES(MODEL m, (SELECT a FROM t))",
            "model 'm' needs a column 'b', which the rows do not have",
        ),
        ("FROM ML.PREDICT(MODEL m, TABLE t)", r"m predicts no label. Hint: FROM ML.DETECT_ANOMALIES\(MODEL"),
        ("FROM ML.EVALUATE(MODEL m, TABLE t)", "m predicts no label"),
        (
            "SELECT dbml_detect_anomalies('linear', 1.0, NULL)",
            "model 'linear' is a LinearRegression, which finds no anomalies",
        ),
        ("FROM ML.DETECT_ANOMALIES(MODEL linear, TABLE t)", "linear predicts b and finds no anomalies"),
    ],
)
def test_wrong_calls_say_what_is_right(con, query, message):
    with pytest.raises((DbmlError, StatementError), match=message):
        con.execute(query).fetchall()
