"""Conditions of a query take branches out of trees, and never change a score."""

import math

import numpy as np
import pytest
from dbml_sql.conditions import conditions_around
from dbml_sql.features import Encoding, Feature
from dbml_sql.forms import Branch, Split, Tree, TreeForm
from dbml_sql.prune import Known, prune
from dbml_sql.tokens import significant
from random_trees import random_trees

import dbml

INF = math.inf
ENCODING = Encoding(
    (
        Feature("distance", "DOUBLE", "number", style="values"),
        Feature("carrier", "VARCHAR", "category", levels=("AA", "BB", "it's"), style="values"),
        Feature("dest", "VARCHAR", "category", levels=("X", "Y"), other_level=True, style="values"),
    )
)


def said(query):
    found = significant(query)
    index = next((i for i, token in enumerate(found) if token.text == "predict"), 0)
    conditions = conditions_around(found, index)
    return conditions and (conditions.table, conditions.known)


@pytest.mark.parametrize(
    ("where", "known"),
    [
        ("carrier = 'AA' AND distance > 500", {
            "carrier": Known(texts=frozenset({"AA"}), null=False), "distance": Known(low=500.0, above=True, null=False)
        }),
        ("(f.distance BETWEEN -1 AND 2.5) AND note IS NULL", {
            "distance": Known(-1.0, 2.5, null=False), "note": Known(null=True)
        }),
        ("500 >= distance and distance <> 7", {"distance": Known(high=500.0, null=False)}),
        ("carrier IN ('AA', 'it''s') AND carrier <> 'AA'", {
            "carrier": Known(texts=frozenset({"AA", "it's"}), excluded=frozenset({"AA"}), null=False)
        }),
        ("carrier NOT IN ('AA') AND dest IS NOT NULL", {
            "carrier": Known(excluded=frozenset({"AA"}), null=False), "dest": Known(null=False)
        }),
        ("distance IN (1, 3, 2) AND upper(carrier) = 'AA'", {"distance": Known(1.0, 3.0, null=False)}),
        ("distance > 9007199254740993", {"distance": Known(low=2.0**53, null=False)}),
        ("distance = 5 AND hour + 1 = 2 GROUP BY 1 ORDER BY 1", {"distance": Known(5.0, 5.0, null=False)}),
        *((text, None) for text in (
            "distance > 5 OR hour = 1",
            "NOT distance > 5",
            "distance > 500 + hour",
            "distance > '500'",
            "g.distance > 5",
            "f.s.distance > 5",
            "distance::INTEGER > 5",
            "carrier COLLATE NOCASE = 'aa'",
            "carrier IN ('AA', NULL)",
            "carrier IN (SELECT c FROM u)",
            "CASE WHEN hour = 1 AND distance = 5 AND x THEN true END",
            "distance > ?",
            "true UNION SELECT 1 FROM t WHERE distance > 5",
            "distance > 5 GROUP BY ROLLUP (distance)",
        )),
    ],
)  # fmt: skip
def test_what_where_says(where, known):
    assert said(f"SELECT predict('m', f) FROM flights f WHERE {where}") == (known and ("f", known))


@pytest.mark.parametrize(
    ("query", "table"),
    [
        ("SELECT round(predict('m', f), 2) FROM flights AS f WHERE distance > 5", "f"),
        ("SELECT predict('m', a) FROM db.s.flights WHERE flights.distance > 5", "flights"),
        ('SELECT predict(\'m\', a) FROM (SELECT * FROM t) AS "F" WHERE distance > 5', "f"),
        ("SELECT * FROM (SELECT predict('m', a) FROM t WHERE distance > 5) JOIN u USING (id)", "t"),
        ("CREATE TABLE x AS SELECT predict('m', a) FROM t WHERE distance > 5", "t"),
        *((query, None) for query in (
            "SELECT predict('m', f) FROM flights f, u WHERE distance > 5",
            "SELECT predict('m', f) FROM flights f LEFT JOIN u ON true WHERE distance > 5",
            "SELECT predict('m', f) FROM flights f(distance, b) WHERE distance > 5",
            "SELECT distance * 2 AS distance, predict('m', f) FROM flights f WHERE distance > 5",
            "SELECT distance * 2 distance, predict('m', f) FROM flights f WHERE distance > 5",
            "SELECT (SELECT predict('m', g) FROM u g) FROM flights f WHERE distance > 5",
            "FROM flights f SELECT predict('m', f) WHERE distance > 5",
            "SELECT predict('m', f) FROM flights f",
        )),
    ],
)  # fmt: skip
def test_where_it_is_looked_for(query, table):
    found = said(query)
    assert (found and found[0]) == table


def ask(term, bound, left, right, missing_left=False):
    number = isinstance(bound, float)
    return Branch(
        Split(term, bound if number else None, None if number else frozenset(bound), missing_left), left, right
    )


A, B = (1.0,), (2.0,)


