"""Naive Bayes: scikit-learn's numbers from one pass, exact sums whatever the portions, rows that are unlearned."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from dbml_kernels.class_moments import class_moments_add
from dbml_kernels.class_sums import class_sums_add
from sklearn import naive_bayes

import dbml
from dbml import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB
from dbml.errors import InvalidData, InvalidParameter

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
COUNTS = (BernoulliNB, ComplementNB, MultinomialNB)
ALL = (*COUNTS, CategoricalNB, GaussianNB)
RNG = np.random.default_rng(0)
COUNTED = RNG.poisson(1.3, size=(600, 40)) * (RNG.random((600, 40)) < 0.3).astype(float)
LABELS = np.where(COUNTED[:, 0] + RNG.random(600) > 1.0, np.where(RNG.random(600) > 0.5, "c", "b"), "a")
WEIGHTS = RNG.integers(0, 3, size=600).astype(float)
NUMBERS = COUNTED[:, :5] + RNG.normal(size=(600, 5)) * [1.0, 1e3, 1e-3, 1.0, 5.0] + [0.0, 1e4, 0.0, -3.0, 0.0]


def rows_of(kind):
    return NUMBERS if kind is GaussianNB else COUNTED


def same_model(ours, theirs, X, tolerance=1e-9):
    """Every attribute that both have, and all predictions."""
    names = ("class_count_", "feature_count_", "theta_", "var_", "epsilon_", "class_prior_", "class_log_prior_")
    names += ("category_count_", "feature_log_prob_", "n_categories_")
    assert ours.classes_.tolist() == theirs.classes_.tolist()
    compared = 0
    for name in names:
        if hasattr(theirs, name):
            one, other = getattr(ours, name), getattr(theirs, name)
            pairs = zip(one, other, strict=True) if isinstance(other, list) else [(one, other)]
            for found, expected in pairs:
                np.testing.assert_allclose(found, expected, rtol=tolerance, err_msg=name)
                compared += 1
    assert compared >= 3
    np.testing.assert_allclose(ours.predict_joint_log_proba(X), theirs.predict_joint_log_proba(X), rtol=tolerance)
    rough = 10.0 * tolerance
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=rough, atol=tolerance)
    np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=rough, atol=rough)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_as_scikit_learn(kind, n_classes):
    keep = ("c" if n_classes == 2 else "") != LABELS
    X, y = rows_of(kind)[keep], LABELS[keep]
    same_model(kind().fit(X, y), getattr(naive_bayes, kind.__name__)().fit(X, y), X)


@pytest.mark.parametrize("kind", [*COUNTS, CategoricalNB])
@pytest.mark.parametrize(
    "params",
    [
        {"alpha": 0.3, "fit_prior": False},
        {"alpha": 1e-12, "force_alpha": False},
        {"class_prior": [0.2, 0.3, 0.5]},
    ],
)
@pytest.mark.filterwarnings("ignore:.*alpha")
def test_smoothing_and_priors_as_in_scikit_learn(kind, params):
    ours = kind(**params).fit(COUNTED, LABELS, sample_weight=WEIGHTS)
    theirs = getattr(naive_bayes, kind.__name__)(**params).fit(COUNTED, LABELS, sample_weight=WEIGHTS)
    # scikit-learn takes the probability of a no from that of a yes, which loses digits where it is small.
    tolerance = 1e-4 if kind is BernoulliNB and params.get("alpha") == 1e-12 else 1e-9
    same_model(ours, theirs, COUNTED, tolerance)


@pytest.mark.parametrize("kind", COUNTS)
def test_sparse_rows_and_one_alpha_a_term(kind):
    X, alpha = sp.csr_array(COUNTED), np.linspace(0.1, 2.0, 40)
    if kind is BernoulliNB:  # scikit-learn's takes no alpha for each term
        alpha = 0.5
    ours, theirs = kind(alpha=alpha), getattr(naive_bayes, kind.__name__)(alpha=alpha)
    same_model(ours.fit(X, LABELS), theirs.fit(X, LABELS), X)


def test_parameters_of_their_own():
    same_model(
        ComplementNB(norm=True).fit(COUNTED, LABELS), naive_bayes.ComplementNB(norm=True).fit(COUNTED, LABELS), COUNTED
    )
    same_model(
        BernoulliNB(binarize=1.5).fit(COUNTED, LABELS),
        naive_bayes.BernoulliNB(binarize=1.5).fit(COUNTED, LABELS),
        COUNTED,
    )
    X = (NUMBERS.mean(axis=0) < NUMBERS).astype(float)
    same_model(BernoulliNB(binarize=None).fit(X, LABELS), naive_bayes.BernoulliNB(binarize=None).fit(X, LABELS), X)
    fewest = [9] * 40
    same_model(
        CategoricalNB(min_categories=fewest).fit(COUNTED, LABELS),
        naive_bayes.CategoricalNB(min_categories=fewest).fit(COUNTED, LABELS),
        COUNTED,
    )


def test_gaussian_parameters():
    for params in ({"priors": [0.2, 0.3, 0.5]}, {"var_smoothing": 0.1}, {"var_smoothing": 0.0}):
        same_model(
            GaussianNB(**params).fit(NUMBERS, LABELS), naive_bayes.GaussianNB(**params).fit(NUMBERS, LABELS), NUMBERS
        )
    whole = WEIGHTS.astype(int)
    repeated = naive_bayes.GaussianNB().fit(np.repeat(NUMBERS, whole, axis=0), np.repeat(LABELS, whole))
    same_model(GaussianNB().fit(NUMBERS, LABELS, sample_weight=WEIGHTS), repeated, NUMBERS)


def test_variances_are_exact_at_any_offset():
    """scikit-learn's are, too, as long as the offset of a column is that of all its classes."""
    X = NUMBERS + 1e8
    far = X + 1e6 * (LABELS == "b")[:, None]
    for rows in (X, far):
        expected = [np.var((rows[c == LABELS] - 1e8).astype(np.longdouble), axis=0) for c in "abc"]
        model = GaussianNB(var_smoothing=0.0).fit(rows, LABELS)
        np.testing.assert_allclose(model.var_, np.array(expected, float), rtol=1e-9)
        np.testing.assert_allclose(model.theta_, [rows[c == LABELS].mean(axis=0) for c in "abc"], rtol=1e-14)


