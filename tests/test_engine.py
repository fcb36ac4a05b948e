"""The local engine: order, threads, errors and interrupts."""

import signal
import threading
import traceback

import numpy as np
import pytest

from dbml.engine.local import LocalEngine, thread_count
from dbml.errors import InvalidParameter
from dbml.passes.block import Block
from dbml.passes.engine import Work
from dbml.passes.progress import Listener, listening


class Chunk:
    """Five rows that count from `start`."""

    n_rows = 5

    def __init__(self, start):
        self.start = start

    def encode(self, workspace):
        X = workspace.dense(5, 1)
        X[:, 0] = np.arange(self.start, self.start + 5)
        return Block(X, None, None, None, self.start)


def chunks(n=200):
    return (Chunk(5 * i) for i in range(n))


class Sum:
    """A sum whose bits depend on the order of merging."""

    tolerance = 1e-12
    chained = False

    def start(self):
        return {"sum": np.zeros(1), "starts": np.zeros(0)}

    def update(self, state, block):
        state["sum"] += np.sum(np.sqrt(block.X))
        state["starts"] = np.append(state["starts"], block.start)

    def merge(self, into, other):
        into["sum"] += other["sum"]
        into["starts"] = np.append(into["starts"], other["starts"])
        return into


class Chained(Sum):
    """A state that sees the blocks one after the other."""

    chained = True

    def update(self, state, block):
        state["sum"] = state["sum"] * 0.999 + np.sum(np.sqrt(block.X))
        state["starts"] = np.append(state["starts"], block.start)


def bits(state):
    return {name: array.tobytes() for name, array in state.items()}


@pytest.fixture(autouse=True)
def no_thread_left_behind():
    yield
    assert not [t.name for t in threading.enumerate() if t.name.startswith("dbml-")]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 200])
def test_same_bits_for_any_number_of_threads(n):
    found = [LocalEngine(k).run(chunks(n), [Sum(), Chained()], Work()) for k in (1, 2, 7)]
    for states in found:
        assert [bits(state) for state in states] == [bits(state) for state in found[0]]
        for state in states:
            assert state["starts"].tolist() == [5.0 * i for i in range(n)]


def test_same_bits_when_memory_allows_few_blocks():
    tight = Work(memory_bytes=1, block_bytes=1 << 30, chunk_bytes=1 << 30)
    (roomy,) = LocalEngine(7).run(chunks(), [Sum()], Work())
    (found,) = LocalEngine(7).run(chunks(), [Sum()], tight)
    assert bits(found) == bits(roomy)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_map_yields_in_order(threads):
    found = list(LocalEngine(threads).map(chunks(), lambda block: block.X.sum(), Work()))
    assert found == [sum(range(5 * i, 5 * i + 5)) for i in range(200)]


def test_map_reads_ahead_a_bounded_number_of_blocks():
    done = []

    def function(block):
        done.append(block.start)
        return block.start

    results = LocalEngine(2).map(chunks(10_000), function, Work())
    assert next(results) == 0
    results.close()
    assert len(done) < 100


def test_leaving_a_map_early_closes_the_reader():
    closed = []

    def read():
        try:
            yield from chunks()
        finally:
            closed.append(True)

    results = LocalEngine(2).map(read(), lambda block: block.start, Work())
    next(results)
    results.close()
    assert closed == [True]


def test_workers_run_at_the_same_time():
    both = threading.Barrier(2)

    def meet(block):
        if block.start in (0, 5):
            both.wait(timeout=60)
        return block.start

    assert len(list(LocalEngine(2).map(chunks(), meet, Work()))) == 200


class Failing(Sum):
    """Fails at row 250."""

    def update(self, state, block):
        if block.start == 250:
            raise ZeroDivisionError("in the kernel")
        super().update(state, block)


class ChainedFailing(Failing):
    chained = True


@pytest.mark.parametrize("step", [Failing(), ChainedFailing()])
@pytest.mark.parametrize("threads", [1, 2])
def test_error_of_a_step_reaches_the_caller_with_its_traceback(step, threads):
    with pytest.raises(ZeroDivisionError, match="in the kernel") as caught:
        LocalEngine(threads).run(chunks(), [step], Work())
    assert "in update" in "".join(traceback.format_tb(caught.value.__traceback__))


@pytest.mark.parametrize("good", [0, 1, 50])
def test_error_of_the_reader_reaches_the_caller(good):
    def read():
        yield from chunks(good)
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        LocalEngine(2).run(read(), [Sum()], Work())


def test_error_wakes_a_reader_that_blocks():
    given_up = threading.Event()

    def read():
        yield from chunks(100)
        given_up.wait(timeout=60)

    with pytest.raises(ZeroDivisionError):
        LocalEngine(2).run(read(), [Failing()], Work(interrupt=given_up.set))
    assert given_up.is_set()


class Interrupting(Sum):
    """Presses Ctrl-C at row 250, then computes until the pass is given up."""

    def __init__(self, given_up):
        self.given_up = given_up

    def update(self, state, block):
        if block.start == 250:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            self.given_up.wait(timeout=60)


def test_interrupt_ends_the_pass_and_closes_the_reader():
    given_up, closed = threading.Event(), []

    def read():
        try:
            yield from chunks(100_000)
        finally:
            closed.append(True)

    with pytest.raises(KeyboardInterrupt):
        LocalEngine(2).run(read(), [Interrupting(given_up)], Work(interrupt=given_up.set))
    assert closed == [True]


@pytest.mark.parametrize("n", [1, 2, 200])
def test_listeners_see_every_row(n):
    class Count(Listener):
        total = 0

        def rows(self, n):
            self.total += n

    count = Count()
    with listening(count):
        LocalEngine(2).run(chunks(n), [Sum()], Work())
    assert count.total == 5 * n


def test_thread_count(monkeypatch):
    monkeypatch.delenv("DBML_THREADS", raising=False)
    assert thread_count() >= 1
    monkeypatch.setenv("DBML_THREADS", "3")
    assert thread_count() == 3
    assert thread_count(5) == 5
    monkeypatch.setenv("DBML_THREADS", "many")
    with pytest.raises(InvalidParameter, match="must be an integer >= 1; got 'many'"):
        thread_count()
