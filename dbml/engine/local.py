"""The local engine: worker threads that read, encode and update in turn; states are merged in block order.

    chunks ─► a worker reads the next one, then encodes it and updates ─► merge, in block order

One worker reads at a time. Where that is waiting for DuckDB, and takes most of the time, it stays the only one: DuckDB
decodes on the other cores, and one more thread would take its share of them. Every block has a state of its own, so
results do not depend on the number of workers. Whoever finishes the block whose turn it is merges it and all finished
ones after it. A chained step updates its one state at that point instead: in order, on one thread at a time, while the
other workers read and encode.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from dbml.engine.crew import ThreadCrew
from dbml.errors import InvalidParameter
from dbml.passes.block import Block
from dbml.passes.engine import Chunk, Work, Workspace, threads_limit
from dbml.passes.progress import listeners
from dbml.passes.step import State, Step

T = TypeVar("T")
_TICK = 0.1  # seconds between reports of progress
_LONGEST_WAIT = 1.0  # seconds; a Ctrl-C that comes just before the calling thread waits does not wake it
_SHORT = 2  # chunks of a pass that is run without threads: starting them takes about as long
_MORE, _FEWER = 1.0, 0.5  # seconds of work for one of reading: above, one more worker; below, one less
_LAST = 0.25  # weight of the last block in the average of those seconds
_KEPT_SPACES, _KEPT_BYTES = 4, 32 << 20  # workspaces kept for the next pass, and the most that one may hold
_FREED = 31 << 20  # just below the largest block that changes when glibc returns memory


def thread_count(threads: int | None = None) -> int:
    """Return the number of worker threads: as asked for, else ``DBML_THREADS``, else the cores of this process.

    No more than `dbml.passes.engine.threads_limited` allows.
    """
    limit = threads_limit()
    if limit is not None:
        return min(_all_threads(threads), limit)
    return _all_threads(threads)


def _all_threads(threads: int | None) -> int:
    asked: Any = threads if threads is not None else os.environ.get("DBML_THREADS") or None
    if asked is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not str(asked).isdecimal() or int(asked) < 1:
        raise InvalidParameter(f"threads (or DBML_THREADS) must be an integer >= 1; got {asked!r}")
    return int(asked)


class LocalEngine:
    """Runs passes on threads of this process.

    Parameters
    ----------
    threads : int, optional
        Worker threads; see `thread_count`.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads
        self._spaces: deque[Workspace] = deque(maxlen=_KEPT_SPACES)

    def run(self, chunks: Iterator[Chunk], steps: Sequence[Step], work: Work) -> tuple[State, ...]:
        """Fold the chunks; see `dbml.passes.engine.Engine`."""
        fold = _Fold(steps)
        for _ in self._blocks(chunks, fold, work):
            pass
        return fold.result()

    def map(self, chunks: Iterator[Chunk], function: Callable[[Block], T], work: Work) -> Iterator[T]:
        """Yield `function(block)` in order; see `dbml.passes.engine.Engine`."""
        yield from self._blocks(chunks, _Map(function), work)

    def crew(self, at_most: int) -> ThreadCrew:
        """Return threads that stay; see `dbml.passes.engine.Engine`."""
        return ThreadCrew(min(thread_count(self.threads), at_most))

    def _blocks(self, chunks: Iterator[Chunk], task: _Fold | _Map, work: Work) -> Iterator[Any]:
        """Run `task.update` on blocks in parallel, `task.consume` on its results in order; yield what that returns."""
        keep_freed_memory()
        room = max(2, (work.memory_bytes - 4 * work.chunk_bytes) // max(1, work.block_bytes + task.result_bytes))
        workers = min(thread_count(self.threads), room - 1)
        running = _Pass(chunks, task, workers, min(2 * workers + 2, room), work)
        running.spaces.extend(self._spaces)
        self._spaces.clear()
        try:
            yield from running.serially() if running.is_short() else running.in_threads()
        finally:
            self._spaces.extend(space for space in running.spaces if space.nbytes <= _KEPT_BYTES)


class _Map:
    """A function of blocks; its results are yielded."""

    keeps_block = False
    result_bytes = 0

    def __init__(self, function: Callable[[Block], Any]) -> None:
        self.update = function

    def consume(self, result: Any, block: Block | None) -> Any:
        return (result,)


class _Fold:
    """The steps of a fold with their states; nothing is yielded."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.states: list[State | None] = [step.start() if step.chained else None for step in steps]
        self.keeps_block = any(step.chained for step in steps)
        self.result_bytes = sum(array.nbytes for step in steps if not step.chained for array in step.start().values())

    def update(self, block: Block) -> list[State | None]:
        """Return a new state of this block for every step that is not chained."""
        states: list[State | None] = []
        for step in self.steps:
            state = None
            if not step.chained:
                state = step.start()
                step.update(state, block)
            states.append(state)
        return states

    def consume(self, states: list[State | None], block: Block | None) -> None:
        """Merge the states of the next block, and show the block to the chained steps."""
        for number, (step, state) in enumerate(zip(self.steps, states, strict=True)):
            into = self.states[number]
            if state is not None:
                self.states[number] = state if into is None else step.merge(into, state)
            elif into is not None and block is not None:
                step.update(into, block)

    def result(self) -> tuple[State, ...]:
        return tuple(
            step.start() if state is None else state for step, state in zip(self.steps, self.states, strict=True)
        )


class _Pass:
    """One pass: its threads, and what they share under one lock."""

    def __init__(self, chunks: Iterator[Chunk], task: _Fold | _Map, workers: int, ahead: int, work: Work) -> None:
        self.source, self.task, self.workers, self.ahead, self.work = chunks, task, workers, ahead, work
        self.first: deque[Chunk] = deque()  # read before it was known whether the pass is short
        self.chunks = self._chunks()
        self.lock = threading.Lock()
        self.to_work = threading.Condition(self.lock)  # nobody reads, and there is room ahead
        self.to_yield = threading.Condition(self.lock)  # a result, the end, or an error
        self.pace = _Pace(workers)
        self.reading = False
        self.taken = 0  # chunks read
        self.busy = 0  # workers that read or work
        self.next = 0  # the block whose turn it is
        self.consuming = False
        self.finished: dict[int, tuple[Any, Block | None, Workspace]] = {}
        self.spaces: list[Workspace] = []
        self.results: deque[Any] = deque()
        self.read_all = self.stopped = self.complete = False
        self.error: BaseException | None = None
        self.rows = 0

    def is_short(self) -> bool:
        """Whether the pass has so few chunks that threads would cost more than they bring."""
        self.first.extend(itertools.islice(self.source, _SHORT + 1))
        return len(self.first) <= _SHORT

    def _chunks(self) -> Iterator[Chunk]:
        while self.first:
            yield self.first.popleft()
        yield from self.source

    def serially(self) -> Iterator[Any]:
        """Run in this thread."""
        space = self.spaces[-1] if self.spaces else Workspace()
        self.spaces[-1:] = [space]
        try:
            for chunk in self.chunks:
                block = chunk.encode(space)
                yield from self.task.consume(self.task.update(block), block) or ()
                for listener in listeners():
                    listener.rows(chunk.n_rows)
        finally:
            _close(self.source)

    def in_threads(self) -> Iterator[Any]:
        """Run the threads; yield results, report progress, and leave no thread behind however it ends."""
        threads = [
            threading.Thread(target=self._guard, args=(self._work,), name=f"dbml-worker-{i}", daemon=True)
            for i in range(self.workers)
        ]
        try:
            for thread in threads:
                thread.start()
            yield from self._collect()
        finally:
            with self.lock:
                self._stop()
            if not self.complete and self.work.interrupt is not None:
                self.work.interrupt()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            _close(self.source)
        if self.error is not None:
            raise self.error

    def _stop(self) -> None:
        self.stopped = True
        self.to_work.notify_all()
        self.to_yield.notify_all()

    def _guard(self, target: Callable[[], None]) -> None:
        """Run a thread; its error ends the pass and is raised where the pass was asked for."""
        try:
            target()
        except BaseException as error:  # handed over to the caller, whatever it is
            with self.lock:
                if self.error is None and not self.stopped:
                    self.error = error
                self._stop()

    def _work(self) -> None:
        while self._may_read():
            started = time.perf_counter()
            chunk = next(self.chunks, None)
            waited = time.perf_counter() - started
            with self.lock:
                self.reading = False
                if chunk is None:
                    self.read_all = True
                    self.to_work.notify_all()
                    self._end_if_done()
                    return
                number = self.taken
                self.taken += 1
                space = self.spaces.pop() if self.spaces else Workspace()
                self._call_worker()
            started = time.thread_time()
            block = chunk.encode(space)
            result = self.task.update(block)
            self._hand_in(number, result, block, space)
            with self.lock:
                self.busy -= 1
                if self.work.waits_to_read and number > _SHORT:
                    self.pace.saw(waited, time.thread_time() - started)

    def _may_read(self) -> bool:
        """Wait until this worker is the one that reads the next chunk; return False at the end of the pass."""
        with self.lock:
            while not self._is_work():
                if self.read_all or self.stopped:
                    return False
                self.to_work.wait()
            self.reading = True
            self.busy += 1
            return True

    def _is_work(self) -> bool:
        """Whether one more worker may read: nobody does, the pass needs one more, and there is room ahead."""
        if self.read_all or self.stopped or self.reading:
            return False
        return self.busy < self.pace.workers and self.taken - self.next + len(self.results) < self.ahead

    def _call_worker(self) -> None:
        """Wake a worker if there is work for it: one that finds none costs others the interpreter's lock."""
        if self._is_work():
            self.to_work.notify()

    def _hand_in(self, number: int, result: Any, block: Block, space: Workspace) -> None:
        """Store a finished block; if its turn has come, consume it and those after it."""
        rows = block.n_rows
        with self.lock:
            self.rows += rows
            if self.task.keeps_block:
                self.finished[number] = (result, block, space)
            else:
                self.finished[number] = (result, None, space)
                self.spaces.append(space)
            if self.consuming or number != self.next:
                return
            self.consuming = True
            turn = self.finished.pop(number)
        while True:
            done = self.task.consume(turn[0], turn[1])
            with self.lock:
                if self.task.keeps_block:
                    self.spaces.append(turn[2])
                self.next += 1
                self._call_worker()
                if done is not None:
                    self.results.extend(done)
                    self.to_yield.notify()
                following = self.finished.pop(self.next, None)
                if following is None or self.stopped:
                    self.consuming = False
                    self._end_if_done()
                    return
                turn = following

    def _end_if_done(self) -> None:
        if self.read_all and self.next == self.taken:
            self.complete = True
            self._stop()

    def _collect(self) -> Iterator[Any]:
        """Yield results as they come; with listeners, wake up now and then to report rows."""
        active = listeners()
        told, at = 0, time.monotonic()
        while True:
            with self.lock:
                while not self.results and not self.stopped:
                    self.to_yield.wait(_TICK if active else _LONGEST_WAIT)
                    if active:
                        break
                ready, rows, stopped = list(self.results), self.rows, self.stopped
                if ready:
                    self.results.clear()
                    self._call_worker()
            yield from ready
            if active and rows > told and (stopped or time.monotonic() - at >= _TICK):
                for listener in active:
                    listener.rows(rows - told)
                told, at = rows, time.monotonic()
            if stopped:
                return


class _Pace:
    """How many workers a pass needs, from the seconds that reading a chunk and working on it take."""

    def __init__(self, at_most: int) -> None:
        self.at_most = self.workers = at_most
        self.reading = self.working = 0.0

    def saw(self, reading: float, working: float) -> None:
        """Take note of a chunk: seconds that a worker waited for it, and seconds of a core that it took."""
        weight = _LAST if self.working else 1.0
        self.reading += weight * (reading - self.reading)
        self.working += weight * (working - self.working)
        if self.working > self.workers * _MORE * self.reading:
            self.workers = min(self.workers + 1, self.at_most)
        elif self.working < (self.workers - 1) * _FEWER * self.reading:
            self.workers -= 1


@functools.cache
def keep_freed_memory() -> None:
    """Make glibc keep the memory of batches for the next ones.

    It returns freed memory beyond twice the largest block that was ever mapped and freed (`man mallopt`,
    M_MMAP_THRESHOLD), which the next batch then gets page by page: a sixth of a scan's time. So one such block is
    mapped and freed, untouched. Elsewhere this does nothing.
    """
    np.empty(_FREED, np.uint8)


def _close(chunks: Iterator[Chunk]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()
