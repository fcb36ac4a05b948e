"""``n_jobs``: how many threads a training may use. The model is the same for any number of them."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Jobs:
    """None or -1 for all threads there are, else the most that a training may use."""

    def allows(self, value: Any) -> bool:
        if value is None:
            return True
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        return whole and (value == -1 or value >= 1)

    def describe(self) -> str:
        return "None, -1 or an integer >= 1"

    def bad_values(self) -> list[Any]:
        return ["all", 0, -2, 1.5, True]


JOBS_RULE = Jobs()


def most_threads(model: Any) -> int | None:
    """Return the most threads that a training of an estimator may use, None for all there are."""
    asked = getattr(model, "n_jobs", None)
    return None if asked in (None, -1) else int(asked)
