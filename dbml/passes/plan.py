"""The plan of a training: what will be read, how, and why. Plain data, printable.

Rules extend a plan and return a new one; nothing here touches a connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import Any

from dbml.errors import listing
from dbml.passes.plan_text import aligned_text, html_tables, size_text

_SHOWN_COLUMNS = 8
_PASS_HEADER = ("pass", "times", "order", "columns", "rows", "bytes", "seconds", "rows/s")


@dataclass(frozen=True, slots=True)
class Partition:
    """A run of rows that is read in one piece, with the places that hold it.

    Attributes
    ----------
    number : int
        Position in the fixed geometry; states merge in this order.
    start, n_rows : int
        First row and number of rows in the source (before filters); `n_rows` is -1 where it is not known.
    place : str
        Where this engine reads it; ``"local"`` here.
    replicas : tuple of str
        Every place that holds a copy.
    """

    number: int
    start: int
    n_rows: int
    place: str = "local"
    replicas: tuple[str, ...] = ("local",)


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over the data: what it was for, in which order, what it read; or several of a kind, with sums."""

    purpose: str
    order: str
    columns: int
    rows: int
    bytes: int
    seconds: float
    times: int = 1


@dataclass(frozen=True, slots=True)
class Decision:
    """A choice of the planner or the estimator, and its reason: ``order: plain, because …``."""

    subject: str
    choice: str
    reason: str


@dataclass(frozen=True, slots=True)
class ExpectedPasses:
    """How many passes over all rows a solver will take, in words, and why: for a plan shown before the training.

    `however_few` where that many are also taken over rows so few that a sample holds them all.
    """

    number: str
    reason: str
    however_few: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What a training reads and why.

    Attributes
    ----------
    source : str
        Table, file or query that is read.
    columns : tuple of str
        Columns read.
    filters : tuple of str
        Filters pushed into the scan, as SQL.
    partitions : tuple of Partition
        Fixed geometry of the rows; empty for the batches of a query, whose number is not known before.
    pruned : int
        Row groups skipped because zone maps show that no row can match.
    block_rows : int
        Rows of a block.
    memory_bytes : int
        Bytes that batches, blocks and states of a pass may take at once: what is read, encoded, and not yet merged.
    decisions : tuple of Decision
        Choices with their reasons: order, solver, encoding, memory.
    passes : tuple of Pass
        Passes that were run, in order.
    """

    source: str
    columns: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    partitions: tuple[Partition, ...] = ()
    pruned: int = 0
    block_rows: int = 0
    memory_bytes: int = 0
    decisions: tuple[Decision, ...] = ()
    passes: tuple[Pass, ...] = field(default=())

    def decide(self, subject: str, choice: str, reason: str) -> Plan:
        """Return the plan with one more decision (replacing an earlier one on the same subject)."""
        kept = tuple(d for d in self.decisions if d.subject != subject)
        return replace(self, decisions=(*kept, Decision(subject, choice, reason)))

    def ran(self, done: Pass) -> Plan:
        """Return the plan with one more pass."""
        return replace(self, passes=(*self.passes, done))

    def __str__(self) -> str:
        return aligned_text(self._sections(), _pass_table(self.passes))

    def _repr_html_(self) -> str:
        return html_tables(self._sections(), _pass_table(self.passes))

    def rows(self) -> list[tuple[str, str]]:
        """Return the plan as labels with a line each, for tables; a pass is a row too."""
        told = [(label, text) for label, texts in self._sections() for text in texts]
        for purpose, times, order, columns, n_rows, size, seconds, _ in _pass_table(self.passes)[1:]:
            told.append(
                ("pass", f"{purpose}: {times} x {order}, {columns} columns, {n_rows} rows, {size}, {seconds} s")
            )
        return told

    def _sections(self) -> list[tuple[str, list[str]]]:
        """Return what is read and why as labels with lines; empty parts are left out."""
        sections = [("source", [self.source])]
        if self.columns:
            sections.append(("columns", [f"{len(self.columns)}: {listing(self.columns, _SHOWN_COLUMNS)}"]))
        if self.filters:
            sections.append(("filters", list(self.filters)))
        if self.partitions:
            sections.append(("rows", [self._geometry()]))
        if self.block_rows:
            sections.append(("blocks", [f"at most {self.block_rows:,} rows"]))
        if self.memory_bytes:
            sections.append(
                ("memory", [f"at most {size_text(self.memory_bytes)} for batches, blocks and states of a pass"])
            )
        sections += [(d.subject, [f"{d.choice}, because {d.reason}" if d.reason else d.choice]) for d in self.decisions]
        return sections

    def _geometry(self) -> str:
        known = all(partition.n_rows >= 0 for partition in self.partitions)
        rows = f"{sum(partition.n_rows for partition in self.partitions):,} in " if known else ""
        many = "s" if len(self.partitions) != 1 else ""
        pruned = f", {self.pruned:,} row groups pruned by zone maps" if self.pruned else ""
        return f"{rows}{len(self.partitions):,} partition{many}{pruned}"

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Plan:
        """Return the plan of `to_json`.

        Raises
        ------
        TypeError, KeyError
            `stored` is not what `to_json` returns.
        """
        partitions = (Partition(**{**one, "replicas": tuple(one["replicas"])}) for one in stored["partitions"])
        return cls(
            **{
                **stored,
                "columns": tuple(stored["columns"]),
                "filters": tuple(stored["filters"]),
                "partitions": tuple(partitions),
                "decisions": tuple(Decision(**one) for one in stored["decisions"]),
                "passes": tuple(Pass(**one) for one in stored["passes"]),
            }
        )


def _pass_table(passes: Sequence[Pass]) -> list[tuple[str, ...]]:
    """Return the passes as rows below a header; those of one kind that follow each other are one row, with sums."""
    rows: list[tuple[str, ...]] = []
    for (purpose, order, columns), group in groupby(passes, key=_kind):
        same = list(group)
        n_rows, n_bytes = sum(done.rows for done in same), sum(done.bytes for done in same)
        seconds = sum(done.seconds for done in same)
        speed = _speed_text(n_rows / seconds) if seconds > 0 else ""
        times = f"{sum(done.times for done in same):,}"
        words = (purpose or "fold", times, order, f"{columns:,}", f"{n_rows:,}", size_text(n_bytes))
        rows.append((*words, f"{seconds:.3f}", speed))
    return [_PASS_HEADER, *rows] if rows else []


def _speed_text(rows_per_second: float) -> str:
    return f"{rows_per_second / 1e6:.1f} M" if rows_per_second >= 5e4 else f"{rows_per_second:,.0f}"


def _kind(done: Pass) -> tuple[str, str, int]:
    """Return what passes of one row share: purpose without a number at its end, order, columns."""
    return done.purpose.rstrip("0123456789").rstrip(), done.order, done.columns