# portions -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_portions_make_the_model_of_all_rows(kind):
    X = rows_of(kind)
    whole = kind().fit(X, LABELS)
    model = kind()
    for part in np.array_split(np.arange(len(X)), 7):
        model.partial_fit(X[part], LABELS[part], classes=["a", "b", "c"])
    np.testing.assert_allclose(model.predict_proba(X), whole.predict_proba(X), rtol=1e-9, atol=1e-300)
    np.testing.assert_array_equal(model.class_count_, whole.class_count_)


@pytest.mark.parametrize("kind", ALL)
def test_forgotten_rows_were_never_there(kind):
    X = rows_of(kind)
    model = kind().fit(X, LABELS, sample_weight=WEIGHTS)
    model.forget(X[:250], LABELS[:250], sample_weight=WEIGHTS[:250])
    rest = kind().fit(X[250:], LABELS[250:], sample_weight=WEIGHTS[250:])
    if kind is CategoricalNB:  # the codes of the rows that left are known still, and seen in none
        rest = CategoricalNB(min_categories=model.n_categories_).fit(X[250:], LABELS[250:], sample_weight=WEIGHTS[250:])
    np.testing.assert_allclose(model.predict_proba(X), rest.predict_proba(X), rtol=1e-7, atol=1e-12)
    again = model.partial_fit(X[:250], LABELS[:250], sample_weight=WEIGHTS[:250])
    whole = kind().fit(X, LABELS, sample_weight=WEIGHTS)
    np.testing.assert_allclose(again.predict_proba(X), whole.predict_proba(X), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("kind", ALL)
def test_what_was_not_learned_is_not_forgotten(kind):
    X = rows_of(kind)
    model = kind().fit(X[:300], LABELS[:300])
    before = model.get_state()
    with pytest.raises(InvalidData, match=f"{kind.__name__}: forget must be given rows that were learned before"):
        model.forget(X, LABELS)
    with pytest.raises(InvalidData, match="forget must leave some rows"):
        model.forget(X[:300], LABELS[:300])
    with pytest.raises(InvalidData, match="classes of the model"):
        model.forget(X[:300], np.full(300, "z"))
    for name, array in before.arrays.items():
        np.testing.assert_array_equal(getattr(model, name), array)


def test_a_class_that_is_forgotten_is_not_predicted():
    for kind in ALL:
        X = rows_of(kind)
        model = kind().fit(X, LABELS)
        own = LABELS == "c"
        model.forget(X[own], LABELS[own])
        assert "c" not in model.predict(X) or kind is ComplementNB
        if kind is not ComplementNB:
            assert model.predict_proba(X)[:, 2].max() < 1e-300


# input ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ComplementNB, MultinomialNB, CategoricalNB])
def test_negative_counts_are_refused_by_name(kind):
    X = COUNTED.copy()
    X[17, 3] = -2.0
    with pytest.raises(InvalidData, match=f"{kind.__name__}: .* Negative values in data passed to fit: 'x3' has -2"):
        kind().fit(X, LABELS)


def test_bad_values():
    cases = [
        (MultinomialNB(alpha=[1.0, 2.0]), InvalidParameter, "a list of one for each of the 40 terms; got shape"),
        (MultinomialNB(alpha=[-1.0] * 40), InvalidParameter, "alpha must be >= 0 for every term; the least is -1"),
        (MultinomialNB(alpha=-1.0), InvalidParameter, "alpha must be a finite number >= 0"),
        (GaussianNB(priors=[0.5, 0.4, 0.3]), InvalidParameter, "The sum of the priors should be 1; got .*sum to 1.2"),
        (GaussianNB(priors=[0.5, 0.5]), InvalidParameter, "priors must match the number of classes: 3 numbers"),
        (GaussianNB(priors=[1.5, -1.0, 0.5]), InvalidParameter, "priors must be non-negative"),
        (BernoulliNB(class_prior=["x", 1, 2]), InvalidParameter, "class_prior must hold numbers"),
        (CategoricalNB(min_categories=[1, 2]), InvalidParameter, "one number for each of 40 features"),
        (CategoricalNB(min_categories=[1.5] * 40), InvalidParameter, "min_categories must be integers"),
    ]
    for model, error, message in cases:
        with pytest.raises(error, match=message):
            model.fit(COUNTED, LABELS)
    with pytest.raises(InvalidData, match=r"codes must be below 65,536; the largest of 'x0' is 1e\+06"):
        CategoricalNB().fit(np.append(COUNTED, np.full((1, 40), 1e6), axis=0), np.append(LABELS, "a"))
    with pytest.raises(InvalidData, match="one value in a class; 'x1' has in 'a'"):
        GaussianNB(var_smoothing=0.0).fit([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0], [5.0, 2.0]], ["a", "a", "b", "b"])
    with pytest.raises(InvalidParameter, match="classes must be those of the first call"):
        MultinomialNB().fit(COUNTED, LABELS).partial_fit(COUNTED, LABELS, classes=["a", "b"])


