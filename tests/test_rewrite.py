"""Calls about models inside statements: text in, text out, and what DuckDB answers."""

import dataclasses
from itertools import pairwise

import duckdb
import pytest
from dbml_sql.calls import rewrite_calls
from dbml_sql.catalogue import migrations
from dbml_sql.errors import SqlError
from dbml_sql.features import Encoding, Feature
from dbml_sql.forms import LinearForm
from dbml_sql.macros import create_macros
from dbml_sql.signature import ModelSignature
from dbml_sql.tokens import significant, split_statements, tokens
from hypothesis import given
from hypothesis import strategies as st
from sql_pairs import pairs

CLASSIFIER = {"target": "late", "target_type": "BOOLEAN", "task": "classification", "classes": (False, True)}
LATE = ModelSignature(
    "late", 1, 1, ("dep_hour", "the carrier"), **CLASSIFIER, native="late", probabilities=True, threshold=True
)
ONE = ModelSignature("one", 2, 1, ("x",), "y", native="one")
PLAIN = dataclasses.replace(LATE, name="plain", model_id=3, native=None)
SVM = dataclasses.replace(LATE, name="svm", model_id=4, native="svm", probabilities=False, threshold=False)
THREE = ModelSignature("three", 5, 1, ("a", "b"), "c", "VARCHAR", "classification", ("x", "y", "z"), "three", True)


class Models:
    def __init__(self, *signatures):
        self.known = {signature.name: signature for signature in signatures}

    def resolve(self, reference):
        if reference.name.lower() not in self.known:
            raise LookupError(f"no model {reference}")
        return self.known[reference.name.lower()]

    def has_function(self, name):
        return name == "predict_proba"

    def trees(self, model):
        return None


FAR = dataclasses.replace(ONE, name="far", native="far", schema='"my db".ml', database="my db")
FAR_UDF = dataclasses.replace(ONE, name="far_udf", native=None, schema="other.ml", database="other")
MODELS = Models(LATE, ONE, PLAIN, SVM, THREE, FAR, FAR_UDF)


@pytest.mark.parametrize(("statement", "expected"), pairs("rewrite"))
def test_pairs(statement, expected):
    if expected.startswith("error: "):
        with pytest.raises(SqlError) as raised:
            rewrite_calls(statement, MODELS)
        assert expected.removeprefix("error: ") in str(raised.value)
        assert raised.value.line == 1
    else:
        assert rewrite_calls(statement, MODELS).sql.strip() == expected.strip()


def test_models_are_listed_in_order_of_appearance():
    query = "SELECT predict('one', x) FROM ML.PREDICT(MODEL late, (FROM t WHERE predict('svm', t)))"
    assert [model.name for model in rewrite_calls(query, MODELS).models] == ["one", "late", "svm"]


def test_an_unknown_model_is_the_resolvers_error():
    with pytest.raises(LookupError, match="no model lat"):
        rewrite_calls("SELECT predict('lat', f) FROM f", MODELS)


def test_a_macro_of_the_persons_is_called_where_no_model_is_meant():
    query = "SELECT predict_proba('lat', x), predict('one', x) FROM ml.t"
    assert rewrite_calls(query, MODELS).sql == query.replace("predict('one', x)", 'ml."predict_one"("x" := x)')


def test_a_statement_without_our_calls_is_the_same_object():
    for statement in ("SELECT 1", "SELECT prediction, model FROM html.t", "COPY t TO 'x.parquet'"):
        assert rewrite_calls(statement, MODELS).sql is statement


PIECES = (
    ["SELECT ", "'a;b'", '"x;"', "--c;\n", "/* ; /* ; */ */", "$$;$$", "$t$;$$;$t$", ";", " ", "E'\\';'", "?", "$1"],
    ["1.5e-3", "::", "(", ")", "predict", "ml", ".", "'", '"', "/*", "é"],
)
SQL_TEXT = st.lists(st.sampled_from([*PIECES[0], *PIECES[1]])).map("".join)


@given(SQL_TEXT)
def test_pieces_of_a_script_join_to_the_script(script):
    assert "".join(split_statements(script)) == script


@given(SQL_TEXT)
def test_tokens_cover_the_text(script):
    position, rebuilt = 0, []
    for token in tokens(script):
        rebuilt += [script[position : token.start], token.text]
        assert not script[position : token.start].strip()
        position = token.end
    assert "".join([*rebuilt, script[position:]]) == script


def is_ours(text):
    """Whether a call of ours begins somewhere, finished or not."""
    words = [token.text.lower() for token in significant(text)]
    return any(pair in {("predict", "("), ("ml", ".")} for pair in pairwise(words))


@given(SQL_TEXT.filter(lambda text: not is_ours(text)))
def test_other_statements_stay_byte_for_byte(script):
    assert rewrite_calls(script, MODELS).sql == script


class Label:
    def __init__(self, name, type_, classes):
        self.name, self.type, self.classes = name, type_, classes


