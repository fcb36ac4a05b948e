"""Trees as SQL give what the kernels give, whatever the values of a row."""

import numpy as np
import pytest
from dbml_sql.decision_table import decision_table
from dbml_sql.features import Encoding, Feature
from dbml_sql.forms import Branch, Split, Tree, TreeForm
from dbml_sql.macros import create_macros, scored_query
from dbml_sql.score import predictors_of, too_large
from random_trees import random_trees
from test_arrow_encoder import NASTY, REAL, SHARED

from dbml.estimators.trees.form import tree_form
from dbml.estimators.trees.model import TreeClassifier, TreeRegressor
from dbml.passes.dispatch import as_data
from dbml.passes.schema import Schema, Target


def kernel_sums(data, trees, baseline):
    """Return the sums of all rows by the kernels, shape (n, n_outputs)."""

    def by_block(block):
        out = np.tile(baseline, (block.n_rows, 1))
        trees.add_to(block, out)
        return out

    return np.concatenate(list(data.map(by_block, purpose="predict")))


def grid_of(data):
    """Return thresholds among the values of the rows."""
    values = np.concatenate([block[np.isfinite(block)] for block in data.map(lambda b: b.X.ravel().copy())])
    return np.unique(np.quantile(values, np.linspace(0, 1, 99))) if values.size else None


SHAPES = {
    "symmetric": {"depth": 6, "symmetric": True},
    "deep": {"depth": 7},
    "shallow": {"depth": 2},
    "stumps and constants": {"depth": 1},
    "constants": {"depth": 0},
    "several outputs": {"depth": 5, "n_outputs": 3},
    "vectors": {"depth": 5, "n_values": 3},
    "vectors in tables": {"depth": 4, "n_values": 3, "symmetric": True},
}


def assert_agree(relation, schema, shape, seed=0, n_trees=6):
    """Compare the outputs of random trees over some rows."""
    data = as_data(relation, schema=schema, encode="values")
    encoding = data.schema.encoding
    trees = random_trees(encoding, n_trees=n_trees, seed=seed, grid=grid_of(data), **shape)
    baseline = np.random.default_rng(seed).normal(size=trees.n_outputs)
    form = tree_form(trees, baseline, "identity")
    etas = predictors_of(form, encoding)
    listed = ", ".join(f"{eta} AS e{k}" for k, eta in enumerate(etas))
    found = np.stack([column.to_numpy() for column in relation.project(listed).to_arrow_table().columns], axis=1)
    expected = kernel_sums(data, trees, baseline)
    np.testing.assert_array_equal(found, expected)  # few trees are summed in the same order: the same bits


@pytest.mark.parametrize("shape", SHAPES)
def test_nasty_rows(raw, shape):
    relation = raw.sql(f"SELECT * EXCLUDE (idx, val, m) FROM ({NASTY})")
    for seed in range(2):
        assert_agree(relation, None, SHAPES[shape], seed)


@pytest.mark.parametrize("name", REAL.split())
def test_real_tables(raw, name):
    path = SHARED / f"{name}.parquet"
    if not path.exists():
        pytest.skip("../shared/data is absent")
    # Levels of the first rows only: the others have unseen ones.
    schema = as_data(raw.sql(f"SELECT * FROM '{path}' LIMIT 10000"), encode="values").schema
    rows = raw.sql(f"SELECT * FROM '{path}' LIMIT 12000")
    for shape in ("symmetric", "deep", "vectors"):
        assert_agree(rows, schema, SHAPES[shape])


# models ----------------------------------------------------------------------------------------------------------

TWO, THREE = ("no", "it's"), (1, 2, 30)
MODELS = {
    "identity": (TreeRegressor, None, {}),
    "log": (TreeRegressor, None, {}),
    "logistic": (TreeClassifier, TWO, {}),
    "softmax": (TreeClassifier, THREE, {"n_outputs": 3}),
    "probability": (TreeClassifier, TWO, {"n_values": 2}),
    "probability of three": (TreeClassifier, THREE, {"n_values": 3}),
}


