"""A crew: threads that stay, for thousands of short rounds of work over the same few items.

    each(function, items) ─► one token a helper ─► helpers and the caller take items until none is left ─► results

Starting threads for every round would cost more than the work. A helper that wakes up late finds the round over and
goes back to sleep: the caller waits only for those that hold an item.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_TINY = 50e-6  # seconds of a round that is not worth waking a helper: that takes about as long
_TICK = 0.1  # seconds after which a caller that waits looks for itself


class _Round:
    """One call of `ThreadCrew.each`, shared by the caller and its helpers."""

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self.function = function
        self.results: list[Any] = [None] * len(items)
        self.errors: dict[int, BaseException] = {}
        self.pending = deque(enumerate(items))
        self.lock = threading.Lock()
        self.quiet = threading.Lock()  # released by the last helper that the caller waits for
        self.quiet.acquire()
        self.helpers = 0
        self.over = False

    def work(self, until: float = float("inf")) -> None:
        """Take items until none is left or it is late. An error is kept for the caller, and nothing more is begun."""
        while True:
            try:
                number, item = self.pending.popleft()
            except IndexError:
                return
            try:
                self.results[number] = self.function(item)
            except BaseException as error:  # handed over to the caller, whatever it is
                self.pending.clear()
                self.errors[number] = error
                return
            if time.perf_counter() > until:
                return

    def help(self) -> None:
        """Work as a helper, unless the round is over."""
        with self.lock:
            if self.over:
                return
            self.helpers += 1
        self.work()
        with self.lock:
            self.helpers -= 1
            if self.over and not self.helpers:
                self.quiet.release()

    def end(self) -> None:
        """Wait for the helpers that hold an item. Ctrl-C is raised after that: until then they change arrays."""
        self.pending.clear()
        with self.lock:
            self.over = True
        interrupt = None
        while self.helpers:
            try:
                self.quiet.acquire(timeout=_TICK)
            except KeyboardInterrupt as pressed:
                interrupt = pressed
        if interrupt is not None:
            raise interrupt

    def first_error(self) -> BaseException:
        """Return what to raise: an interrupt, else the error of the first item."""
        return self.errors[min(self.errors, key=lambda number: (isinstance(self.errors[number], Exception), number))]


def _help(tokens: SimpleQueue[_Round | None]) -> None:
    """Help in one round after the other. The thread knows nothing but the queue, so that the crew can be collected."""
    while True:
        token = tokens.get()
        if token is None:
            return
        token.help()
        del token


def _dismiss(tokens: SimpleQueue[_Round | None], n: int) -> None:
    for _ in range(n):
        tokens.put(None)


class ThreadCrew:
    """Threads of this process that work together with the caller; started when they are first needed.

    Parameters
    ----------
    size : int
        Threads, the caller included.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._tokens: SimpleQueue[_Round | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()
        self._tiny: dict[str, bool] = {}
        self._finalizer: Any = None

    def each(self, function: Callable[[T], R], items: Sequence[T], kind: str = "") -> list[R]:
        """Return `function(item)` of all items in order; see `dbml.passes.engine.Crew`."""
        helpers = min(self.size, len(items)) - 1
        if helpers <= 0:
            return [function(item) for item in items]
        began = time.perf_counter()
        running = _Round(function, items)
        try:
            if self._tiny.get(kind):
                running.work(until=began + _TINY)
            if running.pending:
                self._wake(running, helpers)
            running.work()
        finally:
            running.end()
        if running.errors:
            try:
                raise running.first_error()
            finally:
                del running  # the traceback of the error holds this frame
        self._tiny[kind] = time.perf_counter() - began < _TINY
        return running.results

    def _wake(self, running: _Round, helpers: int) -> None:
        if len(self._threads) < helpers:
            self._start(helpers)
        for _ in range(helpers):
            self._tokens.put(running)

    def _start(self, n: int) -> None:
        with self._starting:
            while len(self._threads) < n:
                name = f"dbml-crew-{len(self._threads)}"
                thread = threading.Thread(target=_help, args=(self._tokens,), name=name, daemon=True)
                thread.start()
                self._threads.append(thread)
            if self._finalizer is not None:
                self._finalizer.detach()
            self._finalizer = weakref.finalize(self, _dismiss, self._tokens, n)

    def close(self) -> None:
        """End the threads; a later round starts them anew."""
        with self._starting:
            if self._finalizer is not None:
                self._finalizer()
                self._finalizer = None
            while self._threads:
                self._threads[-1].join()
                self._threads.pop()
