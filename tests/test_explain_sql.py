"""ML.EXPLAIN_PREDICT, GLOBAL_EXPLAIN, FEATURE_IMPORTANCE, PERMUTATION_IMPORTANCE and PARTIAL_DEPENDENCE."""

import duckdb
import numpy as np
import pytest
from sklearn.inspection import partial_dependence, permutation_importance

import dbml
from dbml import HistGradientBoostingClassifier, HistGradientBoostingRegressor, LinearRegression, Ridge
from dbml.errors import InvalidData, InvalidParameter, StatementError, UnknownName

COLUMNS = '"size m²", kind, built, noise'


@pytest.fixture(scope="module")
def con():
    connection = dbml.connect()
    connection.execute("SELECT setseed(0.3)")
    connection.execute(
        """CREATE TABLE houses AS
        SELECT CASE WHEN i % 17 = 0 THEN NULL ELSE 20 + (i * 7919 % 200) END AS "size m²",
          ['flat', 'house', 'villa', NULL][1 + i * 31 % 4] AS kind,
          TIMESTAMP '1990-01-01' + INTERVAL (i % 11000) DAY + INTERVAL (i % 24) HOUR AS built,
          hash(i) % 1000 / 1000.0 AS noise, i AS id
        FROM range(3000) t(i)"""
    )
    connection.execute(
        """ALTER TABLE houses ADD COLUMN price DOUBLE; ALTER TABLE houses ADD COLUMN dear VARCHAR;
        ALTER TABLE houses ADD COLUMN tier INTEGER;
        UPDATE houses SET price = coalesce("size m²", 90) * CASE kind WHEN 'villa' THEN 3 ELSE 2 END
          + (hash(id, 7) % 100) / 5;
        UPDATE houses SET dear = CASE WHEN price > 280 THEN 'yes' ELSE 'no' END, tier = least(price // 150, 2)"""
    )
    for name, type_, label in [
        ("lin", "linear_reg", "price"),
        ("log", "logistic_reg", "dear"),
        ("soft", "logistic_reg", "tier"),
        ("reg", "boosted_tree_regressor", "price"),
        ("two", "boosted_tree_classifier", "dear"),
        ("three", "boosted_tree_classifier", "tier"),
    ]:
        more = ", max_iterations = 20" if "tree" in type_ else ""
        connection.execute(
            f"CREATE MODEL {name} OPTIONS (model_type = '{type_}', input_label_cols = ['{label}']{more}) AS "
            f"SELECT {COLUMNS}, {label} FROM houses"
        )
    yield connection
    connection.close()


ALL = ("lin", "log", "soft", "reg", "two", "three")
CLASSIFIERS = ("log", "soft", "two", "three")


def rows(con, query):
    found = con.execute(query)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


# attributions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_attributions_of_a_row_sum_to_its_prediction(con, name):
    found = rows(con, f"FROM ML.EXPLAIN_PREDICT(MODEL {name}, (FROM houses LIMIT 300), STRUCT(10 AS top_k_features))")
    predicted = rows(con, f"FROM ML.PREDICT(MODEL {name}, (FROM houses LIMIT 300))")
    label = con.load_model(name).schema_.target.name
    for row, plain in zip(found, predicted, strict=True):
        top = row["top_feature_attributions"]
        assert {item["feature"] for item in top} == {"size m²", "kind", "built", "noise"}
        sizes = [abs(item["attribution"]) for item in top]
        assert sizes == sorted(sizes, reverse=True)
        total = row["baseline_prediction_value"] + sum(item["attribution"] for item in top)
        assert row["prediction_value"] == pytest.approx(total, abs=1e-9)
        assert 0.0 <= row["approximation_error"] < 1e-9
        assert row[f"predicted_{label}"] == plain[f"predicted_{label}"]
        if name in CLASSIFIERS:
            probs = {item["label"]: item["prob"] for item in plain[f"predicted_{label}_probs"]}
            assert row["probability"] == pytest.approx(probs[plain[f"predicted_{label}"]])
        else:
            assert row["prediction_value"] == pytest.approx(plain["predicted_price"])
            assert "probability" not in row
    if name in ("log", "two"):
        p, eta = (np.array([row[column] for row in found]) for column in ("probability", "prediction_value"))
        np.testing.assert_allclose(p, 1 / (1 + np.exp(-eta)), atol=1e-12)


