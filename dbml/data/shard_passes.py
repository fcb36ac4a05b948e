"""The passes over shards: counted for the plan and told to listeners at little cost, for there may be thousands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from dbml.passes.engine import Crew
from dbml.passes.plan import Pass
from dbml.passes.progress import Listener, listeners

if TYPE_CHECKING:
    from dbml.data.shards import KeptShard

T = TypeVar("T")
Item = TypeVar("Item")

_TICK = 0.1  # seconds between reports of short passes; longer passes are told as they go


@dataclass(slots=True)
class _Total:
    """Sums over the passes of one purpose, and what was not told yet."""

    times: int = 0
    rows: int = 0
    nbytes: int = 0
    seconds: float = 0.0
    slow: bool = False
    untold_rows: int = 0
    untold_seconds: float = 0.0


class ShardPasses:
    """Totals by purpose, in the order in which purposes came up."""

    def __init__(self) -> None:
        self._totals: dict[str, _Total] = {}
        self._told = time.perf_counter()

    def run(
        self,
        crew: Crew,
        function: Callable[[Item], T],
        items: Sequence[Item],
        shards: Sequence[KeptShard],
        purpose: str,
    ) -> list[T]:
        """Return ``crew.each(function, items)``, counted as a pass over shards."""
        total = self._totals.get(purpose)
        if total is None:
            total = self._totals[purpose] = _Total()
        rows = 0
        for shard in shards:
            rows += shard.n_rows
            shard.handed_out = 0
        active = listeners() if total.slow else ()
        if active:
            function = _told(function, active, rows, len(items))
            for listener in active:
                listener.pass_started(purpose, rows)
        began = time.perf_counter()
        try:
            return crew.each(function, items, purpose)
        finally:
            now = time.perf_counter()
            seconds = now - began
            total.times += 1
            total.rows += rows
            total.seconds += seconds
            total.slow = seconds > _TICK
            for shard in shards:
                total.nbytes += shard.handed_out
            if active:
                for listener in active:
                    listener.pass_ended(seconds)
            else:
                total.untold_rows += rows
                total.untold_seconds += seconds
            if now - self._told > _TICK:
                self._tell(now)

    def _tell(self, now: float) -> None:
        """Tell of the short passes since the last time, as one of each purpose."""
        active = listeners()
        for purpose, total in self._totals.items():
            for listener in active if total.untold_rows else ():
                listener.pass_started(purpose, total.untold_rows)
                listener.rows(total.untold_rows)
                listener.pass_ended(total.untold_seconds)
            total.untold_rows, total.untold_seconds = 0, 0.0
        self._told = now

    def end(self, columns: int) -> Iterator[Pass]:
        """Tell the rest; yield one entry of the plan for each purpose."""
        self._tell(time.perf_counter())
        for purpose, total in self._totals.items():
            yield Pass(purpose, "shards", columns, total.rows, total.nbytes, total.seconds, total.times)


def _told(function: Callable[[Item], T], active: Sequence[Listener], rows: int, n_items: int) -> Callable[[Item], T]:
    """Return `function` that tells of every item when it is done, as of its share of the rows."""
    telling = threading.Lock()
    done = 0

    def watched(item: Item) -> T:
        nonlocal done
        result = function(item)
        with telling:
            done += 1
            for listener in active:
                listener.rows(rows * done // n_items - rows * (done - 1) // n_items)
        return result

    return watched