def model_of(data, kind, **shape):
    """Return a fitted model of random trees."""
    base, classes, outputs = MODELS[kind]
    model = base()
    model.trees_ = random_trees(data.schema.encoding, grid=grid_of(data), **outputs, **shape)
    model.link_ = kind.split()[0]
    model.baseline_ = np.linspace(-0.5, 0.5, model.trees_.n_outputs)
    if model.link_ == "probability":
        values = np.abs(model.trees_.value)
        model.trees_.value[:] = values / values.sum(axis=1, keepdims=True) / model.trees_.n_trees
        model.baseline_[:] = 0.0
    type_ = "DOUBLE" if classes is None else "VARCHAR" if classes is TWO else "INTEGER"
    model.schema_ = Schema(data.schema.encoding, Target("y", type_, classes), True)
    model._name_features(model.schema_)
    return model


@pytest.mark.parametrize("shape", [{"symmetric": True, "depth": 4}, {"depth": 4}], ids=["symmetric", "deep"])
@pytest.mark.parametrize("kind", MODELS)
def test_macros(raw, kind, shape):
    raw.execute(f"CREATE TABLE t AS SELECT * EXCLUDE (idx, val, m) FROM ({NASTY})")
    data = as_data(raw.table("t"), encode="values")
    model = model_of(data, kind, n_trees=36, **shape)
    schema, classes = model.schema_, model.schema_.target.classes
    raw.execute("CREATE SCHEMA ml")
    for statement in create_macros("m", model.query_form(), schema.encoding, schema.target):
        raw.execute(statement)
    columns = ", ".join(f'"{column}"' for column in schema.encoding.columns)
    scored = raw.sql("FROM ml.predict_m(t)")
    assert scored.columns[: len(raw.table("t").columns)] == raw.table("t").columns
    listed = "NULL" if classes is None else "list_transform(predicted_y_probs, lambda p: p.prob)"
    in_table, probable = zip(*scored.project(f"predicted_y, {listed}").fetchall(), strict=True)
    in_row = tuple(row[0] for row in raw.sql(f"SELECT ml.predict_m({columns}) FROM t").fetchall())
    if classes is None:
        expected = np.concatenate(list(data.map(model._predict_block, purpose="predict")))
        np.testing.assert_allclose(in_table, expected, rtol=1e-9)
        np.testing.assert_allclose(in_row, expected, rtol=1e-9)
        return
    codes = np.concatenate(list(data.map(model._class_block, purpose="predict")))
    assert in_table == in_row == tuple(classes[code] for code in codes)
    expected = np.concatenate(list(data.map(model._proba_block, purpose="predict")))
    np.testing.assert_allclose(probable, expected, rtol=1e-9, atol=1e-12)
    found = [list(row[0].values()) for row in raw.sql(f"SELECT ml.predict_proba_m({columns}) FROM t").fetchall()]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    if len(classes) == 2:
        above = [row[0] for row in raw.sql(f"SELECT ml.predict_m({columns}, threshold := 0.7) FROM t").fetchall()]
        assert above == [classes[int(p > 0.7)] for p in expected[:, 1]]


def test_a_tie_between_two_classes_is_broken_as_in_the_kernels(raw):
    """Half of the trees say one class, half the other: sums of tenths in another order are not all a half."""
    raw.execute("CREATE TABLE t AS SELECT random() - 0.5 AS a, random() - 0.5 AS b FROM range(2000)")
    data = as_data(raw.table("t"), encode="values")
    model = model_of(data, "probability", n_trees=50, depth=3, symmetric=True)
    model.trees_.value[:, 1] = model.trees_.value[:, 0] > np.median(model.trees_.value[:, 0])
    model.trees_.value[:, 0] = 1.0 - model.trees_.value[:, 1]
    model.trees_.value[:] /= 50
    query = scored_query("dbml_rows", model.form(), model.schema_.encoding, model.schema_.target, "5e-1")
    found = [row[0] for row in raw.table("t").query("dbml_rows", f"SELECT predicted_y FROM ({query})").fetchall()]
    codes = np.concatenate(list(data.map(model._class_block, purpose="predict")))
    assert found == [TWO[code] for code in codes]


