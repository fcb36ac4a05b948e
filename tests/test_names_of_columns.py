"""Columns called what our own text calls its own: scores are those of any other names."""

from __future__ import annotations

import pytest

import dbml

# Names of lambda parameters, of aliases and of columns between queries; each is a record, a number and a feature.
NAMES = (
    *"adeikopstwzcr",
    *(f"dbml_{letter}" for letter in "aceikopwz"),
    *("dbml eta 0", "dbml value 0", "dbml_input", "threshold", "tbl", "key", "value"),
)
MODELS = {
    "knn_classifier": ("late", ""),
    "logistic_reg": ("band", ""),
    "naive_bayes": ("band", ""),
    "boosted_tree_classifier": ("band", ", max_iterations = 2"),
    "random_forest_regressor": ("y", ", n_estimators = 2"),
    "linear_reg": ("y", ""),
    "kmeans": (None, ", num_clusters = 2"),
    "GaussianMixture": (None, ", n_components = 2"),
    "pca": (None, ", num_principal_components = 1"),
}
ROWS = """SELECT i, i % 10 / 2.0 AS x, hash(i) % 7 AS h, x > 2 AS late, 2 * x + h AS y,
    CASE WHEN x < 1 THEN 'a' WHEN x < 3 THEN 'b' ELSE 'c' END AS band,
    CASE WHEN i % 2 = 0 THEN 'win a free prize' ELSE 'see you at lunch' END AS body,
    MAP {'k' || i % 30: 1.0 + i % 3} AS m,
    [i % 4, i % 5] AS idx, [1.5, i % 3] AS val FROM range(120) s(i)"""


@pytest.fixture(scope="module")
def con():
    with dbml.connect() as con:
        con.execute(f"CREATE TABLE rows AS {ROWS}")
        yield con


def scored(con, label, rows):
    found = con.execute(f"SELECT * FROM ML.PREDICT(MODEL m, (SELECT * FROM {rows})) ORDER BY i").df()
    made = [name for name in found.columns if "redicted" in name or "CENTROID" in name.upper() or "component" in name]
    assert made
    return found[made].map(repr).values.tolist()


@pytest.mark.parametrize("type_", MODELS)
def test_columns_that_are_no_features(con, type_):
    label, options = MODELS[type_]
    given = f", input_label_cols = ['{label}']" if label else ""
    selected = "x, h" + (f", {label}" if label else "")
    con.execute(
        f"CREATE OR REPLACE MODEL m OPTIONS (model_type = '{type_}'{given}{options}) AS SELECT {selected} FROM rows"
    )
    expected = scored(con, label, "rows")
    record = "{'key': 'true', 'value': 0.123, 'label': 'x', 'CENTROID_ID': 7, 'DISTANCE': 9, 'at': 1}"
    taken = {"i", "x", "h"}
    for value in (record, "1.0"):
        more = ", ".join(f'{value} AS "{name}"' for name in NAMES if name not in taken)
        con.execute(f"CREATE OR REPLACE TABLE more AS SELECT *, {more} FROM rows")
        assert scored(con, label, "more") == expected, value
    if label and type_ != "knn_classifier":
        explained = "SELECT top_feature_attributions FROM ML.EXPLAIN_PREDICT(MODEL m, TABLE {}) ORDER BY i"
        if hasattr(con.load_model("m"), "coef_") or hasattr(con.load_model("m"), "trees_"):
            assert con.execute(explained.format("more")).fetchall() == con.execute(explained.format("rows")).fetchall()


@pytest.mark.parametrize("type_", MODELS)
def test_features(con, type_):
    label, options = MODELS[type_]
    given = f", input_label_cols = ['{label}']" if label else ""
    create = "CREATE OR REPLACE MODEL m OPTIONS (model_type = '{}'{}{}) AS SELECT x AS {}, h AS hh{} FROM rows"
    more = f", {label}" if label else ""
    expected = None
    for name in ("plain", "z", "dbml_z", "dbml eta 0", "DBML Value 0"):
        con.execute(create.format(type_, given, options, f'"{name}"', more))
        con.execute(f'CREATE OR REPLACE TABLE named AS SELECT i, x AS "{name}", h AS hh{more} FROM rows')
        found = scored(con, label, "named")
        expected = expected or found
        assert found == expected, name


@pytest.mark.parametrize("column", ["body", "m", "idx, val"])
def test_words_maps_and_lists(con, column):
    text = {"body": ", text = ['body'], text_weights = 'tfidf'", "idx, val": ", sparse = {'idx': 'val'}"}.get(
        column, ""
    )
    if column == "idx, val":
        pytest.skip("not written in SQL")
    con.execute(
        f"CREATE OR REPLACE MODEL m OPTIONS (model_type = 'logistic_reg', input_label_cols = ['late']{text}) "
        f"AS SELECT {column}, late FROM rows"
    )
    expected = scored(con, "late", "rows")
    for value in ("{'key': 'k1', 'value': 5.0}", "1.0", "[1.0, 2.0]"):
        more = ", ".join(f'{value} AS "{name}"' for name in NAMES if name != "i")
        con.execute(f"CREATE OR REPLACE TABLE more AS SELECT *, {more} FROM rows")
        assert scored(con, "late", "more") == expected
        assert (
            con.execute("SELECT predict('m', r) FROM more r").fetchall()
            == con.execute("SELECT predict('m', r) FROM rows r").fetchall()
        )
