"""The rows of the benchmarks are well formed, their tables are made, the runner measures and reports."""

import importlib
import json
import re
from pathlib import Path

import duckdb
import numpy as np
import pytest

import benchmarks
import dbml
from benchmarks import bars, datasets
from benchmarks.__main__ import main
from benchmarks.contenders import IMPORTS, Contender, Row
from benchmarks.explaining import tree_for_shap
from benchmarks.jobs import Job
from benchmarks.rows import ROWS
from benchmarks.rows.parts import SCAN
from benchmarks.rows.trees import boosted, ensemble
from benchmarks.runner import last_words, make_job, run_process

CONTENDERS = [
    pytest.param(row, contender, id=f"{row.name}: {contender.label or contender.run}")
    for row in ROWS.values()
    for contender in (*row.contenders, *([row.prepare] if row.prepare else []))
]


def function(module, name):
    return getattr(importlib.import_module(f"benchmarks.{module}"), name)


@pytest.mark.parametrize(("row", "contender"), CONTENDERS)
def test_a_contender_names_what_exists(row, contender):
    assert callable(function(*contender.run.split(":")))
    assert contender.kind in IMPORTS
    assert json.loads(json.dumps(contender.params)) == contender.params


def test_the_readme_names_every_row_and_no_other():
    lines = (Path(benchmarks.__file__).parent / "README.md").read_text().splitlines()
    told = [name for line in lines if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert sorted(told) == sorted(ROWS)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_row_is_well_formed(row):
    assert ROWS[row.name] is row
    labels = [contender.label for contender in row.contenders]
    assert len(set(labels)) == len(labels)
    names = [bar.name for bar in row.bars if bar.name != "of its memory"]
    assert names
    assert len(set(names)) == len(names)
    assert not row.quality or callable(function("quality", row.quality))
    assert row.metric in ("", "objective", "r2", "auc", "f1", "ndcg", "accuracy", "explained")


TRAINED = [case for case in CONTENDERS if case.values[1].kind == "ours" and case.values[1].params.get("estimator")]


@pytest.mark.parametrize(("row", "contender"), TRAINED)
def test_settings_of_our_estimators_are_theirs(row, contender):
    name = contender.params["estimator"]
    if not hasattr(dbml, name):
        pytest.skip(f"dbml has no {name} yet")
    getattr(dbml, name)().set_params(**contender.params["settings"])


# tables -------------------------------------------------------------------------------------------------------------


def test_columns_have_streams_of_their_own():
    rows, columns = 3, 1_000
    used = {63 - k for k in range(datasets.LATENT)} | {50}
    keys = [row * 64 + datasets.stream_of(column) for row in range(rows) for column in range(columns)]
    keys += [row * 64 + stream for row in range(rows) for stream in used]
    assert len(set(keys)) == len(keys)


def test_a_wide_table_is_made_and_its_columns_are_not_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "FOLDER", tmp_path)
    wide = datasets.CLASSES_BY_WIDTH[1]
    path = datasets.ensure(wide, 500)
    assert path == datasets.database(wide, 500)
    with duckdb.connect(str(path), read_only=True) as con:
        columns = con.sql("SELECT * EXCLUDE (label) FROM t").fetchnumpy()
        assert con.execute("SELECT count(*), count(DISTINCT label) FROM t").fetchone() == (500, 2)
    matrix = np.column_stack(list(columns.values()))
    assert matrix.shape == (500, 100)
    assert np.abs(np.corrcoef(matrix.T) - np.eye(100)).max() < 0.75


def test_real_tables_have_one_target_and_nothing_of_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "FOLDER", tmp_path)
    try:
        path = datasets.ensure(datasets.REAL_MIXED, 200)
    except datasets.Unavailable as reason:
        pytest.skip(str(reason))
    with duckdb.connect(str(path), read_only=True) as con:
        for table in datasets.REAL_TABLES:
            *columns, target = [name for name, *_ in con.execute(f"DESCRIBE {table}").fetchall()]
            assert target == "target"
            assert not any(name.startswith("target") for name in columns)
            assert con.execute(f"SELECT count(DISTINCT target) > 1, count(*) FROM {table}").fetchone() == (True, 200)


# trees --------------------------------------------------------------------------------------------------------------


