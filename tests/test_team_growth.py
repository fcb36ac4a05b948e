"""Trees that a team of threads grows inside a kernel are those that rounds over shards grow, to the bit."""

import threading

import numpy as np
import pyarrow as pa
import pytest
from dbml_kernels.team import end, new_team, publish, take, tell_done, wait_for, wait_to_help

import dbml
from dbml.engine.local import LocalEngine
from dbml.estimators.trees import histograms, team_growth
from dbml.estimators.trees.team_growth import TeamGrower
from dbml.passes.engine import using

N = 6_000


def numbers(n_columns, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, n_columns))
    X[rng.random(X.shape) < 0.05] = np.nan
    y = np.nansum(X[:, :5], axis=1) + np.sin(3 * np.nan_to_num(X[:, 0])) + rng.normal(size=N)
    return {**{f"x{j}": X[:, j] for j in range(n_columns)}, "y": y}


def mixed():
    """Categories, columns that share one, whole numbers and weights."""
    rng = np.random.default_rng(1)
    which = rng.integers(0, 12, N)
    columns = {f"is_{k}": (which == k) * rng.integers(1, 4, N).astype(float) for k in range(12)}
    columns |= {"kind": rng.choice(list("abcdefgh"), N), "n": rng.integers(0, 9, N).astype(float)}
    columns["y"] = which / 4.0 + columns["n"] ** 2 / 20 + (columns["kind"] == "c") + rng.normal(size=N)
    columns["w"] = rng.integers(1, 5, N).astype(float)
    return columns


def grown(columns, threads, monkeypatch, team=True, **params):
    """Return the arrays of the trees."""
    kind = dbml.HistGradientBoostingRegressor
    if params.pop("classes", False):
        columns = {**columns, "y": np.digitize(columns["y"], np.quantile(columns["y"], [0.3, 0.7]))}
        kind = dbml.HistGradientBoostingClassifier
    weight = "w" if "w" in columns else None
    params = {"max_iter": 6, "early_stopping": False, "random_state": 3, **params}
    seen = []
    with monkeypatch.context() as patch, using(LocalEngine(threads)):
        if not team:
            patch.setattr(TeamGrower, "suits", staticmethod(lambda *_: False))
        run = TeamGrower._run
        patch.setattr(TeamGrower, "_run", lambda self, *args: seen.append(1) or run(self, *args))
        patch.setattr("dbml.data.shard_filling._WORTH_A_SHARD", 500)
        patch.setattr("dbml.data.shard_filling._WORTH_BYTES", 1)
        patch.setattr("dbml.data.shard_filling._FEWEST_ROWS", 100)
        model = kind(**params).fit(pa.table(columns), y="y", sample_weight=weight)
    assert bool(seen) == team
    arrays = {name: value for name, value in vars(model.trees_).items() if isinstance(value, np.ndarray)}
    assert {"term", "threshold", "value"} <= arrays.keys()
    return {name: value.tobytes() for name, value in arrays.items()}


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize(
    ("columns", "params"),
    [
        (numbers(6), {}),
        (numbers(6), {"max_leaf_nodes": 200, "min_samples_leaf": 1}),
        (numbers(6), {"max_depth": 3, "l2_regularization": 2.0}),
        (numbers(6), {"monotonic_cst": {"x0": 1, "x1": -1}}),
        (numbers(6), {"min_samples_leaf": 700, "sampling_method": "goss"}),
        (numbers(6), {"classes": True, "subsample": 0.4}),
        (numbers(90), {"max_leaf_nodes": 12}),  # several parts of terms
        (numbers(140), {"max_leaf_nodes": 6, "max_iter": 2}),  # and of columns
        (mixed(), {}),
        (mixed(), {"max_leaf_nodes": 100, "loss": "poisson"}),
    ],
    ids=["plain", "many leaves", "depth", "monotonic", "few rows", "classes", "wide", "wider", "mixed", "poisson"],
)
def test_the_team_grows_the_same_trees(threads, columns, params, monkeypatch):
    if params.get("loss") == "poisson":
        columns = {**columns, "y": np.abs(columns["y"])}
    expected = grown(columns, 1, monkeypatch, team=False, **params)
    assert grown(columns, threads, monkeypatch, **params) == expected


def test_sums_of_more_rows_than_words_hold_are_the_same(monkeypatch):
    expected = grown(numbers(6), 2, monkeypatch)
    monkeypatch.setattr(histograms, "MOST_ROWS", 300)
    assert grown(numbers(6), 2, monkeypatch) == expected
    assert grown(numbers(6), 1, monkeypatch) == expected


def test_a_tree_goes_on_where_the_kernel_stopped_to_look_for_an_interrupt(monkeypatch):
    calls, kernel = [], team_growth.tree_grow

    def counted(*args):
        calls.append(args[1])
        return kernel(*args)

    monkeypatch.setattr(team_growth, "tree_grow", counted)
    expected = grown(numbers(6), 1, monkeypatch, max_iter=3)
    assert len(calls) == 3
    monkeypatch.setattr(team_growth, "_PATIENCE", 2_000.0)
    assert grown(numbers(6), 1, monkeypatch, max_iter=3) == expected
    assert len(calls) > 20


@pytest.mark.parametrize("setting", [{"max_leaf_nodes": None}, {"max_leaf_nodes": 2_000}, {"max_features": 0.5}])
def test_what_the_team_does_not_grow_is_left_to_rounds(setting, monkeypatch):
    monkeypatch.setattr(TeamGrower, "_run", None)
    dbml.HistGradientBoostingRegressor(max_iter=1, **setting).fit(pa.table(numbers(6)), y="y")


# the team itself ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_helpers", [0, 1, 6])
def test_every_task_of_every_round_is_done_once(n_helpers):
    team, rounds, n_tasks = new_team(), 50, 40
    done = np.zeros((rounds, n_tasks), np.int64)
    current = [0]

    def help():
        while (task := wait_to_help(team)) >= 0:
            done[current[0], task] += 1
            tell_done(team)

    helpers = [threading.Thread(target=help) for _ in range(n_helpers)]
    for helper in helpers:
        helper.start()
    for number in range(rounds):
        current[0] = number
        publish(team, n_tasks)
        while (task := take(team)) >= 0:
            done[number, task] += 1
            tell_done(team)
        wait_for(team, n_tasks)
        assert done[number].all()
    end(team)
    for helper in helpers:
        helper.join(10.0)
        assert not helper.is_alive()
    assert (done == 1).all()


def test_a_helper_that_comes_after_the_end_goes_away():
    team = new_team()
    end(team)
    assert take(team) == -1 and wait_to_help(team) == -1
