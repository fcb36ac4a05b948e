"""The figures of the benchmarks: bars, quality, the cost of a row and feature, and what the report says of them."""

import json
import math
from itertools import product

import duckdb
import numpy as np
import pytest

from benchmarks import bars, datasets, growth, quality, real_tables
from benchmarks.contenders import Bar, Contender, Measured, Result, Row, Sample
from benchmarks.jobs import Job, Outcome
from benchmarks.report import bar_line, lines, summary, to_json


def sample(seconds=(1.0,), peak=100.0, notes=None, **figures):
    return Sample(tuple(seconds), (peak,), 50.0, 60.0, figures, notes or {})


def result_of(row_bars=(), **measured):
    """Return a result: a contender a keyword, whose kind is the first part of its name."""
    contenders = {
        name: Contender(name, name.split("_")[0], "floors:arrow_scan", {"fetch": name.split("_")[-1]})
        for name in measured
    }
    row = Row(
        "made", "made up", datasets.CLASSES, tuple(contenders.values()), tuple(row_bars),
        quality="auc", metric="auc", tolerance=0.01,
    )  # fmt: skip
    return Result(row, {name: Measured(contenders[name], list(samples)) for name, samples in measured.items()})


def measured_once():
    return result_of(
        floor=[sample([0.5])],
        ours=[sample([9.0, 1.0, 1.2], peak=30.0, auc=0.840), sample([8.0, 1.1], peak=40.0, auc=0.840)],
        peer_fetchnumpy=[sample([5.0, 4.0], peak=400.0, auc=0.841)],
        peer_arrow=[sample([2.9, 2.2], peak=200.0, auc=0.842)],
        peer_bad=[sample([0.1], auc=0.7)],
    )


@pytest.mark.parametrize(
    ("bar", "value"),
    [
        (bars.speedup(2), 2.2 / 1.1),
        (bars.worst_speedup(1.3), 2.2 / 1.2),
        (bars.memory_share(), 35 / 200),
        (bars.memory_of("the peer", "peer_"), 35 / 100),  # the bad one is the fastest
        (bars.memory_of("the peer", "peer_f"), 35 / 400),
        (bars.memory_of("the leanest", "peer_", leanest=True), 35 / 100),
        (bars.faster_than("arrow", "peer_a", 1), 2.2 / 1.1),
        (bars.faster_than("arrow", "peer_a", 1, ours="floor"), 2.2 / 0.5),
        (bars.quality("auc", 0.001), -0.002),
        (bars.over_floor(1.5), 1.1 / 0.5),
    ],
    ids=lambda value: value.name if isinstance(value, Bar) else "",
)
def test_a_bar_is_the_figure_it_names(bar, value):
    assert bar.value(measured_once()) == pytest.approx(value)


def test_a_bar_holds_at_its_limit_and_never_for_nan():
    least, most = (Bar("", lambda r: 0.0, 2.0, at_least=kind) for kind in (True, False))
    assert least.holds(2.0) and most.holds(2.0)
    assert not least.holds(1.9) and not most.holds(2.1)
    assert not least.holds(math.nan) and not most.holds(math.nan)


def test_the_report_says_what_held_what_fell_short_and_what_failed():
    result = measured_once()
    result.row = Row(**{
        **vars(result.row),
        "bars": (bars.speedup(2), bars.worst_speedup(3), bars.faster_than("nobody", "nobody", 1)),
        "table": lambda result: ["a line of its own"],
    })  # fmt: skip
    result.measured["peer_broken"] = Measured(Contender("peer_broken", "peer", "floors:arrow_scan"), [], "no memory")
    text = "\n".join(lines(result))
    assert "holds times the best peer: 2 (must be >= 2)" in text
    assert "SHORT times the best peer, its fastest run over our slowest: 1.833 (must be >= 3)" in text
    assert "n/a   times nobody: no such peer of equal quality finished (must be >= 1)" in text
    assert "failed: no memory" in text
    assert "a line of its own" in text
    assert summary([result, Result(result.row, {}, error="no table")])
    stored = json.loads(json.dumps(to_json(result)))
    assert stored["best_peer"] == "peer_arrow"
    assert [bar["holds"] for bar in stored["must_hold"]] == [True, False, False]
    assert stored["contenders"]["ours"]["seconds"] == pytest.approx(1.1)


def test_a_result_without_ours_renders():
    result = result_of([bars.speedup(2)], peer_arrow=[sample(auc=0.8)])
    assert "no ours finished" in bar_line(result.row.bars[0], result)
    assert "n/a" in "\n".join(summary([result]))


# quality ------------------------------------------------------------------------------------------------------------


def test_the_area_counts_pairs_and_half_of_the_ties():
    rng = np.random.default_rng(0)
    decision, positive = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a, b in product(decision[positive], decision[~positive])]
    assert quality.area(decision, positive) == pytest.approx(np.mean(pairs), abs=1e-15)