@pytest.mark.parametrize(
    ("root", "known", "left"),
    [
        (ask(0, 5.0, A, B), {"distance": Known(6.0, 7.0, null=False)}, B),
        (ask(0, 5.0, A, B), {"distance": Known(1.0, 5.0, null=False)}, A),
        (ask(0, 5.0, A, B), {"distance": Known(5.0, 9.0, above=True, null=False)}, B),
        (ask(0, 5.0, A, B), {"distance": Known(5.0, 9.0, null=False)}, None),
        (ask(0, 5.0, A, B, True), {"distance": Known(low=6.0, null=False)}, None),  # NaN is above 6, and is missing
        (ask(0, 5.0, A, B, False), {"distance": Known(low=6.0, null=False)}, B),
        (ask(0, 5.0, A, B, False), {"distance": Known(high=5.0, null=False)}, None),  # so is -infinity
        (ask(0, 5.0, A, B, True), {"distance": Known(null=True)}, A),
        (ask(0, 5.0, A, B), {"distance": Known(null=False)}, None),
        (ask(1, {0}, A, B), {"carrier": Known(texts=frozenset({"AA"}), null=False)}, A),
        (ask(1, {0}, A, B), {"carrier": Known(texts=frozenset({"BB", "it's"}), null=False)}, B),
        (ask(1, {0}, A, B), {"carrier": Known(excluded=frozenset({"AA"}), null=False)}, B),
        (ask(1, {0}, A, B, True), {"carrier": Known(excluded=frozenset({"AA"}), null=False)}, None),  # unseen
        (ask(1, {0}, A, B, True), {"carrier": Known(texts=frozenset({"new"}), null=False)}, A),
        (ask(2, {0, 2}, A, B), {"dest": Known(texts=frozenset({"new", "X"}), null=False)}, A),
        (ask(2, {0, 2}, A, B), {"dest": Known(null=True)}, B),
    ],
)
def test_branches(root, known, left):
    form = TreeForm((Tree(0, root),), (0.0,), "identity")
    assert prune(form, ENCODING, known).trees[0].root is (root if left is None else left)


def test_known_twice():
    one = Known(low=1.0, above=True, null=False).and_(Known(low=1.0, high=3.0))
    assert one == Known(1.0, 3.0, above=True, null=False)
    texts = Known(texts=frozenset("ab")).and_(Known(texts=frozenset("bc"), null=False))
    assert texts == Known(texts=frozenset("b"), null=False)


VALUES = {
    "distance": ["1", "2.5", "NULL", "'nan'::DOUBLE", "'inf'::DOUBLE", "'-inf'::DOUBLE", "0.1", "7"],
    "carrier": ["'AA'", "'BB'", "'it''s'", "'new'", "NULL", "''"],
    "dest": ["'X'", "'Y'", "'other'", "NULL"],
}
CONDITIONS = [
    "distance > 0.1", "distance <= 2.5", "distance BETWEEN 0.1 AND 2.5", "distance IS NULL", "distance = 7",
    "distance IN (1, 7) AND carrier <> 'AA'", "carrier = 'AA' AND distance > 0", "carrier IN ('AA', 'new')",
    "dest NOT IN ('X') AND distance < 3", "dest = 'other'", "carrier IS NOT NULL AND dest IS NULL",
    "carrier = 'AA' AND carrier = 'BB'", "distance >= 1 AND 3 > distance",
]  # fmt: skip


@pytest.fixture(scope="module")
def con():
    """Every combination of values, and a model of symmetric trees over them."""
    with dbml.connect() as connection:
        crossed = " CROSS JOIN ".join(
            f"(SELECT unnest([{', '.join(values)}]::{'DOUBLE' if name == 'distance' else 'VARCHAR'}[]) AS {name})"
            for name, values in VALUES.items()
        )
        connection.execute(f"CREATE TABLE t AS FROM {crossed}")
        for name, classes in (("number", None), ("chance", ("no", "yes"))):
            model = _model(classes)
            connection.save_model(name, model)
        yield connection


def _model(classes):
    from dbml import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from dbml.passes.plan import Plan
    from dbml.passes.schema import Schema, Target

    model = HistGradientBoostingRegressor() if classes is None else HistGradientBoostingClassifier()
    model.schema_ = Schema(ENCODING, Target("y", "DOUBLE" if classes is None else "VARCHAR", classes))
    model.plan_, model.n_features_in_ = Plan("none"), 3
    model.trees_ = random_trees(ENCODING, n_trees=12, depth=4, symmetric=True, grid=(0.1, 1.0, 2.5, 3.0, -INF, INF))
    model.baseline_, model.link_ = np.array([0.25]), "identity" if classes is None else "logistic"
    model._name_features(model.schema_)
    return model


@pytest.mark.parametrize("where", CONDITIONS)
def test_scores_stay(con, where):
    query = """SELECT distance, carrier, dest, predict('number', f), predict('chance', f, {'threshold': 0.6}),
        predict_proba('chance', distance, f.carrier, dest)['yes'] FROM t f"""
    expected = con.execute(f"FROM ({query}) f WHERE {where} ORDER BY ALL").fetchall()
    _same(con.execute(f"{query} WHERE {where} ORDER BY ALL").fetchall(), expected)
    _same(
        con.execute(f"{query.replace('FROM t f', 'FROM (SELECT * FROM t) f')} WHERE {where} ORDER BY ALL").fetchall(),
        expected,
    )
    found = con.execute(
        f"SELECT distance, carrier, dest, predicted_y FROM ML.PREDICT(MODEL number, (SELECT * FROM t WHERE {where})) "
        "ORDER BY ALL"
    )
    _same(found.fetchall(), [row[:4] for row in expected])


