"""How many rows a pass has, as far as that is known before it."""

from __future__ import annotations

from dbml.passes.data import Data


def row_count(data: Data) -> tuple[int, bool]:
    """Return about how many rows a pass has, and whether the number is exact: geometry says, else statistics do.

    For choices that need no exact number: statistics cost a sample.
    """
    sizes = [partition.n_rows for partition in data.plan.partitions]
    if sizes and min(sizes) >= 0 and not data.plan.filters:
        return sum(sizes), False
    return data.statistics.n_rows, data.statistics.exact_rows


def pass_rows(data: Data) -> tuple[int, bool]:
    """Return how many rows a pass has, and whether the number is exact: the known one, else that of statistics."""
    return (data.n_rows, True) if data.n_rows >= 0 else (data.statistics.n_rows, data.statistics.exact_rows)
