"""Scoring expressions against a plain Python reading of the encoding's rules, in a real DuckDB."""

import datetime
import math

import duckdb
import numpy as np
import pytest
from dbml_sql.expressions import double, identifier, total
from dbml_sql.features import Encoding, Feature
from dbml_sql.forms import Binned, LinearForm, Marked, QuadraticForm, TermwiseForm
from dbml_sql.macros import check_name, create_macros, drop_macros, predict_macro, proba_macro
from dbml_sql.score import form_scores, label_literal, too_large
from hypothesis import given, settings
from hypothesis import strategies as st


class Label:
    def __init__(self, name="y", type="DOUBLE", classes=None):
        self.name, self.type, self.classes = name, type, classes


@pytest.fixture
def con():
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA ml; SET TimeZone = 'America/New_York'")
    yield connection
    connection.close()


def form_of(encoding, link="identity", outputs=1, seed=0):
    rng = np.random.default_rng(seed)
    coef = rng.normal(size=(outputs, encoding.n_terms))
    return LinearForm(tuple(map(tuple, coef.tolist())), tuple(rng.normal(size=outputs).tolist()), link)


def finite(value):
    return value is not None and math.isfinite(value)


def dense_terms(feature, value):
    if feature.kind == "number":
        elements = [value]
    else:
        elements = [(value or [])[i] if i < len(value or []) else None for i in range(feature.width)]
    known = [finite(element) for element in elements]
    centred = [e - c if ok else 0.0 for e, c, ok in zip(elements, feature.fill, known, strict=True)]
    return [*centred, float(not all(known))] if feature.flag else centred


def sparse_terms(feature, value, amounts):
    names = [*feature.levels, *[None] * feature.null_level, *["other"] * feature.other_level]
    if feature.kind == "category":
        text = None if value is None else str(value)
        known = text in names[: len(feature.levels)] or (text is None and feature.null_level)
        taken = text if known else "other" if text is not None and feature.other_level else "nothing"
        return [float(name == taken) for name in names]
    if feature.kind == "lists":
        names = [i + feature.first_index for i in range(feature.width)]
        pairs = list(zip(value or [], amounts or [], strict=False))
    else:
        pairs = list((value or {}).items())
    return [sum(a for key, a in pairs if key == name and finite(a)) for name in names]


def eta(form, encoding, row, output=0):
    """Score a row (a dict) term by term: the dumb way."""
    dense, sparse = [], []
    for feature in encoding.features:
        value = calendar(row[feature.column], feature.part) if feature.part else row[feature.column]
        if feature.kind in ("number", "vector"):
            dense += dense_terms(feature, value)
        else:
            sparse += sparse_terms(feature, value, row.get(feature.values))
    return form.intercept[output] + float(np.dot(form.coef[output], dense + sparse))


def calendar(value, part):
    if value is None:
        return None
    if part == "epoch":
        return (value - datetime.datetime(1970, 1, 1)) / datetime.timedelta(days=1)
    parts = {"year": value.year, "month": value.month, "weekday": value.isoweekday() % 7, "hour": value.hour}
    return parts[part]


def predictions(con, form, encoding, label, table="t"):
    expression = form_scores(form, encoding, label).prediction()
    return [row[0] for row in con.execute(f"SELECT {expression} FROM {table} ORDER BY id").fetchall()]


def assert_scores(con, form, encoding, rows, table="t"):
    found = predictions(con, form, encoding, Label(), table)
    np.testing.assert_allclose(found, [eta(form, encoding, row) for row in rows], rtol=1e-9, atol=1e-12)


NUMBERS = (
    Feature("a", "DOUBLE", "number", fill=(1.5,), flag=True),
    Feature("b", "DOUBLE", "number", fill=(1e8,)),
    Feature('c "d"', "INTEGER", "number", fill=(-3.0,), flag=True),
)