def test_rows_without_anything_have_the_class_priors():
    empty = np.zeros((1, 40))
    for kind in (MultinomialNB, ComplementNB):
        model = kind().fit(COUNTED, LABELS)
        expected = model.class_count_ / 600 if kind is MultinomialNB else np.full(3, 1 / 3)
        np.testing.assert_allclose(model.predict_proba(empty)[0], expected, rtol=1e-12)
    constant = GaussianNB().fit(np.ones((600, 2)), LABELS)  # nothing tells the classes apart
    np.testing.assert_allclose(constant.predict_proba([[1.0, 1.0]])[0], constant.class_prior_, rtol=1e-12)


def test_a_probability_of_nothing_is_no_nan():
    """Without smoothing, a term that a class never has rules it out; scikit-learn gives NaN for dense rows."""
    X = np.array([[2.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 3.0, 1.0], [0.0, 1.0, 1.0]])
    for kind in (MultinomialNB, BernoulliNB, ComplementNB):
        model = kind(alpha=0.0).fit(X, ["a", "a", "b", "b"])
        np.testing.assert_allclose(model.predict_proba(X), [[1, 0], [1, 0], [0, 1], [0, 1]], atol=1e-12)


# tables ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def con():
    with dbml.connect(":memory:") as connection:
        yield connection


