"""What every estimator does alike: state, interrupts, progress, names, errors; on all that are found."""

import json
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from suited import suited

import dbml
from dbml import (
    PCA,
    SVR,
    ElasticNet,
    KMeans,
    Lasso,
    LinearRegression,
    RandomForestRegressor,
    Ridge,
    SGDClassifier,
    TruncatedSVD,
)
from dbml.errors import InterruptedTraining, InvalidData, InvalidParameter, NotFitted
from dbml.estimators.discovery import estimator, estimators, find_type, model_types, stored_kind, stored_kinds
from dbml.estimators.planning import plan_training
from dbml.params import Integer, Real
from dbml.passes.dispatch import as_data
from dbml.passes.progress import Listener, listening

FOUND = estimators()
# Those that read a table of numbers: not models of keys.
OF_NUMBERS = [name for name, kind in FOUND.items() if kind.encoding_style != "keys"]


def table(name, n=120):
    rng = np.random.default_rng(0)
    X = suited(rng.normal(size=(n, 4)) + 2.0, FOUND[name])
    if FOUND[name].task == "classification":
        return X, np.where(X[:, 0] + rng.normal(size=n) > 2.0, "yes", "no")
    return X, np.exp(0.3 * X[:, 0]) + rng.random(n)


@pytest.fixture(params=OF_NUMBERS, scope="module")
def fitted(request):
    X, y = table(request.param)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dbml.errors.ConvergenceWarning)
        return FOUND[request.param]().fit(X, y), X, y


def made_of(model, X):
    """Return what a model makes of rows: predictions, or what it transforms them to."""
    if hasattr(model, "predict"):
        return model.predict(X)
    if hasattr(model, "kneighbors"):
        return model.kneighbors(X)[0]
    made = model.transform(X)
    return made.toarray() if hasattr(made, "toarray") else made


def test_the_linear_family_is_found_and_importable_by_name():
    assert {"LinearRegression", "Ridge", "Lasso", "ElasticNet", "LassoCV", "ElasticNetCV", "RidgeCV"} <= set(FOUND)
    assert all(getattr(dbml, name) is kind for name, kind in FOUND.items())
    assert model_types()["linear_reg"] is LinearRegression
    assert model_types()["lasso"] is Lasso


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_a_plan_before_training_says_how_many_passes_there_will_be_and_why(name):
    with as_data(*table(name), task=FOUND[name].task, encode=FOUND[name].encoding_style) as data:
        plan = plan_training(FOUND[name](), data)
    decided = {decision.subject: decision for decision in plan.decisions}
    assert {"solver", "passes"} <= set(decided)
    assert not any(one.choice.endswith(" ") or one.reason.endswith("for ") for one in decided.values())
    assert plan.passes == ()


def test_importing_dbml_loads_no_estimator():
    code = "import sys, dbml; print(any(n.startswith(('dbml.estimators', 'numba', 'sklearn')) for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_model_rebuilt_from_its_state_predicts_bit_for_bit(fitted):
    model, X, _ = fitted
    state = model.get_state()
    json.dumps([state.params, state.attributes, state.schema.to_json()])  # plain values: the registry stores them so
    assert all(array.dtype.kind in "fiub" for array in state.arrays.values())
    again = type(model).from_state(state)
    np.testing.assert_array_equal(made_of(model, X), made_of(again, X))
    kept = {name for name in vars(model) if name.endswith("_") and name not in ("plan_", "schema_")}
    assert kept <= set(vars(again))
    assert again.get_state().params == state.params


def test_hyperparameters_that_are_tuples_come_back_as_tuples(fitted):
    model = fitted[0]
    state = model.get_state()
    again = type(model).from_state(replace(state, params=json.loads(json.dumps(state.params))))
    assert again.get_params() == type(model)().get_params()


@pytest.mark.parametrize("kind", [KMeans, SGDClassifier, PCA])
def test_a_model_of_a_random_state_is_stored_with_the_seed_that_was_drawn(kind, raw):
    X = np.random.default_rng(0).normal(size=(200, 4))
    y = (X[:, 0] > 0.0).astype(int)
    how = {"svd_solver": "randomized", "n_components": 2} if kind is PCA else {}
    model = kind(random_state=np.random.RandomState(3), **how).fit(X, y)
    con = dbml.attach(raw)
    con.save_model("drawn", model)
    loaded = con.load_model("drawn")
    assert loaded.random_state == np.random.RandomState(3).randint(2**31 - 1)
    np.testing.assert_array_equal(made_of(loaded, X), made_of(model, X))
    again = kind(random_state=loaded.random_state, **how).fit(X, y)
    np.testing.assert_array_equal(made_of(again, X), made_of(model, X))