# shapes ----------------------------------------------------------------------------------------------------------

NUMBERS = Encoding((Feature("a", "DOUBLE", "number", style="values"), Feature("b", "DOUBLE", "number", style="values")))


def ask(term, threshold, left, right, missing_left=False):
    return Branch(Split(term, threshold, None, missing_left), left, right)


def test_a_tree_of_two_questions_is_a_table_of_four():
    root = ask(0, 1.0, ask(1, 2.0, (10.0,), (20.0,)), ask(1, 2.0, (30.0,), (40.0,)))
    table = decision_table(root, 2)
    assert [split.term for split in table.splits] == [0, 1]
    assert table.leaves == ((10.0,), (30.0,), (20.0,), (40.0,))
    assert decision_table(root, 1) is None


def test_symmetric_trees_are_lookups_and_others_conditions():
    symmetric, other = (
        tree_form(random_trees(NUMBERS, n_trees=1, depth=9, symmetric=way), np.zeros(1), "identity")
        for way in (True, False)
    )
    assert "CASE WHEN isfinite" in predictors_of(symmetric, NUMBERS)[0]
    assert "<=" not in predictors_of(symmetric, NUMBERS)[0]
    assert "<=" in predictors_of(other, NUMBERS)[0]


def test_trees_that_are_too_deep_or_large_are_refused():
    root = (1.0,)
    for number in range(300):
        root = ask(0, float(number), root, (2.0,))
    assert too_large(TreeForm((Tree(0, root),), (0.0,), "identity"), NUMBERS) == (
        "a tree of depth 300; native SQL holds 200"
    )
    sparse = Encoding((Feature("m", "MAP(VARCHAR, DOUBLE)", "map", levels=("k",), style="values"),))
    asks_sparse = TreeForm((Tree(0, ask(0, 1.0, (1.0,), (2.0,))),), (0.0,), "identity")
    assert "sparse rows" in too_large(asks_sparse, sparse)


def test_thresholds_at_the_ends_of_the_numbers(raw):
    """Infinite thresholds tell only what is missing; a negative zero is a zero."""
    raw.execute("CREATE TABLE t (a DOUBLE, b DOUBLE)")
    raw.execute("INSERT INTO t VALUES (1e308, 0.0), (NULL, -0.0), ('nan', 5e-324), ('-inf', -1e308), ('inf', NULL)")
    data = as_data(raw.table("t"), encode="values")
    for threshold in (np.inf, -np.inf, -0.0, 0.0, 1.7976931348623157e308):
        for shape in ("deep", "symmetric"):
            trees = random_trees(data.schema.encoding, n_trees=5, grid=[threshold], **SHAPES[shape])
            form = tree_form(trees, np.zeros(1), "identity")
            found = raw.table("t").project(predictors_of(form, data.schema.encoding)[0]).fetchall()
            np.testing.assert_array_equal(found, kernel_sums(data, trees, np.zeros(1)))


@pytest.mark.parametrize(
    ("shape", "native"),
    [
        ({"n_trees": 3, "depth": 5}, True),
        ({"n_trees": 100, "depth": 6, "symmetric": True}, True),
        ({"n_trees": 300, "depth": 7}, False),
        ({"n_trees": 3, "depth": 5, "n_values": 20}, False),
        ({"n_trees": 2, "depth": 0}, True),
    ],
)
def test_native_where_it_is_not_slower_than_the_function(shape, native):
    model = TreeRegressor()
    model.trees_, model.baseline_, model.link_ = random_trees(NUMBERS, **shape), np.zeros(1), "identity"
    model.schema_ = Schema(NUMBERS, Target("y", "DOUBLE", None))
    assert (model.form() is not None) == native
    assert len(model.query_form().trees) == shape["n_trees"]
