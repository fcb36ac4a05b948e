"""Model files of LightGBM and XGBoost: the predictions are those of the library, wherever they are asked for."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dbml
from dbml.cli import OK, USAGE_ERROR, USER_ERROR, run
from dbml.errors import InvalidParameter, NotFitted
from dbml.estimators.discovery import estimators, model_types
from dbml.estimators.trees.imported import ImportedTreesClassifier, ImportedTreesRegressor
from dbml.imports import Wishes, imported_model, read_dump
from dbml.imports.dump import Dump, DumpFeature, DumpTree
from dbml.imports.xgboost import at_most

FILES = Path(__file__).parent / "data" / "imports"

# file: classes in the library's order
MODELS = {
    "lightgbm_binary.txt": ("stays", "leaves"),
    "lightgbm_zero.txt": None,
    "lightgbm_codes.txt": None,
    "lightgbm_forest.json": ("gold", "silver", "bronze"),
    "lightgbm_gamma.json": None,
    "xgboost_binary.json": ("stays", "leaves"),
    "xgboost_three.ubj": ("gold", "silver", "bronze"),
    "xgboost_dart.json": None,
    "xgboost_vector.json": ("gold", "silver", "bronze"),
}
# LightGBM adds doubles, in the same order. XGBoost adds floats: its own sums are off by their rounding.
TOLERANCE = {"lightgbm": 1e-9, "xgboost": 2e-6}


@pytest.fixture(scope="module")
def customers():
    """The rows, with what each library predicts for them."""
    options = pa.csv.ConvertOptions(strings_can_be_null=True, null_values=[""])
    return pa.csv.read_csv(FILES / "customers.csv", convert_options=options)


def expected(customers, file):
    """Return the predictions of the library: (n,), or (n, n_classes) in the order of the sorted labels."""
    stem = file.partition(".")[0]
    if MODELS[file] is None:
        return customers.column(stem).to_numpy()
    if len(MODELS[file]) == 2:
        second = customers.column(stem).to_numpy()
        by_class = np.column_stack([1 - second, second])
    else:
        by_class = np.column_stack([customers.column(f"{stem}_{k}").to_numpy() for k in range(3)])
    return by_class[:, np.argsort(MODELS[file])]


def opened(file, **wishes):
    model = read_dump((FILES / file).read_bytes(), repr(file))
    return imported_model(model, repr(file), Wishes(**{"target": "outcome", "classes": MODELS[file], **wishes}))


@pytest.mark.parametrize("file", MODELS)
def test_predictions_are_those_of_the_library(file, customers):
    model = opened(file)
    found = model.predict(customers) if MODELS[file] is None else model.predict_proba(customers)
    np.testing.assert_allclose(found, expected(customers, file), rtol=TOLERANCE[file.partition("_")[0]], atol=1e-12)
    if MODELS[file] is not None:
        assert list(model.classes_) == sorted(MODELS[file])
        best = np.sort(MODELS[file])[expected(customers, file).argmax(axis=1)]
        assert list(model.predict(customers)) == list(best)


@pytest.mark.parametrize("file", MODELS)
def test_all_ways_to_score_agree_and_nothing_changes_by_saving(file, customers, database):
    with dbml.connect(database) as con:
        con.import_model("m", FILES / file, target="outcome", classes=MODELS[file])
    with dbml.connect(database) as con:
        con.register("given", customers)
        con.execute("CREATE TABLE customers AS FROM given")
        con.unregister("given")
        model = con.load_model("m")
        before = opened(file)
        assert type(model) is type(before)
        for name, array in before.trees_.arrays().items():
            np.testing.assert_array_equal(getattr(model.trees_, name), array)
        python = model.predict(customers)
        np.testing.assert_array_equal(before.predict(customers), python)
        label = "predict_label" if MODELS[file] else "predict"
        asked = [
            f"SELECT {label}('m', c) FROM customers c",
            "SELECT predicted_outcome FROM ML.PREDICT(MODEL m, TABLE customers)",
            "SELECT predict('m', c) FROM customers c",
        ]
        for query in asked:
            rows = [row[0] for row in con.sql(query).fetchall()]
            if MODELS[file]:
                assert rows == list(python), query
            else:
                np.testing.assert_allclose(rows, python, rtol=1e-9, err_msg=query)
        if MODELS[file]:
            probabilities = con.sql("SELECT predict_proba('m', c) FROM customers c").fetchall()
            listed = [[row[0][name] for name in model.classes_] for row in probabilities]
            np.testing.assert_allclose(listed, model.predict_proba(customers), rtol=1e-9)
        else:
            scored = "(SELECT *, predict('m', c) AS outcome FROM customers c)"
            metrics = con.sql(f"SELECT r2_score, mean_absolute_error FROM ML.EVALUATE(MODEL m, {scored})").fetchall()
            assert metrics == [(1.0, pytest.approx(0.0, abs=1e-12))]


def test_an_imported_model_is_a_full_citizen(customers, database):
    with dbml.connect(database) as con:
        con.register("given", customers)
        con.execute("CREATE TABLE customers AS SELECT *, lightgbm_binary > 0.5 AS gone FROM given")
        con.execute(
            f"CREATE MODEL churn OPTIONS (model_type = 'lightgbm', model_path = '{FILES / 'lightgbm_binary.txt'}', "
            "input_label_cols = ['gone'], classes = [false, true])"
        )
        assert con.sql("SELECT accuracy, roc_auc FROM ML.EVALUATE(MODEL churn, TABLE customers)").fetchall() == [(1, 1)]
        assert con.sql("SELECT name, type, target, features FROM ml.models").fetchall() == [
            ("churn", "ImportedTreesClassifier", "gone", ["age", "spent", "plan", "region", "height"])
        ]
        info = con.sql("SELECT input, kind, category_count FROM ML.FEATURE_INFO(MODEL churn)").fetchall()
        assert ("plan", "category", 4) in info
        assert ("region", "number", None) in info
        # Small enough for native SQL: a client without Python scores it.
        count = con.duckdb.sql("SELECT count(*) FROM ml.predict_churn(customers) WHERE predicted_gone").fetchall()
        assert count == [(int((customers.column("lightgbm_binary").to_numpy() > 0.5).sum()),)]
        model = con.load_model("churn")
        values = model.shap_values(customers)
        raw = model.decision_function(customers)
        np.testing.assert_allclose(values.sum(axis=1) + model.expected_value_, raw, rtol=1e-9)
        assert model.feature_importances_.sum() == pytest.approx(1)
        assert "LightGBM v4, 'lightgbm_binary.txt'" in str(model.explain())
        assert model.imported_from_["objective"] == "binary"
        con.execute(f"CREATE MODEL IF NOT EXISTS churn OPTIONS (model_path = '{FILES / 'xgboost_dart.json'}')")
        assert con.sql("SELECT version FROM ml.models").fetchall() == [(1,)]
        dart = FILES / "xgboost_dart.json"
        con.execute(f"CREATE OR REPLACE MODEL churn OPTIONS (model_type = 'XGBOOST', model_path = '{dart}')")
        assert con.sql("SELECT version, type FROM ml.models").fetchall() == [(2, "ImportedTreesRegressor")]


@pytest.mark.parametrize("kind", [ImportedTreesClassifier, ImportedTreesRegressor])
def test_an_imported_class_is_not_trained(kind):
    with pytest.raises(InvalidParameter, match=r"another library trained .* train HistGradientBoosting"):
        kind().fit([[1.0]], [1.0])
    with pytest.raises(NotFitted):
        kind().predict([[1.0]])
    assert kind.__name__ not in estimators()
    assert kind.__name__.lower() not in model_types()


def test_features_may_be_renamed_and_iterations_left_out(customers):
    renamed = customers.rename_columns([f"my {name}" for name in customers.column_names])
    whole = opened("xgboost_dart.json")
    mapped = opened("xgboost_dart.json", features={name: f"my {name}" for name in whole.feature_names_in_})
    listed = opened("xgboost_dart.json", features=[f"my {name}" for name in whole.feature_names_in_])
    for model in (mapped, listed):
        np.testing.assert_array_equal(model.predict(renamed), whole.predict(customers))
    assert opened("lightgbm_forest.json", iterations=2).trees_.n_trees == 6
    one = opened("lightgbm_zero.txt", iterations=1)
    assert one.trees_.n_trees == 1
    np.testing.assert_allclose(one.predict(customers), opened("lightgbm_zero.txt").predict(customers), atol=3)


def test_the_best_iteration_of_a_file_is_what_is_used(customers):
    text = (FILES / "xgboost_dart.json").read_text().replace('"attributes":{}', '"attributes":{"best_iteration":"1"}')
    dump = read_dump(text.encode(), "'m.json'")
    best = imported_model(dump, "'m.json'", Wishes())
    assert "2 in 2 of 6 iterations, because the file calls iteration 2 the best" in str(best.explain())
    np.testing.assert_array_equal(
        best.predict(customers), imported_model(dump, "'m.json'", Wishes(iterations=2)).predict(customers)
    )
    assert imported_model(dump, "'m.json'", Wishes(iterations=6)).trees_.n_trees == 6


def test_a_category_of_whole_numbers_is_found_in_columns_of_other_types(customers):
    model = opened("lightgbm_codes.txt")
    whole = model.predict(customers)
    at = customers.schema.get_field_index("region")
    for kind in (pa.float64(), pa.int8(), pa.string()):
        cast = customers.set_column(at, "region", customers.column("region").cast(kind))
        np.testing.assert_array_equal(model.predict(cast), whole)


def test_missing_and_unseen_values_go_where_the_library_sends_them():
    rows = {"age": [30.0] * 4, "spent": [5.0] * 4, "region": [1] * 4, "height": [1.7] * 4}
    table = pa.table({**rows, "plan": pa.array(["basic", "never seen", None, ""])})
    for file in ("lightgbm_binary.txt", "xgboost_binary.json"):
        model = opened(file)
        _, unseen, missing, empty = model.predict_proba(table)[:, 0]
        assert unseen == empty
        if file.startswith("lightgbm"):
            assert unseen == missing  # both go right at every category


# thresholds of floats ------------------------------------------------------------------------------------------------

singles = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=300)
@given(condition=singles, other=st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_threshold_splits_doubles_as_floats_do(condition, other):
    limit = at_most(np.array([condition]))[0]
    near = np.float32(condition)
    with np.errstate(over="ignore"):
        edges = [limit, other, float(near), *(float(np.nextafter(near, np.float32(to))) for to in (-np.inf, np.inf))]
        edges += [a / 2 + b / 2 for a in edges for b in edges]
        doubles = np.array([np.nextafter(e, to) for e in edges for to in (-np.inf, e, np.inf)])
    doubles = doubles[np.abs(doubles) <= np.finfo(np.float32).max]
    np.testing.assert_array_equal(doubles.astype(np.float32) < near, doubles <= limit)


@pytest.mark.parametrize("condition", [0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0, 3.4028235e38, 1.1754944e-38, 16777216.0])
def test_float_thresholds_at_the_borders(condition):
    limit = at_most(np.array([condition]))[0]
    near = np.float32(condition)
    assert np.float32(limit) < near
    assert not np.float32(np.nextafter(limit, np.inf)) < near


# zeros as missing values ---------------------------------------------------------------------------------------------

ZERO = float(np.float32(1e-35))


def walked(tree, row):
    """Return the leaf's value as LightGBM finds it: a zero or NaN goes the default way where zeros are missing."""
    node = 0
    while tree.left[node] >= 0:
        value = row[tree.feature[node]]
        if tree.zero_missing[node]:
            goes_left = tree.missing_left[node] if not abs(value) > ZERO else value <= tree.threshold[node]
        else:
            goes_left = tree.missing_left[node] if np.isnan(value) else value <= tree.threshold[node]
        node = tree.left[node] if goes_left else tree.right[node]
    return tree.value[node, 0]


