"""k-means, mixtures and principal components in SQL, on real tables: native = UDF = Python."""

from pathlib import Path

import numpy as np
import pytest

import dbml
from dbml.estimators.discovery import model_types

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
TABLES = {
    "adult": "SELECT age, workclass, education, fnlwgt, sex FROM {} LIMIT 3000",
    "givemecredit": "SELECT * EXCLUDE (row_id) FROM {} LIMIT 3000",
}
MODELS = {
    "kmeans": "num_clusters = 5",
    "kmeans ": "num_clusters = 5, standardize_features = true",
    "MiniBatchKMeans": "n_clusters = 4",
    "pca": "num_principal_components = 3",
    "IncrementalPCA": "n_components = 2",
    "TruncatedSVD": "n_components = 2",
    "GaussianMixture": "n_components = 3, covariance_type = 'diag'",
    "GaussianMixture ": "n_components = 2",
}


def same(found, expected):
    np.testing.assert_allclose(np.array(found, float), expected, rtol=1e-9, atol=1e-9)


def column(con, query):
    return [row[0] for row in con.execute(query).fetchall()]


@pytest.mark.skipif(not DATA.is_dir(), reason="the real tables are not in ../shared/data")
@pytest.mark.filterwarnings("ignore::dbml.errors.DbmlWarning")
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("kind", MODELS)
def test_every_way_agrees(table, kind):
    if kind.strip().lower() not in model_types():
        pytest.skip(f"there is no {kind.strip()}")
    path = str(DATA / f"{table}.parquet")
    with dbml.connect() as con:
        con.execute(f"CREATE TABLE t AS {TABLES[table].format(f'read_parquet({path!r})')}")
        con.execute(f"CREATE MODEL m OPTIONS (model_type = '{kind.strip()}', {MODELS[kind]}) AS FROM t")
        first = con.table("t").columns[1]
        con.execute(
            f"""CREATE TABLE s AS (FROM t LIMIT 500) UNION ALL (SELECT * REPLACE (NULL AS "{first}") FROM t LIMIT 50)"""
        )
        model, rows = con.load_model("m"), con.table("s")
        arrow = rows.to_arrow_table()
        columns = ", ".join(f'f."{name}"' for name in model.schema_.encoding.columns)
        native = model.form() is not None
        if hasattr(model, "predict"):
            groups = model.predict(arrow)
            ways = [
                column(con, "SELECT predict('m', f) FROM s f"),
                column(con.duckdb, "SELECT predict('m', f) FROM s f"),
            ]
            ways += [column(con, f"SELECT ml.predict_m({columns}) FROM s f")] if native else []
            ways += [[row[-1] for row in model.predict(rows).fetchall()]]
            ways += [column(con, "SELECT centroid_id FROM ML.PREDICT(MODEL m, TABLE s)")]
            for way in ways:
                assert way == groups.tolist()
            assert con.sql("SELECT predict('m', f) AS p FROM s f").types == ["INTEGER"]
            assert len(con.execute("FROM ML.CENTROIDS(MODEL m)").fetchall()) > 3
        if hasattr(model, "transform"):
            made, width = model.transform(arrow), len(model.get_feature_names_out())
            ways = [
                column(con, "SELECT transform('m', f) FROM s f"),
                column(con.duckdb, "SELECT transform('m', f) FROM s f"),
            ]
            ways += [column(con, f"SELECT ml.transform_m({columns}) FROM s f")] if native else []
            ways += [[row[-width:] for row in model.transform(rows).fetchall()]]
            ways += [[row[-width:] for row in con.execute("FROM ML.TRANSFORM(MODEL m, TABLE s)").fetchall()]]
            scale = np.abs(made).max()
            for way in ways:
                np.testing.assert_allclose(np.array(way), made, rtol=1e-9, atol=1e-9 * scale)
        if hasattr(model, "score_quantiles_"):
            found = con.sql("FROM ML.DETECT_ANOMALIES(MODEL m, STRUCT(0.05 AS contamination), TABLE s)")
            name = "normalized_distance" if hasattr(model, "cluster_centers_") else "mean_squared_error"
            name = "anomaly_score" if hasattr(model, "weights_") else name
            assert found.columns[len(rows.columns) :][:2] == ["is_anomaly", name]
            assert 5 < len(found.filter("is_anomaly").fetchall()) < 100
            assert len(con.execute("FROM ML.DETECT_ANOMALIES(MODEL m, TABLE s)").fetchall()) == 550
        if hasattr(model, "cluster_centers_"):
            ((index, squares),) = con.execute("FROM ML.EVALUATE(MODEL m, TABLE s)").fetchall()
            assert index > 0.0
            assert squares == pytest.approx((model.transform(arrow).min(axis=1) ** 2).mean())
        if hasattr(model, "explained_variance_ratio_"):
            ((total,),) = con.execute("FROM ML.EVALUATE(MODEL m)").fetchall()
            assert total == pytest.approx(model.explained_variance_ratio_.sum())
            assert con.sql("FROM ML.PREDICT(MODEL m, TABLE s)").columns[-1] == f"principal_component_{width}"
        if hasattr(model, "predict_proba"):
            shares = model.predict_proba(arrow)
            for k in range(shares.shape[1]):
                same(column(con, f"SELECT predict_proba('m', f)['{k}'] FROM s f"), shares[:, k])
            listed = column(con, "SELECT centroid_id_probs FROM ML.PREDICT(MODEL m, TABLE s)")
            same([[item["prob"] for item in row] for row in listed], shares)
        assert con.sql("FROM ML.FEATURE_INFO(MODEL m)").columns[0] == "input"