@pytest.mark.parametrize("name", ["reg", "two", "three"])
def test_attributions_of_trees_are_their_shapley_values(con, name):
    model = con.load_model(name)
    by_term = model.shap_values(con.sql("FROM houses LIMIT 100").arrow())
    named = {}
    for number, term in enumerate(model.terms_):
        named[term.partition(".")[0]] = named.get(term.partition(".")[0], 0.0) + by_term[:, number]
    found = rows(con, f"FROM ML.EXPLAIN_PREDICT(MODEL {name}, (FROM houses LIMIT 100), STRUCT(9 AS top_k_features))")
    for i, row in enumerate(found):
        for item in row["top_feature_attributions"]:
            value = named[item["feature"]][i]
            if name == "three":
                value = value[list(model.classes_).index(row["predicted_tier"])]
            elif name == "two":
                value = value if row["predicted_dear"] == "yes" else -value
            assert item["attribution"] == pytest.approx(value, abs=1e-12)


def test_attributions_of_linear_models_are_weights_times_values_less_their_means(con):
    model = con.load_model("lin")
    [(size_mean, size)] = con.execute(
        """SELECT (SELECT avg("size m²") FROM houses), weight FROM ML.WEIGHTS(MODEL lin)
        WHERE processed_input = 'size m²'"""
    ).fetchall()
    [row] = rows(con, "FROM ML.EXPLAIN_PREDICT(MODEL lin, (FROM houses WHERE id = 100), STRUCT(9 AS top_k_features))")
    found = {item["feature"]: item["attribution"] for item in row["top_feature_attributions"]}
    assert found["size m²"] == pytest.approx(size * (row["size m²"] - size_mean), rel=1e-6)
    kinds = dict(zip(model.terms_, model.coef_, strict=True))
    assert found["kind"] == pytest.approx(kinds[f"kind = {row['kind']}"] if row["kind"] else kinds["kind IS NULL"])


def test_the_most_important_features_come_first_and_five_by_default(con):
    [row] = rows(con, "FROM ML.EXPLAIN_PREDICT(MODEL reg, (FROM houses LIMIT 1), STRUCT(1 AS top_k_features))")
    assert [item["feature"] for item in row["top_feature_attributions"]] == ["size m²"]
    [row] = rows(con, "FROM ML.EXPLAIN_PREDICT(MODEL reg, (FROM houses LIMIT 1))")
    assert len(row["top_feature_attributions"]) == 4
    assert rows(con, "FROM ML.EXPLAIN_PREDICT(MODEL reg, (FROM houses WHERE false))") == []
    with pytest.raises(StatementError, match="top_k_features must be a whole number, at least 1; got 0"):
        con.execute("FROM ML.EXPLAIN_PREDICT(MODEL reg, TABLE houses, STRUCT(0 AS top_k_features))")
    with pytest.raises(UnknownName, match="kind"):
        con.execute("FROM ML.EXPLAIN_PREDICT(MODEL reg, (SELECT * EXCLUDE (kind) FROM houses))")


@pytest.mark.parametrize(
    "call",
    [
        "ML.EXPLAIN_PREDICT(MODEL lin, TABLE houses)",
        "ML.GLOBAL_EXPLAIN(MODEL lin)",
        "ML.PARTIAL_DEPENDENCE(MODEL lin, STRUCT('kind' AS feature))",
    ],
)
def test_a_view_cannot_keep_an_explanation(con, call):
    with pytest.raises(StatementError, match=r"ML.\w+ calls a Python function. Use CREATE TEMP VIEW"):
        con.execute(f"CREATE VIEW kept AS FROM {call}")
    con.execute(f"CREATE TEMP VIEW kept AS FROM {call}")
    con.execute("DROP VIEW kept")


def test_what_was_asked_of_a_column_that_rows_lack_is_said(con):
    with pytest.raises(UnknownName, match="kind") as raised:
        con.execute("FROM ML.GLOBAL_EXPLAIN(MODEL reg, (SELECT * EXCLUDE (kind, price) FROM houses))")
    assert "price" not in str(raised.value)
    with pytest.raises(UnknownName, match="kind"):
        con.execute(
            "FROM ML.PARTIAL_DEPENDENCE(MODEL lin, (SELECT * EXCLUDE (kind) FROM houses), STRUCT('noise' AS feature))"
        )
    with pytest.raises(UnknownName, match="price"):
        con.execute("FROM ML.PERMUTATION_IMPORTANCE(MODEL lin, (SELECT * EXCLUDE (price) FROM houses))")


