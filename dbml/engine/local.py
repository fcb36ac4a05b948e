"""The local engine: one reading thread, worker threads that encode and update, states merged in block order.

    chunks ─► reading thread ─► queue, bounded by bytes ─► workers: encode, update ─► merge, in block order

Every block has a state of its own, so results do not depend on the number of workers. Whoever finishes the block
whose turn it is merges it and all finished ones after it. A chained step updates its one state at that point
instead: in order, on one thread at a time, while the other workers encode.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from dbml.engine.crew import ThreadCrew
from dbml.errors import InvalidParameter
from dbml.passes.block import Block
from dbml.passes.engine import Chunk, Work, Workspace
from dbml.passes.progress import listeners
from dbml.passes.step import State, Step

T = TypeVar("T")
_TICK = 0.1  # seconds between reports of progress
_SHORT = 2  # chunks of a pass that is run without threads: starting them takes about as long
_QUEUED = 8  # chunks that are read ahead at most: more takes memory and brings nothing
_KEPT_SPACES, _KEPT_BYTES = 4, 32 << 20  # workspaces kept for the next pass, and the most that one may hold


def thread_count(threads: int | None = None) -> int:
    """Return the number of worker threads: as asked for, else ``DBML_THREADS``, else the cores of this process."""
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
        self.chunks, self.task, self.workers, self.ahead, self.work = chunks, task, workers, ahead, work
        self.queue: deque[Chunk] = deque()
        self.queued_most = max(2, min(_QUEUED, work.memory_bytes // 4 // max(1, work.chunk_bytes)))
        self.lock = threading.Lock()
        self.to_read = threading.Condition(self.lock)  # room in the queue
        self.to_work = threading.Condition(self.lock)  # a chunk in the queue, and room ahead
        self.to_yield = threading.Condition(self.lock)  # a result, the end, or an error
        self.taken = 0  # chunks taken from the queue
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
        for chunk in self.chunks:
            self.queue.append(chunk)
            if len(self.queue) > _SHORT:
                return False
        return True

    def serially(self) -> Iterator[Any]:
        """Run in this thread."""
        space = self.spaces[-1] if self.spaces else Workspace()
        self.spaces[-1:] = [space]
        try:
            for chunk in self.queue:
                block = chunk.encode(space)
                yield from self.task.consume(self.task.update(block), block) or ()
                for listener in listeners():
                    listener.rows(chunk.n_rows)
        finally:
            _close(self.chunks)

    def in_threads(self) -> Iterator[Any]:
        """Run the threads; yield results, report progress, and leave no thread behind however it ends."""
        threads = [threading.Thread(target=self._guard, args=(self._read,), name="dbml-reader", daemon=True)]
        threads += [
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
            _close(self.chunks)
        if self.error is not None:
            raise self.error

    def _stop(self) -> None:
        self.stopped = True
        self.to_read.notify_all()
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

    def _read(self) -> None:
        for chunk in self.chunks:
            with self.lock:
                while len(self.queue) >= self.queued_most and not self.stopped:
                    self.to_read.wait()
                if self.stopped:
                    return
                self.queue.append(chunk)
                self.to_work.notify()
        with self.lock:
            self.read_all = True
            self.to_work.notify_all()
            self._end_if_done()

    def _work(self) -> None:
        while True:
            with self.lock:
                while not self.stopped and not (self.queue and self._may_go_ahead()):
                    if self.read_all and not self.queue:
                        return
                    self.to_work.wait()
                if self.stopped:
                    return
                chunk = self.queue.popleft()
                number = self.taken
                self.taken += 1
                self.to_read.notify()
                space = self.spaces.pop() if self.spaces else Workspace()
            block = chunk.encode(space)
            result = self.task.update(block)
            self._hand_in(number, result, block, space)

    def _may_go_ahead(self) -> bool:
        return self.taken - self.next + len(self.results) < self.ahead

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
                self.to_work.notify()
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
        if self.read_all and not self.queue and self.next == self.taken:
            self.complete = True
            self._stop()

    def _collect(self) -> Iterator[Any]:
        """Yield results as they come; with listeners, wake up now and then to report rows."""
        active = listeners()
        told, at = 0, time.monotonic()
        while True:
            with self.lock:
                while not self.results and not self.stopped:
                    self.to_yield.wait(_TICK if active else None)
                    if active:
                        break
                ready, rows, stopped = list(self.results), self.rows, self.stopped
                if ready:
                    self.results.clear()
                    self.to_work.notify_all()
            yield from ready
            if active and rows > told and (stopped or time.monotonic() - at >= _TICK):
                for listener in active:
                    listener.rows(rows - told)
                told, at = rows, time.monotonic()
            if stopped:
                return


def _close(chunks: Iterator[Chunk]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()
