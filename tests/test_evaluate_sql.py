"""Metrics in SQL against scikit-learn's, ties, one class and no rows included."""

import duckdb
import numpy as np
import pytest
from dbml_sql.evaluate import confusion_matrix, evaluate_binary, evaluate_classes, evaluate_regression, roc_curve
from sklearn import metrics

LABELS = {"BOOLEAN": (False, True), "VARCHAR": ("no", "yes"), "INTEGER": (-1, 1)}


@pytest.fixture
def con():
    connection = duckdb.connect()
    yield connection
    connection.close()


def row(con, query):
    found = con.execute(query).fetchone()
    return dict(zip([column[0] for column in con.description], found, strict=True))


def scored(con, y, predicted, probabilities, classes, type_):
    """Make the table s of labels and predictions, as ML.PREDICT gives them."""
    con.execute(f'CREATE OR REPLACE TABLE s ("the y" {type_}, "predicted_the y" {type_}, p DOUBLE[])')
    listed = [None] * len(y) if probabilities is None else probabilities.tolist()
    con.executemany("INSERT INTO s VALUES (?, ?, ?)", list(zip(y, predicted, listed, strict=True)))
    items = ", ".join(f"{{'label': ?::{type_}, 'prob': p[{k + 1}]}}" for k in range(len(classes)))
    con.execute(f'CREATE OR REPLACE TABLE t AS SELECT *, [{items}] AS "predicted_the y_probs" FROM s', list(classes))


@pytest.mark.parametrize("type_", LABELS)
@pytest.mark.parametrize("ties", [1, 5, 1000])
def test_two_classes(con, type_, ties):
    rng = np.random.default_rng(ties)
    classes = LABELS[type_]
    p = np.round(rng.random(500) * ties) / ties if ties < 1000 else rng.random(500)
    truth = rng.random(500) < 0.2 + 0.6 * p
    y = [classes[int(t)] for t in truth]
    predicted = [classes[int(v)] for v in p > 0.5]
    scored(con, [*y, None], [*predicted, classes[0]], np.append(np.c_[1 - p, p], [[1, 0]], axis=0), classes, type_)
    found = row(con, evaluate_binary("t", "the y", type_, classes, True))
    options = {"pos_label": classes[1], "zero_division": 0}
    assert list(found) == ["precision", "recall", "accuracy", "f1_score", "log_loss", "roc_auc"]
    assert found["precision"] == pytest.approx(metrics.precision_score(y, predicted, **options))
    assert found["recall"] == pytest.approx(metrics.recall_score(y, predicted, **options))
    assert found["f1_score"] == pytest.approx(metrics.f1_score(y, predicted, **options))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(y, predicted))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(truth, p))
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, p))


def test_two_classes_without_probabilities(con):
    scored(con, ["no", "yes", "yes"], ["no", "yes", "no"], None, ("no", "yes"), "VARCHAR")
    found = row(con, evaluate_binary("t", "the y", "VARCHAR", ("no", "yes"), False))
    expected = {"precision": 1.0, "recall": 0.5, "accuracy": 2 / 3, "f1_score": 2 / 3}
    expected |= {"log_loss": None, "roc_auc": None}
    assert found == pytest.approx(expected)


def test_one_class_has_no_area_and_no_rows_have_no_metrics(con):
    scored(con, ["no", "no"], ["no", "no"], np.array([[0.9, 0.1], [0.8, 0.2]]), ("no", "yes"), "VARCHAR")
    found = row(con, evaluate_binary("t", "the y", "VARCHAR", ("no", "yes"), True))
    assert found["roc_auc"] is None
    assert (found["precision"], found["recall"], found["f1_score"], found["accuracy"]) == (0, 0, 0, 1)
    nothing = "(FROM t WHERE false)"
    for query in (
        evaluate_binary(nothing, "the y", "VARCHAR", ("no", "yes"), True),
        evaluate_classes(nothing, "the y", "VARCHAR", ("a", "b", "c"), True),
    ):
        assert set(row(con, query).values()) == {None}


