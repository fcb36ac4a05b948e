"""What a training tells while it runs. Listeners (a progress bar, the registry's iteration table) subscribe.

Events are plain calls on every active `Listener`; no listener means silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Listener:
    """Receives the events of one training; every method may be left as it is."""

    def started(self, what: str) -> None:
        """A training starts; `what` names it: ``"LogisticRegression on flights"``."""

    def compiling(self, what: str) -> None:
        """Kernels are compiled for the first time on this machine, which takes seconds."""

    def pass_started(self, purpose: str, n_rows: int) -> None:
        """A pass starts; `n_rows` is -1 where it is not known."""

    def rows(self, n: int) -> None:
        """`n` more rows went through the current pass."""

    def pass_ended(self, seconds: float) -> None:
        """The current pass ended."""

    def iteration(self, number: int, **values: float) -> None:
        """The solver made a step: ``loss=``, ``gap=``, ``learning_rate=``, … as it has them."""

    def interrupted(self) -> None:
        """The training was interrupted, and keeps the best model so far."""

    def ended(self, seconds: float) -> None:
        """The training ended."""


_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("dbml_listeners", default=())


_displays: list[Callable[[], Listener | None]] = []


def register_display(active: Callable[[], Listener | None]) -> None:
    """Name what returns the display of this process while it is to be shown; replaces an earlier one."""
    _displays[:] = [active]


def listeners() -> tuple[Listener, ...]:
    """Return the active listeners: the display of the process, then those of `listening`."""
    display = _displays[0]() if _displays else None
    return _listeners.get() if display is None else (display, *_listeners.get())


@contextmanager
def listening(*more: Listener) -> Iterator[None]:
    """Add listeners for the duration of a block."""
    token = _listeners.set((*_listeners.get(), *more))
    try:
        yield
    finally:
        _listeners.reset(token)