def test_missing_numbers_take_the_mean_and_their_flag(con):
    con.execute('CREATE TABLE t (id INTEGER, a DOUBLE, b DOUBLE, "c ""d""" INTEGER)')
    nan, inf = math.nan, math.inf
    values = [
        (0.5, 1e8 + 3, 7),
        (None, 1e8, 7),
        (nan, 1e8 - 1, None),
        (inf, -inf, None),
        (None, None, None),
        (2.0, nan, 0),
    ]
    rows = [dict(zip(("a", "b", 'c "d"'), v, strict=True)) for v in values]
    con.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", [(i, *v) for i, v in enumerate(values)])
    encoding = Encoding(NUMBERS)
    assert_scores(con, form_of(encoding), encoding, rows)


def test_a_weight_of_zero_keeps_its_flag(con):
    con.execute("CREATE TABLE t AS SELECT * FROM (VALUES (1, 5.0), (2, NULL), (3, 'nan'::DOUBLE)) v(id, a)")
    encoding = Encoding((Feature("a", "DOUBLE", "number", fill=(1.5,), flag=True),))
    form = LinearForm(((0.0, 2.0),), (1.0,), "logistic")
    assert form_scores(form, encoding, Label()).predictors == (form_scores(form, encoding, Label()).predictors[0],)
    found = con.execute(f"SELECT {form_scores(form, encoding, Label()).predictors[0]} FROM t ORDER BY id").fetchall()
    assert found == [(1.0,), (3.0,), (3.0,)]


def test_a_column_of_another_type_is_cast_and_what_cannot_be_cast_is_missing(con):
    con.execute("CREATE TABLE t AS SELECT * FROM (VALUES (0, '1.5', 3.25, true), (1, 'x', 1.0, NULL)) v(id, a, b, c)")
    features = tuple(Feature(name, "DOUBLE", "number", fill=(1.0,), flag=True) for name in "abc")
    encoding = Encoding(features)
    rows = [{"a": 1.5, "b": 3.25, "c": 1.0}, {"a": None, "b": 1.0, "c": None}]
    assert_scores(con, form_of(encoding), encoding, rows)
    con.execute("CREATE TABLE u AS SELECT 0 AS id, DATE '2020-01-01' AS a, 'a'::BLOB AS b, [1, 2] AS c")
    assert_scores(con, form_of(encoding), encoding, [dict.fromkeys("abc")], "u")


@pytest.mark.parametrize("n_levels", [1, 3, 100, 101, 1000])
@pytest.mark.parametrize(("null_level", "other_level"), [(True, True), (False, False), (True, False), (False, True)])
def test_levels_null_and_unseen(con, n_levels, null_level, other_level):
    levels = ("it's", *(f"level {i}" for i in range(n_levels - 1)))
    feature = Feature("k", "VARCHAR", "category", levels=levels, null_level=null_level, other_level=other_level)
    encoding = Encoding((feature,))
    values = [*levels[:30], levels[-1], None, "unseen", "", "LEVEL 0"]
    con.execute("CREATE TABLE t (id INTEGER, k VARCHAR)")
    con.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(values)))
    assert_scores(con, form_of(encoding), encoding, [{"k": v} for v in values])


def test_many_levels_keep_the_order_of_the_rows_and_stand_in_a_lambda(con):
    encoding = Encoding((Feature("k", "VARCHAR", "category", levels=tuple(f"l{i}" for i in range(500))),))
    for statement in create_macros("m", form_of(encoding), encoding, Label()):
        con.execute(statement)
    con.execute("CREATE TABLE t AS SELECT i AS id, 'l' || i % 700 AS k FROM range(50000) r(i)")
    assert con.execute("SELECT id, ml.predict_m(k) FROM t").fetchnumpy()["id"].tolist() == list(range(50000))
    assert con.execute("FROM ml.predict_m(t)").fetchnumpy()["id"].tolist() == list(range(50000))
    found = con.execute(
        "SELECT list_transform(['l3', 'none'], lambda x: ml.predict_m(x)), ml.predict_m('l3')"
    ).fetchone()
    assert found[0][0] == found[1]