def test_a_threshold_explains_the_class_that_it_leads_to(con):
    query = "FROM ML.EXPLAIN_PREDICT(MODEL two, (FROM houses LIMIT 50), STRUCT({} AS threshold))"
    low, high = rows(con, query.format(0)), rows(con, query.format(1))
    assert {row["predicted_dear"] for row in low} == {"yes"}
    assert {row["predicted_dear"] for row in high} == {"no"}
    for a, b in zip(low, high, strict=True):
        assert a["probability"] + b["probability"] == pytest.approx(1.0)
        assert a["prediction_value"] == pytest.approx(-b["prediction_value"])


@pytest.mark.parametrize("name", ALL)
def test_global_explanations_are_mean_sizes(con, name):
    sizes = {}
    explained = f"ML.EXPLAIN_PREDICT(MODEL {name}, TABLE houses, STRUCT(9 AS top_k_features))"
    for row in rows(con, f"FROM {explained}"):
        for item in row["top_feature_attributions"]:
            sizes.setdefault(item["feature"], []).append(abs(item["attribution"]))
    found = {row["feature"]: row["attribution"] for row in rows(con, f"FROM ML.GLOBAL_EXPLAIN(MODEL {name})")}
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert found == pytest.approx(
        {row["feature"]: row["attribution"] for row in rows(con, f"FROM ML.GLOBAL_EXPLAIN(MODEL {name}, TABLE houses)")}
    )
    if name not in ("soft", "three"):
        assert found == pytest.approx({feature: np.mean(of) for feature, of in sizes.items()})


def test_global_explanations_by_class(con):
    found = rows(con, "FROM ML.GLOBAL_EXPLAIN(MODEL three, STRUCT(TRUE AS class_level_explain))")
    assert [row["tier"] for row in found] == [0] * 4 + [1] * 4 + [2] * 4
    model = con.load_model("three")
    values = np.abs(model.shap_values(con.table("houses").arrow())).mean(axis=0)
    of = {(row["tier"], row["feature"]): row["attribution"] for row in found}
    for k in range(3):
        assert of[k, "noise"] == pytest.approx(values[model.terms_.index("noise"), k])
    whole = {row["feature"]: row["attribution"] for row in rows(con, "FROM ML.GLOBAL_EXPLAIN(MODEL three)")}
    assert whole["noise"] == pytest.approx(np.mean([of[k, "noise"] for k in range(3)]))
    with pytest.raises(StatementError, match="class_level_explain: reg is not a classifier"):
        con.execute("FROM ML.GLOBAL_EXPLAIN(MODEL reg, STRUCT(TRUE AS class_level_explain))")
    with pytest.raises(StatementError, match="class_level_explain must be TRUE or FALSE; got 3"):
        con.execute("FROM ML.GLOBAL_EXPLAIN(MODEL three, STRUCT(3 AS class_level_explain))")


def test_a_model_without_a_query_asks_for_rows(con):
    con.save_model("made", Ridge().fit(con.table("houses").project("noise, price"), y="price"))
    with pytest.raises(StatementError, match=r"made was not trained on a query .* TABLE name or \(query\)"):
        con.execute("FROM ML.GLOBAL_EXPLAIN(MODEL made)")
    assert rows(con, "FROM ML.GLOBAL_EXPLAIN(MODEL made, TABLE houses)")[0]["feature"] == "noise"
    con.execute("DROP MODEL made")


def test_shapley_values_of_a_relation(con):
    for name in ("two", "three"):
        model = con.load_model(name)
        scored = model.shap_values(con.table("houses"))
        assert scored.columns == [*con.table("houses").columns, *(f"shap_{term}" for term in model.terms_)]
        values = np.array([row[-len(model.terms_) :] for row in scored.fetchall()])
        np.testing.assert_array_equal(values, model.shap_values(con.table("houses").arrow()))
    assert model.shap_values(scored).columns == scored.columns


# importances --------------------------------------------------------------------------------------------------