ROWS = """
    SELECT ['x', 'y', 'z', NULL][1 + i % 4] AS "the kind", (i % 7)::INTEGER AS n, (i % 3 = 0) AS flag,
           CASE WHEN i % 11 > 0 THEN (hash(i) % 5)::DOUBLE END AS amount, (i % 5 + 1)::DOUBLE AS weight,
           CASE WHEN (i % 4 + hash(i + 1) % 3) > 2 THEN 'yes' WHEN i % 13 = 0 THEN 'perhaps' ELSE 'no' END AS label
    FROM range(2500) numbers(i)
"""


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("two", [False, True])
def test_three_ways_to_score_agree(con, kind, two):
    con.execute(f"CREATE TABLE t AS {ROWS}")
    if two:
        con.execute("DELETE FROM t WHERE label = 'perhaps'")
    columns = '"the kind", n, flag' if kind in (CategoricalNB, BernoulliNB) else '"the kind", n, flag, amount'
    extra = ", binarize = NULL" if kind is BernoulliNB else ""
    con.execute(
        f"CREATE MODEL m OPTIONS (model_type = '{kind.__name__}', input_label_cols = ['label'], "
        f"sample_weight_col = 'weight'{extra}) AS SELECT {columns}, weight, label FROM t"
    )
    model = con.load_model("m")
    con.execute(
        "INSERT INTO t (\"the kind\", n, flag, amount) VALUES ('never seen', 99, NULL, NULL), (NULL, NULL, true, 3)"
    )
    rows = con.sql(f"SELECT {columns} FROM t")
    expected, labels = model.predict_proba(rows.to_arrow_table()), model.predict(rows.to_arrow_table())
    assert np.isfinite(expected).all()
    streamed = model.predict_proba(rows).fetchall()
    np.testing.assert_allclose([[p["prob"] for p in row[-1]] for row in streamed], expected, rtol=1e-9, atol=1e-12)
    called = con.sql("SELECT predict('m', t) FROM t").fetchall()
    assert [row[0] for row in called] == labels.tolist()
    probabilities = con.sql("SELECT predict_proba('m', t) FROM t").fetchall()
    found = [[row[0][label] for label in model.classes_.tolist()] for row in probabilities]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    if model.form() is not None:
        native = con.sql(f"SELECT ml.predict_m({columns}) FROM t").fetchall()
        assert [row[0] for row in native] == labels.tolist()


def test_what_is_yes_or_no_already_has_no_threshold(con):
    con.execute(f"CREATE TABLE t AS {ROWS}")
    rows = con.sql('SELECT "the kind", flag, amount, label FROM t')
    low, high = (BernoulliNB(binarize=at).fit(rows, y="label") for at in (0.0, 1.0))
    same = np.array([term != "amount" for term in low.terms_])  # levels, a BOOLEAN, the flag of a missing amount
    assert same.sum() == 6
    np.testing.assert_array_equal(high.feature_count_[:, same], low.feature_count_[:, same])
    assert (high.feature_count_[:, ~same] < low.feature_count_[:, ~same]).all()
    amount, n_yes = rows.to_arrow_table()["amount"].to_numpy(), high.feature_count_[:, ~same].sum()
    assert n_yes == (amount > 1.0).sum()
    kinds = con.sql('SELECT "the kind", label FROM t')
    low, high = (BernoulliNB(binarize=at).fit(kinds, y="label") for at in (0.0, 1.0))
    assert high.form() == low.form() is not None
    np.testing.assert_array_equal(high.predict_proba(kinds.to_arrow_table()), low.predict_proba(kinds.to_arrow_table()))


def gaussian_of_present(design, label, rows):
    """Probabilities of a textbook Gaussian naive Bayes that leaves missing values (NaN) out."""
    epsilon = 1e-9 * np.nanvar(design, axis=0).max()
    joint = []
    for name in np.unique(label):
        own = design[label == name]
        theta, var = np.nanmean(own, axis=0), np.nanvar(own, axis=0) + epsilon
        densities = -0.5 * np.log(2 * np.pi * var) - 0.5 * (rows - theta) ** 2 / var
        joint.append(np.log(np.mean(label == name)) + np.nansum(densities, axis=1))
    joint = np.column_stack(joint)
    return np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))


def test_a_missing_number_has_no_part_in_a_gaussian_density(con):
    con.execute(f"CREATE TABLE t AS {ROWS}")
    rows = con.sql('SELECT "the kind", amount, n, label FROM t')
    model = GaussianNB().fit(rows, y="label")
    assert model.terms_[:2] == ("amount", "amount IS NULL")
    table = rows.df()
    kinds = table["the kind"]
    columns = {"amount": table["amount"], "n": table["n"], "the kind IS NULL": kinds.isna()}
    columns |= {f"the kind = {level}": kinds == level for level in "xyz"}
    terms = [term for term in model.terms_ if term != "amount IS NULL"]
    design = np.column_stack([columns[term].to_numpy(float) for term in terms])
    expected = gaussian_of_present(design, table["label"].to_numpy(), design)
    np.testing.assert_allclose(model.predict_proba(rows.to_arrow_table()), expected, rtol=1e-7, atol=1e-12)
    complete = ~np.isnan(design).any(axis=1)
    theirs = naive_bayes.GaussianNB().fit(design[complete], table["label"][complete])
    ours = GaussianNB().fit(design[complete], table["label"][complete])
    np.testing.assert_allclose(
        ours.predict_proba(design[complete]), theirs.predict_proba(design[complete]), 1e-7, 1e-12
    )


