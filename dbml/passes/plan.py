"""The plan of a training: what will be read, how, and why. Plain data, printable.

Rules extend a plan and return a new one; nothing here touches a connection.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from dbml.passes.plan_text import plan_html, plan_text


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
        Bytes that blocks, queue and states may take at once.
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
        return plan_text(self)

    def _repr_html_(self) -> str:
        return plan_html(self)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        from dataclasses import asdict

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