def test_feature_importances_are_counts_and_means_over_splits(con):
    found = {row["feature"]: row for row in rows(con, "FROM ML.FEATURE_IMPORTANCE(MODEL reg)")}
    model = con.load_model("reg")
    trees = model.trees_
    inner = trees.left >= 0
    for feature in ("size m²", "kind", "built", "noise"):
        terms = [i for i, term in enumerate(model.terms_) if term.partition(".")[0] == feature]
        mine = inner & np.isin(trees.term, terms)
        assert found[feature]["importance_weight"] == mine.sum()
        gain, cover = (np.mean(of[mine]) if mine.any() else 0.0 for of in (trees.gain, trees.weight))
        assert found[feature]["importance_gain"] == pytest.approx(gain)
        assert found[feature]["importance_cover"] == pytest.approx(cover)
    with pytest.raises(InvalidData, match="LinearRegression: only tree models have feature importances"):
        con.execute("FROM ML.FEATURE_IMPORTANCE(MODEL lin)").fetchall()


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("reg", "mean_absolute_error"),
        ("reg", "r2_score"),
        ("lin", "mean_squared_error"),
        ("two", "roc_auc"),
        ("log", "log_loss"),
        ("three", "accuracy"),
        ("soft", "log_loss"),
    ],
)
def test_permutation_importance_is_what_a_shuffled_column_costs(con, name, metric):
    call = f"FROM ML.PERMUTATION_IMPORTANCE(MODEL {name}, TABLE houses, STRUCT(3 AS n_repeats, '{metric}' AS metric))"
    found = {row["feature"]: row for row in rows(con, call)}
    evaluated = rows(con, f"FROM ML.EVALUATE(MODEL {name}, TABLE houses)")[0]
    sign = -1.0 if "error" in metric or "loss" in metric else 1.0
    for feature, row in found.items():
        worse = []
        for repeat in range(1, 4):
            order = f"row_number() OVER (ORDER BY hash(row_number, {repeat}), row_number) AS place"
            shuffled = f"""SELECT r.* REPLACE (s."{feature}" AS "{feature}")
                FROM (SELECT *, {order} FROM (SELECT *, row_number() OVER () AS row_number FROM houses)) r
                JOIN (SELECT *, row_number() OVER () AS number FROM houses) s ON s.number = r.place"""
            changed = rows(con, f"FROM ML.EVALUATE(MODEL {name}, ({shuffled}))")[0]
            worse.append(sign * (evaluated[metric] - changed[metric]))
        assert row["importance_mean"] == pytest.approx(np.mean(worse), abs=1e-9)
        assert row["importance_std"] == pytest.approx(np.std(worse), abs=1e-9)
    assert max(found, key=lambda feature: found[feature]["importance_mean"]) == "size m²"


def test_permutation_importance_repeats_and_says_what_it_takes(con):
    call = "FROM ML.PERMUTATION_IMPORTANCE(MODEL two, TABLE houses, STRUCT({} AS seed))"
    once, again, other = (
        {row["feature"]: row["importance_mean"] for row in rows(con, call.format(seed))} for seed in (4, 4, 5)
    )
    assert once == pytest.approx(again)
    assert once != pytest.approx(other)
    with pytest.raises(StatementError, match="metric must be one of 'accuracy', 'log_loss', 'roc_auc'; got 'r2_score'"):
        con.execute("FROM ML.PERMUTATION_IMPORTANCE(MODEL two, TABLE houses, STRUCT('r2_score' AS metric))")
    with pytest.raises(StatementError, match=r"expected rows after the model"):
        con.execute("FROM ML.PERMUTATION_IMPORTANCE(MODEL two)")


def test_permutation_importance_by_scikit_learn_takes_our_estimators():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    model = HistGradientBoostingRegressor(max_iter=20).fit(X, 3 * X[:, 0] + X[:, 1])
    found = permutation_importance(model, X, 3 * X[:, 0] + X[:, 1], n_repeats=2, random_state=0).importances_mean
    assert found[0] > found[1] > found[2] > -0.01


