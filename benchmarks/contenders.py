"""What a row is made of: contenders, bars, and the results they leave."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.datasets import Dataset

Kind = Literal["floor", "ours", "peer"]
IMPORTS: dict[str, tuple[str, ...]] = {
    "floor": ("numpy", "duckdb", "pyarrow"),
    "peer": ("numpy", "scipy.sparse", "duckdb", "pyarrow", "sklearn.linear_model", "sklearn.svm"),
    "ours": (
        "numpy",
        "scipy.sparse",
        "duckdb",
        "pyarrow",
        "sqlglot",
        "numba",
        "numba.typed",
        "scipy.linalg",
        "scipy.optimize",
        "dbml",
        "dbml.data",
        "dbml.engine",
        "dbml.registry",
        "dbml.connection",
    ),
}


@dataclass(frozen=True)
class Contender:
    """One way to do the work of a row.

    Attributes
    ----------
    label : str
        What the report calls it.
    kind : {"floor", "ours", "peer"}
        Its part in the row.
    run : str
        ``"module:function"`` inside this package.
    params : dict
        Settings of the function.
    table, dataset : str, Dataset
        What it reads, where that differs from the row's.
    warm : str or None
        Small table to warm up with; "" for none.
    again : int
        Further runs in the same process.
    patience : float
        Seconds of runs in the same process after which no other is begun.
    imports : tuple of str
        Imported before memory is measured, besides those of its kind.
    cold_cache : bool
        Start with an empty numba cache.
    quality : bool
        Whether the row's quality applies to it.
    memory_limit : str
        DuckDB's ``memory_limit``, where it differs from the row's.
    """

    label: str
    kind: Kind
    run: str
    params: dict[str, Any] = field(default_factory=dict)
    table: str = "t"
    dataset: Dataset | None = None
    warm: str = "warm"
    again: int = 2
    patience: float = 8.0
    imports: tuple[str, ...] = ()
    cold_cache: bool = False
    quality: bool = True
    memory_limit: str = ""


@dataclass(frozen=True)
class Sample:
    """What one process measured."""

    seconds: tuple[float, ...]
    peak_mib: tuple[float, ...]
    imported_mib: float
    warmed_mib: float
    quality: dict[str, float]
    notes: dict[str, Any]


@dataclass
class Measured:
    """Every sample of one contender, or the error that it ended with."""

    contender: Contender
    samples: list[Sample] = field(default_factory=list)
    error: str = ""

    @property
    def first(self) -> float:
        """Median seconds of the first run in a process: DuckDB's buffers are empty, the file is in the page cache."""
        return statistics.median(s.seconds[0] for s in self.samples)

    @property
    def seconds(self) -> float:
        """Median seconds of the later runs in a process (of the first where there is no other)."""
        return statistics.median(t for s in self.samples for t in (s.seconds[1:] or s.seconds))

    @property
    def peak(self) -> float:
        """Median over processes of the highest memory above the imports, in MiB."""
        return statistics.median(max(s.peak_mib) for s in self.samples)

    @property
    def quality(self) -> dict[str, float]:
        """Quality of the last sample."""
        return self.samples[-1].quality

    @property
    def notes(self) -> dict[str, Any]:
        """Notes of the last sample."""
        return self.samples[-1].notes


@dataclass(frozen=True)
class Bar:
    """A figure that must hold.

    Attributes
    ----------
    name : str
        What is compared.
    value : callable
        From the results of the row to the figure.
    limit : float
        The figure must be at least (or at most) this.
    at_least : bool
        Which of the two.
    """

    name: str
    value: Callable[[Result], float]
    limit: float
    at_least: bool = False

    def holds(self, value: float) -> bool:
        """Whether the figure holds; NaN never does."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Row:
    """A line of the report.

    Attributes
    ----------
    name, title : str
        What the command line and the report call it.
    dataset : Dataset
        What is read.
    contenders : tuple of Contender
        Who runs.
    bars : tuple of Bar
        What must hold.
    target : str
        Target column.
    quality : str
        Function of `benchmarks.quality`; "" for none.
    metric, tolerance : str, float
        Which figure of it makes a peer comparable, and how far below (or, for an objective, relatively above) the best
        one it may lie.
    memory_limit : str
        DuckDB's ``memory_limit``.
    features : int or None
        Read only the first so many feature columns.
    prepare : Contender or None
        Runs once before the others.
    timeout : float
        Seconds that one process may take.
    rounds : int
        How often every contender is started.
    table : callable or None
        Further lines of the report.
    figure : callable or None
        Draws the result into a file, beside the JSON.
    """

    name: str
    title: str
    dataset: Dataset
    contenders: tuple[Contender, ...]
    bars: tuple[Bar, ...]
    target: str = "y"
    quality: str = ""
    metric: str = ""
    tolerance: float = 0.0
    memory_limit: str = "128MB"
    features: int | None = None
    prepare: Contender | None = None
    timeout: float = 120.0
    rounds: int = 3
    table: Callable[[Result], Iterable[str]] | None = None
    figure: Callable[[Result, Path], None] | None = None

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """Datasets that the contenders read, each once."""
        return tuple(dict.fromkeys(c.dataset or self.dataset for c in self.contenders))


@dataclass
class Result:
    """What a row measured."""

    row: Row
    measured: dict[str, Measured]
    error: str = ""

    def _done(self, kind: Kind) -> list[Measured]:
        return [m for m in self.measured.values() if m.contender.kind == kind and m.samples]

    def one(self, label: str) -> Measured:
        """Return one contender that finished."""
        found = self.measured.get(label)
        if found is None or not found.samples:
            raise LookupError(f"{label} did not finish")
        return found

    def _first(self, kind: Kind) -> Measured:
        done = self._done(kind)
        if not done:
            raise LookupError(f"no {kind} finished")
        return done[0]

    @property
    def floor(self) -> Measured:
        """The first floor."""
        return self._first("floor")

    @property
    def ours(self) -> Measured:
        """The first of ours."""
        return self._first("ours")

    def comparable(self) -> list[Measured]:
        """Peers whose quality is that of the best peer, within the row's tolerance."""
        peers = self._done("peer")
        metric = self.row.metric
        if not metric:
            return peers
        best = max((p.quality[metric] * self.sign for p in peers), default=0.0)
        return [p for p in peers if p.quality[metric] * self.sign >= best - self.slack(best)]

    @property
    def sign(self) -> int:
        """1 where more of the row's metric is better, -1 for an objective."""
        return -1 if self.row.metric == "objective" else 1

    def slack(self, best: float) -> float:
        """How much worse than `best` counts as equal: absolute for shares, relative for an objective."""
        return self.row.tolerance * (abs(best) if self.sign < 0 else 1.0)

    @property
    def best_peer(self) -> Measured:
        """The fastest comparable peer."""
        return self.fastest(self.comparable())

    @property
    def usual_peer(self) -> Measured:
        """The fastest comparable peer among those that fetch the way people write it."""
        return self.fastest([p for p in self.comparable() if p.contender.params.get("fetch") == "fetchnumpy"])

    def fastest(self, peers: list[Measured]) -> Measured:
        """Return the fastest of some peers."""
        if not peers:
            raise LookupError("no such peer of equal quality finished")
        return min(peers, key=lambda m: m.seconds)
