"""Parameters and attributes of scikit-learn's classes: there, or named in `docs/scikit-learn.md` with what to do."""

import inspect
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("sklearn")

from sklearn import linear_model
from sklearn.utils import all_estimators

import dbml
from dbml.engine import local
from dbml.errors import InvalidParameter
from dbml.estimators.discovery import estimators

PAGE = (Path(__file__).parent.parent / "docs/scikit-learn.md").read_text()
THEIRS = dict(all_estimators())
NAMESAKES = {name: kind for name, kind in estimators().items() if name in THEIRS}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5)) * [1, 2, 3, 1000, 0.1] + 5
Y = X @ [1.0, 2, 3, 0.4, 5] + RNG.normal(size=300)


def parameters(kind):
    return {name: p.default for name, p in inspect.signature(kind).parameters.items()}


@pytest.mark.parametrize("name", NAMESAKES)
def test_what_is_left_out_is_named_in_the_page(name):
    missing = parameters(THEIRS[name]).keys() - parameters(NAMESAKES[name]).keys()
    assert not {parameter for parameter in missing if f"`{parameter}`" not in PAGE}


@pytest.mark.parametrize("name", NAMESAKES)
def test_values_that_are_left_out_are_named_in_the_page(name):
    """Of options of few values in scikit-learn; the page describes those of many (metrics, kinds of quantiles)."""
    rules = NAMESAKES[name].rules
    rows = [row.split("|") for row in PAGE.splitlines() if row.startswith("|")]
    for parameter, allowed in getattr(THEIRS[name], "_parameter_constraints", {}).items():
        if parameter not in rules or parameter in ("metric", "quantile_method"):
            continue
        values = {value for some in allowed if hasattr(some, "options") for value in some.options}
        missing = {value for value in values if not rules[parameter].allows(value)}
        told = "".join(row[3] for row in rows if f"`{parameter}`" in row[1])
        assert not {value for value in missing if f"`{value}`" not in told}, parameter


@pytest.mark.parametrize("parameter", ["n_jobs", "random_state"])
@pytest.mark.parametrize("name", NAMESAKES)
def test_jobs_and_seeds_are_taken_wherever_scikit_learn_takes_them(name, parameter):
    if parameter not in parameters(THEIRS[name]):
        return
    assert parameters(NAMESAKES[name])[parameter] is None
    assert parameter in NAMESAKES[name].rules


@pytest.mark.parametrize("name", [name for name, kind in NAMESAKES.items() if "n_jobs" in parameters(kind)])
def test_jobs_are_threads_and_change_nothing(name, monkeypatch):
    kind, fitted, used = NAMESAKES[name], [], []
    threads = local.thread_count
    monkeypatch.setattr(local, "thread_count", lambda asked=None: used.append(threads(asked)) or used[-1])
    target = np.median(Y) < Y if kind.task == "classification" else Y
    for jobs in (1, None):
        used.clear()
        model = kind(n_jobs=jobs).fit(*rows_of(kind, target))
        allowed = 1 if jobs == 1 else threads()
        assert max(used, default=allowed) == allowed  # few rows may be solved from one sample
        fitted.append(model.get_state().arrays)
    assert fitted[0].keys() == fitted[1].keys()
    for attribute, value in fitted[0].items():
        np.testing.assert_array_equal(value, fitted[1][attribute], err_msg=attribute)
    with pytest.raises(InvalidParameter, match="n_jobs must be None, -1 or an integer >= 1; got 0"):
        kind(n_jobs=0).fit(*rows_of(kind, target))


def rows_of(kind, target):
    return (X,) if kind.task == "none" else (X, target)


@pytest.mark.parametrize("kind", [dbml.LogisticRegression, dbml.Ridge, dbml.LinearSVC, dbml.LinearSVR])
def test_a_seed_without_a_draw_changes_nothing(kind):
    target = np.median(Y) < Y if kind.task == "classification" else Y
    one, other = (kind(random_state=seed).fit(X, target).coef_ for seed in (0, 7))
    np.testing.assert_array_equal(one, other)
    with pytest.raises(InvalidParameter, match="random_state must be"):
        kind(random_state="seed").fit(X, target)


@pytest.mark.parametrize("rows", [X, X[:4], X[:, [0, 0, 1]]], ids=["many", "few", "collinear"])
def test_singular_values(rows):
    ours, theirs = (
        kind.fit(rows, Y[: len(rows)]) for kind in (dbml.LinearRegression(), linear_model.LinearRegression())
    )
    assert ours.singular_.shape == theirs.singular_.shape
    np.testing.assert_allclose(ours.singular_, theirs.singular_, atol=1e-6 * theirs.singular_[0])
    assert ours.rank_ == theirs.rank_


def test_outliers_of_arrays_and_frames():
    target, scaled = Y.copy(), (X - X.mean(axis=0)) / X.std(axis=0)  # their solver needs it
    target[::30] += 100
    theirs = linear_model.HuberRegressor(max_iter=1000, tol=1e-9).fit(scaled, target)
    columns = {f"x{j}": column for j, column in enumerate(scaled.T)}
    for rows, y in ((scaled, target), (scaled.tolist(), target.tolist()), (pa.table(columns), target)):
        np.testing.assert_array_equal(dbml.HuberRegressor().fit(rows, y).outliers_, theirs.outliers_)


def test_outliers_of_a_table_are_left_to_sql():
    with dbml.connect() as con:
        con.register("given", pa.table({"x": X[:, 0], "y": Y}))
        con.execute("CREATE TABLE t AS FROM given")
        model = dbml.HuberRegressor().fit(X, Y)
        con.save_model("m", model)
        for without in (con.load_model("m"), model.fit(con.table("t"), "y")):
            assert not hasattr(without, "outliers_")
        with pytest.raises(AttributeError, match=r"abs\(y - predict\(…\)\) > .*, epsilon \* scale_"):
            _ = model.outliers_
        con.save_model("m", model)
        limit = model.epsilon * model.scale_
        (found,) = con.sql(f"SELECT count(*) FROM t WHERE abs(y - predict('m', t)) > {limit}").fetchall()[0]
        assert 0 < found < 300