def test_one_null_does_not_ruin_a_gaussian_model(con):
    con.execute("""CREATE TABLE t AS SELECT hash(i) % 100 / 10.0 AS x, hash(i, 5) % 100 / 10.0 AS z,
        CASE WHEN x < 3 THEN 'lo' WHEN x < 7 THEN 'mid' ELSE 'hi' END AS band FROM range(3000) s(i)""")
    con.execute("CREATE TABLE whole AS FROM t; INSERT INTO t VALUES (NULL, 5, 'lo'), (1, NULL, 'lo')")
    portions = [con.sql(f"FROM t WHERE z IS {a} DISTINCT FROM 5") for a in ("", "NOT")]
    options = "OPTIONS (model_type = 'naive_bayes', input_label_cols = ['band'])"
    con.execute(f"CREATE MODEL m {options} AS FROM t")
    assert con.sql("SELECT accuracy FROM ML.EVALUATE(MODEL m, TABLE whole)").fetchall() == [(1.0,)]
    # A missing x says nothing, so what is left is z and the priors; rows without any number have the priors alone.
    rows = con.sql(
        "SELECT CAST(NULL AS DOUBLE) AS x, CAST(NULL AS DOUBLE) AS z UNION ALL SELECT NULL, 5 UNION ALL "
        "SELECT 5, NULL UNION ALL SELECT NULL, 20"
    )
    model = con.load_model("m")
    found = model.predict_proba(rows.to_arrow_table())
    np.testing.assert_allclose(found[0], model.class_prior_, rtol=1e-12)
    native = con.sql("SELECT predict_proba('m', r) FROM rows r").fetchall()
    np.testing.assert_allclose([list(one.values()) for (one,) in native], found, rtol=1e-9)
    streamed = model.predict_proba(rows).fetchall()
    np.testing.assert_allclose([[p["prob"] for p in row[-1]] for row in streamed], found, rtol=1e-9)
    function = con.sql("SELECT dbml_predict_proba('m', x, z) FROM rows").fetchall()
    np.testing.assert_allclose([list(one.values()) for (one,) in function], found, rtol=1e-9)
    by_portions = GaussianNB().fit(con.sql("FROM t"), y="band")
    by_portions.forget(portions[0], y="band").partial_fit(portions[0], y="band")
    np.testing.assert_allclose(by_portions.predict_proba(rows.to_arrow_table()), found, rtol=1e-7)


def test_a_class_without_a_number_and_a_vector_that_is_missing(con):
    con.execute("""CREATE TABLE t AS SELECT CASE WHEN i % 3 > 0 THEN i % 7 + 3 * (i % 3) END AS x,
        CASE WHEN i % 5 > 0 THEN [i % 4 + i % 3, i % 6]::DOUBLE[2] END AS v, i % 3 AS label FROM range(300) s(i)""")
    con.execute("CREATE MODEL m OPTIONS (model_type = 'naive_bayes', input_label_cols = ['label']) AS FROM t")
    model = con.load_model("m")
    assert "v IS NULL" in model.terms_
    at = model.terms_.index("x")
    assert model.theta_[0, at] == pytest.approx(con.sql("SELECT avg(x) FROM t").fetchall()[0][0])
    rows = con.sql("SELECT x, v FROM t UNION ALL SELECT 3, NULL UNION ALL SELECT NULL, [1.5, NULL]::DOUBLE[2]")
    found = model.predict_proba(rows.to_arrow_table())
    np.testing.assert_allclose(found[-1], model.class_prior_, rtol=1e-12)
    native = con.sql("SELECT predict_proba('m', r) FROM rows r").fetchall()
    np.testing.assert_allclose([list(one.values()) for (one,) in native], found, rtol=1e-9)