@pytest.fixture
def con():
    connection = duckdb.connect()
    for migration in migrations():
        connection.execute(migration.sql)
    add(connection, LATE, LATE_FORM, LATE_ENCODING)
    add(connection, ONE, LinearForm(((2.0, 5.0),), (1.0,), "identity"), ONE_ENCODING)
    connection.execute(
        """CREATE TABLE t AS SELECT range AS id, range % 24 AS dep_hour,
           ['AA', 'BB', NULL][1 + range % 3] AS "the carrier",
           range % 5 > 2 AS late, range / 2 AS x, range * 1.5 AS y FROM range(100)"""
    )
    yield connection
    connection.close()


LATE_ENCODING = Encoding(
    (
        Feature("dep_hour", "BIGINT", "number", fill=(12.0,)),
        Feature("the carrier", "VARCHAR", "category", levels=("AA", "BB"), null_level=True, other_level=True),
    )
)
LATE_FORM = LinearForm(((0.3, 1.0, -1.0, 0.25, 0.5),), (-0.5,), "logistic")
ONE_ENCODING = Encoding((Feature("x", "DOUBLE", "number", fill=(10.0,), flag=True),))


def add(con, model, form, encoding):
    for statement in create_macros(model.name, form, encoding, Label(model.target, model.target_type, model.classes)):
        con.execute(statement)
    add_features(con, model, encoding)


def add_features(con, model, encoding):
    key = [model.model_id, model.version]
    for position, f in enumerate(encoding.features):
        learned = [list(f.fill), f.flag, list(f.levels), f.null_level, f.other_level, f.width, f.values, f.first_index]
        row = [*key, position, f.column, f.type, f.kind, f.part, *learned]
        con.execute(f"INSERT INTO ml.features VALUES ({', '.join('?' * len(row))})", row)


def add_weights(con, model, *rows):
    con.execute(f"INSERT INTO ml.weights SELECT {model.model_id}, {model.version}, * FROM (VALUES {', '.join(rows)})")


def run(con, query, parameters=None):
    return con.execute(rewrite_calls(query, MODELS).sql, parameters).fetchall()


def test_rows_columns_structs_and_tables_agree(con):
    expected = run(con, "SELECT predict_proba('late', t)['true'] FROM t ORDER BY id")
    assert len({row[0] for row in expected}) > 10
    others = (
        """SELECT predict_proba('late', dep_hour, "the carrier")['true'] FROM t ORDER BY id""",
        "SELECT predict_proba('late', s)['true'] FROM (SELECT id, t AS s FROM t) ORDER BY id",
        "SELECT predicted_late_probs[2].prob FROM ML.PREDICT(MODEL late, TABLE t) ORDER BY id",
        "SELECT predicted_late_probs[2].prob FROM ML.PREDICT(MODEL late, (SELECT * FROM t)) ORDER BY id",
        "WITH c AS (FROM t) SELECT predicted_late_probs[2].prob FROM ML.PREDICT(MODEL late, TABLE c) ORDER BY id",
    )
    for query in others:
        assert [row[0] for row in run(con, query)] == pytest.approx([row[0] for row in expected])


def test_calls_stand_anywhere(con):
    queries = (
        "SELECT predict('late', t) p, count(*) FROM t GROUP BY ALL HAVING max(predict_proba('late', t)['true']) > 0",
        "SELECT sum(predict_proba('late', t)['true']) OVER (ORDER BY id) FROM t WHERE predict('late', t) LIMIT 1",
        "SELECT count(*) FROM t a JOIN t b ON predict('late', a) = predict('late', b) AND a.id = b.id",
        "SELECT (SELECT max(predict('one', o.x + i.x)) FROM t i WHERE i.id = o.id) FROM t o LIMIT 1",
        "FROM (FROM ML.PREDICT(MODEL one, TABLE t)) SELECT max(predicted_y)",
        "SELECT list_transform([1, 2], lambda v: predict('one', v))",
    )
    for query in queries:
        assert run(con, query)
    con.execute(rewrite_calls("CREATE VIEW v AS SELECT *, predict('late', t) AS p FROM t", MODELS).sql)
    con.execute(rewrite_calls("UPDATE t SET late = predict('late', t)", MODELS).sql)
    assert con.execute("SELECT bool_and(late = p) FROM v").fetchone() == (True,)
    con.execute(rewrite_calls("INSERT INTO t SELECT * REPLACE (predict('one', t) AS y) FROM t", MODELS).sql)
    assert con.execute("SELECT count(*) FROM t").fetchone() == (200,)


def test_parameters_keep_their_order(con):
    source = "ML.PREDICT(MODEL late, (SELECT * FROM t WHERE id = ?), STRUCT(? AS threshold))"
    query = f"SELECT ?, id, ? FROM {source} WHERE id <> ?"
    assert run(con, query, ["a", "b", 7, 0.25, 8]) == [("a", 7, "b")]
    scalar = "SELECT predict('late', ?, ?, {'threshold': ?}), ?"
    assert run(con, scalar, [20, "AA", 0.99, "end"]) == [(False, "end")]
    assert run(con, scalar, [20, "AA", 0.01, "end"]) == [(True, "end")]
    assert run(con, "SELECT predict('late', $hour, $carrier)", {"hour": 20, "carrier": "AA"}) == [(True,)]


