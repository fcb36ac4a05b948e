"""Derived arrays in shards: the same from every source, in memory or spilled, on any number of threads."""

import os
import signal
import sys
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from chunked_source import Pieces
from test_materialise import in_a_process

from dbml.data.shard_filling import rows_of_a_shard
from dbml.engine.local import LocalEngine
from dbml.errors import ExhaustedMemory, InvalidData, UnknownName
from dbml.passes.dispatch import as_data
from dbml.passes.engine import using
from dbml.passes.memory import memory_limited
from dbml.passes.plan import Pass, Plan
from dbml.passes.plan_text import size_text
from dbml.passes.progress import Listener, listening

N = 30_000
SIZE = 4_500  # no multiple of a block: blocks straddle shards


@pytest.fixture(autouse=True)
def no_thread_left_behind():
    yield
    assert not [t.name for t in threading.enumerate() if t.name.startswith("dbml-")]


def make(block):
    """Bytes and target of the rows; the raw values are 0, 1, … again and again, so that bytes hold them."""
    bins = (np.round(block.X - block.X.min(axis=0)) % 256).astype(np.uint8)
    return {"bins": bins, "y": block.y.astype(np.float32), "row": block.start + np.arange(block.n_rows)}


def finish(arrays):
    arrays["columns"] = arrays["bins"].T  # a view: kept C contiguous all the same
    arrays["score"] = np.zeros(len(arrays["y"]))
    return arrays


def derive(data, **options):
    how = {"finish": finish, "resident": ["y", "score"], "shard_rows": SIZE, **options}
    return data.derive(make, **how)


def part(shard, *indices):
    array, places = shard.read_parts("columns", np.array(indices))
    return array[places] if len(indices) > 1 else array[places[0]]


def content(shards):
    """Everything in the shards, as bytes."""

    def of(shard):
        kept = [shard.read(name) for name in ("bins", "columns", "row")]
        parts = [part(shard, j).tobytes() for j in range(len(kept[1]))]
        arrays = [*kept, *shard.resident.values()]
        what = [(array.dtype, array.shape, array.flags.c_contiguous) for array in arrays]
        return shard.number, shard.start, shard.n_rows, what, [array.tobytes() for array in arrays], parts

    return shards.each(of)


class Budget:
    """A limit of which `room` bytes are for rows in shards."""

    def __init__(self, room):
        self.shards, self.total = room, 4 * room
        self.blocks = 1 << 30


@pytest.fixture
def limit(monkeypatch):
    def to(room):
        monkeypatch.setattr("dbml.data.shards.memory_budget", lambda: Budget(room))
        monkeypatch.setattr("dbml.data.chunked.ChunkedData.borrow", lambda data: None)
        monkeypatch.setattr("dbml.data.table.TableData.borrow", lambda data: None)

    return to


@pytest.fixture(scope="module")
def table():
    generator = np.random.default_rng(0)
    columns = {f"x{j}": generator.integers(0, 200, N).astype(float) for j in range(3)}
    return pa.table({**columns, "y": np.arange(N, dtype=float)})


@pytest.fixture(scope="module")
def data(table):
    return as_data(table, "y", task="regression")


@pytest.fixture
def sources(raw, table, tmp_path):
    raw.register("arrow", table)
    raw.execute("CREATE TABLE t AS FROM arrow")
    path = tmp_path / "t.parquet"
    pa.parquet.write_table(table, path, row_group_size=7_000)
    arrays = np.column_stack([table[f"x{j}"] for j in range(3)])
    learned = as_data(table, "y", task="regression").schema
    return {
        "table": as_data(raw.table("t"), "y", task="regression"),
        "query": as_data(raw.sql("SELECT * FROM t WHERE y >= 0"), "y", task="regression"),
        "query of unknown length": as_data(
            raw.sql("FROM (FROM t) WHERE x0 >= 0"), "y", task="regression", schema=learned
        ),
        "parquet": as_data(raw.sql(f"FROM '{path}'"), "y", task="regression"),
        "arrow": as_data(table, "y", task="regression"),
        "batches": as_data(raw.sql("FROM t").to_arrow_reader(1_000), "y", task="regression"),
        "arrays": as_data(arrays, np.arange(float(N)), task="regression"),
        "materialised": as_data(arrays, np.arange(float(N)), task="regression").materialise(),
        "some terms of a table": as_data(raw.table("t"), "y", task="regression").take([0, 1, 2]),
    }


