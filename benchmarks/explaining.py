"""Exact Shapley values of 100 trees: dbml against the ``shap`` package on the same trees.

`params`: ``rows``, how many rows of the table are explained. Outcomes predict the values of the first `JUDGED` rows of
a table, shape (rows, features).
"""

from __future__ import annotations

import functools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders import Result
from benchmarks.floors import connection
from benchmarks.jobs import Job, Outcome, quoted
from benchmarks.ours import attached_scoring_connection, models_file
from benchmarks.tree_scoring import LEAVES, booster, booster_file, loaded, train

JUDGED = 1_000


def prepare(job: Job) -> Outcome:
    """Train the models, write the trees down as the shap package takes them, and its values of some rows."""
    import dbml

    train(job)
    with dbml.connect(str(models_file(job)), read_only=True) as con:
        trees = con.load_model("trees").trees_
    parts = (trees.take(slice(number, number + 1)) for number in range(trees.n_trees))
    _trees_file(job).write_text(json.dumps([tree_for_shap(part) for part in parts]))
    X = _array(job, "t", JUDGED)
    np.save(values_file(job), _explainer(str(_trees_file(job))).shap_values(X))
    return Outcome()


def tree_for_shap(tree: Any) -> dict[str, Any]:
    """Return one tree as the shap package takes trees from anyone, as plain JSON values."""
    inner = tree.left >= 0
    right = np.where(inner, tree.left + 1, -1)
    return {
        "children_left": tree.left.tolist(),
        "children_right": right.tolist(),
        "children_default": np.where(tree.missing_left, tree.left, right).tolist(),
        "features": np.where(inner, tree.term, -2).tolist(),
        "thresholds": np.where(inner, tree.threshold, -2.0).tolist(),
        "values": tree.value.tolist(),
        "node_sample_weight": tree.weight.tolist(),
    }


def _trees_file(job: Job) -> Path:
    return models_file(job).with_suffix(".trees.json")


def values_file(job: Job) -> Path:
    return models_file(job).with_suffix(".shap.npy")


@functools.cache
def _explainer(path: str) -> Any:
    import shap

    stored = json.loads(Path(path).read_text())
    return shap.TreeExplainer({"trees": [{name: np.array(a) for name, a in tree.items()} for tree in stored]})


def _rows_sql(job: Job, table: str, rows: int, schema: str = "") -> str:
    return f"SELECT {job.columns_sql} FROM {schema}{quoted(table)} LIMIT {rows}"


def _array(job: Job, table: str, rows: int) -> NDArray[np.float64]:
    columns = connection(job).sql(_rows_sql(job, table, rows)).fetchnumpy()
    return np.column_stack([columns[name] for name in job.features])


def dbml(job: Job) -> Outcome:
    """Explain rows of the table as a relation, and fetch the values."""
    where = str(models_file(job)), job.database, job.memory_limit
    con, model = attached_scoring_connection(*where), loaded(*where)
    names = [f"shap_{name}" for name in job.features]

    def values(table: str, rows: int) -> NDArray[np.float64]:
        explained = model.shap_values(con.sql(_rows_sql(job, table, rows, "bench.")))
        columns = explained.project(", ".join(map(quoted, names))).fetchnumpy()
        return np.column_stack([columns[name] for name in names])

    return _timed(job, values)


def shap(job: Job) -> Outcome:
    """Fetch rows, explain them with the shap package."""
    explainer = _explainer(str(_trees_file(job)))
    return _timed(job, lambda table, rows: explainer.shap_values(_array(job, table, rows)))


def lightgbm(job: Job) -> Outcome:
    """Fetch rows, explain LightGBM's own model by ``pred_contrib``."""
    model = booster(str(booster_file(job, LEAVES)))
    return _timed(job, lambda table, rows: model.predict(_array(job, table, rows), pred_contrib=True, num_threads=2))


def _timed(job: Job, values: Any) -> Outcome:
    started = time.perf_counter()
    n = len(values(job.table, job.params["rows"]))
    seconds = time.perf_counter() - started
    return Outcome(seconds=seconds, predict=lambda table: values(table, JUDGED), notes={"rows": n})


def speeds(result: Result) -> list[str]:
    """Return the rows a second of every contender."""
    return [
        f"{m.notes['rows'] / m.seconds:>12,.0f} rows/s  {label}" for label, m in result.measured.items() if m.samples
    ]
