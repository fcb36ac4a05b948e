"""Files that are no models, damaged models and wishes that do not fit: words, and nothing is saved."""

import json
import re
import warnings
from pathlib import Path

import duckdb
import numpy as np
import pytest

import dbml
from dbml.errors import DbmlError, InvalidData, InvalidParameter, RegistryError, StatementError, UnknownName
from dbml.imports import Wishes, imported_model, read_dump

FILES = Path(__file__).parent / "data" / "imports"
NAMES = sorted(path.name for path in FILES.iterdir() if path.suffix in (".txt", ".json", ".ubj"))


def model_of(content, **wishes):
    return imported_model(read_dump(content, "'m'"), "'m'", Wishes(**wishes))


def text_of(name):
    return (FILES / name).read_text(encoding="utf-8")


def changed(name, *edits):
    """Return a text file with pieces replaced, each of which is there."""
    text = text_of(name)
    for old, new in edits:
        assert re.search(old, text), old
        text = re.sub(old, new, text, count=1)
    return text.encode()


def edited(name, edit):
    """Return a JSON file after a change."""
    stored = json.loads(text_of(name))
    edit(stored)
    return json.dumps(stored).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x04\x95pickle", "is a pickle, which is never loaded"),
        (b"\x89PNG\r\n\x1a\n", "is no model file that can be imported; model files are LightGBM's"),
        (b"a,b\n1,2\n", "is no model file that can be imported"),
        (b"{}", "is no model file that can be imported"),
        (b"[1, 2]", "is no model file that can be imported"),
        (b'{"a": ', "is truncated or damaged: it is no JSON"),
        (b"[" * 100_000, "JSON of values too deep inside each other"),
        (b'[{"nodeid": 0, "leaf": 1}]', r"neither objective nor base_score; save the model with Booster.save_model"),
        (b"{L\x00\x00", "truncated or damaged at byte"),
        (b"{i\x01a[$Z#l\x7f\xff\xff\xff", "is damaged: a length of 2,147,483,647"),
        (b"{i\x01a" + b"[" * 5_000, "more than 100 deep"),
        (b"{i\x01ax", "a value of the type b'x'"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_files_that_are_no_models(content, words):
    with pytest.raises(InvalidData, match=words):
        read_dump(content, "'m'")


@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_file_is_refused(name):
    content = (FILES / name).read_bytes()
    end = content.find(b"end of trees") if name.endswith(".txt") else len(content) - 1
    for cut in np.linspace(0, end, 25).astype(int).tolist():
        with pytest.raises(InvalidData, match="'m'"):
            model_of(content[:cut])


@pytest.mark.parametrize("name", NAMES)
def test_random_damage_never_crashes(name):
    """A changed byte may go unseen (a digit of a leaf); what is refused has words, and nothing hangs."""
    content = (FILES / name).read_bytes()
    rng = np.random.default_rng(len(content))
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        for at in rng.integers(0, len(content), rng.integers(1, 4)):
            damaged[at] = rng.integers(32, 127) if name.endswith((".txt", ".json")) else rng.integers(256)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                model = model_of(bytes(damaged))
        except DbmlError as error:
            assert len(str(error)) > 20
            refused += 1
        else:
            assert model.trees_.n_trees >= 1
    assert refused > 5


LIGHTGBM = [
    (("version=v4", "version=v9"), r"formats v3, v4; this one has 'v9'"),
    (("objective=binary", "objective=my_loss"), "objective 'my_loss', which cannot be imported"),
    (("objective=binary sigmoid:1.5\n", ""), "trained with an objective of its own"),
    (("sigmoid:1.5", "sigmoid:x"), "its objective is 'binary sigmoid:x'"),
    (("objective=binary", "objective=cross_entropy_lambda"), "did you mean 'cross_entropy'"),
    (("objective=binary.*\n", "objective=regression sqrt\n"), "reg_sqrt"),
    (("is_linear=0", "is_linear=1"), "linear trees, which cannot be imported; train with linear_tree=false"),
    (("feature_names=age spent", "feature_names=age"), "must have 5 feature_names and feature_infos, and has 4 and 5"),
    (("feature_names=age spent", "feature_names=age AGE"), "'AGE' and feature 'age' are both the column 'AGE'"),
    (("feature_names=age", "feature_names=label"), "'label' and the target are both the column 'label'"),
    (("split_feature=[0-9]", "split_feature=7"), "tree 0 of 'm' is damaged: it tests a feature beyond the 5"),
    (("left_child=[-0-9]+", "left_child=0"), "its nodes do not lead to each other as those of a tree do"),
    (("left_child=[-0-9]+", "left_child=99"), "its nodes do not lead to each other"),
    (("right_child=[-0-9]+", "right_child=x"), "tree 0 must have numbers in 'right_child'"),
    (("leaf_value=[-.0-9e]+", "leaf_value=nan"), "must not have NaN in 'leaf_value'"),
    (("leaf_value=[-.0-9e]+", "leaf_value=inf"), "the values and weights of its leaves must be finite"),
    (("leaf_value=[-.0-9e]+ ", "leaf_value="), "must have 6 numbers in 'leaf_value', and has 5"),
    (("leaf_value=[^\n]*\n", ""), "tree 0 has no 'leaf_value'"),
    (("num_leaves=[0-9]+", "num_leaves=1.5"), "must have an integer in 'num_leaves', and has '1.5'"),
    (("cat_boundaries=0 [0-9]+", "cat_boundaries=0 50"), "cat_boundaries and cat_threshold that do not fit"),
    (('\\[\\["basic"', '[["family"'), "two levels of 'plan' are the same text"),
    (('\\[\\["basic".*', '[["basic"]]'), "has 1 levels, and nodes test code"),
    (('\\[\\["basic"', '[["basic'), "pandas_categorical is not JSON"),
    (("pandas_categorical:.*", 'pandas_categorical:[["a"], ["b"]]'), "levels of 2 columns .* and 1 categorical"),
    (("num_tree_per_iteration=1", "num_tree_per_iteration=4"), "has 6 trees, 4 an iteration"),
    (("Tree=5", "Tr=5"), "announces other than the 5 trees"),
]


@pytest.mark.parametrize(("edit", "words"), LIGHTGBM, ids=[words[:30] for _, words in LIGHTGBM])
def test_lightgbm_files_that_cannot_be_imported(edit, words):
    with pytest.raises(DbmlError, match=words):
        model_of(changed("lightgbm_binary.txt", edit))


def trees(stored):
    return stored["learner"]["gradient_booster"]["model"]["trees"]


def learner(**values):
    return lambda stored: stored["learner"].update(values)


def shape(**values):
    return lambda stored: stored["learner"]["learner_model_param"].update(values)


def tree(**values):
    return lambda stored: trees(stored)[0].update(values)


XGBOOST = [
    (lambda s: s.update(version=[9, 0, 0]), "saved by XGBoost 9.0.0; models are read up to version 3"),
    (learner(objective={"name": "survival:cox"}), "objective 'survival:cox', which cannot be imported"),
    (learner(objective={"name": "binary:logistik"}), "did you mean 'binary:logistic'"),
    (learner(gradient_booster={"name": "gblinear", "model": {}}), "a booster 'gblinear', which cannot be imported"),
    (learner(gradient_booster=3), "must have names and values in 'gradient_booster', and has int"),
    (shape(num_target="2"), "predicts 2 numbers"),
    (shape(base_score="[x]"), r"has the base_score '\[x\]'"),
    (shape(base_score="1.5"), "must lie between 0.0 and 1.0"),
    (shape(num_feature="7"), "must have 7 feature_names and feature_types"),
    (learner(feature_names=["a"]), "must have 5 feature_names"),
    (learner(feature_names=["a", "b", "A", "d", "e"]), "'A' and feature 'a' are both the column 'A'"),
    (lambda s: trees(s).clear(), "must have the output of each of its 0 trees"),
    (tree(left_children=[0, 0]), "must have 2 numbers in 'right_children'"),
    (lambda s: trees(s)[0]["left_children"].__setitem__(0, 0), "do not lead to each other as those of a tree do"),
    (lambda s: trees(s)[0]["split_indices"].__setitem__(0, 70), "tests a feature beyond the 5"),
    (lambda s: trees(s)[0]["split_conditions"].__setitem__(-1, float("nan")), "must not have NaN"),
    (tree(sum_hessian="x"), "tree 0 must have numbers in 'sum_hessian'"),
    (lambda s: s["learner"]["gradient_booster"]["model"].pop("cats"), r"categories = \{'plan': \['…', …\]\}"),
]


@pytest.mark.parametrize(("edit", "words"), XGBOOST, ids=[words[:30] for _, words in XGBOOST])
def test_xgboost_files_that_cannot_be_imported(edit, words):
    with pytest.raises(DbmlError, match=words):
        model_of(edited("xgboost_binary.json", edit))


def test_a_model_without_trees_is_refused():
    def empty(stored):
        model = stored["learner"]["gradient_booster"]["model"]
        model.update(trees=[], tree_info=[], iteration_indptr=[0])

    with pytest.raises(InvalidData, match="'m' has no trees: there is nothing to import"):
        model_of(edited("xgboost_binary.json", empty))
    with pytest.raises(InvalidData, match="has no trees"):
        model_of(changed("lightgbm_binary.txt", ("(?s)tree_sizes.*end of trees", "end of trees")))


def test_levels_that_the_file_lacks_can_be_given():
    content = edited("xgboost_binary.json", lambda s: s["learner"]["gradient_booster"]["model"].pop("cats"))
    given = model_of(content, categories={"plan": ["basic", "family", "it's free", "pro"]})
    whole = model_of((FILES / "xgboost_binary.json").read_bytes())
    for name, array in whole.trees_.arrays().items():
        np.testing.assert_array_equal(getattr(given.trees_, name), array)
    assert given.schema_ == whole.schema_


def test_texts_beyond_ascii_are_not_guessed():
    """XGBoost counts characters and cuts bytes there: its levels of such texts are wrong."""

    def cut(stored):
        stored["learner"]["gradient_booster"]["model"]["cats"]["enc"][2]["values"][-1] = -61

    with pytest.raises(InvalidData, match=r"cuts texts that are not ASCII.*categorical features: plan"):
        model_of(edited("xgboost_binary.json", cut))


WISHES = [
    ({"classes": ["yes"]}, "classes must list the 2 labels of 'm' in the order in which they were numbered"),
    ({"classes": "no"}, "classes must list the 2 labels"),
    ({"classes": ["a", "a"]}, "different labels of one type"),
    ({"classes": ["a", 1]}, "different labels of one type"),
    ({"classes": [0.5, float("nan")]}, "different labels of one type"),
    ({"features": {"aje": "x"}}, "features: 'm' has no feature 'aje'; did you mean 'age'"),
    ({"features": ["a"]}, "features must name the 5 columns of 'm'; got 1"),
    ({"features": {"age": ""}}, "the column of 'age' must be a name"),
    ({"features": {"age": "Spent"}}, "are both the column"),
    ({"features": 3}, "columns by name in the file, or all in order; got 3"),
    ({"categories": {"plam": ["a"]}}, "categories: 'm' has no feature 'plam'; did you mean 'plan'"),
    ({"categories": {"plan": "abc"}}, "categories of 'plan' must be a list of texts or numbers"),
    ({"categories": ["a"]}, "categories must be levels by feature"),
    ({"categories": {"plan": ["a", "b"]}}, "has 2 levels, and nodes test code"),
    ({"iterations": 0}, "iterations must be an integer from 1 to 6, which 'm' has; got 0"),
    ({"iterations": 7}, "from 1 to 6"),
    ({"iterations": "all"}, "from 1 to 6"),
]


@pytest.mark.parametrize(("wishes", "words"), WISHES, ids=[str(wishes) for wishes, _ in WISHES])
def test_wishes_that_do_not_fit(wishes, words):
    with pytest.raises((InvalidParameter, UnknownName, InvalidData), match=words):
        model_of((FILES / "lightgbm_binary.txt").read_bytes(), **wishes)


def test_a_number_has_no_classes():
    with pytest.raises(InvalidParameter, match="predicts a number"):
        model_of((FILES / "lightgbm_zero.txt").read_bytes(), classes=["a", "b"])


def _with_twenty_more(found):
    """Return the bounds of bit sets, the first of which is 20 words longer."""
    bounds = [int(bound) for bound in found[1].split()]
    return "cat_boundaries=0 " + " ".join(str(bound + 20) for bound in bounds[1:])


def test_too_many_levels_are_refused_and_unused_ones_are_not():
    levels = [f"level {k}" for k in range(2000)]
    model = model_of((FILES / "lightgbm_binary.txt").read_bytes(), categories={"plan": levels})
    (plan,) = (f for f in model.schema_.encoding.features if f.column == "plan")
    assert set(plan.levels) < set(levels[:4])
    text = text_of("lightgbm_codes.txt")
    words = " ".join(["4294967295"] * 20)
    text = re.sub(
        r"cat_boundaries=0 ([^\n]*)\ncat_threshold=", rf"cat_boundaries=0 \1 XX\ncat_threshold={words} ", text
    )
    text = re.sub(r"cat_boundaries=([^\n]*) XX", _with_twenty_more, text)
    with pytest.raises(InvalidData, match=r"tell 656 levels of 'region' apart; a model here holds 254 a column"):
        model_of(text.encode())


# surfaces ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def con(database):
    with dbml.connect(database) as connection:
        yield connection


CALLS = [
    ("missing.txt", {}, UnknownName, "there is no model file"),
    ("*.txt", {}, InvalidParameter, "model_path must name one file"),
    ("lightgbm_binary.txt", {"classes": ["one"]}, InvalidParameter, "classes must list the 2 labels"),
    ("lightgbm_binary.txt", {"target": "plan"}, InvalidParameter, "'plan' and the target are both the column"),
    ("lightgbm_binary.txt", {"target": ""}, InvalidParameter, "input_label_cols must name one column"),
    ("make.py", {}, InvalidData, "'make.py' is no model file"),
]


@pytest.mark.parametrize(("file", "wishes", "kind", "words"), CALLS)
def test_nothing_is_saved_by_an_import_that_fails(con, file, wishes, kind, words):
    with pytest.raises(kind, match=words):
        con.import_model("churn", FILES / file, **wishes)
    assert con.sql("SELECT count(*) FROM ml.models").fetchall() == [(0,)] if _has_registry(con) else True
    con.begin()
    with pytest.raises(kind, match=words):
        con.import_model("churn", FILES / file, **wishes)
    con.execute("CREATE TABLE still_usable (i INTEGER)")
    con.commit()


def _has_registry(con):
    found = con.sql("SELECT count(*) FROM duckdb_views() WHERE schema_name = 'ml' AND view_name = 'models'").fetchall()
    return found != [(0,)]


def test_an_empty_file(con, tmp_path):
    (tmp_path / "empty.txt").write_bytes(b"")
    with pytest.raises(InvalidData, match="is empty"):
        con.import_model("churn", tmp_path / "empty.txt")


def test_statements_that_are_refused(con):
    path = FILES / "lightgbm_binary.txt"
    con.execute(f"CREATE MODEL churn OPTIONS (model_path = '{path}')")
    for options, kind, words in (
        (f"model_path = '{path}'", RegistryError, "there is a model 'churn' already"),
        (f"model_type = 'xgboost', model_path = '{path}'", RegistryError, "already"),
    ):
        with pytest.raises(kind, match=words):
            con.execute(f"CREATE MODEL churn OPTIONS ({options})")
    for options, kind, words in (
        (f"model_type = 'xgboost', model_path = '{path}'", InvalidParameter, "which is 'lightgbm'; got 'xgboost'"),
        (f"model_path = '{path}', clases = ['a', 'b']", UnknownName, "did you mean 'classes'"),
        (f"model_path = '{path}', input_label_cols = ['a', 'b']", InvalidParameter, "must name one column"),
        ("model_path = 3", InvalidParameter, "must be the path of a model file; got 3"),
        ("model_path = NULL", InvalidParameter, "must be the path of a model file; got None"),
    ):
        with pytest.raises(kind, match=words):
            con.execute(f"CREATE OR REPLACE MODEL churn OPTIONS ({options})")
    with pytest.raises(StatementError, match="it takes no query"):
        con.execute(f"CREATE MODEL other OPTIONS (model_path = '{path}') AS SELECT 1")
    assert con.sql("SELECT name, version FROM ml.models").fetchall() == [("churn", 1)]


def test_a_database_that_reads_no_files_imports_none(con):
    con.execute("SET enable_external_access = false")
    with pytest.raises(duckdb.PermissionException, match="disabled by configuration"):
        con.import_model("churn", FILES / "lightgbm_binary.txt")


def test_columns_that_rows_lack_are_named(con):
    con.import_model("churn", FILES / "lightgbm_codes.txt", features={"region": "my region", "age": 'a "quoted" äge'})
    con.execute('CREATE TABLE t AS SELECT 30.0 AS age, 1.0 AS spent, 1.7 AS height, 3 AS "my region"')
    with pytest.raises(UnknownName, match="a column 'a \"quoted\" äge', which the rows do not have"):
        con.sql("FROM ML.PREDICT(MODEL churn, TABLE t)").fetchall()
    with pytest.raises(UnknownName, match="a column 'a \"quoted\" äge'"):
        con.load_model("churn").predict(con.table("t"))
    con.execute('ALTER TABLE t RENAME age TO "A ""QUOTED"" äge"')
    assert len(con.sql("SELECT predict('churn', t) FROM t").fetchall()) == 1