# what is in the shards ---------------------------------------------------------------------------------------------


def test_every_source_gives_the_same_shards(sources):
    lengths = {name: source.n_rows for name, source in sources.items()}
    assert lengths["query of unknown length"] == -1 and lengths["table"] == N
    with derive(sources["arrays"]) as shards:
        expected = content(shards)
    assert [shard[1] for shard in expected] == list(range(0, N, SIZE))
    for name, source in sources.items():
        with derive(source) as shards:
            assert shards.n_rows == N and len(shards) == 7, name
            # The sample of a centre may differ from the mean by rounding, which `make` rounds away.
            assert content(shards) == expected, name


def test_rows_and_layouts(data):
    with derive(data) as shards:
        for shard in shards.each(lambda shard: shard):
            rows = np.arange(shard.start, shard.start + shard.n_rows)
            np.testing.assert_array_equal(shard.read("row"), rows)
            np.testing.assert_array_equal(shard.resident["y"], rows)
            assert shard.resident["score"].flags.writeable and shard.resident["y"].flags.writeable
            np.testing.assert_array_equal(shard.read("columns"), shard.read("bins").T)
            assert shard.read("columns").flags.c_contiguous and not shard.read("columns").flags.writeable
        assert shards[2].number == 2 and shards[6].n_rows == N - 6 * SIZE


def test_without_finish_and_resident(data):
    with data.derive(make, shard_rows=SIZE) as shards:
        assert shards[0].resident == {} and shards[0].read("y").dtype == np.float32


def test_finish_may_drop_arrays(data):
    with data.derive(make, finish=lambda arrays: {"sum": arrays["y"].sum(keepdims=True)}, shard_rows=SIZE) as shards:
        assert sum(shards.each(lambda shard: float(shard.read("sum")[0]))) == pytest.approx(N * (N - 1) / 2, rel=1e-6)
        with pytest.raises(
            UnknownName, match=r"no kept array 'sums' in the shards; did you mean 'sum'\? \(arrays: sum\)"
        ):
            shards[0].read("sums")


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("kept", [1 << 30, 600_000])
def test_same_bits_for_any_number_of_threads(data, threads, kept, limit):
    limit(kept)
    with derive(data) as shards:
        expected = content(shards)
    with using(LocalEngine(threads)), derive(data) as shards:
        assert content(shards) == expected


@pytest.mark.parametrize("n", [1, 2, 4_500, 4_501])
def test_few_rows(n):
    with derive(as_data(np.ones((n, 2)), np.arange(float(n)), task="regression")) as shards:
        assert [shard.n_rows for shard in shards.each(lambda shard: shard)] == ([n] if n <= SIZE else [SIZE, n - SIZE])
        assert shards.n_rows == n


def test_no_rows(raw, data):
    none = as_data(
        raw.sql("SELECT 1.0 x0, 2.0 x1, 3.0 x2, 4.0 y WHERE false"), "y", task="regression", schema=data.schema
    )
    with derive(none) as shards:
        assert len(shards) == shards.n_rows == 0 and shards.each(lambda shard: shard) == [] and shards.in_memory