def test_categories_of_a_table(con):
    con.execute(f"CREATE TABLE t AS {ROWS}")
    model = CategoricalNB().fit(con.sql('SELECT "the kind", n, flag, label FROM t'), y="label")
    assert model.n_categories_.tolist() == [4, 7, 2]
    assert [counts.shape for counts in model.category_count_] == [(3, 4), (3, 7), (3, 2)]
    assert sum(counts.sum() for counts in model.category_count_) == 3 * 2500
    with pytest.raises(InvalidData, match="columns must be categories"):
        CategoricalNB().fit(con.sql("SELECT [n, 1.0]::DOUBLE[2] AS v, label FROM t"), y="label")


def test_portions_of_a_table(con):
    con.execute(f"CREATE TABLE t AS {ROWS}")
    rows = 'SELECT "the kind", n, label FROM t'
    model = MultinomialNB()
    for part in (0, 1):
        model.partial_fit(con.sql(f"{rows} WHERE n % 2 = {part}"), y="label", classes=["no", "perhaps", "yes"])
    model.forget(con.sql(f"{rows} WHERE n = 3"), y="label")
    whole = MultinomialNB().fit(con.sql(f"{rows} WHERE n <> 3"), y="label")
    np.testing.assert_array_equal(
        model.feature_count_, whole.feature_count_[:, [whole.terms_.index(t) for t in model.terms_]]
    )


def test_a_saved_model_goes_on_learning(con):
    for kind in ALL:
        X = rows_of(kind)
        con.save_model("half", kind().fit(X[:300], LABELS[:300]))
        loaded = con.load_model("half").partial_fit(X[300:], LABELS[300:])
        whole = kind().fit(X, LABELS)
        np.testing.assert_allclose(loaded.predict_proba(X), whole.predict_proba(X), rtol=1e-9, atol=1e-12)


def test_planned_without_a_pass(con):
    con.execute(f"CREATE TABLE t AS {ROWS}")
    options = "model_type = 'naive_bayes', input_label_cols = ['label']"
    plan = str(con.sql(f"EXPLAIN CREATE MODEL m OPTIONS ({options}) AS SELECT n, amount, label FROM t").fetchall())
    assert "sums by class" in plan


@pytest.mark.skipif(not DATA.exists(), reason="the shared tables are not here")
def test_real_tables():
    with dbml.connect(":memory:") as con:
        columns = "* EXCLUDE (split, fnlwgt, income), income LIKE '>50K%' AS rich"
        adult = con.sql(f"SELECT {columns} FROM '{DATA / 'adult.parquet'}'")
        assert CategoricalNB().fit(adult, y="rich").score(adult, y="rich") > 0.83
        beans = con.sql(f"FROM '{DATA / 'dry_bean.parquet'}'")
        frame = beans.df()
        X, y = frame.drop(columns="Class").to_numpy(float), frame["Class"]
        model, theirs = GaussianNB().fit(beans, y="Class"), naive_bayes.GaussianNB().fit(X, y)
        np.testing.assert_allclose(model.var_, theirs.var_, rtol=1e-9)
        assert (model.predict(beans.to_arrow_table()) == theirs.predict(X)).mean() > 0.9999


def test_kernels_take_read_only_rows():
    n, d, k = 5000, 3, 4
    X = np.asfortranarray(RNG.normal(size=(n, d)) + 1e6)
    y, w = RNG.integers(0, k - 1, size=n).astype(float), RNG.random(n)
    x = X.reshape(-1, order="F")
    for array in (x, y, w):
        array.flags.writeable = False
    for weighted in (False, True):
        weight, mean, m2 = np.zeros(k), np.zeros((k, d)), np.zeros((k, d))
        class_moments_add(x, n, d, y, w, weighted, weight, mean, m2)
        sums, lowest = np.zeros((k, d)), np.zeros(d)
        class_sums_add(x, n, d, y, w, weighted, np.zeros(0), sums, lowest)
        for c in range(k):
            own, own_w = X[y == c], w[y == c] if weighted else np.ones((y == c).sum())
            assert weight[c] == pytest.approx(own_w.sum())
            np.testing.assert_allclose(sums[c], own_w @ own, rtol=1e-12)
            if own.size:
                centre = np.average(own, axis=0, weights=own_w)
                np.testing.assert_allclose(mean[c], centre, rtol=1e-14)
                np.testing.assert_allclose(m2[c], own_w @ (own - centre) ** 2, rtol=1e-9)
        assert not m2[k - 1].any()  # a class without rows
        assert not lowest.any()
