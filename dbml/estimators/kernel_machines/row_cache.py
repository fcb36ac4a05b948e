"""Rows of a kernel matrix that were computed, as many as memory holds; the longest unused make room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dbml.estimators.kernel_machines.kernel_function import Singles

Slots = NDArray[np.int64]


class RowCache:
    """Rows of a matrix of `n` columns, in slots.

    Parameters
    ----------
    n_bytes : int
        Most memory of the rows; `at_least` rows are held in any case.
    n : int
        Columns, as many as rows.
    at_least : int
        Rows that are wanted at a time.
    """

    def __init__(self, n_bytes: int, n: int, at_least: int) -> None:
        size = max(min(n_bytes // 4, n * n), at_least * n)
        self._flat = np.empty(size, np.float32)
        self.resize(n)

    def resize(self, n: int) -> None:
        """Forget all rows; from now on they have `n` columns."""
        self.n, self.clock = n, 0
        self.rows: Singles = self._shaped(n)
        self.slot_of: Slots = np.full(n, -1, np.int64)
        self.row_in: Slots = np.full(len(self.rows), -1, np.int64)
        self.used: Slots = np.zeros(len(self.rows), np.int64)

    def _shaped(self, n: int) -> Singles:
        held = min(self._flat.size // max(n, 1), n)
        return self._flat[: held * n].reshape(held, n)

    def slots(self, wanted: Slots, compute: Callable[[Slots, Slots], None]) -> Slots:
        """Return the slots of rows, computing those that are not held by ``compute(rows, slots)``."""
        self.clock += 1
        slots = self.slot_of[wanted]
        self.used[slots[slots >= 0]] = self.clock
        missing = np.flatnonzero(slots < 0)
        if missing.size:
            free = np.argpartition(self.used, missing.size - 1)[: missing.size]
            evicted = self.row_in[free]
            self.slot_of[evicted[evicted >= 0]] = -1
            new = wanted[missing]
            self.slot_of[new], self.row_in[free], self.used[free] = free, new, self.clock
            slots[missing] = free
            compute(new, free)
        return slots

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Leave out columns, and the rows of the same numbers; what is kept is renumbered."""
        number = np.cumsum(kept) - 1
        columns, old, row_in, used = np.flatnonzero(kept), self.rows, self.row_in, self.used
        held = [slot for slot in np.flatnonzero(row_in >= 0) if kept[row_in[slot]]]
        clock = self.clock
        self.resize(len(columns))
        for place, slot in enumerate(held):  # each row moves towards the front of the same memory
            self.rows[place] = old[slot, columns]
            row = number[row_in[slot]]
            self.row_in[place], self.slot_of[row], self.used[place] = row, place, used[slot]
        self.clock = clock