def test_sizes_are_taken_from_the_data_alone():
    assert rows_of_a_shard(100, 240) == 4_096
    assert rows_of_a_shard(20_000, 240) == 20_000
    assert rows_of_a_shard(50_000, 2_400) == 25_000
    assert rows_of_a_shard(30_000, 240) == 30_000
    assert rows_of_a_shard(50_000, 240) == 25_000
    assert rows_of_a_shard(100_000, 240) == 50_000  # few columns: as little work as fewer rows
    assert rows_of_a_shard(2_000_000, 240) == 125_000
    assert rows_of_a_shard(2_000_001, 240) == 125_001
    assert rows_of_a_shard(10**9, 240) == 262_144
    assert rows_of_a_shard(-1, 240) == 65_536
    assert rows_of_a_shard(10**9, 8_016) == (256 << 20) // 8_016
    assert rows_of_a_shard(10**9, 10**9) == 4_096
    with Pieces(40_001).derive(lambda block: {"y": block.y.copy()}) as shards:
        assert [shards[i].n_rows for i in range(len(shards))] == [20_001, 20_000]


# passes ------------------------------------------------------------------------------------------------------------


def test_resident_arrays_are_changed_in_place(data, limit):
    limit(600_000)
    with derive(data) as shards:

        def step(shard):
            shard.resident["score"] += shard.read("bins").sum(axis=1) + shard.resident["y"]
            return shard.resident["score"].sum()

        first, second = shards.each(step), shards.each(step)
        assert second == [2 * value for value in first]
        score = np.concatenate(shards.each(lambda shard: shard.resident["score"]))
        bins = np.concatenate(shards.each(lambda shard: shard.read("bins").copy()))
        np.testing.assert_array_equal(score, 2 * (bins.sum(axis=1) + np.arange(N)))


def test_some_shards_only(data):
    with derive(data) as shards:
        assert shards.each(lambda shard: shard.number, only=[5, 0]) == [5, 0]
        assert shards.each(lambda shard: shard.number, only=[]) == []


def test_passes_are_counted_in_the_plan(table):
    data = as_data(table, "y", task="regression")
    with derive(data, purpose="bin") as shards:
        for _ in range(20):
            shards.each(lambda shard: shard.read("bins").sum(), "histograms")
            shards.each(lambda shard: part(shard, 1).sum(), "split", only=[0, 6])
    found = {done.purpose: done for done in data.plan.passes}
    assert list(found) == ["bin", "histograms", "split"]
    assert (found["histograms"].times, found["histograms"].rows, found["histograms"].bytes) == (20, 20 * N, 60 * N)
    rows = SIZE + N - 6 * SIZE
    assert (found["split"].times, found["split"].rows, found["split"].bytes) == (20, 20 * rows, 20 * rows)
    assert "derived blocks  in memory, because" in str(data.plan)
    assert any(line.split()[:3] == ["histograms", "20", "shards"] for line in str(data.plan).splitlines())
    shards.close()
    assert len(data.plan.passes) == 3


def test_a_plan_from_before_passes_were_counted_is_read():
    stored = Plan("t").ran(Pass("gram", "sequential", 1, 2, 3, 0.5)).to_json()
    for one in stored["passes"]:
        del one["times"]
    assert Plan.from_json(stored).passes[0].times == 1


@pytest.mark.parametrize("slow", [False, True])
def test_listeners_see_every_row(data, slow, monkeypatch):
    monkeypatch.setattr("dbml.data.shard_passes._TICK", -1.0 if slow else 1e9)

    class Count(Listener):
        def __init__(self):
            self.seen, self.total, self.ended_passes = [], 0, 0

        def pass_started(self, purpose, n_rows):
            self.seen.append((purpose, n_rows))

        def rows(self, n):
            self.total += n

        def pass_ended(self, seconds):
            self.ended_passes += 1

    count = Count()
    with derive(data) as shards, listening(count):
        for _ in range(5):
            shards.each(lambda shard: None, "histograms")
        assert (count.total > 0) == slow
        shards.close()
    assert count.total == 5 * N and count.ended_passes == len(count.seen)
    assert count.seen == ([("histograms", N)] * 5 if slow else [("histograms", 5 * N)])


def test_closed_shards_say_so(data, limit):
    for kept in (1 << 30, 600_000):
        limit(kept)
        shards = derive(data)
        first = shards[0]
        shards.close()
        shards.close()
        for use in (lambda: shards.each(len), lambda: shards[0], lambda: first.read("bins")):  # noqa: B023
            with pytest.raises(InvalidData, match="derived rows were closed; derive them again"):
                use()


