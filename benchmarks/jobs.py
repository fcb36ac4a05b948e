"""What one process is asked to do and what it hands back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Job:
    """One contender on one table, as plain JSON values.

    Attributes
    ----------
    contender : str
        ``"module:function"`` inside this package; the function takes the job and returns an `Outcome`.
    imports : tuple of str
        Modules imported before memory is measured and the clock starts.
    database, table, target : str
        What is read.
    features : tuple of str
        Feature columns.
    params : dict
        Settings of the contender.
    quality : str
        ``"function"`` of `benchmarks.quality` that judges the outcome after the clock has stopped; empty for none.
    memory_limit : str
        DuckDB's ``memory_limit``, the same for every contender of a row.
    warm : str
        A small table to run once before the clock starts; empty for none.
    again : int
        How many more times to run in the same process.
    patience : float
        Seconds of runs in the same process after which no other is begun.
    """

    contender: str
    imports: tuple[str, ...]
    database: str
    table: str
    target: str
    features: tuple[str, ...]
    params: dict[str, Any]
    quality: str
    memory_limit: str
    warm: str
    again: int
    patience: float = 8.0

    def to_json(self) -> dict[str, Any]:
        """Return the job as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Job:
        """Rebuild a job from `to_json`."""
        lists = {name: tuple(stored[name]) for name in ("imports", "features")}
        return cls(**{**stored, **lists})

    @property
    def columns_sql(self) -> str:
        """Feature columns, quoted."""
        return ", ".join(quoted(name) for name in self.features)

    @property
    def select_sql(self) -> str:
        """The query for features and target."""
        return f"SELECT {self.columns_sql}, {quoted(self.target)} FROM {quoted(self.table)}"


def quoted(name: str) -> str:
    """Return an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


@dataclass
class Outcome:
    """What a contender made.

    Attributes
    ----------
    coef, intercept : ndarray of shape (n_features,), float
        The linear model on the columns of the job, in their order and on their own scale.
    predict : callable or None
        From the name of a table to what the model says of its rows, in their order (of two classes: the decision, 0
        where they are equally likely); for a model that is not linear or whose coefficients are numbered otherwise.
    seconds : float or None
        What the contender timed itself, instead of the runner's clock.
    notes : dict
        Anything to report: passes, columns scanned, epochs.
    """

    coef: NDArray[np.float64] | None = None
    intercept: float = 0.0
    predict: Callable[[str], NDArray[np.float64]] | None = None
    seconds: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)