def full_tree(rng, depth, n_features):
    n = 2 ** (depth + 1) - 1
    inner = np.arange(n) < 2**depth - 1
    return DumpTree(
        output=0,
        feature=rng.integers(0, n_features, n),
        threshold=rng.choice([-1.0, -1e-35, -ZERO, -1e-40, 0.0, 1e-40, ZERO, 1e-34, 0.5, 2.0], n),
        listed={},
        missing_left=rng.random(n) < 0.5,
        zero_missing=rng.random(n) < 0.7,
        left=np.where(inner, 2 * np.arange(n) + 1, -1),
        right=np.where(inner, 2 * np.arange(n) + 2, -1),
        value=rng.normal(size=(n, 1)),
        gain=np.ones(n),
        weight=np.ones(n),
    )


def dump_of(trees, n_features=3, **more):
    features = tuple(DumpFeature(f"x{k}") for k in range(n_features))
    rounds = tuple(range(1, len(trees) + 1))
    whole = Dump("LightGBM", "v4", "regression", "identity", 0, features, tuple(trees), rounds, (0.0,), True)
    return replace(whole, **more)


@pytest.mark.parametrize("seed", range(5))
def test_zeros_go_the_way_of_missing_values(seed):
    rng = np.random.default_rng(seed)
    trees = [full_tree(rng, depth, 3) for depth in (1, 2, 5)]
    model = imported_model(dump_of(trees), "'m'", Wishes())
    values = [np.nan, 0.0, -0.0, ZERO, -ZERO, 1e-36, -1e-36, 1.1e-35, -1.1e-35, 0.3, -0.3, 1.0, -2.0, 3.0]
    rows = rng.choice(values, (500, 3))
    expected = [sum(walked(tree, row) for tree in trees) for row in rows]
    np.testing.assert_allclose(model.predict(rows), expected, rtol=1e-12)
    assert model.trees_.weight[model.trees_.roots[:-1]] == pytest.approx([2.0, 4.0, 32.0])