# memory and disk ---------------------------------------------------------------------------------------------------

KEPT_A_ROW, RESIDENT_A_ROW = 3 + 3 + 8, 4 + 8


@pytest.mark.parametrize("in_memory", [0, 1, 3, 6])
def test_beyond_the_limit_the_last_shards_are_spilled(table, limit, in_memory, tmp_path):
    data = as_data(table, "y", task="regression")
    type(data).temp_directory, before = str(tmp_path), type(data).temp_directory
    try:
        with derive(data) as shards:
            assert shards.in_memory
            expected = content(shards)
        limit(RESIDENT_A_ROW * N + KEPT_A_ROW * SIZE * in_memory + 1)
        with derive(data) as shards:
            assert not shards.in_memory
            kept = [shards[i].nbytes > 0 for i in range(7)]
            # The last shard is shorter: it may fit where a whole one does not.
            assert kept[:6] == [True] * in_memory + [False] * (6 - in_memory)
            assert content(shards) == expected == content(shards)
            assert os.listdir(tmp_path) == []
            text = str(data.plan)
            assert f"in {tmp_path}" in text and f"{size_text(RESIDENT_A_ROW * N)} more are updated in place" in text
            assert ("derived blocks  spilled" in text) == (in_memory == 0)
    finally:
        type(data).temp_directory = before


def test_spilled_arrays_look_like_those_in_memory(data, limit):
    """Kernels are compiled for a type, a layout and whether an array may be written to."""

    def looks(shards):
        arrays = [shards[1].read("bins"), shards[1].read("columns"), part(shards[1], 2)]
        return [(a.dtype, a.shape, a.flags.c_contiguous, a.flags.writeable, a.flags.aligned) for a in arrays]

    with derive(data) as shards:
        expected = looks(shards)
    limit(RESIDENT_A_ROW * N)
    with derive(data) as shards:
        assert looks(shards) == expected
        first, second = shards[0].read("bins"), shards[1].read("bins")
        assert np.shares_memory(first, second)  # a reused buffer
        with pytest.raises(IndexError, match="index 3 is out of bounds for axis 0 with size 3"):
            part(shards[0], 3)
        with pytest.raises(UnknownName, match=r"did you mean 'bins'"):
            shards[0].read("bin")


def test_empty_arrays_are_spilled_and_read(limit):
    limit(1_000)
    source = Pieces(1_000)
    with source.derive(lambda block: {"none": np.zeros((block.n_rows, 0)), "y": block.y.copy()}) as shards:
        assert not shards.in_memory and shards[0].read("none").shape == (1_000, 0)
        assert np.array_equal(shards[0].read("y"), np.arange(1_000))


def test_resident_arrays_beyond_the_limit(limit):
    source = Pieces(100_000, size=10_000, block=1_000)
    limit(400_000)
    words = r"arrays that training updates in place must fit in memory; those of 100,000 rows take 800.0 kB, and"
    with pytest.raises(ExhaustedMemory, match=words + r" 400.0 kB of memory_limit = 1.6 MB .* 3.2 MB or more"):
        source.derive(lambda block: {"y": block.y.copy()}, resident=["y"], shard_rows=10_000)
    assert len(source.read) < 10  # known from the first shard: not all rows were read for it


def test_the_real_limit_spills(raw):
    raw.execute("CREATE TABLE t AS SELECT i::DOUBLE AS x, i::DOUBLE AS y FROM range(600_000) r(i)")
    data = as_data(raw.table("t"), "y", task="regression")

    def wide(block):
        return {"wide": np.repeat(block.y[:, None].astype(np.float32), 40, axis=1)}

    with memory_limited("192MiB"), data.derive(wide) as shards:
        assert not shards.in_memory and shards[0].nbytes > 0
        sums = shards.each(lambda shard: float(shard.read("wide").sum(dtype=np.float64)))
    assert sum(sums) == 40 * 600_000 * 599_999 / 2