@pytest.mark.parametrize("probabilities", [True, False])
def test_more_classes(con, probabilities):
    rng = np.random.default_rng(3)
    classes = ("a", "b", "c", "it's")
    p = rng.dirichlet(np.ones(4), size=600)
    p = np.round(p * 20) + 1
    p /= p.sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(4, p=row) for row in p])
    y = [classes[k] for k in truth]
    predicted = [classes[k] for k in p.argmax(axis=1)]
    scored(con, y, predicted, p, classes, "VARCHAR")
    found = row(con, evaluate_classes("t", "the y", "VARCHAR", classes, probabilities))
    measures = {"precision": metrics.precision_score, "recall": metrics.recall_score, "f1_score": metrics.f1_score}
    for name, measure in measures.items():
        assert found[name] == pytest.approx(measure(y, predicted, average="macro"))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(y, predicted))
    if probabilities:
        assert found["log_loss"] == pytest.approx(metrics.log_loss(y, p, labels=list(classes)))
        assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, p, multi_class="ovr"))
    else:
        assert found["log_loss"] is None and found["roc_auc"] is None


def test_a_label_that_training_did_not_see(con):
    y, predicted = ["a", "b", "new", "c"], ["a", "b", "c", "c"]
    scored(con, y, predicted, np.full((4, 3), 1 / 3), ("a", "b", "c"), "VARCHAR")
    found = row(con, evaluate_classes("t", "the y", "VARCHAR", ("a", "b", "c"), True))
    assert found["accuracy"] == 0.75
    assert found["recall"] == pytest.approx(metrics.recall_score(y, predicted, average="macro", zero_division=0))
    assert found["log_loss"] > 5


def test_a_label_that_training_did_not_see_is_neither_of_two_classes(con):
    y, predicted, p = ["no", "yes", "new", "yes"], ["no", "yes", "yes", "no"], np.array([0.2, 0.9, 0.8, 0.4])
    scored(con, y, predicted, np.c_[1 - p, p], ("no", "yes"), "VARCHAR")
    found = row(con, evaluate_binary("t", "the y", "VARCHAR", ("no", "yes"), True))
    loss = -np.log([0.8, 0.9, np.finfo(float).eps, 0.4]).mean()
    assert found == pytest.approx(
        {"precision": 0.5, "recall": 0.5, "accuracy": 0.5, "f1_score": 0.5, "log_loss": loss, "roc_auc": 1.0}
    )
    con.execute("""UPDATE t SET "the y" = "the y" || '.'""")
    found = row(con, evaluate_binary("t", "the y", "VARCHAR", ("no", "yes"), True))
    assert (found["accuracy"], found["recall"], found["roc_auc"]) == (0, 0, None)
    curve = con.execute(roc_curve("t", "the y", "VARCHAR", ("no", "yes"), "[0.5]")).fetchall()
    assert curve == [(0.5, None, None, 0, 0, 0, 0)]