def test_categories_of_other_types_are_compared_by_text(con):
    con.execute("CREATE TABLE t AS SELECT 0 AS id, 2 AS k, 'b'::ENUM('a', 'b') AS e")
    encoding = Encoding(
        (Feature("k", "INTEGER", "category", levels=("1", "2")), Feature("e", "ENUM", "category", levels=("a", "b")))
    )
    assert_scores(con, form_of(encoding), encoding, [{"k": "2", "e": "b"}])


@pytest.mark.parametrize("type_", ["TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP_NS", "VARCHAR"])
def test_calendar_parts_are_utc_in_any_time_zone(con, type_):
    moments = [datetime.datetime(2024, 2, 29, 23, 30, 15, 500000), datetime.datetime(1969, 12, 31, 1, 0), None]
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"CREATE TABLE t (id INTEGER, d {type_})")
    con.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(moments)))
    con.execute(f"INSERT INTO t VALUES (3, {'NULL' if type_ == 'VARCHAR' else repr('infinity')})")
    con.execute("SET TimeZone = 'Asia/Tokyo'")
    encoding = Encoding(
        (
            Feature("d", "TIMESTAMP", "number", part="epoch", fill=(19000.0,), flag=True),
            Feature("d", "TIMESTAMP", "category", part="year", levels=("1969", "2024"), null_level=True),
            Feature("d", "TIMESTAMP", "category", part="month", levels=("2", "12"), null_level=True),
            Feature("d", "TIMESTAMP", "category", part="weekday", levels=("3", "4"), null_level=True),
            Feature("d", "TIMESTAMP", "category", part="hour", levels=("1", "23"), null_level=True),
        )
    )
    assert_scores(con, form_of(encoding), encoding, [{"d": m} for m in [*moments, None]])


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("type_", ["FLOAT[3]", "DOUBLE[]"])
def test_vectors(con, type_, flag):
    values = [[1.0, 2.0, 3.0], [1.0, None, 3.0], None, [math.nan, math.inf, 0.5]]
    con.execute(f"CREATE TABLE t (id INTEGER, v {type_})")
    con.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(values)))
    if type_ == "DOUBLE[]":
        values += [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0], []]
        con.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(values))[4:])
    encoding = Encoding((Feature("v", type_, "vector", fill=(0.5, -1.0, 2.0), flag=flag, width=3),))
    assert_scores(con, form_of(encoding), encoding, [{"v": v} for v in values])


@pytest.mark.parametrize("first_index", [0, 1])
def test_sparse_lists(con, first_index):
    feature = Feature("i", "INTEGER[]", "lists", width=4, values="x", first_index=first_index)
    values = [
        ([1, 3], [0.5, 2.0]),
        ([0, 4, 9, -1], [1.0, 1.0, 1.0, 1.0]),
        ([2, 2], [1.0, math.nan]),
        ([1, None], [None, 2.0]),
        ([], []),
        (None, None),
        ([1, 2], [1.0]),
        ([2], None),
    ]
    con.execute("CREATE TABLE t (id INTEGER, i INTEGER[], x FLOAT[])")
    con.executemany("INSERT INTO t VALUES (?, ?, ?)", [(n, *v) for n, v in enumerate(values)])
    encoding = Encoding((feature,))
    assert_scores(con, form_of(encoding), encoding, [{"i": i, "x": x} for i, x in values])


@pytest.mark.parametrize("n_levels", [3, 40])
def test_maps(con, n_levels):
    feature = Feature("m", "MAP(VARCHAR, DOUBLE)", "map", levels=tuple(f"k{i}" for i in range(n_levels)))
    values = [{"k0": 1.5, "k2": -1.0}, {"unseen": 9.0}, {"k1": None}, {"k1": math.inf, "k0": 2.0}, {}, None]
    con.execute("CREATE TABLE t (id INTEGER, m MAP(VARCHAR, DOUBLE))")
    for n, value in enumerate(values):
        listed = None if value is None else [list(value), list(value.values())]
        con.execute("INSERT INTO t SELECT ?, map(?, ?::DOUBLE[])", [n, *(listed or (None, None))])
    encoding = Encoding((feature,))
    assert_scores(con, form_of(encoding), encoding, [{"m": v} for v in values])


