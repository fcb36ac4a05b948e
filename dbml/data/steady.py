"""One state of the rows for a whole training, however often they are read and whoever writes meanwhile.

A base table is read in one transaction of the person's connection: DuckDB then shows it as it was at the first read.
A query (a join, a CSV file, a view that is no mere selection) is run once, into a temporary table: run again it costs
as much again, and may give other rows (``random()``, ``LIMIT``, a sample) or the same ones in another order (joins on
several threads). The temporary table lies in DuckDB's share of the memory, and is spilled by DuckDB beyond it.
"""

from __future__ import annotations

import itertools
import time
from contextlib import ExitStack
from dataclasses import replace

from dbml_sql.expressions import identifier

from dbml.data import duck
from dbml.data.base_table import BaseTable, Extent, measure
from dbml.data.source import Source
from dbml.passes.plan import Decision

_numbers = itertools.count(1)


def hold_table(source: Source, held: ExitStack) -> Source:
    """Return a source whose base table is read in one state until `held` is closed; other sources as they are.

    In a transaction that the person opened there is nothing to hold: its rows change by the person's own statements
    only.
    """
    if source.base is None:
        return source
    if duck.begin(source.relation):
        held.callback(duck.end, source.relation)
    elif source.extent is not None:
        return source
    # Rows may have come and gone since the table was looked at.
    return replace(source, extent=_usable(measure(source.relation, source.base)))


def hold_query(source: Source, held: ExitStack) -> tuple[Source, list[Decision]]:
    """Return a source whose rows are those of one run of its query, until `held` is closed; and what was decided."""
    if source.base is not None or source.files is not None or source.steady:
        return source, []
    subject = "rows of the query"
    qualified = f"temp.main.{identifier(f'dbml_rows_{next(_numbers)}')}"
    started = time.perf_counter()
    kept = duck.keep(source.relation, f"SELECT * FROM {source.rows()}", qualified)
    if not kept:
        reason = "DuckDB has no room for them within its memory_limit and temp_directory"
        return source, [Decision(subject, "read by running it again for every pass", reason)]
    held.callback(duck.drop, source.relation, qualified)
    base = BaseTable(source.name, qualified, "SELECT * FROM ", "", None)
    extent = measure(source.relation, base)
    choice = (
        f"{extent.n_rows:,} kept in a temporary table, in {time.perf_counter() - started:.2f} s"
        if extent.n_rows >= 0
        else "kept"
    )
    reason = "a query that runs again costs as much again, and may give other rows or another order"
    return replace(source, base=base, extent=_usable(extent)), [Decision(subject, choice, reason)]


def _usable(extent: Extent) -> Extent | None:
    return extent if extent.end >= 0 else None
