"""A tree as text and as a picture: words a person reads, boxes that do not overlap, files that open."""

import builtins
import itertools
import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from dbml_sql.features import Encoding, Feature
from hypothesis import given, settings
from hypothesis import strategies as st
from random_trees import random_trees

import dbml
from dbml import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from dbml.cli import run
from dbml.cli.tree_picture import lay_out, svg, write_png
from dbml.cli.tree_view import ViewNode, print_tree, view_tree
from dbml.errors import MissingExtra
from dbml.passes.schema import Schema, Target

FEATURES = (
    Feature("size", "DOUBLE", "number", style="values"),
    Feature("rooms", "INTEGER", "number", style="values"),
    Feature("new", "BOOLEAN", "number", style="values"),
    Feature("a<b & c", "VARCHAR", "category", levels=tuple("pqrstuvwxy"), other_level=True, style="values"),
    Feature("sold", "TIMESTAMP", "number", part="epoch", style="values"),
    Feature("sold", "TIMESTAMP", "number", part="month", style="values"),
    Feature("v", "DOUBLE[2]", "vector", width=2, style="values"),
)


def model_of(trees, classes=None, link="identity"):
    kind = HistGradientBoostingRegressor if classes is None else HistGradientBoostingClassifier
    model = kind()
    target = Target("price", "DOUBLE", classes)
    model.schema_, model.trees_, model.link_ = Schema(Encoding(FEATURES), target), trees, link
    model.baseline_ = np.full(trees.n_outputs, 0.25)
    return model


def stump(term, threshold=np.nan, codes=None, missing_left=False, value=((0.0,), (1.5,), (-2.0,))):
    """Return a tree of one question."""
    trees = random_trees(Encoding(FEATURES), n_trees=1, depth=1, seed=1)
    sets = np.zeros((1, 256), bool)
    sets[0, list(codes or ())] = True
    return replace(
        trees,
        term=np.array([term, -1, -1], np.int32),
        threshold=np.array([threshold, np.nan, np.nan]),
        category_set=np.array([-1 if codes is None else 0, -1, -1], np.int32),
        category_sets=sets,
        missing_left=np.array([missing_left, False, False]),
        value=np.array(value, float),
        gain=np.array([12.5, 0.0, 0.0]),
        weight=np.array([1_300.0, 1_000.0, 300.0]),
    )


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (stump(0, 1234.5), "size ≤ 1,234.5"),
        (stump(0, 0.25, missing_left=True), "size ≤ 0.25, or missing"),
        (stump(1, 3.5), "rooms ≤ 3"),
        (stump(2, 0.5, missing_left=True), "new is false, or missing"),
        (stump(3, codes=[1]), "a<b & c is q"),
        (stump(3, codes=[0, 2, 10]), "a<b & c in {p, r, (other)}"),
        (stump(3, codes=range(1, 11), missing_left=True), "a<b & c is not p, or missing"),
        (stump(3, codes=range(3, 11)), "a<b & c not in {p, q, r}"),
        (stump(4, 20_000.0), "sold ≤ 2024-10-04"),
        (stump(4, 20_000.5), "sold ≤ 2024-10-04 12:00"),
        (stump(5, 6.5), "month of sold ≤ 6"),
        (stump(7, -0.125), "v[2] ≤ -0.125"),
    ],
)
def test_a_condition_is_words(tree, said):
    assert view_tree(model_of(tree), "m", 0).root.condition == said


def test_a_long_list_of_categories_is_cut():
    many = replace(FEATURES[3], levels=tuple(f"level {i}" for i in range(40)))
    model = model_of(stump(0, codes=range(20)))
    model.schema_ = Schema(Encoding((many,)), model.schema_.target)
    condition = view_tree(model, "m", 0).root.condition
    assert condition.endswith("level 4, level 5 and 14 more}")


@pytest.mark.parametrize(
    ("value", "classes", "link", "meaning", "leaf"),
    [
        (((0,), (1.5,), (-2,)), None, "identity", "values add up to price, from 0.25", "+1.5"),
        (((0,), (1.5,), (-2,)), None, "log", "values add up to the logarithm of price, from 0.25", "+1.5"),
        (
            ((0,), (1.5,), (-2,)),
            ("a", "b"),
            "logistic",
            "values add up to the log-odds of price = b, from 0.25",
            "+1.5",
        ),
        (((1, 1), (0.3, 0.1), (0, 1)), ("a", "b"), "probability", "share of the most frequent price", "a 75%"),
    ],
)
def test_what_values_mean(value, classes, link, meaning, leaf):
    view = view_tree(model_of(stump(0, 1.0, value=value), classes, link), "m", 0)
    assert view.meaning == meaning
    assert view.root.yes.said == leaf


