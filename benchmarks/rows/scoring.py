"""Scoring with linear models."""

from __future__ import annotations

from benchmarks import bars
from benchmarks.contenders import Contender, Result, Row
from benchmarks.datasets import WIDE
from benchmarks.rows.parts import ours

NATIVE = Row(
    "native_scoring",
    "scoring as native SQL, 10M x 20, against sums of the same columns",
    WIDE,
    (Contender("sum of each column", "floor", "floors:sum_scan"), ours("", run="native_sql")),
    (bars.over_floor(1.5),),
    memory_limit="4GB",
    features=20,
    prepare=ours("", run="train_for_scoring", warm="", again=0),
)


def _udf_price(result: Result) -> float:
    return 1e6 * (result.ours.seconds - result.floor.seconds) / result.one("bare UDF").notes["rows"]


UDF = Row(
    "udf_scoring",
    "scoring by the UDF, 10M x 20, against a UDF that does nothing",
    WIDE,
    (Contender("bare UDF", "floor", "floors:bare_udf"), ours("", run="udf")),
    (bars.over("", "microseconds a row over the bare UDF", _udf_price, 0.3),),
    memory_limit="4GB",
    features=20,
    prepare=NATIVE.prepare,
)