@pytest.mark.parametrize("kind, how", [(PCA, "svd_solver"), (TruncatedSVD, "algorithm")])
def test_iterations_of_an_earlier_fit_are_forgotten(kind, how):
    X = np.random.default_rng(0).normal(size=(5000, 4))
    model = kind(n_components=2, **{how: "randomized"}).fit(X)
    assert model.n_iter_ >= 1
    model.set_params(**{how: "auto"}).fit(X)
    assert not hasattr(model, "n_iter_")


def test_terms_are_named_and_as_many_as_coefficients(fitted):
    model, _, _ = fitted
    assert model.terms_ == ("x0", "x1", "x2", "x3")
    by_term = ("coef_", "feature_importances_", "cluster_centers_", "means_", "components_", "scale_", "statistics_")
    by_term += ("theta_", "n_categories_", "cell_centers_")
    of_terms = next((getattr(model, name) for name in by_term if hasattr(model, name)), None)
    if hasattr(model, "coefs_"):
        of_terms = model.coefs_[0].T
    assert of_terms is None or of_terms.shape[-1] == 4
    assert model.n_features_in_ == 4


def test_predicting_and_scoring_agree_for_arrays_and_tables(fitted, raw):
    model, X, y = fitted
    raw.execute("CREATE TABLE t (x0 DOUBLE, x1 DOUBLE, x2 DOUBLE, x3 DOUBLE, y VARCHAR)")
    listed = [(*map(float, row), str(value)) for row, value in zip(X, y, strict=True)]
    raw.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", listed)
    kind = "VARCHAR" if model.task == "classification" else "DOUBLE"
    rows = raw.sql(f"SELECT * REPLACE (y::{kind} AS y) FROM t")
    named = type(model)(**model.get_params())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dbml.errors.ConvergenceWarning)
        named.fit(rows, y="y")
    assert named.feature_names_in_.tolist() == ["x0", "x1", "x2", "x3"]
    if model.task == "none":  # nothing to score by
        # Columns of a table are centred by means that were summed in another order.
        made = made_of(named, rows.df()[["x0", "x1", "x2", "x3"]])
        np.testing.assert_allclose(made, made_of(model, X), rtol=1e-9, atol=1e-9)
        return
    assert model.score(X, y) == pytest.approx(model.score(X, list(y)))
    assert named.score(rows, y="y") == pytest.approx(named.score(rows.df()[["x0", "x1", "x2", "x3"]], y), abs=1e-9)


@pytest.mark.parametrize("name", [name for name in OF_NUMBERS if FOUND[name].task == "none"])
def test_fitting_and_applying_at_once_reads_the_rows_twice(name, raw):
    X, _ = table(name)
    rows = pa.table({f"x{j}": X[:, j] for j in range(4)})
    raw.register("rows", rows)
    at_once = "fit_predict" if hasattr(FOUND[name], "fit_predict") else "fit_transform"
    if not hasattr(FOUND[name], at_once):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dbml.errors.ConvergenceWarning)
        once, again = (
            getattr(FOUND[name](), at_once)(rows.to_reader(max_chunksize=50)),
            getattr(FOUND[name](), at_once)("rows", con=raw),
        )
    assert once.shape[0] == again.shape[0] == len(X)
    once, again = (made.toarray() if hasattr(made, "toarray") else made for made in (once, again))
    np.testing.assert_allclose(once, again, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in OF_NUMBERS if FOUND[name].task == "classification"])