def test_1500_terms_and_1000_levels(con):
    numbers = tuple(Feature(f"x{i}", "DOUBLE", "number", fill=(float(i),)) for i in range(1500))
    category = Feature("k", "VARCHAR", "category", levels=tuple(f"l{i}" for i in range(1000)), other_level=True)
    encoding = Encoding((*numbers, category))
    row = {f"x{i}": float(i % 7) for i in range(1500)} | {"k": "l77"}
    columns = ", ".join(f"{value!r}::DOUBLE AS {name}" for name, value in row.items() if name != "k")
    con.execute(f"CREATE TABLE t AS SELECT 0 AS id, 'l77' AS k, {columns}")
    form = form_of(encoding)
    assert_scores(con, form, encoding, [row])
    for statement in create_macros("wide", form, encoding, Label()):
        con.execute(statement)
    found = con.execute("SELECT predicted_y FROM ml.predict_wide(t)").fetchone()[0]
    assert found == pytest.approx(eta(form, encoding, row), rel=1e-9)


def test_probabilities_of_two_classes_are_exact_at_both_ends(con):
    encoding = Encoding((Feature("x", "DOUBLE", "number", fill=(0.0,)),))
    form = LinearForm(((1.0,),), (0.0,), "logistic")
    values = [-800.0, -40.0, 0.0, 40.0, 800.0]
    con.execute("CREATE TABLE t (x DOUBLE)")
    con.executemany("INSERT INTO t VALUES (?)", [(v,) for v in values])
    low, high = form_scores(form, encoding, Label("y", "BOOLEAN", (False, True))).probabilities()
    found = con.execute(f"SELECT {low}, {high} FROM t").fetchall()
    tail = math.exp(-40) / (1 + math.exp(-40))
    for (q, p), (expected_q, expected_p) in zip(
        found, [(1, 0), (1 - tail, tail), (0.5, 0.5), (tail, 1 - tail), (0, 1)], strict=True
    ):
        assert q == pytest.approx(expected_q, rel=1e-12)
        assert p == pytest.approx(expected_p, rel=1e-12)


def softmax(values):
    values = np.array(values)
    powers = np.exp(values - values.max())
    return powers / powers.sum()