def test_trees_are_handed_to_the_shap_package_as_they_are():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(400, 3))
    X[rng.random(X.shape) < 0.1] = np.nan
    y = (np.nansum(X, axis=1) > 0).astype(int)
    model = dbml.HistGradientBoostingClassifier(max_iter=4, max_leaf_nodes=6).fit(X, y)
    trees = [tree_for_shap(model.trees_.take(slice(k, k + 1))) for k in range(model.trees_.n_trees)]

    def leaf(tree, row, node=0):
        if tree["children_left"][node] < 0:
            return tree["values"][node][0]
        value = row[tree["features"][node]]
        way = "default" if np.isnan(value) else "left" if value <= tree["thresholds"][node] else "right"
        return leaf(tree, row, tree[f"children_{way}"][node])

    sums = [model.baseline_[0] + sum(leaf(tree, row) for tree in trees) for row in X[:50]]
    np.testing.assert_allclose(model.decision_function(X[:50]), sums, rtol=1e-12)


@pytest.mark.parametrize("contender", ["dbml", "lightgbm"])
def test_a_real_table_is_judged_for_each_seed(tmp_path, monkeypatch, contender):
    if contender == "lightgbm":
        pytest.importorskip("lightgbm")
    monkeypatch.setattr(datasets, "FOLDER", tmp_path)
    try:
        path = datasets.ensure(datasets.REAL_MIXED, 600)
    except datasets.Unavailable as reason:
        pytest.skip(str(reason))
    job = Job(
        contender=f"real_tables:{contender}", imports=IMPORTS["peer"], database=str(path), table="adult",
        target="target", features=(), params={"seeds": 2}, quality="of_seeds", memory_limit="128MB", warm="", again=0,
    )  # fmt: skip
    found = run_process(job, 120, cold_cache=False)
    metric, figures = found.notes["seeds"]["adult"]
    assert metric == "auc"
    assert len(set(figures)) == 2
    assert found.quality == {"adult auc": pytest.approx(np.mean(figures))}
    assert 0.75 < found.quality["adult auc"] < 1


# the runner ---------------------------------------------------------------------------------------------------------

TINY = Row(
    "tiny",
    "boosting, two trees",
    datasets.CLASSES,
    (
        SCAN,
        boosted(trees=2, warm=""),
        ensemble("sklearn", "HistGradientBoostingClassifier", "C", max_iter=2, early_stopping=False),
        Contender("nobody", "peer", "floors:arrow_scan", table="no_such_table"),
    ),
    (bars.speedup(0.0), bars.quality("auc", 0.05)),
    target="label",
    quality="auc",
    metric="auc",
    tolerance=0.05,
)


def test_a_row_is_run_from_the_command_line_to_the_json(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(datasets, "FOLDER", tmp_path / "data")
    monkeypatch.setitem(ROWS, "tiny", TINY)
    path = tmp_path / "results.json"
    assert main(["tiny", "--rows", "3000", "--rounds", "1", "--json", str(path)]) == 0
    printed, _ = capfd.readouterr()
    assert "holds times the best peer" in printed
    assert "Table with name no_such_table does not exist" in printed
    stored = json.loads(path.read_text())
    assert stored["row_limit"] == 3_000
    contenders = stored["rows"]["tiny"]["contenders"]
    ours = contenders["dbml"]["samples"][0]
    assert len(ours["seconds"]) == 3
    assert ours["notes"]["rows"] == 3_000
    assert ours["quality"]["auc"] == pytest.approx(
        contenders["sklearn HistGradientBoostingClassifier"]["samples"][0]["quality"]["auc"], abs=0.05
    )
    assert contenders["nobody"]["error"]
    assert [bar["holds"] for bar in stored["rows"]["tiny"]["must_hold"]] == [True, True]


def test_the_last_words_of_a_process_are_its_error():
    frames = 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    f()\n    ~^^\n'
    assert (
        last_words(f"a warning\n{frames}ValueError: no\n\nLINE 1: SELECT\n        ^\n")
        == "ValueError: no LINE 1: SELECT ^"
    )
    assert last_words("malloc failed\nAborted\n") == "Aborted"
    assert last_words("") == ""


def test_a_table_that_cannot_be_made_is_the_error_of_its_row(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(datasets, "FOLDER", tmp_path)
    monkeypatch.setattr(datasets, "REAL", tmp_path / "nothing here")
    assert main(["boosting_quality"]) == 1
    assert "not run: adult.parquet is not in ../shared/data" in capfd.readouterr().out


def test_an_unknown_row_is_named_with_those_there_are(capfd):
    with pytest.raises(SystemExit):
        main(["bosting"])
    assert "no row bosting (rows: least_squares, " in capfd.readouterr().err


def test_a_job_goes_through_json(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "FOLDER", tmp_path)
    job = make_job(TINY, TINY.contenders[1], 10)
    assert Job.from_json(json.loads(json.dumps(job.to_json()))) == job
    assert job.features == tuple(f"x{k}" for k in range(28))