def test_log_odds_undo_probabilities_and_stay_finite():
    eta = np.array([-20.0, -1.0, 0.0, 3.0])
    np.testing.assert_allclose(quality.log_odds(1 / (1 + np.exp(-eta))), eta, rtol=1e-6)
    assert np.isfinite(quality.log_odds(np.array([0.0, 1.0]))).all()


def job_on(path, **changes):
    settled = {
        "contender": "", "imports": (), "database": str(path), "table": "t", "target": "y", "features": ("a", "b"),
        "params": {}, "quality": "", "memory_limit": "128MB", "warm": "", "again": 0,
    }  # fmt: skip
    return Job(**{**settled, **changes})


@pytest.fixture
def plane(tmp_path):
    """A database whose y is 1 + 2 a - b, and 3 more or less by turns."""
    path = tmp_path / "plane.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute(
            "CREATE TABLE holdout AS SELECT a, b, 1 + 2 * a - b + if(a % 2 = 0, 3, -3) AS y "
            "FROM (SELECT range::DOUBLE AS a, (range // 10)::DOUBLE AS b FROM range(100))"
        )
        con.execute("CREATE TABLE t AS FROM holdout")
    return path


def test_r2_and_objective_of_a_known_plane(plane):
    job, outcome = job_on(plane, params={"alpha": 0.5}), Outcome(np.array([2.0, -1.0]), 1.0)
    with duckdb.connect(str(plane), read_only=True) as con:
        variance = con.execute("SELECT var_pop(y) FROM t").fetchone()[0]
    assert quality.r2(job, outcome) == {"r2": pytest.approx(1 - 9 / variance)}
    assert quality.objective(job, outcome)["objective"] == pytest.approx(9 / 2 + 0.5 * 3)
    told = Outcome(predict=lambda table: {"holdout": np.zeros(100)}[table])
    target = quality.target_of(job, "holdout")
    assert quality.r2(job, told)["r2"] == pytest.approx(1 - np.sum(target**2) / np.sum((target - target.mean()) ** 2))


def test_the_quality_of_classes_is_that_of_the_decision(plane):
    with duckdb.connect(str(plane)) as con:
        con.execute("CREATE OR REPLACE TABLE holdout AS SELECT a, b, (a >= 60)::INTEGER AS y FROM t")
    found = quality.auc(job_on(plane), Outcome(predict=lambda table: np.arange(100.0) - 49.5))
    assert found["auc"] == 1.0
    assert found["accuracy"] == pytest.approx(0.9)


def test_the_mean_over_seeds_is_told_by_table():
    notes = {"seeds": {"adult": ("auc", [0.9, 0.92]), "diamonds": ("rmse", [500.0, 520.0])}}
    assert quality.of_seeds(None, Outcome(notes=notes)) == pytest.approx({"adult auc": 0.91, "diamonds rmse": 510.0})


def test_a_held_out_fold_is_a_fifth_and_another_for_each_seed():
    with duckdb.connect() as con:
        con.execute("CREATE TABLE t AS FROM range(20000)")
        held = [
            {r for (r,) in con.sql(f"SELECT rowid FROM t WHERE {real_tables.held_out(k)}").fetchall()} for k in (0, 1)
        ]
    assert [len(rows) / 20_000 for rows in held] == pytest.approx([0.2, 0.2], abs=0.02)
    assert len(held[0] & held[1]) / 20_000 == pytest.approx(0.04, abs=0.01)


# the cost of a row and feature --------------------------------------------------------------------------------------


def grown():
    labels = {"ours_small": (1_000, 10, 0.02), "ours_large": (10_000, 10, 0.3), "ours_wide": (1_000, 100, 0.1)}
    result = result_of(**{
        label: [sample([seconds], notes={"rows": rows, "columns": columns})]
        for label, (rows, columns, seconds) in labels.items()
    })  # fmt: skip
    for measured in result.measured.values():
        measured.contender.params["settings"] = {"max_iter": 10}
    return result


def test_the_cost_is_seconds_over_rows_columns_and_trees():
    result = grown()
    costs = [point.nanoseconds for point in growth.points(result, tuple(result.measured))]
    assert costs == pytest.approx([200.0, 300.0, 100.0])
    assert growth.spread(result, ("ours_small", "ours_large")) == pytest.approx(1.5)
    head, *rows = growth.table(result)
    assert head.split()[:2] == ["rows", "columns"]
    assert [line.split()[0] for line in rows] == ["1,000", "10,000", "1,000"]


def test_the_cost_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "cost.png"
    growth.draw(grown(), path, ("ours_small", "ours_large"), ("ours_small", "ours_wide"))
    assert path.read_bytes().startswith(b"\x89PNG")