@pytest.mark.parametrize("link", ["softmax", "one_vs_rest", "margin"])
def test_more_classes(con, link):
    encoding = Encoding(NUMBERS[:2])
    form = form_of(encoding, link, outputs=4)
    con.execute(
        "CREATE TABLE t AS SELECT range AS id, range / 7 - 5.0 AS a, 1e8 + range % 9 * 300.0 AS b FROM range(200)"
    )
    rows = [dict(zip(("a", "b"), r, strict=True)) for r in con.execute("SELECT a, b FROM t ORDER BY id").fetchall()]
    label = Label("y", "INTEGER", (10, 20, 30, 40))
    scores = form_scores(form, encoding, label)
    etas = np.array([[eta(form, encoding, row, k) for k in range(4)] for row in rows])
    assert predictions(con, form, encoding, label) == [label.classes[k] for k in etas.argmax(axis=1)]
    if link == "margin":
        assert scores.probabilities() is None
        return
    odds = 1 / (1 + np.exp(-np.clip(etas, -700, 700)))
    expected = np.array([softmax(e) for e in etas]) if link == "softmax" else odds / odds.sum(axis=1, keepdims=True)
    found = con.execute(f"SELECT {', '.join(scores.probabilities())} FROM t ORDER BY id").fetchall()
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-250)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("link", "outputs"), [("softmax", 3), ("margin", 3), ("logistic", 1), ("margin", 1)])
def test_classes_of_missing_and_extreme_values_agree_in_filters(con, link, outputs, seed):
    encoding = Encoding(NUMBERS[:2])
    form = form_of(encoding, link, outputs, seed)
    values = [None, math.nan, math.inf, -math.inf, 0.0, 1.5, -2.0, 40.0, 1e8, -1e30, 1e300]
    rows = [{"a": a, "b": b} for a in values for b in values]
    con.execute("CREATE TABLE t (id INTEGER, a DOUBLE, b DOUBLE)")
    con.executemany("INSERT INTO t VALUES (?, ?, ?)", [(i, r["a"], r["b"]) for i, r in enumerate(rows)])
    label = Label("y", "INTEGER", tuple(range(max(outputs, 2))))
    etas = np.array([[eta(form, encoding, row, k) for k in range(outputs)] for row in rows])
    expected = (etas.argmax(axis=1) if outputs > 1 else etas[:, 0] > 0).astype(int).tolist()
    assert predictions(con, form, encoding, label) == expected
    expression = form_scores(form, encoding, label).prediction()
    found = con.execute(f"SELECT id FROM t WHERE {expression} = 1 ORDER BY id").fetchall()
    assert [row[0] for row in found] == [i for i, k in enumerate(expected) if k == 1]


def test_several_outputs_with_a_category_without_levels(con):
    encoding = Encoding((NUMBERS[0], Feature("k", "VARCHAR", "category", other_level=True)))
    form = form_of(encoding, "softmax", 3)
    con.execute("CREATE TABLE t AS SELECT * FROM (VALUES (0, 2.0, 'x'), (1, NULL, NULL)) v(id, a, k)")
    rows = [{"a": 2.0, "k": "x"}, {"a": None, "k": None}]
    expected = [int(np.argmax([eta(form, encoding, row, k) for k in range(3)])) for row in rows]
    assert predictions(con, form, encoding, Label("y", "INTEGER", (0, 1, 2))) == expected


@pytest.mark.parametrize(
    ("type_", "classes"),
    [
        ("BOOLEAN", (False, True)),
        ("VARCHAR", ("no", "it's")),
        ("TINYINT", (-1, 1)),
        ("DOUBLE", (0.5, 1.5)),
        ("HUGEINT", (0, 10**30)),
        ("ENUM('a', 'b')", ("a", "b")),
        ("int64", (0, 1)),
        ("<U3", ("x", "y")),
    ],
)
def test_labels_come_back_in_their_type(con, type_, classes):
    encoding = Encoding((Feature("x", "DOUBLE", "number"),))
    form = LinearForm(((1.0,),), (0.0,), "logistic")
    for statement in create_macros("m", form, encoding, Label("y", type_, classes)):
        con.execute(statement)
    assert con.execute("SELECT ml.predict_m(-1.0), ml.predict_m(1.0)").fetchone() == classes
    expected = {"int64": "BIGINT", "<U3": "VARCHAR"}.get(type_, type_)
    assert con.execute("SELECT typeof(ml.predict_m(1.0))").fetchone()[0] == expected
    key = {False: "false", True: "true"}.get(classes[1], str(classes[1])) if type_ == "BOOLEAN" else str(classes[1])
    p = con.execute(
        f"SELECT avg(ml.predict_proba_m(x)['{key.replace(chr(39), chr(39) * 2)}']) FROM (VALUES (0.0), (1.0)) v(x)"
    )
    assert p.fetchone()[0] == pytest.approx((0.5 + 1 / (1 + math.exp(-1))) / 2)
    assert label_literal(True, "BOOLEAN") == "true"