def test_classifiers_read_batches_once_and_score_where_labels_are(name, raw):
    X, y = table(name)
    columns = {f"x{j}": X[:, j] for j in range(4)}
    rows = pa.table({**columns, "w": np.arange(len(X)) % 3.0, "label": y})
    model = FOUND[name]()
    if hasattr(model, "partial_fit"):
        for classes in (None, ["no", "yes"]):
            model = FOUND[name]().partial_fit(rows.to_reader(max_chunksize=50), classes=classes)
            np.testing.assert_array_equal(model.predict(rows), FOUND[name]().partial_fit(rows).predict(rows))
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dbml.errors.ConvergenceWarning)
            model.fit(rows.drop_columns("w"))
    strange = y.copy()
    strange[:5] = "maybe"
    right = model.predict(rows) == strange
    relation = raw.from_arrow(rows)
    assert model.score(relation, strange) == pytest.approx(right.mean())
    assert model.score(rows, strange, sample_weight="w") == pytest.approx(np.average(right, weights=rows["w"]))
    assert model.score(relation, "label", sample_weight="w") == pytest.approx(
        model.score(rows, y, sample_weight=rows["w"].to_numpy())
    )
    with pytest.raises(InvalidData, match=r"y must have a label for each row of X; got 3 of 120"):
        model.score(rows, y[:3])
    if hasattr(model, "predict_log_proba"):
        logs = model.predict_log_proba(relation)
        np.testing.assert_allclose(np.exp(logs), model.predict_proba(rows), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", FOUND)
def test_use_before_fit_is_a_clear_error(name):
    model = FOUND[name]()
    with pytest.raises(NotFitted, match=f"{name} is not fitted yet; call fit first"):
        made_of(model, [[1.0]])
    scores = [lambda: model.score([[1.0]], [1.0])] if model.task != "none" else []
    for act in (model.explain, model.get_state, *scores):
        with pytest.raises(NotFitted):
            act()


@pytest.mark.parametrize("name", FOUND)
def test_every_rule_refuses_its_bad_values_by_name(name):
    X, y = table(name, 20)
    for parameter, rule in FOUND[name].rules.items():
        for bad in rule.bad_values():
            with pytest.raises(InvalidParameter) as raised:
                FOUND[name](**{parameter: bad}).fit(X, y)
            assert str(raised.value).startswith(f"{name}: ")
            assert parameter in str(raised.value)
            assert str(raised.value).endswith(f"got {bad!r}")


def test_an_unknown_parameter_names_the_nearest():
    with pytest.raises(InvalidParameter, match=r"Ridge: no parameter 'alhpa'; did you mean 'alpha'\?"):
        Ridge().set_params(alhpa=1.0)


def test_the_printed_form_shows_what_differs_from_the_defaults():
    assert repr(Ridge()) == "Ridge()"
    assert repr(ElasticNet(0.1, l1_ratio=0.9)) == "ElasticNet(alpha=0.1, l1_ratio=0.9)"


@pytest.mark.parametrize("name", [n for n, kind in FOUND.items() if kind.task == "classification"])
@pytest.mark.parametrize("labels", [(False, True), (3, 7), ("no", "yes"), (-1.0, 1.0)])
def test_labels_come_back_in_their_type(name, labels):
    X, y = table(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dbml.errors.ConvergenceWarning)
        model = FOUND[name]().fit(X, np.where(y == "yes", labels[1], labels[0]))
    predicted = model.predict(X)
    assert model.classes_.tolist() == list(labels)
    assert set(predicted.tolist()) <= set(labels)
    assert type(predicted.tolist()[0]) is type(labels[0])
    again = type(model).from_state(model.get_state())
    assert type(again.predict(X).tolist()[0]) is type(labels[0])


@pytest.mark.parametrize("name", [n for n, kind in FOUND.items() if kind.task == "classification"])
def test_one_class_is_refused(name):
    with pytest.raises(InvalidData, match="class"):
        FOUND[name]().fit([[1.0], [2.0]], ["a", "a"])


class Interrupter(Listener):
    """Presses Ctrl-C after some iterations."""

    def __init__(self, after):
        self.after, self.events = after, []

    def started(self, what):
        self.events.append(what)

    def iteration(self, number, **values):
        self.events.append(values)
        if number > self.after:
            raise KeyboardInterrupt

    def ended(self, seconds):
        self.events.append("ended")


def wide():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 600))
    return X, X @ rng.normal(size=600)


@pytest.mark.parametrize("model", [Lasso(0.5, precompute=False), Ridge(1e-3, solver="sparse_cg", tol=1e-12)])
def test_an_interrupt_keeps_the_best_model_so_far(model):
    X, y = wide()
    listener = Interrupter(after=2)
    with listening(listener), pytest.warns(InterruptedTraining, match="the best model so far is kept"):
        model.fit(X, y)
    assert model.score(X, y) > 0.1
    assert len(model.training_) == 3
    assert listener.events[-1] == "ended"
    assert model.n_iter_ >= 2


def test_an_interrupt_before_there_is_a_model_is_passed_on():
    X, y = wide()
    model = Lasso(0.5, precompute=False)
    with listening(Interrupter(after=0)), pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    with pytest.raises(NotFitted):
        model.predict(X)


@pytest.mark.parametrize("model", [LinearRegression(), SVR(), RandomForestRegressor(3)])
def test_a_training_that_fails_leaves_the_model_as_it_was(model, monkeypatch):
    def refuse(self, data):
        raise InvalidData("not finite")

    X, y = table("LinearRegression")
    before, fitted = model.fit(X, y).predict(X), dict(vars(model))
    with monkeypatch.context() as patched, pytest.raises(InvalidData, match="not finite"):
        patched.setattr(type(model), "_check_finite", refuse)
        model.fit(1e3 * X, -y)
    assert vars(model).keys() == fitted.keys()
    assert all(vars(model)[name] is value for name, value in fitted.items())
    np.testing.assert_array_equal(model.predict(X), before)