@pytest.mark.skipif(sys.platform == "win32", reason="signals and file limits of POSIX")
def test_full_disk_is_an_error_with_words_and_leaves_nothing(tmp_path):
    done = in_a_process(
        """
        import resource, signal
        from chunked_source import Pieces
        import dbml.data.shards
        from dbml.errors import ExhaustedMemory
        class Nothing: shards = 0; total = blocks = 1 << 30
        dbml.data.shards.memory_budget = Nothing
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        source = Pieces(10_000)
        source.temp_directory = sys.argv[1]
        try:
            source.derive(lambda block: {"y": block.y.copy()})
        except ExhaustedMemory as error:
            print(error)
        """,
        tmp_path,
    )
    assert f"no room left in {tmp_path} to spill derived rows" in done.stdout, done.stderr
    assert "Raise memory_limit" in done.stdout and done.stderr == "" and os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_nothing_is_left_after_kill(tmp_path):
    done = in_a_process(
        """
        import os, signal
        from chunked_source import Pieces
        import dbml.data.shards
        class Nothing: shards = 0; total = blocks = 1 << 30
        dbml.data.shards.memory_budget = Nothing
        source = Pieces(10_000)
        source.temp_directory = sys.argv[1]
        shards = source.derive(lambda block: {"y": block.y.copy()})
        assert not shards.in_memory
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        tmp_path,
    )
    assert done.returncode == -signal.SIGKILL and os.listdir(tmp_path) == []


# mistakes ----------------------------------------------------------------------------------------------------------


def test_make_must_return_a_row_for_each_row(data):
    with pytest.raises(ValueError, match=r"a row for each of the 12,288 rows of its block; 'sum' has shape \(3,\)"):
        data.derive(lambda block: {"sum": block.X.sum(axis=0)})


def test_make_must_return_the_same_arrays(data):
    with pytest.raises(ValueError, match="the same arrays for every block"):
        data.derive(lambda block: {"a": np.zeros(block.n_rows, "f8" if block.start else "f4")})


def test_resident_must_be_known(data):
    with pytest.raises(ValueError, match=r"resident must name arrays of \['bins', 'row', 'y'\]; got \['scores'\]"):
        data.derive(make, resident=["scores"])
    with pytest.raises(ValueError, match="shard_rows must be at least 1; got 0"):
        data.derive(make, shard_rows=0)


@pytest.mark.parametrize("known", [8_000, 12_000])
def test_rows_that_come_and_go_while_they_are_read(known):
    class Changed(Pieces):
        n_rows = known

    with pytest.raises(InvalidData, match=r"rows .* while they were read: "):
        Changed(10_000).derive(lambda block: {"y": block.y.copy()}, shard_rows=5_000)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_errors_of_make_and_finish_are_raised(data, threads):
    def failing(arrays):
        raise ZeroDivisionError("in finish")

    with using(LocalEngine(threads)):
        with pytest.raises(ZeroDivisionError, match="in finish"):
            derive(data, finish=failing)
        with pytest.raises(ZeroDivisionError, match="in make"):
            data.derive(lambda block: {"a": failing_make()})


def failing_make():
    raise ZeroDivisionError("in make")


def test_interrupt_waits_for_the_helpers_and_leaves_no_thread(data):
    running = []
    begun, pressed = threading.Barrier(2), threading.Event()
    caller = threading.get_ident()

    def work(shard):
        running.append(shard.number)
        begun.wait(timeout=60)
        if threading.get_ident() == caller:
            pressed.set()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            while True:  # until the interrupt comes
                pass
        pressed.wait(timeout=60)
        sum(range(1_000_000))
        running.remove(shard.number)

    with pytest.raises(KeyboardInterrupt), using(LocalEngine(2)), derive(data) as shards:
        try:
            shards.each(work)
        finally:
            assert len(running) == 1  # that of the caller; the helper has finished, and nothing else was begun