def test_trees_without_splits_are_a_constant():
    one = full_tree(np.random.default_rng(0), 0, 1)
    model = imported_model(dump_of([one, one]), "'m'", Wishes())
    np.testing.assert_allclose(model.predict(np.zeros((3, 3))), 2 * one.value[0, 0])
    assert not model.shap_values(np.zeros((3, 3))).any()
    assert model.expected_value_ == pytest.approx(2 * one.value[0, 0])


# the command line ----------------------------------------------------------------------------------------------------


def test_the_command_imports_and_shows(tmp_path, monkeypatch, capsys, customers):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DBML_DB", raising=False)
    file, database = str(FILES / "xgboost_three.ubj"), str(tmp_path / "customers.duckdb")
    classes = ["-o", 'classes=["gold", "silver", "bronze"]']
    assert run(["import", "tier", file, "--target", "tier", "--db", database, *classes]) == OK
    out = capsys.readouterr().out
    assert out.startswith(f"saved tier version 1 in {database}: ImportedTreesClassifier of 5 columns\nnext: dbml")
    assert run(["import", "tier", file, "-y", "tier", *classes, "-o", "iterations=2", "--json"]) == OK
    assert json.loads(capsys.readouterr().out)["version"] == 2
    assert run(["show", "tier"]) == OK
    out = capsys.readouterr().out
    assert "XGBoost 3.2.0, 'xgboost_three.ubj'" in out
    assert "6 in 2 of 6 iterations, because iterations = 2 was asked for" in out
    customer = "{'age': 30, 'spent': 0, 'plan': 'pro', 'region': 3, 'height': 1.8}"
    with dbml.connect(database) as con:
        ((label,),) = con.sql(f"SELECT predict('tier@1', {customer})").fetchall()
    assert label in ("gold", "silver", "bronze")
    assert run(["import", "other", file, "-y", "tier", "-o", "clases=[]"]) == USAGE_ERROR
    assert "no option 'clases' (options: classes, features, categories, iterations)" in capsys.readouterr().err
    assert run(["import", "other", "nothing.txt", "-y", "tier"]) == USER_ERROR
    assert "there is no model file 'nothing.txt'" in capsys.readouterr().err


def test_a_failing_import_leaves_no_new_database(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.txt").write_text("no model")
    assert run(["import", "m", "model.txt", "-y", "y", "--db", "new.duckdb"]) == USER_ERROR
    assert "'model.txt' is no model file that can be imported" in capsys.readouterr().err
    assert not (tmp_path / "new.duckdb").exists()