# partial dependence -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_partial_dependence_over_rows(con, name):
    label = con.load_model(name).schema_.target.name
    for feature in ("size m²", "kind", "built"):
        call = f"FROM ML.PARTIAL_DEPENDENCE(MODEL {name}, TABLE houses, STRUCT('{feature}' AS feature, 30 AS grid))"
        found = rows(con, call)
        value = found[len(found) // 2]["feature_value"]
        mine = {row.get("class_label"): row["prediction"] for row in found if row["feature_value"] == value}
        changed = f"""(SELECT * REPLACE ($${value}$$ AS "{feature}") FROM houses)"""
        scored = con.sql(f"FROM ML.PREDICT(MODEL {name}, {changed})")
        if name in CLASSIFIERS:
            probs = scored.project(f"unnest(predicted_{label}_probs) AS p").aggregate("p.label, avg(p.prob)").fetchall()
            means = {str(of): mean for of, mean in probs}
            assert mine == pytest.approx({None: means["yes"]} if label == "dear" else means)
        else:
            assert mine == pytest.approx({None: scored.aggregate("avg(predicted_price)").fetchall()[0][0]})


def test_the_grid_is_quantiles_or_the_most_frequent_categories(con):
    call = "SELECT feature_value FROM ML.PARTIAL_DEPENDENCE(MODEL reg, TABLE houses, STRUCT({} AS feature, 3 AS grid))"
    assert [v for (v,) in con.execute(call.format("'size m²'")).fetchall()] == [20, 120, 219]
    assert len(con.execute(call.format("'KIND'")).fetchall()) == 3
    with pytest.raises(StatementError, match="feature must be one of 'size m²', 'kind', 'built', 'noise'; got nothing"):
        con.execute("FROM ML.PARTIAL_DEPENDENCE(MODEL reg, TABLE houses)")
    with pytest.raises(StatementError, match="grid must be a whole number, at least 2; got 1"):
        con.execute("FROM ML.PARTIAL_DEPENDENCE(MODEL reg, STRUCT('kind' AS feature, 1 AS grid))")


@pytest.mark.parametrize("name", ["reg", "three"])
@pytest.mark.parametrize("feature", ["size m²", "kind"])
def test_partial_dependence_of_trees_alone(con, name, feature):
    from test_tree_shap import expectation

    model = con.load_model(name)
    trees, term = model.trees_, model.terms_.index(feature)
    found = rows(con, f"FROM ML.PARTIAL_DEPENDENCE(MODEL {name}, STRUCT('{feature}' AS feature, 6 AS grid))")
    levels = next(f.levels for f in model.schema_.encoding.features if f.name == feature)
    for row in found:
        x = np.zeros(len(model.terms_))
        x[term] = levels.index(row["feature_value"]) if feature == "kind" else row["feature_value"]
        expected = model.baseline_.copy()
        for tree, output in enumerate(trees.outputs):
            expected[output] += expectation(trees, x, {term}, trees.roots[tree])[0]
        place = int(row.get("class_label", 0))
        assert row["prediction"] == pytest.approx(expected[place], abs=1e-12)


def test_partial_dependence_without_rows_says_where_it_cannot_be(con):
    with pytest.raises(InvalidParameter, match=r"'built' \(TIMESTAMP\) becomes several numbers.*TABLE name"):
        con.execute("FROM ML.PARTIAL_DEPENDENCE(MODEL reg, STRUCT('built' AS feature))").fetchall()
    with pytest.raises(InvalidData, match="only tree models have partial dependence without rows"):
        con.execute("FROM ML.PARTIAL_DEPENDENCE(MODEL lin, STRUCT('noise' AS feature))").fetchall()


@pytest.mark.parametrize("make", [HistGradientBoostingRegressor, HistGradientBoostingClassifier, LinearRegression])
def test_partial_dependence_by_scikit_learn_takes_our_estimators(make):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = X[:, 0] + X[:, 1]
    model = make().fit(X, y > 0 if make is HistGradientBoostingClassifier else y)
    found = partial_dependence(model, X, [0], grid_resolution=5)
    assert found["average"].shape == (1, 5)
    assert found["average"][0, -1] > found["average"][0, 0]


# naive Bayes ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bayes(con):
    for label in ("dear", "tier"):
        con.execute(
            f"CREATE MODEL bayes_{label} OPTIONS (model_type = 'naive_bayes', input_label_cols = ['{label}']) AS "
            f"SELECT {COLUMNS}, {label} FROM houses"
        )
    return con


@pytest.mark.parametrize("label", ["dear", "tier"])
def test_attributions_of_naive_bayes_sum_to_the_log_odds(bayes, label):
    found = rows(bayes, f"FROM ML.EXPLAIN_PREDICT(MODEL bayes_{label}, TABLE houses, STRUCT(9 AS top_k_features))")
    model = bayes.load_model(f"bayes_{label}")
    logs = model.predict_log_proba(bayes.sql(f"SELECT {COLUMNS} FROM houses").to_arrow_table())
    classes = list(model.classes_)
    for row, log in zip(found[:200], logs[:200], strict=True):
        total = row["baseline_prediction_value"] + sum(item["attribution"] for item in row["top_feature_attributions"])
        assert row["prediction_value"] == pytest.approx(total, abs=1e-6)
        k = classes.index(row[f"predicted_{label}"])
        others = log[1 - k] if len(classes) == 2 else log.mean()
        if np.isfinite(log).all():
            assert row["prediction_value"] == pytest.approx(log[k] - others, rel=1e-6, abs=1e-6)


def test_an_attribution_of_naive_bayes_is_what_the_column_tells_about_the_classes(bayes):
    model = bayes.load_model("bayes_dear")
    [row] = rows(
        bayes, "FROM ML.EXPLAIN_PREDICT(MODEL bayes_dear, (FROM houses WHERE id = 100), STRUCT(9 AS top_k_features))"
    )
    noise = list(model.terms_).index("noise")
    mean, var = model.theta_[:, noise], model.var_[:, noise]

    def log_density(value):
        return -0.5 * np.log(var) - 0.5 * (value - mean) ** 2 / var

    centre = model.schema_.encoding.centre()[noise]
    told = np.diff(log_density(row["noise"]) - log_density(centre))[0]
    found = {item["feature"]: item["attribution"] for item in row["top_feature_attributions"]}
    assert found["noise"] == pytest.approx(told if row["predicted_dear"] == "yes" else -told, abs=1e-9)


def test_global_explanations_of_naive_bayes_name_the_columns_that_matter(bayes):
    found = bayes.sql("FROM ML.GLOBAL_EXPLAIN(MODEL bayes_dear, TABLE houses)").fetchall()
    names = [name for name, _ in found]
    # The many calendar terms of "built", each a normal density of 0 and 1, weigh about as much as the size does.
    assert "size m²" in names[:2] and names[-1] == "noise"


def test_what_has_no_attributions_says_what_does_explain_it(con):
    con.execute(
        f"CREATE MODEL near OPTIONS (model_type = 'knn_regressor', input_label_cols = ['price']) AS "
        f"SELECT {COLUMNS}, price FROM houses"
    )
    with pytest.raises(InvalidData, match=r"no sums over features.*Hint: FROM ML\.PERMUTATION_IMPORTANCE"):
        con.execute("FROM ML.EXPLAIN_PREDICT(MODEL near, (FROM houses LIMIT 1))").fetchall()
    con.execute("CREATE MODEL groups OPTIONS (model_type = 'kmeans', num_clusters = 2) AS SELECT noise FROM houses")
    for function in ("EXPLAIN_PREDICT", "GLOBAL_EXPLAIN", "PERMUTATION_IMPORTANCE"):
        with pytest.raises(StatementError, match=r"groups predicts no label\. Hint: FROM ML\.CENTR"):
            con.execute(f"FROM ML.{function}(MODEL groups, TABLE houses)")


@pytest.mark.parametrize("type_", ["knn_regressor", "GaussianNB", "DecisionTreeRegressor"])
def test_a_model_that_keeps_no_weights_says_so(con, type_):
    label = "dear" if type_ == "GaussianNB" else "price"
    con.execute(
        f"CREATE OR REPLACE MODEL plain OPTIONS (model_type = '{type_}', input_label_cols = ['{label}']) AS "
        f'SELECT "size m²", {label} FROM houses LIMIT 200'
    )
    with pytest.raises(duckdb.Error, match=r"of which no weights are kept\. Hint: FROM ML\.FEATURE_IMPORTANCE"):
        con.execute("SELECT count(*) FROM ML.WEIGHTS(MODEL plain)").fetchall()
    if type_ != "DecisionTreeRegressor":
        with pytest.raises(InvalidData, match=r"only tree models have .* FROM ML\.PERMUTATION_IMPORTANCE"):
            con.execute("FROM ML.FEATURE_IMPORTANCE(MODEL plain)")