@pytest.mark.parametrize("cast", ["FLOAT", "DECIMAL(9, 2)", "INTEGER"])
def test_other_types_of_the_column(con, cast):
    """FLOAT compares with a rounded constant: the trees stay whole."""
    con.execute(f"CREATE OR REPLACE TABLE u AS SELECT TRY_CAST(distance AS {cast}) AS distance, carrier, dest FROM t")
    for where in ("distance <= 0.1", "distance > 1", "distance >= 2"):
        query = "SELECT *, predict('number', f) FROM u f"
        expected = con.execute(f"FROM ({query}) f WHERE {where} ORDER BY ALL").fetchall()
        _same(con.execute(f"{query} WHERE {where} ORDER BY ALL").fetchall(), expected)


@pytest.mark.parametrize("collation", ["NOCASE", "NOACCENT", "NFC"])
def test_texts_that_are_equal_by_a_collation_only(con, collation):
    """Rows of another spelling come with a condition, and are scored as what they are."""
    con.execute(f"CREATE OR REPLACE TABLE u (distance DOUBLE, carrier VARCHAR COLLATE {collation}, dest VARCHAR)")
    con.execute("INSERT INTO u FROM t")
    con.execute("INSERT INTO u VALUES (1, 'aa', 'X'), (1, 'bb', 'X'), (1, 'ÁA', 'X')")
    query = "SELECT *, predict('number', f) FROM u f"
    for where in ("carrier = 'aa'", "carrier IN ('AA', 'bb')", "carrier <> 'bb'"):
        expected = con.execute(f"FROM ({query}) f WHERE {where} ORDER BY ALL").fetchall()
        _same(con.execute(f"{query} WHERE {where} ORDER BY ALL").fetchall(), expected)


def _same(found, expected):
    assert repr(found) == repr(expected)


def test_the_expression_is_smaller(con):
    from dbml.registry.rewriting import rewrite

    whole = rewrite(con.duckdb, "SELECT predict('number', f) FROM t f WHERE distance > 1 OR true")
    smaller = rewrite(
        con.duckdb, "SELECT predict('number', f) FROM t f WHERE carrier = 'AA' AND distance BETWEEN 5 AND 6"
    )
    assert "predict_number" in whole and "typeof" in smaller
    small = smaller[smaller.index("THEN (0.25") : smaller.index("ELSE (0.25")]
    assert "carrier" not in small and "dest" in small
    query = "SELECT predict('number', f) AS p FROM t f WHERE carrier = 'AA'"
    for kept in (
        "CREATE VIEW v AS",
        "CREATE OR REPLACE TEMP VIEW v AS",
        "CREATE TEMP MACRO v() AS TABLE",
        "PREPARE v AS",
    ):
        assert "predict_number" in rewrite(con.duckdb, f"{kept} {query}"), kept
    assert "predict_number" not in rewrite(con.duckdb, f"CREATE TEMP TABLE v AS {query}")


def test_kept_text_follows_the_model_with_a_where_as_without(con):
    con.execute("CREATE TABLE numbers AS SELECT i % 10 AS x, 2 * x AS y FROM range(200) s(i)")
    create = "CREATE OR REPLACE MODEL line OPTIONS (model_type = 'boosted_tree_regressor', input_label_cols = ['y']) AS"
    con.execute(f"{create} FROM numbers")
    queries = (
        "SELECT avg(predict('line', f)) FROM numbers f WHERE x > 3",
        "SELECT avg(predicted_y) FROM ML.PREDICT(MODEL line, (SELECT * FROM numbers WHERE x > 3))",
    )
    for number, query in enumerate(queries):
        con.execute(f"CREATE TEMP VIEW v{number} AS {query}")
        con.execute(f"CREATE TEMP MACRO m{number}() AS TABLE {query}")
        con.execute(f"PREPARE p{number} AS {query}")
    lazy = [con.sql(query) for query in queries]
    con.execute(f"{create} SELECT x, y + 1000 AS y FROM numbers")
    for number, query in enumerate(queries):
        now = con.execute(query).fetchone()[0]
        assert now > 1000
        kept = (f"FROM v{number}", f"FROM m{number}()", f"EXECUTE p{number}")
        found = [*(con.execute(text).fetchone()[0] for text in kept), lazy[number].fetchall()[0][0]]
        assert found == pytest.approx([now] * 4, rel=1e-12)


def test_a_row_of_another_table(con):
    query = "SELECT (SELECT predict('number', g) FROM t g LIMIT 1) FROM t f WHERE f.carrier = 'AA' LIMIT 1"
    assert con.execute(query).fetchall() == con.sql("SELECT predict('number', g) FROM t g LIMIT 1").fetchall()