@pytest.mark.parametrize("classes", [("a", "A"), ("", "x")])
def test_labels_that_cannot_name_fields_give_a_map(con, classes):
    encoding = Encoding((Feature("x", "DOUBLE", "number"),))
    for statement in create_macros(
        "m", LinearForm(((1.0,),), (0.0,), "logistic"), encoding, Label("y", "VARCHAR", classes)
    ):
        con.execute(statement)
    assert con.execute(f"SELECT ml.predict_proba_m(0.0)['{classes[0]}']").fetchone() == (0.5,)


def test_threshold(con):
    encoding = Encoding((Feature("threshold", "DOUBLE", "number"),))
    form = LinearForm(((1.0,),), (0.0,), "logistic")
    for statement in create_macros("m", form, encoding, Label("y", "BOOLEAN", (False, True))):
        con.execute(statement)
    query = "SELECT ml.predict_m(threshold, threshold_ := {}) FROM (VALUES (-1.0), (0.0), (1.0)) v(threshold)"
    assert con.execute(query.format(0.2)).fetchall() == [(True,), (True,), (True,)]
    assert con.execute(query.format(0.5)).fetchall() == [(False,), (False,), (True,)]
    assert con.execute(query.format(0.9)).fetchall() == [(False,), (False,), (False,)]
    assert con.execute(query.format(0)).fetchall() == [(True,)] * 3
    assert con.execute(query.format(1)).fetchall() == [(False,)] * 3
    con.execute("CREATE TABLE v AS SELECT * FROM (VALUES (-1.0), (1.0)) v(threshold)")
    found = con.execute("SELECT predicted_y FROM ml.predict_m(v, threshold := 0.2)").fetchall()
    assert found == [(True,), (True,)]


NASTY = (
    "emp.var.rate",
    "select",
    'quo"te',
    "straße",
    "a",
    "A",
    "tbl",
    "t",
    "s",
    "w",
    "level",
    "weight",
    "z",
    "threshold",
)


def test_macros_of_nasty_columns_persist_for_a_plain_client(tmp_path):
    path = str(tmp_path / "m.duckdb")
    levels = tuple(f"l{i}" for i in range(50))
    category = Feature("dbml level", "VARCHAR", "category", levels=levels, null_level=True)
    encoding = Encoding((*(Feature(name, "DOUBLE", "number", fill=(0.5,)) for name in NASTY), category))
    form = form_of(encoding, "logistic")
    name = 'my "model"'
    with duckdb.connect(path) as con:
        con.execute("CREATE SCHEMA ml")
        for statement in create_macros(name, form, encoding, Label('la"te', "BOOLEAN", (False, True))):
            con.execute(statement)
    row = {column: float(i) for i, column in enumerate(NASTY)} | {"dbml level": "l7"}
    expected = 1 / (1 + math.exp(-eta(form, encoding, row)))
    with duckdb.connect(path, read_only=True) as con:
        columns = ", ".join(f"{value!r} AS {identifier(column)}" for column, value in row.items())
        con.execute(f"CREATE TEMP TABLE u AS SELECT {columns}")
        arguments = ", ".join(map(identifier, row))
        assert con.execute(f"SELECT {proba_macro(name)}({arguments})['true'] FROM u").fetchone()[0] == pytest.approx(
            expected
        )
        found = con.execute(f"FROM {predict_macro(name)}(u)").fetchone()
        assert found[: len(row)] == tuple(row.values())
        assert found[-2] == (expected > 0.5)
        assert found[-1][1] == {"label": True, "prob": pytest.approx(expected)}
        names = [column[0] for column in con.description]
        assert names[-2:] == ['predicted_la"te', 'predicted_la"te_probs']


def test_columns_that_differ_in_case_only_are_arguments_of_their_own(con):
    encoding = Encoding(tuple(Feature(name, "DOUBLE", "number") for name in ("a", "A", "A_2")))
    for statement in create_macros("m", LinearForm(((1.0, 10.0, 100.0),), (0.0,), "identity"), encoding, Label())[:1]:
        con.execute(statement)
    assert con.execute("SELECT ml.predict_m(1, 2, 3)").fetchone() == (321.0,)


