"""One memory limit for engine and kernels, and how it is shared out.

    half     DuckDB (its own `memory_limit`): cached pages, sorts, hash tables
    1/8      batches, blocks and states of the pass that runs: what is read, encoded, and not yet merged
    1/8      the buffers that rows are shuffled in
    1/4      rows that are kept: materialised blocks
    3/8      rows in shards, which are never shuffled: the two shares before in one

What is kept beyond its share takes what DuckDB can spare of its own (`dbml.data.loan`), and is spilled beyond that. The
process itself (Python, compiled kernels) comes on top.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache

from dbml.errors import InvalidParameter

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "pb": 10**15}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40, "pib": 2**50}

_SMALLEST = 64 << 20


@dataclass(frozen=True, slots=True)
class Budget:
    """Shares of the memory limit, in bytes.

    Attributes
    ----------
    total : int
        The limit.
    database : int
        DuckDB's share.
    blocks : int
        Batches, blocks and states of a pass.
    shuffle : int
        Buffers that rows are shuffled in.
    kept : int
        Materialised blocks; more are spilled.
    shards : int
        Rows in shards, instead of `shuffle` and `kept`; more are spilled.
    """

    total: int

    @property
    def database(self) -> int:
        return self.total // 2

    @property
    def blocks(self) -> int:
        return self.total // 8

    @property
    def shuffle(self) -> int:
        return self.total // 8

    @property
    def kept(self) -> int:
        return self.total // 4

    @property
    def shards(self) -> int:
        return self.shuffle + self.kept


def parse_memory(value: int | float | str, least: int = _SMALLEST) -> int:
    """Return a number of bytes from a number or DuckDB's spelling: ``'1GB'``, ``'512 MiB'``, ``'50%'`` of the machine.

    Raises
    ------
    InvalidParameter
        Not a size, or less than `least`, 64 MiB.
    """
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([a-zA-Z]*|%)\s*", value)
        unit = match[2].lower() if match else None
        if match is None or (unit != "%" and unit not in _UNITS):
            raise InvalidParameter(
                f"memory_limit must be bytes, a size such as '1GB' or '512MiB', or '50%'; got {value!r}"
            )
        factor = physical_memory() / 100 if unit == "%" else _UNITS[unit]
        size = int(float(match[1]) * factor)
    else:
        size = int(value)
    if size < least:
        raise InvalidParameter(f"memory_limit must be at least 64MiB; got {value!r}")
    return size


@cache
def physical_memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or its control group's if that is less.

    Files say it, which are read once: several shares of it are asked for in every pass.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 << 30
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        if os.path.exists(path):
            with open(path) as file:
                text = file.read().strip()
            if text.isdigit():
                machine = min(machine, int(text))
    return machine


_limit: list[int] = []
_chosen: ContextVar[int | None] = ContextVar("dbml_memory_limit", default=None)


def set_memory_limit(value: int | float | str | None) -> None:
    """Set the limit of this process; None goes back to the default, 80 % of the memory as in DuckDB."""
    _limit[:] = [] if value is None else [parse_memory(value)]


@contextmanager
def memory_limited(value: int | float | str) -> Iterator[None]:
    """Set the limit for the duration of a block, in this thread."""
    token = _chosen.set(parse_memory(value))
    try:
        yield
    finally:
        _chosen.reset(token)


def memory_budget() -> Budget:
    """Return the shares of the limit that holds now."""
    chosen = _chosen.get()
    if chosen is not None:
        return Budget(chosen)
    return Budget(_limit[0] if _limit else int(physical_memory() * 0.8))
