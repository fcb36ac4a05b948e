"""Progress on a terminal, and the plan as people read it."""

import io

import numpy as np
import pytest
from rich.console import Console

import dbml
from dbml.engine.progress import ProgressDisplay, active_display, show_progress
from dbml.passes.dispatch import as_data
from dbml.passes.plan import Partition, Pass, Plan
from dbml.passes.progress import Listener, listeners, listening


@pytest.fixture
def screen():
    return Console(file=io.StringIO(), force_terminal=True, width=160, color_system=None)


def shown(screen):
    return screen.file.getvalue()


def test_display_shows_pass_and_state_of_the_solver(screen):
    display = ProgressDisplay(screen, patience=0.0)
    display.started("LogisticRegression on [flights]")
    display.pass_started("gram", 1000)
    display.rows(1000)
    display.pass_ended(0.1)
    display.iteration(3, loss=0.25, learning_rate=0.5)
    display.ended(0.2)
    text = shown(screen)
    for part in ("LogisticRegression on [flights]", "gram", "iteration 3, loss 0.25, learning rate 0.5"):
        assert part in text


def test_display_says_at_once_that_kernels_are_compiled(screen):
    display = ProgressDisplay(screen, patience=1e9)
    display.started("Ridge on t")
    display.compiling("gram_add")
    display.ended(0.1)
    assert "compiling kernels (once per machine)" in shown(screen)


def test_short_trainings_show_nothing(screen):
    display = ProgressDisplay(screen, patience=1e9)
    display.started("Ridge on t")
    display.pass_started("gram", -1)
    display.rows(5)
    display.pass_ended(0.1)
    display.ended(0.1)
    assert shown(screen) == ""


def test_one_display_for_trainings_inside_trainings(screen):
    display = ProgressDisplay(screen, patience=0.0)
    display.started("outer")
    display.started("inner")
    display.pass_started("gram", 10)
    display.rows(10)
    display.ended(0.1)
    display.iteration(1, loss=1.0)
    display.ended(0.2)
    assert "outer" in shown(screen) and "inner" not in shown(screen)


def test_silent_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.delenv("DBML_PROGRESS", raising=False)
    assert active_display() is None
    as_data(np.ones((10, 2)), np.arange(10.0), task="regression").sample(5, 0)
    assert capsys.readouterr() == ("", "")


def test_switch(monkeypatch):
    monkeypatch.setenv("DBML_PROGRESS", "1")
    assert active_display() is not None
    monkeypatch.setenv("DBML_PROGRESS", "0")
    assert active_display() is None
    try:
        dbml.show_progress(True)
        assert active_display() in listeners()
        dbml.show_progress(False)
        assert active_display() is None
    finally:
        show_progress(None)


def test_passes_are_announced_with_their_rows():
    class Record(Listener):
        def __init__(self):
            self.events = []

        def pass_started(self, purpose, n_rows):
            self.events.append(("started", purpose, n_rows))

        def rows(self, n):
            self.events.append(("rows", n))

        def pass_ended(self, seconds):
            self.events.append(("ended",))

    record = Record()
    data = as_data(np.ones((10, 2)), np.arange(10.0), task="regression")
    with listening(record):
        list(data.map(lambda block: block.n_rows, purpose="predict"))
    assert record.events == [("started", "predict", 10), ("rows", 10), ("ended",)]


PLAN = Plan(
    "flights",
    columns=("month", "carrier"),
    filters=('"arr_delay" IS NOT NULL',),
    partitions=(Partition(0, 0, 122_880), Partition(1, 122_880, 77_120)),
    pruned=3,
    block_rows=12_288,
    memory_bytes=1_000_000_000,
).decide("solver", "newton", "few terms")


def test_plan_reads_as_aligned_lines():
    done = Pass("newton pass 1", "sequential", 2, 200_000, 4_800_000, 0.1)
    again = Pass("newton pass 2", "sequential", 2, 200_000, 4_800_000, 0.1)
    assert str(PLAN.ran(done).ran(again)) == "\n".join(
        [
            "source   flights",
            "columns  2: month, carrier",
            'filters  "arr_delay" IS NOT NULL',
            "rows     200,000 in 2 partitions, 3 row groups pruned by zone maps",
            "blocks   at most 12,288 rows",
            "memory   at most 1.0 GB for batches, blocks and states of a pass",
            "solver   newton, because few terms",
            "",
            "pass         times  order       columns     rows   bytes  seconds  rows/s",
            "newton pass      2  sequential        2  400,000  9.6 MB    0.200   2.0 M",
        ]
    )


def test_a_later_decision_replaces_an_earlier_one():
    assert "lbfgs" in str(PLAN.decide("solver", "lbfgs", "many terms")) and "newton" not in str(
        PLAN.decide("solver", "lbfgs", "many terms")
    )


def test_plan_in_a_notebook_is_escaped_html():
    plan = Plan("<b>t</b>").ran(Pass("<i>", "sequential", 1, 1, 8, 0.0))
    text = plan._repr_html_()
    assert "&lt;b&gt;t&lt;/b&gt;" in text and "&lt;i&gt;" in text and "<b>" not in text