def test_a_missing_column_is_named(con):
    with pytest.raises(duckdb.Error, match="the carrier"):
        run(con, "SELECT predict('late', s) FROM (SELECT dep_hour FROM t) s")


def test_weights(con):
    levels = ("'level', 'AA', 1.0", "'level', 'BB', -1.0", "'null', NULL, 0.25", "'other', NULL, 0.5")
    terms = (f"(0, {term + 1}, 1, {level})" for term, level in enumerate(levels))
    add_weights(con, LATE, "(0, NULL, NULL, 'intercept', NULL, -0.5)", "(0, 0, 0, 'value', NULL, 0.3)", *terms)
    one = (
        "(0, 0, 0, 'value', NULL, 2.0)",
        "(0, 1, 0, 'missing', NULL, 5.0)",
        "(0, NULL, NULL, 'intercept', NULL, 1.0)",
    )
    add_weights(con, ONE, *one)
    found = run(con, "FROM ML.WEIGHTS(MODEL late)")
    carriers = [{"category": c, "weight": w} for c, w in (("AA", 1.0), ("BB", -1.0), (None, 0.25), ("(other)", 0.5))]
    assert found[0] == ("dep_hour", 0.3, None)
    assert found[1] == ("the carrier", None, carriers)
    assert found[2][:2] == ("__INTERCEPT__", pytest.approx(-0.5 - 12 * 0.3))
    assert run(con, "SELECT processed_input, weight FROM ML.WEIGHTS(MODEL one)") == [
        ("x", 2.0),
        ("x IS NULL", 5.0),
        ("__INTERCEPT__", 1.0 - 20.0),
    ]


def test_feature_info(con):
    assert run(
        con, "SELECT input, kind, mean, category_count, missing, unseen, dimension FROM ML.FEATURE_INFO(MODEL late)"
    ) == [
        ("dep_hour", "number", 12.0, None, "mean", None, 1),
        ("the carrier", "category", None, 2, "own term", "shared term", 4),
    ]


def test_feature_info_of_plain_values(con):
    model = dataclasses.replace(LATE, version=LATE.version + 1)
    kinds = {"style": "values", "levels": ("AA", "BB")}
    features = (
        Feature("x", "DOUBLE", "number", style="values"),
        Feature("day", "DATE", "number", "month", style="values"),
        Feature("v", "FLOAT[3]", "vector", width=3, style="values"),
        Feature("c", "VARCHAR", "category", **kinds),
        Feature("o", "VARCHAR", "category", other_level=True, **kinds),
        Feature("m", "MAP(VARCHAR, DOUBLE)", "map", **kinds),
    )
    add_features(con, model, Encoding(features))
    query = "SELECT * EXCLUDE (type) FROM ML.FEATURE_INFO(MODEL late)"
    assert con.execute(rewrite_calls(query, Models(model)).sql).fetchall() == [
        ("x", None, "number", None, None, "kept", None, 1),
        ("day", "month", "number", None, None, "kept", None, 1),
        ("v", None, "vector", None, None, "kept", None, 3),
        ("c", None, "category", None, 2, "kept", "missing", 1),
        ("o", None, "category", None, 2, "kept", "shared code", 1),
        ("m", None, "map", None, 2, "zero", None, 2),
    ]


def test_training_info(con):
    model = dataclasses.replace(LATE, run_id=7)
    rows = "(7, 1, 0.4, NULL, 0.1, 12), (7, 0, 0.7, NULL, 0.1, 15), (8, 0, 1, 1, 1, 1)"
    con.execute(f"INSERT INTO ml.training_iterations VALUES {rows}")
    query = rewrite_calls("FROM ML.TRAINING_INFO(MODEL late)", Models(model)).sql
    assert con.execute(query).fetchall() == [(7, 0, 0.7, None, 0.1, 15), (7, 1, 0.4, None, 0.1, 12)]
    assert [column[0] for column in con.description] == [
        "training_run", "iteration", "loss", "eval_loss", "learning_rate", "duration_ms",
    ]  # fmt: skip


def test_stored_metrics_or_words(con):
    version = """INSERT INTO ml.model_versions BY NAME SELECT 1 AS model_id, 1 AS version, 'x' AS type, 'x' AS task,
      true AS named, '{}' AS params, '{}' AS attributes, 1 AS format, '0' AS dbml_version, 'x' AS checksum,
      now()::TIMESTAMP AS created_at"""
    con.execute(version)
    with pytest.raises(duckdb.Error, match="late: no rows were held out in training"):
        run(con, "FROM ML.EVALUATE(MODEL late)")
    con.execute("UPDATE ml.model_versions SET metrics = MAP {'recall': 0.5, 'roc_auc': 0.75}")
    assert run(con, "SELECT recall, roc_auc, precision FROM ML.EVALUATE(MODEL late)") == [(0.5, 0.75, None)]