def test_iterations_are_recorded_and_announced():
    X, y = wide()
    listener = Interrupter(after=10_000)
    with listening(listener):
        model = Lasso(0.5, precompute=False).fit(X, y)
    assert listener.events[0].startswith("Lasso on ")
    assert [entry["iteration"] for entry in model.training_] == list(range(1, len(model.training_) + 1))
    assert np.diff([entry["gap"] for entry in model.training_]).max(initial=-1.0) < 0.0
    assert listener.events[1:-1] == [
        {name: value for name, value in entry.items() if name not in ("iteration", "seconds")}
        for entry in model.training_
    ]


def test_fitting_again_forgets_the_names_of_the_first_table():
    import pandas as pd

    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0]})
    model = LinearRegression().fit(frame, [1.0, 2.0, 3.0])
    assert model.feature_names_in_.tolist() == ["a", "b"]
    model.fit(frame.to_numpy(), [1.0, 2.0, 3.0])
    assert not hasattr(model, "feature_names_in_")


def test_scikit_learn_is_not_needed():
    code = """
import sys
sys.modules["sklearn"] = None
import numpy as np
from dbml import Lasso, Ridge
X = np.arange(20.0).reshape(10, 2) % 7
print(round(Ridge(1e-9).fit(X, X @ [1.0, 2.0]).score(X, X @ [1.0, 2.0]), 6), repr(Lasso()))
try:
    Ridge().predict(X)
except Exception as error:
    print(type(error).__module__, type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["1.0 Lasso()", "dbml.errors NotFitted"]


@pytest.mark.parametrize("name", FOUND)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, np.float32("inf")])
def test_numbers_that_are_not_finite_are_refused_but_where_they_mean_something(name, value):
    X, y = table(name, 20)
    for parameter, rule in FOUND[name].rules.items():
        if not rule.allows(1) and not rule.allows(0.5):
            continue
        if (name, parameter) == ("LogisticRegression", "C") and value > 0:
            assert rule.allows(value)
            continue
        with pytest.raises(InvalidParameter, match=rf"{name}: {parameter} must be .*; got .*(inf|nan)"):
            FOUND[name](**{parameter: value}).fit(X, y)


def test_an_integer_of_any_size_is_a_number():
    assert Real(ge=0).allows(10**400)
    assert not Real(le=1).allows(10**400)
    assert Integer(ge=1).allows(10**400)


@pytest.mark.parametrize("name", ["LinearRegression", "StandardScaler", "KNeighborsRegressor", "GaussianNB"])
def test_a_frame_is_read_by_position_where_training_had_no_names(name):
    import pandas as pd

    X, y = table(name)
    frame = pd.DataFrame(X, columns=["b", "a", "d", "c"])
    model = FOUND[name]().fit(X, y)
    for rows in (frame, pa.table(frame)):
        with pytest.warns(
            dbml.errors.DbmlWarning, match=f"X has feature names, but {name} was fitted without feature names"
        ):
            np.testing.assert_array_equal(made_of(model, rows), made_of(model, X))
    if hasattr(model, "score"):
        with pytest.warns(dbml.errors.DbmlWarning, match="by position"):
            assert model.score(frame, y) == model.score(X, y)
        with pytest.warns(dbml.errors.DbmlWarning, match="by position"):
            assert model.score(frame.assign(y=y), "y") == model.score(X, y)
    with pytest.raises(InvalidData, match=f"X has 3 features, but {name} is expecting 4 features"):
        made_of(model, frame[["a", "b", "c"]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        named = pd.DataFrame(X, columns=["x0", "x1", "x2", "x3"])[["x3", "x1", "x0", "x2"]]
        np.testing.assert_array_equal(made_of(model, named), made_of(model, X))


def test_one_estimator_is_found_without_the_others():
    script = (
        "import sys, dbml; from dbml.estimators.discovery import find_type\n"
        "assert dbml.GaussianNB.__name__ == 'GaussianNB' and find_type('Linear_Reg') is dbml.LinearRegression\n"
        "assert find_type('linearregression') is dbml.LinearRegression\n"
        "assert 'dbml.estimators.mlp' not in sys.modules and 'dbml.estimators.kmeans' not in sys.modules\n"
        "assert find_type('no such type') is None and not hasattr(dbml, 'NoSuchEstimator')\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_estimator_is_found_by_its_names():
    for name, kind in estimators().items():
        assert estimator(name) is stored_kind(name) is getattr(dbml, name) is kind
    for model_type, kind in model_types().items():
        assert find_type(model_type) is find_type(model_type.upper()) is kind
    assert set(stored_kinds().values()) == {stored_kind(name) for name in stored_kinds()}
