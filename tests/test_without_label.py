"""Models without a label in SQL: groups, mixtures and projections, native = UDF = Python."""

from contextlib import contextmanager

import duckdb
import numpy as np
import pytest
from dbml_sql.forms import LinearForm, QuadraticForm

import dbml
from dbml.errors import DbmlError, InvalidData, StatementError
from dbml.estimators import discovery
from dbml.estimators.classifier import ProbabilisticClassifier
from dbml.estimators.clusterer import Clusterer
from dbml.estimators.transformer import Transformer
from dbml.registry.dependents import OutdatedViews
from dbml.registry.registering import register


def design(block, n_terms):
    """Return all terms of a block as one matrix."""
    found = np.zeros((block.n_rows, n_terms))
    found[:, : block.X.shape[1]] = block.X
    if block.sparse is not None:
        indptr, indices, values = block.sparse
        np.add.at(found, (np.repeat(np.arange(block.n_rows), np.diff(indptr)), indices), values)
    return found


def listed(matrix):
    return tuple(map(tuple, np.asarray(matrix, float).tolist()))


class _Model:
    """Learns next to nothing: what matters here is how such a model is written in SQL."""

    def _rows(self, data):
        encoding = data.schema.encoding
        return design(data.sample(10_000, 0), encoding.n_terms), np.array(encoding.centre())

    def _design(self, block):
        return design(block, self.schema_.encoding.n_terms)

    def _parts(self, matrix):
        """Return the part of the sparse terms, which are linear, and that of the dense ones."""
        n_dense = self.schema_.encoding.n_dense
        sparse = matrix.copy()
        sparse[:, :n_dense] = 0.0
        return sparse, matrix[:, :n_dense]


