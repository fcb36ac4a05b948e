"""Kept blocks: in memory within the budget, else spilled to a file that no crash leaves behind."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pytest
from chunked_source import Pieces, Rows

from dbml.data.derived import MaterialisedData
from dbml.data.spill import SpilledBlocks
from dbml.errors import ExhaustedMemory, InvalidData, InvalidParameter
from dbml.passes.dispatch import as_data
from dbml.passes.engine import Workspace
from dbml.passes.memory import Budget, memory_budget, memory_limited, parse_memory, set_memory_limit
from dbml.passes.step import Shuffled


class KeepsNothing:
    """Makes every kept block spill."""

    kept = 0
    blocks = shuffle = 1 << 30


@pytest.fixture
def spilling(monkeypatch):
    monkeypatch.setattr("dbml.data.derived.memory_budget", KeepsNothing)


def rows(data, **how):
    (state,) = data.fold(Rows(), **how)
    return state["y"]


@pytest.mark.parametrize("sparse", [False, True])
def test_kept_in_memory(sparse):
    source = Pieces(1_000, sparse=sparse)
    with source.materialise() as kept:
        for _ in range(3):
            assert np.array_equal(rows(kept), np.arange(1_000))
        assert source.passes == 1
        assert kept.n_rows == 1_000 and kept.materialise() is kept
        assert "encoded blocks  in memory, because" in str(source.plan)


@pytest.mark.parametrize("sparse", [False, True])
def test_spilled(sparse, spilling, tmp_path):
    source = Pieces(1_000, sparse=sparse)
    source.temp_directory = str(tmp_path)
    with source.materialise() as kept:
        for _ in range(2):
            assert np.array_equal(rows(kept), np.arange(1_000))
        assert np.array_equal(np.sort(rows(kept, order=Shuffled(0))), np.arange(1_000))
        assert kept.sample(100, 0).n_rows == 100
        assert source.passes == 1
        assert os.listdir(tmp_path) == []
        assert f"in {tmp_path}" in str(source.plan)


def test_part_in_memory_part_spilled(monkeypatch, tmp_path):
    monkeypatch.setattr(KeepsNothing, "kept", 5_000)
    monkeypatch.setattr("dbml.data.derived.memory_budget", KeepsNothing)
    source = Pieces(1_000)
    with source.materialise() as kept:
        assert np.array_equal(rows(kept), np.arange(1_000))
        assert "in memory and spilled" in str(source.plan)


def test_spilled_blocks_are_the_same_bits(spilling):
    X = np.random.default_rng(0).normal(size=(30_000, 3))
    X[5, 1] = np.nan
    data = as_data(X, np.arange(30_000) % 2, task="classification", sample_weight=np.arange(1.0, 30_001))

    def bits(block):
        assert block.X.flags.f_contiguous and block.X.flags.writeable
        return block.start, block.X.tobytes("F"), block.y.tobytes(), block.weight.tobytes()

    with MaterialisedData(data) as kept:
        assert list(kept.map(bits)) == list(data.map(bits))


def test_closed_data_says_so():
    kept = Pieces(100).materialise()
    kept.close()
    with pytest.raises(InvalidData, match="materialised rows were closed"):
        rows(kept)


def test_terms_of_kept_blocks():
    source = Pieces(1_000, sparse=True)
    with source.materialise() as kept:
        taken = kept.take([1, 3])
        block = taken.sample(2_000, 0)
        y = np.arange(1_000)
        assert np.array_equal(block.X[:, 0], -y)
        assert (block.sparse.indices == 1).all() and np.array_equal(block.sparse.values, y[y % 3 == 2])


def test_passes_over_kept_blocks_are_in_the_plan_of_the_source():
    source = Pieces(100)
    with source.materialise() as kept:
        kept.fold(purpose="epoch")
    assert [done.purpose for done in source.plan.passes] == ["materialise", "epoch"]


def test_a_folder_that_does_not_exist_yet_is_replaced_by_its_parent(tmp_path):
    blocks = SpilledBlocks(str(tmp_path / "t.duckdb.tmp" / "deeper"))
    assert blocks.directory == str(tmp_path) and os.listdir(tmp_path) == []
    blocks.close()


def test_spilled_file_is_arrow(tmp_path):
    blocks = SpilledBlocks(str(tmp_path))
    block = Pieces(100, sparse=True).sample(100, 0)
    blocks.append(block)
    blocks._writer.close()
    blocks._file._raw.seek(0)
    table = pa.ipc.open_file(blocks._file._raw.read()).read_all()
    assert table.column_names == ["start", "n_rows", "X", "indptr", "indices", "values", "y", "weight"]
    assert table["y"][0].as_py() == list(range(100))
    assert np.array_equal(blocks.read(0, 2, Workspace()).y, np.arange(100))
    blocks.close()


def in_a_process(code, tmp_path):
    script = "import sys\nsys.path.insert(0, sys.argv[2])\n" + textwrap.dedent(code)
    tests = os.path.dirname(__file__)
    return subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), tests], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals and file limits of POSIX")
def test_nothing_is_left_after_kill(tmp_path):
    done = in_a_process(
        """
        import os, signal
        from chunked_source import Pieces
        from dbml.data.spill import SpilledBlocks
        blocks = SpilledBlocks(sys.argv[1])
        blocks.append(Pieces(1_000).sample(1_000, 0))
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        tmp_path,
    )
    assert done.returncode == -signal.SIGKILL and os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals and file limits of POSIX")
def test_full_disk_is_an_error_with_words_and_leaves_nothing(tmp_path):
    done = in_a_process(
        """
        import resource, signal
        from chunked_source import Pieces
        import dbml.data.derived as derived
        from dbml.errors import ExhaustedMemory
        class Nothing: kept = 0; blocks = shuffle = 1 << 30
        derived.memory_budget = Nothing
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        source = Pieces(10_000)
        source.temp_directory = sys.argv[1]
        try:
            source.materialise()
        except ExhaustedMemory as error:
            print(error)
        """,
        tmp_path,
    )
    assert f"no room left in {tmp_path} to spill encoded rows" in done.stdout, done.stderr
    assert "Raise memory_limit" in done.stdout and done.stderr == "" and os.listdir(tmp_path) == []


def test_exhausted_memory_is_a_memory_error():
    assert issubclass(ExhaustedMemory, MemoryError)


# the limit -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [("1GB", 10**9), ("1.5 gb", 1_500_000_000), ("512MiB", 512 << 20), (1 << 30, 1 << 30), ("100000000", 100_000_000)],
)
def test_sizes(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["much", "1 parsec", "-1GB", "1KB", 5])
def test_sizes_that_are_refused(text):
    with pytest.raises(InvalidParameter, match="memory_limit must be"):
        parse_memory(text)


def test_shares_of_the_limit():
    budget = Budget(1_000)
    assert budget.database + budget.blocks + budget.shuffle + budget.kept <= budget.total
    with memory_limited("100%"):
        whole = memory_budget().total
    try:
        set_memory_limit("2GB")
        assert memory_budget().total == 2 * 10**9
        with memory_limited("1GB"):
            assert memory_budget().total == 10**9
    finally:
        set_memory_limit(None)
    assert 0.75 * whole < memory_budget().total < 0.85 * whole