def test_the_text_of_a_tree(capsys):
    print_tree(view_tree(model_of(stump(3, codes=[1])), "m", 0))
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "m: tree 0 of 1 (HistGradientBoostingRegressor)",
        "values add up to price, from 0.25",
        "",
        "a<b & c is q  1,300 rows, gain 12.5",
        "├── yes  +1.5  1,000 rows",
        "└── no   -2  300 rows",
    ]


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(0, 9))
def test_boxes_do_not_overlap_and_lie_in_the_picture(seed, depth):
    trees = random_trees(Encoding(FEATURES), n_trees=1, depth=depth, seed=seed)
    top, width, height = lay_out(view_tree(model_of(trees), "m", 0).root)
    boxes = list(top.walk())
    assert len(boxes) == trees.term.size
    for box in boxes:
        assert box.x - box.width / 2 >= 0
        assert box.x + box.width / 2 <= width
        assert box.y + box.height <= height
        if box.children:
            assert box.x == pytest.approx(sum(child.x for child in box.children) / 2)
    for level in range(depth + 1):
        row = sorted((box for box in boxes if box.depth == level), key=lambda box: box.x)
        for a, b in itertools.pairwise(row):
            assert a.x + a.width / 2 < b.x - b.width / 2
        assert all(box.y + box.height < child.y for box in row for child in box.children)


def test_an_svg_is_well_formed_whatever_the_names():
    view = view_tree(model_of(stump(3, codes=[1])), "x < y & 'z'", 0)
    root = ET.fromstring(svg(view))
    texts = ["".join(item.itertext()) for item in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "x < y & 'z': tree 0 of 1 (HistGradientBoostingRegressor)" in texts
    assert {"a<b & c is q", "1,300 rows · gain 12.5", "+1.5", "-2", "300 rows", "yes", "no"} <= set(texts)


def test_a_png_is_one_and_names_what_it_needs(tmp_path, monkeypatch):
    view = view_tree(model_of(stump(3, codes=[1])), "$x$", 0)
    write_png(view, tmp_path / "tree.png")
    assert (tmp_path / "tree.png").read_bytes().startswith(b"\x89PNG")
    original = builtins.__import__

    def refuse(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtra, match=r"pip install 'dbml\[plot\]', or --svg FILE"):
        write_png(view, tmp_path / "tree.png")


def test_a_tree_of_one_leaf_is_drawn():
    view = replace(view_tree(model_of(stump(0, 1.0)), "m", 0), root=ViewNode(0, 10.0, 0.0))
    assert "+0" in svg(view)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("trees") / "db.duckdb"
    with dbml.connect(path) as con:
        con.execute("CREATE TABLE t AS SELECT i % 100 AS x, CAST(x > 50 AS DOUBLE) AS y FROM range(1000) r(i)")
        options = "input_label_cols = ['y']"
        grown = "model_type = 'boosted_tree_regressor', max_iterations = 2, max_leaf_nodes = 2"
        con.execute(f"CREATE MODEL grown OPTIONS ({grown}, {options}) AS FROM t")
        con.execute(f"CREATE MODEL line OPTIONS (model_type = 'linear_reg', {options}) AS FROM t")
    return path


def test_the_command_shows_and_draws_a_tree(database, tmp_path, capsys):
    assert run(["show", "grown", "--tree", "1", "--db", str(database)]) == 0
    shown = capsys.readouterr().out
    assert "tree 1 of 2" in shown
    assert "x ≤ 50, or missing  1,000 rows" in shown
    assert run(["show", "grown", "--tree", "1", "--json", "--db", str(database)]) == 0
    root = json.loads(capsys.readouterr().out)["root"]
    assert root["condition"] == "x ≤ 50, or missing"
    assert root["yes"]["value"] < 0 < root["no"]["value"]
    files = tmp_path / "t.svg", tmp_path / "t.png"
    assert run(["show", "grown", "--svg", str(files[0]), "--png", str(files[1]), "--db", str(database)]) == 0
    assert capsys.readouterr().out.splitlines() == [f"tree 0 of grown drawn into {path}" for path in files]
    assert ET.parse(files[0]).getroot().tag.endswith("svg")
    assert files[1].stat().st_size > 5_000


def test_the_command_says_what_cannot_be_shown(database, capsys):
    assert run(["show", "grown", "--tree", "2", "--db", str(database)]) == 1
    assert "model 'grown' has trees 0 to 1; got 2" in capsys.readouterr().err
    assert run(["show", "line", "--tree", "0", "--db", str(database)]) == 1
    assert "model 'line' is a LinearRegression, which has no trees" in capsys.readouterr().err
    assert run(["show", "nothing", "--tree", "0", "--db", str(database)]) == 1
    assert "no model 'nothing'" in capsys.readouterr().err
