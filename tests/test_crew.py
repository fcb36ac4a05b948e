"""The crew: rounds of work on threads that stay; order, errors, interrupts, no thread left behind."""

import signal
import threading
import time

import pytest

from dbml.engine.crew import ThreadCrew


@pytest.fixture(autouse=True)
def no_thread_left_behind():
    yield
    assert not [t.name for t in threading.enumerate() if t.name.startswith("dbml-")]


@pytest.fixture(params=[1, 2, 7])
def crew(request):
    made = ThreadCrew(request.param)
    yield made
    made.close()


def test_results_are_in_order(crew):
    for n in (0, 1, 2, 50):
        for _ in range(20):
            assert crew.each(lambda i: i * i, range(n)) == [i * i for i in range(n)]


def test_the_caller_and_the_helpers_work_at_the_same_time():
    meet = threading.Barrier(3)
    crew = ThreadCrew(3)
    assert crew.each(lambda i: meet.wait(timeout=60) >= 0, range(3)) == [True] * 3
    names = [t.name for t in threading.enumerate() if t.name.startswith("dbml-crew")]
    assert len(names) == 2
    crew.each(lambda i: i, range(3))
    crew.close()


def test_threads_start_when_needed_and_again_after_close():
    crew, before = ThreadCrew(2), threading.active_count()
    assert crew.each(lambda i: i, range(1)) == [0] and threading.active_count() == before
    for _ in range(2):
        meet = threading.Barrier(2)
        assert len(crew.each(lambda i: meet.wait(timeout=60), range(2), kind="meeting")) == 2  # noqa: B023
        crew.close()
        assert threading.active_count() == before


def test_tiny_rounds_wake_nobody_and_long_ones_do_again():
    crew = ThreadCrew(2)
    for _ in range(1_000):
        crew.each(lambda i: None, range(2), kind="tiny")
        if crew._tiny["tiny"]:
            break
    seen = crew.each(lambda i: threading.get_ident(), range(8), kind="tiny")
    assert set(seen) == {threading.get_ident()}
    started = time.perf_counter()

    def long(i):
        while time.perf_counter() < started + 1e-3:
            pass
        if i:
            meet.wait(timeout=60)

    meet = threading.Barrier(2)
    crew.each(long, range(3), kind="tiny")  # the first shows that the round is long: the others meet
    assert not crew._tiny["tiny"]
    crew.close()


def test_an_error_ends_the_round(crew):
    begun = []

    def fails(i):
        begun.append(i)
        raise ZeroDivisionError(f"item {i}")

    with pytest.raises(ZeroDivisionError, match="item 0"):
        crew.each(fails, range(1_000))
    assert len(begun) <= crew.size
    assert crew.each(lambda i: i, range(3)) == [0, 1, 2]


def test_an_error_in_a_helper_reaches_the_caller():
    crew, here, failed = ThreadCrew(2), threading.get_ident(), threading.Event()

    def fails(i):
        if threading.get_ident() != here:
            failed.set()
            raise ZeroDivisionError("in a helper")
        failed.wait(timeout=60)

    with pytest.raises(ZeroDivisionError, match="in a helper"):
        crew.each(fails, range(100))
    crew.close()


def test_rounds_inside_rounds(crew):
    assert crew.each(lambda i: sum(crew.each(lambda j: i * j, range(5))), range(5)) == [10 * i for i in range(5)]


def test_a_crew_that_is_forgotten_ends_its_threads():
    crew, meet = ThreadCrew(2), threading.Barrier(2)
    crew.each(lambda i: meet.wait(timeout=60), range(2))
    (thread,) = [t for t in threading.enumerate() if t.name.startswith("dbml-crew")]
    del crew
    thread.join(timeout=60)
    assert not thread.is_alive()


def test_interrupt_while_waiting_for_a_helper():
    crew, done = ThreadCrew(2), []
    caller, taken = threading.get_ident(), threading.Barrier(2)

    def work(i):
        taken.wait(timeout=60)
        if threading.get_ident() != caller:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            done.append(i)

    with pytest.raises(KeyboardInterrupt):
        for _ in range(1_000):  # the interrupt may come between two rounds
            crew.each(work, range(2))
    crew.close()
