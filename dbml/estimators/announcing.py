"""A training as it is told to whoever listens: its start, what is compiled on the way, its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from dbml.passes.progress import listeners


@contextmanager
def announced(what: str) -> Iterator[None]:
    """Tell the listeners of the start, the compilations and the end of a training."""
    from dbml_kernels.jit import announcing_compilations

    told = listeners()

    def compiling(name: str) -> None:
        for listener in told:
            listener.compiling(name)

    started = time.perf_counter()
    for listener in told:
        listener.started(what)
    try:
        with announcing_compilations(compiling):
            yield
    finally:
        for listener in told:
            listener.ended(time.perf_counter() - started)