@pytest.mark.parametrize("type_", ["VARCHAR", "DOUBLE", "BIGINT"])
@pytest.mark.parametrize("classes", [(1, 2, 3), (1, 2)])
def test_labels_of_another_type(con, classes, type_):
    write = evaluate_classes if len(classes) > 2 else evaluate_binary
    rng = np.random.default_rng(4)
    y, predicted = rng.choice(classes, 50).tolist(), rng.choice(classes, 50).tolist()
    scored(con, y, predicted, rng.dirichlet(np.ones(len(classes)), size=50), classes, "INTEGER")
    cast = f"""(SELECT * REPLACE(CAST("the y" AS {type_}) AS "the y") FROM t)"""
    expected = row(con, write("t", "the y", "INTEGER", classes, True))
    assert row(con, write(cast, "the y", "INTEGER", classes, True)) == pytest.approx(expected)
    other = """(SELECT * REPLACE("the y" || 'th' AS "the y") FROM t)"""
    assert row(con, write(other, "the y", "INTEGER", classes, True))["accuracy"] == 0


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_regression(con, offset):
    rng = np.random.default_rng(0)
    y = rng.gamma(2.0, size=1001) + offset
    p = y + rng.normal(size=1001) * 0.3 + 0.1
    p = np.maximum(p, offset + 0.01)
    con.execute('CREATE TABLE t ("y" DOUBLE, "predicted_y" DOUBLE)')
    con.executemany("INSERT INTO t VALUES (?, ?)", [*np.c_[y, p].tolist(), (None, 1.0)])
    found = row(con, evaluate_regression("t", "y"))
    expected = {
        "mean_absolute_error": metrics.mean_absolute_error(y, p),
        "mean_squared_error": metrics.mean_squared_error(y, p),
        "mean_squared_log_error": metrics.mean_squared_log_error(y, p),
        "median_absolute_error": metrics.median_absolute_error(y, p),
        "r2_score": metrics.r2_score(y, p),
        "explained_variance": metrics.explained_variance_score(y, p),
    }
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, rel=1e-6)
    con.execute("INSERT INTO t VALUES (-5, 1)")
    assert row(con, evaluate_regression("t", "y"))["mean_squared_log_error"] is None
    assert row(con, evaluate_regression("(SELECT 1.0 AS y, 2.0 AS predicted_y)", "y"))["r2_score"] is None


def test_confusion_matrix(con):
    rng = np.random.default_rng(1)
    classes = ("a", "A", "")
    y, predicted = rng.choice(classes, 200).tolist(), rng.choice(classes, 200).tolist()
    scored(con, y, predicted, None, classes, "VARCHAR")
    found = con.execute(confusion_matrix("t", "the y", "VARCHAR", classes)).fetchall()
    assert [column[0] for column in con.description] == ["expected_label", "a", "A_2", "(empty)"]
    expected = metrics.confusion_matrix(y, predicted, labels=list(classes))
    assert found == [(name, *map(int, counts)) for name, counts in zip(classes, expected, strict=True)]


def test_rows_of_a_confusion_matrix_are_in_the_order_of_its_columns(con):
    con.execute("CREATE TYPE size AS ENUM ('small', 'medium', 'large')")
    con.execute("CREATE TABLE t AS SELECT unnest(['large', 'medium', 'small'])::size AS y")
    rows = "(SELECT y, y::VARCHAR AS predicted_y FROM t)"
    found = con.execute(confusion_matrix(rows, "y", "VARCHAR", ("large", "medium", "small"))).fetchall()
    assert found == [("large", 1, 0, 0), ("medium", 0, 1, 0), ("small", 0, 0, 1)]


def test_roc_curve(con):
    rng = np.random.default_rng(2)
    p = np.round(rng.random(300), 1)
    truth = (rng.random(300) < p).tolist()
    scored(con, truth, (p > 0.5).tolist(), np.c_[1 - p, p], (False, True), "BOOLEAN")
    names = "threshold, recall, false_positive_rate, true_positives, false_positives, true_negatives, false_negatives"
    found = con.execute(roc_curve("t", "the y", "BOOLEAN", (False, True), None)).fetchall()
    assert [column[0] for column in con.description] == names.split(", ")
    rates, recalls, thresholds = metrics.roc_curve(truth, p, drop_intermediate=False)
    np.testing.assert_allclose([r[:3] for r in found], np.c_[thresholds, recalls, rates][1:])
    given = con.execute(roc_curve("t", "the y", "BOOLEAN", (False, True), "[0.25, 2]")).fetchall()
    positive, n = sum(truth), len(truth)
    above = sum(t for t, v in zip(truth, p, strict=True) if v >= 0.25)
    wrong = int((p >= 0.25).sum()) - above
    expected = [(2.0, 0.0, 0.0, 0, 0, n - positive, positive)]
    expected.append(
        (0.25, above / positive, wrong / (n - positive), above, wrong, n - positive - wrong, positive - above)
    )
    assert given == expected