class Nearest(_Model, Clusterer, Transformer):
    """Groups around every tenth row."""

    native = True

    def __init__(self, n_clusters=3):
        self.n_clusters = n_clusters

    def _fit(self, data):
        rows, centre = self._rows(data)
        chosen = rows[:: max(1, len(rows) // self.n_clusters)][: self.n_clusters]
        self.cluster_centers_ = chosen + centre
        distance = self._squares(rows, chosen).min(axis=1)
        self.score_quantiles_ = np.quantile(distance, np.linspace(0, 1, 101)).tolist()

    def _centred(self):
        return self.cluster_centers_ - np.array(self.schema_.encoding.centre())

    def _squares(self, rows, centres):
        return ((rows[:, None, :] - centres) ** 2).sum(axis=2)

    def _transform_block(self, block):
        return np.sqrt(self._squares(self._design(block), self._centred()))

    def _cluster_block(self, block):
        return self._transform_block(block).argmin(axis=1)

    def _anomaly_block(self, block):
        return self._squares(self._design(block), self._centred()).min(axis=1)

    def _names_out(self):
        return [f"nearest{k}" for k in range(self.n_clusters)]

    def form(self):
        sparse, dense = self._parts(self._centred())
        intercept = (sparse**2).sum(axis=1)
        coef = np.where(np.arange(sparse.shape[1]) < dense.shape[1], 0.0, 1.0 - 2.0 * sparse)
        form = QuadraticForm(
            listed(coef), tuple(intercept.tolist()), listed(np.ones_like(dense)), listed(dense), "nearest"
        )
        return form if self.native else None


class Mixed(_Model, Clusterer):
    """A mixture with a spread of its own for each group."""

    native = True

    def __init__(self, n_components=3):
        self.n_components = n_components

    def _fit(self, data):
        rows, _ = self._rows(data)
        rng = np.random.default_rng(0)
        k, width = self.n_components, rows.shape[1]
        self.coef_, self.offset_by_group_ = rng.normal(size=(k, width)), rng.normal(size=k)
        n_dense = data.schema.encoding.n_dense
        self.square_, self.origin_ = -rng.random(size=(k, n_dense)), rng.normal(size=(k, n_dense))

    def _etas(self, block):
        rows = self._design(block)
        squares = (block.X[:, None, :] - self.origin_) ** 2
        return self.offset_by_group_ + rows @ self.coef_.T + (squares * self.square_).sum(axis=2)

    def _proba_block(self, block):
        etas = self._etas(block)
        found = np.exp(etas - etas.max(axis=1, keepdims=True))
        return found / found.sum(axis=1, keepdims=True)

    def predict_proba(self, X, *, con=None):
        return self._score(X, "predict_proba", self._proba_block, con)

    def _cluster_block(self, block):
        return self._etas(block).argmax(axis=1)

    def form(self):
        arrays = (self.coef_, self.square_, self.origin_)
        coef, square, origin = map(listed, arrays)
        return QuadraticForm(coef, tuple(self.offset_by_group_), square, origin, "softmax") if self.native else None


class Projected(_Model, Transformer):
    """Principal components that are none: any directions."""

    native = True

    def __init__(self, n_components=2):
        self.n_components = n_components

    def _fit(self, data):
        rows, _ = self._rows(data)
        self.components_ = np.random.default_rng(1).normal(size=(self.n_components, rows.shape[1]))
        self.explained_variance_ = np.arange(self.n_components, 0, -1.0)
        self.explained_variance_ratio_ = self.explained_variance_ / 10.0

    def _transform_block(self, block):
        return self._design(block) @ self.components_.T + 0.25

    def _names_out(self):
        return [f"projected{k}" for k in range(self.n_components)]

    def form(self):
        form = LinearForm(listed(self.components_), (0.25,) * self.n_components, "values")
        return form if self.native else None


class Bayes(_Model, ProbabilisticClassifier):
    """A classifier with squared distances of its own for each class."""

    def __init__(self):
        pass

    def _fit(self, data):
        k, rng = len(data.schema.classes), np.random.default_rng(2)
        width, n_dense = data.schema.encoding.n_terms, data.schema.encoding.n_dense
        self.coef_ = rng.normal(size=(k, width))
        self.square_, self.origin_ = -rng.random(size=(k, n_dense)), rng.normal(size=(k, n_dense))

    def _etas(self, block):
        squares = (block.X[:, None, :] - self.origin_) ** 2
        return self._design(block) @ self.coef_.T + (squares * self.square_).sum(axis=2)

    def _decision_block(self, block):
        etas = self._etas(block)
        return etas[:, 1] - etas[:, 0] if etas.shape[1] == 2 else etas

    def _proba_block(self, block):
        etas = self._etas(block)
        found = np.exp(etas - etas.max(axis=1, keepdims=True))
        return found / found.sum(axis=1, keepdims=True)

    def form(self):
        coef, square, origin = map(listed, (self.coef_, self.square_, self.origin_))
        return QuadraticForm(coef, (0.0,) * len(coef), square, origin, "softmax")


KINDS = (Nearest, Mixed, Projected, Bayes)
COLUMNS = 'a, "b "" c", v, kind, day'


@pytest.fixture(scope="module")
def known():
    """Let the registry know the models of this file."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in KINDS:
            patch.setitem(discovery.estimators(), kind.__name__, kind)
            patch.setitem(discovery.model_types(), kind.__name__.lower(), kind)
        yield


@contextmanager
def opened():
    """Rows with NULL, NaN, a category, a vector, a date, a quoted name and an offset of 1e8."""
    with dbml.connect() as con:
        con.execute(
            """CREATE TABLE t AS SELECT i AS id,
            CASE i % 7 WHEN 0 THEN NULL WHEN 1 THEN 'nan' ELSE sin(i) END::DOUBLE AS a,
            1e8 + i % 13 AS "b "" c", [cos(i), CASE WHEN i % 9 > 0 THEN i % 5 END]::DOUBLE[2] AS v,
            ['x', 'y', 'it''s', NULL][1 + i % 4] AS kind, DATE '2026-01-01' + i::INTEGER AS day, i % 3 AS label
            FROM range(1000) r(i)"""
        )
        con.execute(
            """CREATE TABLE strange AS FROM t UNION ALL BY NAME
            SELECT 2000 AS id, NULL AS a, NULL AS "b "" c", NULL AS v, 'never seen' AS kind, NULL AS day, 0 AS label"""
        )
        yield con


@pytest.fixture
def con(known):
    with opened() as con:
        yield con


@pytest.fixture(scope="module")
def with_models(known):
    """A connection with a model of each kind, for tests that change nothing."""
    with opened() as con:
        trained(con, "nearest")
        trained(con, "mixed", "x")
        trained(con, "projected", "p")
        yield con


def trained(con, kind, name="m", **options):
    given = "".join(f", {option} = {value}" for option, value in options.items())
    con.execute(f"CREATE OR REPLACE MODEL {name} OPTIONS (model_type = '{kind}'{given}) AS SELECT {COLUMNS} FROM t")
    return con.load_model(name)


def column(con, query):
    return [row[0] for row in con.execute(query).fetchall()]


def same(found, expected):
    np.testing.assert_allclose(np.array(found, float), expected, rtol=1e-9, atol=1e-9)


ARGUMENTS = ", ".join(f"f.{name.strip()}" for name in COLUMNS.split(","))


@pytest.mark.parametrize("native", [True, False])
def test_groups_in_every_way(con, native, monkeypatch):
    monkeypatch.setattr(Nearest, "native", native)
    model = trained(con, "nearest", n_clusters=4)
    rows = con.table("strange")
    groups, distances = model.predict(rows.to_arrow_table()), model.transform(rows.to_arrow_table())
    assert groups.dtype == np.int32
    assert set(groups) == {0, 1, 2, 3}
    relation = model.predict(rows)
    assert relation.columns == [*rows.columns, "centroid_id"]
    assert str(relation.types[-1]) == "INTEGER"
    same([row[-1] for row in relation.fetchall()], groups)
    same([row[-4:] for row in model.transform(rows).fetchall()], distances)
    assert model.transform(rows).columns[-4:] == ["nearest0", "nearest1", "nearest2", "nearest3"]
    same(column(con.duckdb, "SELECT predict('m', f) FROM strange f"), groups)
    same(column(con.duckdb, "SELECT transform('m', f) FROM strange f"), distances)
    same(column(con, "SELECT predict('m', f) FROM strange f"), groups)
    same(column(con, f"SELECT predict('m', {ARGUMENTS}) FROM strange f"), groups)
    same(column(con, "SELECT transform('m', f) FROM strange f"), distances)
    assert con.sql("SELECT predict('m', f) AS p, transform('m', f) AS q FROM strange f").types == [
        "INTEGER",
        "DOUBLE[]",
    ]
    if native:
        same(column(con, f"SELECT ml.predict_m({ARGUMENTS}) FROM strange f"), groups)
        same(column(con, "SELECT centroid_id FROM ml.predict_m(strange)"), groups)
        same(con.sql("SELECT COLUMNS('nearest.') FROM ml.transform_m(strange)").fetchall(), distances)


@pytest.mark.parametrize("native", [True, False])
def test_ml_functions_of_groups(con, native, monkeypatch):
    monkeypatch.setattr(Nearest, "native", native)
    model = trained(con, "nearest")
    rows = con.table("strange").to_arrow_table()
    groups, distances = model.predict(rows), model.transform(rows)
    found = con.sql("FROM ML.PREDICT(MODEL m, TABLE strange)")
    assert found.columns == [*con.table("strange").columns, "CENTROID_ID", "NEAREST_CENTROIDS_DISTANCE"]
    listed = found.fetchall()
    assert [row[-2] for row in listed] == groups.tolist()
    for row, near in zip(listed, distances, strict=True):
        same([item["DISTANCE"] for item in row[-1]], np.sort(near))
        same([near[item["CENTROID_ID"]] for item in row[-1]], np.sort(near))
    same(con.sql("SELECT nearest0, nearest1, nearest2 FROM ML.TRANSFORM(MODEL m, TABLE strange)").fetchall(), distances)
    centres = con.sql("FROM ML.CENTROIDS(MODEL m)")
    assert centres.columns == ["centroid_id", "feature", "numerical_value", "categorical_value"]
    terms, values = model.schema_.encoding.terms, model.cluster_centers_
    by_name = {(row[0], row[1]): row[2:] for row in centres.fetchall()}
    for k in range(3):
        for term in ("a", "a IS NULL", 'b " c', "v[2]", "day.epoch"):
            assert by_name[k, term][0] == pytest.approx(values[k, terms.index(term)])
        shares = {item["category"]: item["value"] for item in by_name[k, "kind"][1]}
        assert shares == {
            "x": values[k, terms.index("kind = x")],
            "y": values[k, terms.index("kind = y")],
            "it's": values[k, terms.index("kind = it's")],
            None: values[k, terms.index("kind IS NULL")],
        }
    anomalies = con.sql("FROM ML.DETECT_ANOMALIES(MODEL m, STRUCT(0.1 AS contamination), TABLE t)")
    assert anomalies.columns == [*con.table("t").columns, "is_anomaly", "normalized_distance", "centroid_id"]
    assert len(anomalies.filter("is_anomaly").fetchall()) == pytest.approx(100, abs=12)
    with pytest.raises(DbmlError, match="which share of the rows are anomalies must be given"):
        con.execute("FROM ML.DETECT_ANOMALIES(MODEL m, TABLE t)").fetchall()


def test_evaluation_of_groups_is_that_of_scikit_learn(con):
    sklearn = pytest.importorskip("sklearn.metrics")
    con.execute(
        "CREATE TABLE blobs AS SELECT i % 3 * 5 + sin(i * i) AS x, i % 3 * 2 + cos(i * 7) AS y FROM range(300) r(i)"
    )
    con.execute("CREATE MODEL blobs OPTIONS (model_type = 'nearest', n_clusters = 3) AS FROM blobs")
    model, X = con.load_model("blobs"), np.array(con.sql("FROM blobs").fetchall())
    model.cluster_centers_ = np.array([X[model.predict(X) == k].mean(axis=0) for k in range(3)])
    con.save_model("blobs", model)
    found = con.sql("FROM ML.EVALUATE(MODEL blobs, TABLE blobs)")
    assert found.columns == ["davies_bouldin_index", "mean_squared_distance"]
    expected = sklearn.davies_bouldin_score(X, model.predict(X)), (model.transform(X).min(axis=1) ** 2).mean()
    same(found.fetchall()[0], expected)
    options = "model_type = 'nearest', data_split_method = 'RANDOM', data_split_eval_fraction = 0.3"
    con.execute(f"CREATE MODEL held OPTIONS ({options}) AS FROM blobs")
    assert con.sql("FROM ML.EVALUATE(MODEL held)").fetchall()[0][1] > 0.0


@pytest.mark.parametrize("native", [True, False])
def test_mixtures_in_every_way(con, native, monkeypatch):
    monkeypatch.setattr(Mixed, "native", native)
    model = trained(con, "mixed")
    arrow = con.table("strange").to_arrow_table()
    groups, shares = model.predict(arrow), model.predict_proba(arrow)
    same(column(con, "SELECT predict('m', f) FROM strange f"), groups)
    same(column(con.duckdb, "SELECT predict('m', f) FROM strange f"), groups)
    for k in range(3):
        same(column(con, f"SELECT predict_proba('m', f)['{k}'] FROM strange f"), shares[:, k])
        same(column(con.duckdb, f"SELECT predict_proba('m', f)['{k}'] FROM strange f"), shares[:, k])
    found = con.sql("FROM ML.PREDICT(MODEL m, TABLE strange)")
    assert found.columns[-2:] == ["centroid_id", "centroid_id_probs"]
    rows = found.fetchall()
    assert [row[-2] for row in rows] == groups.tolist()
    same([[item["prob"] for item in row[-1]] for row in rows], shares)
    same([[item["label"] for item in row[-1]] for row in rows], np.tile([0, 1, 2], (len(rows), 1)))
    relation = model.predict(con.table("strange"))
    assert relation.columns == [*con.table("strange").columns, "centroid_id"]
    assert [row[-1] for row in relation.fetchall()] == groups.tolist()
    listed = model.predict_proba(con.table("strange")).fetchall()
    same([[item["prob"] for item in row[-1]] for row in listed], shares)


@pytest.mark.parametrize("native", [True, False])
def test_components_in_every_way(con, native, monkeypatch):
    monkeypatch.setattr(Projected, "native", native)
    model = trained(con, "projected")
    rows = con.table("strange")
    values = model.transform(rows.to_arrow_table())
    same(column(con, "SELECT transform('m', f) FROM strange f"), values)
    same(column(con.duckdb, f"SELECT transform('m', {ARGUMENTS}) FROM strange f"), values)
    assert model.transform(rows).columns == [*rows.columns, "projected0", "projected1"]
    same([row[-2:] for row in model.transform(rows).fetchall()], values)
    same([row[-2:] for row in con.execute("FROM ML.TRANSFORM(MODEL m, TABLE strange)").fetchall()], values)
    predicted = con.sql("FROM ML.PREDICT(MODEL m, (FROM strange))")
    assert predicted.columns[-2:] == ["principal_component_1", "principal_component_2"]
    same([row[-2:] for row in predicted.fetchall()], values)
    info = con.sql("FROM ML.PRINCIPAL_COMPONENT_INFO(MODEL m)")
    assert info.columns[1:] == ["eigenvalue", "explained_variance_ratio", "cumulative_explained_variance_ratio"]
    same(info.fetchall(), [[0, 2.0, 0.2, 0.2], [1, 1.0, 0.1, 0.3]])
    components = con.sql("FROM ML.PRINCIPAL_COMPONENTS(MODEL m)").fetchall()
    found = {(row[0], row[1]): row[2] for row in components}
    assert found[1, "v[1]"] == model.components_[1, model.terms_.index("v[1]")]
    assert con.sql("FROM ML.EVALUATE(MODEL m)").fetchall() == [(pytest.approx(0.3),)]
    if native:
        assert con.sql("SELECT * FROM ml.transform_m(strange)").columns == [*rows.columns, "projected0", "projected1"]


def test_columns_of_the_same_names_are_replaced(con):
    model = trained(con, "projected")
    con.execute("CREATE TABLE again AS SELECT *, 1 AS PROJECTED0, 2 AS other FROM strange")
    values = model.transform(con.table("strange").to_arrow_table())
    for relation in (
        model.transform(con.table("again")),
        con.sql("FROM ML.TRANSFORM(MODEL m, TABLE again)"),
        con.sql("FROM ml.transform_m(again)"),
    ):
        assert relation.columns == [*con.table("strange").columns, "other", "projected0", "projected1"]
        same([row[-2:] for row in relation.fetchall()], values)


@pytest.mark.parametrize("labels", ["label", "label % 2 = 0"])
def test_a_classifier_with_squares(con, labels):
    con.execute(f"CREATE VIEW labelled AS SELECT {COLUMNS}, {labels} AS y FROM t")
    con.execute("CREATE MODEL b OPTIONS (model_type = 'bayes', input_label_cols = ['y']) AS FROM labelled")
    model, arrow = con.load_model("b"), con.table("strange").to_arrow_table()
    predicted, shares = model.predict(arrow), model.predict_proba(arrow)
    assert column(con, f"SELECT ml.predict_b({ARGUMENTS}) FROM strange f") == predicted.tolist()
    table = con.sql("SELECT predicted_y, predicted_y_probs FROM ml.predict_b(strange)").fetchall()
    assert [row[0] for row in table] == predicted.tolist()
    same([[item["prob"] for item in row[1]] for row in table], shares)
    for k, label in enumerate(model.classes_):
        name = str(label).lower()
        same(column(con, f"SELECT predict_proba('b', f)['{name}'] FROM strange f"), shares[:, k])
        same(column(con.duckdb, f"SELECT predict_proba('b', f)['{name}'] FROM strange f"), shares[:, k])
    if len(model.classes_) == 2:
        above = (shares[:, 1] > 0.3).tolist()
        assert column(con, "SELECT predict('b', f, {'threshold': 0.3}) FROM strange f") == above
        assert column(con.duckdb, "SELECT predict('b', f, {'threshold': 0.3}) FROM strange f") == above
        assert (
            column(con, "SELECT predicted_y FROM ML.PREDICT(MODEL b, TABLE strange, STRUCT(0.3 AS threshold))") == above
        )


def macros(con):
    return column(con, "SELECT DISTINCT function_name FROM duckdb_functions() WHERE schema_name = 'ml' ORDER BY 1")


def test_macros_live_with_the_model(con):
    first = trained(con, "nearest", n_clusters=2)
    second = trained(con, "nearest", n_clusters=5)
    assert macros(con) == ["predict_m", "predict_m@1", "predict_m@2", "transform_m", "transform_m@1", "transform_m@2"]
    arrow = con.table("t").to_arrow_table()
    same(column(con, "SELECT transform('m', f) FROM t f"), second.transform(arrow))
    same(column(con, "SELECT transform('m@1', f) FROM t f"), first.transform(arrow))
    con.execute("ALTER MODEL m ROLLBACK TO VERSION 1")
    same(column(con, f"SELECT ml.transform_m({ARGUMENTS}) FROM t f"), first.transform(arrow))
    con.execute("ALTER MODEL m RENAME TO n")
    assert macros(con) == ["predict_n", "predict_n@1", "predict_n@2", "transform_n", "transform_n@1", "transform_n@2"]
    con.execute("CREATE VIEW scored AS SELECT id, transform('n', f) AS d FROM t f")
    same(column(con, "SELECT d FROM scored"), first.transform(arrow))
    with pytest.warns(OutdatedViews, match="scored calls it"):
        con.execute("DROP MODEL n")
    assert macros(con) == []


def test_macros_need_no_python(con, database):
    model = trained(con, "nearest")
    con.execute(f"ATTACH '{database}' AS other")
    con.execute("CREATE TABLE other.t AS FROM t")
    con.save_model("other.m", model)
    con.execute("DETACH other")
    groups = model.predict(con.table("t").to_arrow_table())
    with duckdb.connect(database, read_only=True) as plain:
        assert [row[-1] for row in plain.execute("FROM ml.predict_m(t)").fetchall()] == groups.tolist()


def test_retyped_columns_are_refused(con):
    model = trained(con, "nearest")
    con.execute("CREATE TABLE wrong AS SELECT * REPLACE ([a] AS a) FROM t")
    for query in (
        "FROM ml.transform_m(wrong)",
        "FROM ml.predict_m(wrong)",
        f"SELECT ml.predict_m({ARGUMENTS}) FROM wrong f",
        f"SELECT ml.transform_m({ARGUMENTS}) FROM wrong f",
    ):
        with pytest.raises(duckdb.Error, match="model 'm' needs a number in column 'a'"):
            con.execute(query).fetchall()
    with pytest.raises(DbmlError, match="Nearest needs a number in column 'a'"):
        model.transform(con.table("wrong"))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT predict('p', f) FROM t f", "p is a Projected, which predicts nothing: use transform"),
        ("SELECT predict_proba('p', f) FROM t f", "p is a model without probabilities: use transform"),
        ("SELECT predict_proba('m', f) FROM t f", "m is a model without probabilities: use predict"),
        ("SELECT transform('x', f) FROM t f", "x is a model that transforms nothing: use predict"),
        ("SELECT predict('m', f, {'threshold': 0.3}) FROM t f", "no option threshold here"),
        ("FROM ML.TRANSFORM(MODEL x, TABLE t)", "x is a Mixed, which transforms nothing"),
        ("FROM ML.TRANSFORM(MODEL m, (SELECT id FROM t))", "model 'm' needs columns 'a', 'b \" c'"),
        ("FROM ML.PREDICT(MODEL m, (SELECT * EXCLUDE (kind) FROM t))", "model 'm' needs a column 'kind'"),
        ("FROM ML.CENTROIDS(MODEL p)", "p is a Projected, which has no centroids"),
        ("FROM ML.PRINCIPAL_COMPONENTS(MODEL m)", "m is a Nearest, which has no principal components"),
        ("FROM ML.WEIGHTS(MODEL m)", r"m is a Nearest, which has no weights. Hint: FROM ML.CENTROIDS\(MODEL"),
        ("FROM ML.WEIGHTS(MODEL p)", "p is a Projected, which has no weights. Hint: FROM ML.PRINCIPAL_COMPONENTS"),
        ("FROM ML.EVALUATE(MODEL x, TABLE t)", "x predicts no label, and has no metrics"),
        ("FROM ML.EVALUATE(MODEL m)", "m: no rows were held out in training"),
        ("FROM ML.EVALUATE(MODEL p, TABLE t)", "the metrics of principal components are those of training"),
        ("FROM ML.EXPLAIN_PREDICT(MODEL m, TABLE t)", "m predicts no label"),
        ("FROM ML.CONFUSION_MATRIX(MODEL m, TABLE t)", "m is not a classifier"),
    ],
)
def test_wrong_calls_say_what_is_right(with_models, query, message):
    with pytest.raises((DbmlError, StatementError, duckdb.Error), match=message):
        with_models.execute(query).fetchall()


def test_wrong_calls_on_a_plain_connection(con):
    trained(con, "mixed", "x")
    trained(con, "projected", "p")
    for query, message in (
        ("SELECT predict('p', f) FROM t f", "model 'p' is a Projected, which predicts nothing: use transform"),
        ("SELECT transform('x', f) FROM t f", "model 'x' is a Mixed, which transforms nothing: use predict"),
        ("SELECT dbml_centroids('p')", "model 'p' is a Projected, which has no centroids"),
        ("SELECT dbml_principal_components('x')", "model 'x' is a Mixed, which has no principal components"),
    ):
        with pytest.raises(duckdb.Error, match=message):
            con.duckdb.execute(query).fetchall()


def test_feature_info_and_training_on_a_plain_connection(con, raw):
    trained(con, "nearest")
    assert con.sql("SELECT input FROM ML.FEATURE_INFO(MODEL m)").fetchall()[:2] == [("a",), ('b " c',)]
    register(raw)
    raw.execute("CREATE TABLE t AS SELECT i AS x FROM range(100) r(i)")
    query = "SELECT train_model('km', 'FROM t', {'model_type': 'nearest', 'n_clusters': 2})"
    assert raw.execute(query).fetchone()[0]["rows"] == 100
    assert raw.execute("SELECT count(DISTINCT ml.predict_km(x)) FROM t").fetchone() == (2,)


def test_relations_are_not_scored_by_what_a_model_has_not(con):
    model = trained(con, "projected")
    with pytest.raises(InvalidData, match="Projected has no target: a relation cannot be scored with predict"):
        model._score(con.table("t"), "predict", None)


def test_the_command_line_shows_and_scores(known, tmp_path, capsys):
    from dbml.cli import OK, run

    database, scored = str(tmp_path / "cli.duckdb"), tmp_path / "scored.csv"
    with dbml.connect(database) as con:
        con.execute("CREATE TABLE t AS SELECT i % 3 * 10.0 AS x, ['a', 'b'][1 + i % 2] AS kind FROM range(90) r(i)")
        con.execute("CREATE MODEL groups OPTIONS (model_type = 'nearest', n_clusters = 2) AS FROM t")
        con.execute("CREATE MODEL parts OPTIONS (model_type = 'projected') AS FROM t")
        groups = con.load_model("groups").predict(con.table("t").to_arrow_table()).tolist()
    assert run(["show", "groups", "--db", database]) == OK
    out = capsys.readouterr().out
    assert "centroids" in out
    assert "a: " in out
    assert run(["show", "parts", "--db", database]) == OK
    assert "cumulative_explained_variance_ratio" in capsys.readouterr().out
    assert run(["predict", "groups", "t", "--db", database, "-o", str(scored)]) == OK
    lines = scored.read_text().splitlines()
    assert lines[0] == "x,kind,CENTROID_ID,centroid_distance"
    assert [int(line.split(",")[2]) for line in lines[1:]] == groups
    assert run(["predict", "parts", "t", "--db", database, "-o", str(scored)]) == OK
    assert scored.read_text().splitlines()[0] == "x,kind,projected0,projected1"
