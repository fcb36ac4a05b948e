"""What the first minute costs: imports, and kernels that no cache holds."""

from __future__ import annotations

from benchmarks import bars
from benchmarks.contenders import Contender, Row
from benchmarks.datasets import CLASSES
from benchmarks.rows.parts import ours

FIRST_FIT = Row(
    "first_fit",
    "the first fit ever on a machine: no compiled kernel in any cache",
    CLASSES,
    tuple(
        ours(name, f"dbml {name}", run="first_fit", table="warm", warm="", again=1, cold_cache=True)
        for name in ("LogisticRegression", "LinearRegression", "Lasso", "LinearSVC", "SGDClassifier")
    ),
    (bars.over("", "seconds, the slowest", lambda r: max(m.first for m in r.measured.values() if m.samples), 15.0),),
    target="label",
    rounds=1,
)

IMPORT_TIME = Row(
    "import_time",
    "import duckdb, then dbml",
    CLASSES,
    (
        Contender("import duckdb", "floor", "startup:import_seconds", {"modules": ["duckdb"]}, warm="", again=4),
        Contender(
            "import duckdb, dbml", "ours", "startup:import_seconds", {"modules": ["duckdb", "dbml"]}, warm="", again=4
        ),
    ),
    (bars.over("", "seconds more than duckdb", lambda r: r.ours.seconds - r.floor.seconds, 0.1),),
)