def test_drop_macros(con):
    encoding = Encoding((Feature("x", "DOUBLE", "number"),))
    for statement in create_macros("m", LinearForm(((1.0,),), (0.0,), "identity"), encoding, Label()):
        con.execute(statement)
    for statement in drop_macros("m") * 2:
        con.execute(statement)
    assert con.execute("SELECT count(*) FROM duckdb_functions() WHERE schema_name = 'ml'").fetchone() == (0,)


def test_table_macro_takes_tables_views_and_common_table_expressions(con):
    encoding = Encoding((Feature("x", "DOUBLE", "number", fill=(1.0,)),))
    for statement in create_macros("m", LinearForm(((2.0,),), (3.0,), "identity"), encoding, Label("price")):
        con.execute(statement)
    con.execute('CREATE TABLE "my table" AS SELECT 1 AS id, 2.0 AS x; CREATE VIEW v AS FROM "my table"')
    assert con.execute('FROM ml.predict_m("my table")').fetchall() == [(1, 2.0, 5.0)]
    assert con.execute("SELECT predicted_price FROM ml.predict_m('v')").fetchall() == [(5.0,)]
    assert con.execute("WITH c AS (SELECT 3 AS x) SELECT predicted_price FROM ml.predict_m(c)").fetchall() == [(7.0,)]


def test_names_a_model_cannot_have():
    for name in ("", "a@b", "proba_late", "Proba_x"):
        with pytest.raises(ValueError, match="name"):
            check_name(name)
    assert check_name('any "thing"; --') == 'any "thing"; --'


def test_too_large_a_form_says_why():
    encoding = Encoding((Feature("i", "INTEGER[]", "lists", width=30_000, values="x"),))
    assert "30,000" in too_large(form_of(encoding), encoding)
    wide = Encoding(tuple(Feature(f"x{i}", "DOUBLE", "number") for i in range(100)))
    assert too_large(form_of(wide, "softmax", 3), wide) is None
    assert "weights" in too_large(form_of(wide, "softmax", 40), wide)


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=200)
def test_doubles_read_back_bit_for_bit(value):
    found = duckdb.execute(f"SELECT {double(value)}, typeof({double(value)})").fetchall()[0]
    assert found[1] == "DOUBLE"
    assert math.copysign(1, found[0]) == math.copysign(1, value)
    assert found[0] == value


@given(st.integers(1, 3000))
@settings(max_examples=20)
def test_totals_are_shallow(n):
    text = total(["x"] * n)
    depth = max_depth = 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        max_depth = max(max_depth, depth)
    assert max_depth <= math.ceil(math.log2(n)) if n > 1 else text == "x"
    assert text.count("x") == n


def test_what_is_too_large_for_squares_and_functions_of_terms():
    numbers = Encoding(tuple(Feature(f"x{j}", "DOUBLE", "number") for j in range(200)))
    row = (1.0,) * 200
    form = QuadraticForm((row,) * 200, (0.0,) * 200, (row,) * 200, (row,) * 200, "nearest")
    assert too_large(form, numbers) == "80,000 weights; native SQL holds 50,000"
    sparse = Encoding((Feature("m", "MAP(VARCHAR, DOUBLE)", "map", levels=("a",)),))
    assert (
        too_large(QuadraticForm(((1.0,),), (0.0,), ((),), ((),), "nearest"), sparse)
        == "squared distances of sparse rows"
    )
    marked = TermwiseForm(tuple(Marked(0, (float(k),)) for k in range(5_001)))
    assert too_large(marked, numbers) == "5,001 outputs; native SQL holds 5,000"
    binned = TermwiseForm((Binned(0, tuple(map(float, range(50_001)))),))
    assert too_large(binned, numbers) == "50,001 constants; native SQL holds 50,000"
    assert too_large(TermwiseForm((Marked(0, (1.0,)),)), numbers) is None
