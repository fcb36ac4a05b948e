"""``ML.TREES``: one row a node."""

import pyarrow as pa
import pytest
from dbml_sql.features import Encoding, Feature
from random_trees import random_trees

import dbml
from dbml import LinearRegression
from dbml.errors import DbmlError
from dbml.estimators.trees.model import TreeClassifier, TreeRegressor
from dbml.passes.schema import Schema, Target
from dbml.registry.scorer import Scorer
from dbml.registry.trees import node_rows

ENCODING = Encoding(
    (
        Feature("a", "DOUBLE", "number", style="values"),
        Feature("k", "VARCHAR", "category", levels=("x", "it's"), other_level=True, style="values"),
    )
)


def rows_of(model_type=TreeRegressor, classes=None, **shape):
    model = model_type()
    model.schema_ = Schema(ENCODING, Target("y", "VARCHAR", classes))
    model.trees_ = random_trees(ENCODING, **shape)
    return model.trees_, node_rows(Scorer("m", model)).to_pylist()


def test_a_node_is_a_row():
    trees, rows = rows_of(n_trees=3, depth=3)
    assert len(rows) == trees.term.size
    for number, row in enumerate(rows):
        root = trees.roots[row["tree"]]
        assert row["node"] == number - root and row["rows"] == trees.weight[number]
        assert row["value"] == trees.value[number, 0] and row["class_values"] is None and row["class_label"] is None
        assert (row["parent"] is None) == (row["node"] == 0) == (row["depth"] == 0)
        if row["parent"] is not None:
            parent = trees.left[root + row["parent"]]
            assert number in (parent, parent + 1)
        inner = trees.left[number] >= 0
        assert row["is_leaf"] == (not inner)
        assert row["feature"] == (ENCODING.terms[trees.term[number]] if inner else None)
        assert row["missing"] == ("left" if trees.missing_left[number] else "right" if inner else None)
        assert row["gain"] == (trees.gain[number] if inner else None)
        if row["operator"] == "IN":
            goes_left = trees.category_sets[trees.category_set[number]]
            names = [*ENCODING.features[1].levels, "(other)"]
            assert row["categories"] == [name for name, left in zip(names, goes_left, strict=False) if left]
        else:
            assert row["categories"] is None and row["threshold"] == (trees.threshold[number] if inner else None)
    assert {row["operator"] for row in rows} == {"<=", "IN", None}


def test_values_of_several_classes():
    trees, rows = rows_of(TreeClassifier, ("a", "b"), n_trees=2, depth=2, n_values=2)
    assert [row["class_values"] for row in rows] == trees.value.tolist()
    assert {row["value"] for row in rows} == {None}
    _, rows = rows_of(TreeClassifier, ("a", "b", "c"), n_trees=3, depth=1, n_outputs=3)
    assert [row["class_label"] for row in rows if row["node"] == 0] == ["a", "b", "c"]


def test_a_model_without_trees_is_an_error():
    with dbml.connect() as con:
        con.save_model("line", LinearRegression().fit(pa.table({"a": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 3.5]}), "y"))
        with pytest.raises(DbmlError, match=r"'line' is a LinearRegression, which has no trees\. Hint"):
            con.execute("FROM ML.TREES(MODEL line)").fetchall()
