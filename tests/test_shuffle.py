"""Shuffled order: every row once, well mixed, the same for any number of threads, within memory."""

import threading
from itertools import pairwise

import numpy as np
import pytest
from chunked_source import Pieces, Rows
from hypothesis import given, settings
from hypothesis import strategies as st

from dbml.data.shuffle import buffer_rows, cut_pieces, group_pieces, shuffled_runs
from dbml.engine.local import LocalEngine
from dbml.passes.dispatch import as_data
from dbml.passes.engine import using
from dbml.passes.memory import memory_limited
from dbml.passes.plan import Partition
from dbml.passes.step import Shuffled


def order_of(data, seed=0, epoch=0):
    (state,) = data.fold(Rows(), order=Shuffled(seed, epoch))
    return state["y"]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("n", [1, 40, 99, 1_000, 5_003])
def test_every_row_once_with_its_content(n, sparse):
    found = order_of(Pieces(n, sparse=sparse))
    assert np.array_equal(np.sort(found), np.arange(n))


@pytest.mark.parametrize("make", [Pieces, lambda n: as_data(np.ones((n, 1)), np.arange(float(n)), task="regression")])
def test_same_order_for_any_number_of_threads(make):
    class Order(Rows):
        def update(self, state, block):
            state["y"] = np.append(state["y"], block.y)

    found = []
    for threads in (1, 2, 7):
        with using(LocalEngine(threads)):
            (state,) = make(5_003).fold(Order(), order=Shuffled(3, 1))
            found.append(state["y"])
    assert all(np.array_equal(order, found[0]) for order in found)
    assert np.array_equal(np.sort(found[0]), np.arange(5_003))


def test_seed_and_epoch_change_the_order():
    data = Pieces(3_000)
    orders = [order_of(data, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert np.array_equal(orders[0], orders[3])
    assert not any(np.array_equal(orders[0], orders[k]) for k in (1, 2))


def test_rows_of_far_places_meet_in_a_block():
    data = Pieces(100_000, size=1_000, block=500)
    (state,) = data.fold(Rows(), order=Shuffled(0))
    blocks = np.split(state["y"], np.cumsum(state["sizes"])[:-1])
    places = [len(np.unique(block // 1_000)) for block in blocks]
    assert np.mean(places) > 5
    assert max(len(block) for block in blocks) <= 500


def test_pieces_inside_partitions_where_the_source_can_read_them():
    data = Pieces(200_000, size=100_000, block=5_000, divisible=True)
    order_of(data)
    assert max(piece.n_rows for piece in data.read) == 24_576
    assert sum(piece.n_rows for piece in data.read) == 200_000


@pytest.mark.parametrize("divisible", [False, True])
@pytest.mark.parametrize("seekable", [False, True])
def test_samples_of_every_kind_of_source(seekable, divisible):
    data = Pieces(50_000, size=5_000, block=500, seekable=seekable, divisible=divisible)
    block = data.sample(1_000, seed=0)
    assert np.array_equal(block.X[:, 0], block.y) and len(np.unique(block.y)) == 1_000
    assert len(np.unique(block.y // 5_000)) == 10
    assert np.array_equal(data.sample(1_000, seed=0).y, block.y)
    if seekable and divisible:
        assert sum(piece.n_rows for piece in data.read) == 2_000
    assert np.array_equal(data.sample(50_000, seed=0).y, np.arange(50_000))


@pytest.mark.parametrize(
    ("n", "seekable", "exact"), [(100, False, True), (90_000, False, False), (90_000, True, False)]
)
def test_statistics_where_the_number_of_rows_is_not_known(n, seekable, exact):
    class Unknown(Pieces):
        n_rows = -1

    found = Unknown(n, size=5_000, block=500, seekable=seekable).statistics
    assert found.exact_rows is exact
    assert found.n_rows == n if exact or seekable else found.n_rows >= 50_000


def test_samples_where_filters_leave_few_rows():
    class Filtered(Pieces):
        """Holds rows in its last partition only."""

        n_rows = -1

        def chunks(self, partitions=None):
            return (chunk for chunk in super().chunks(partitions) if chunk.start >= 49_000)

    block = Filtered(50_000, size=1_000, block=500).sample(800, seed=0)
    assert block.n_rows == 800 and block.y.min() >= 49_000


def test_plain_order_where_rows_are_not_clustered():
    data = Pieces(1_000, clustered=False)
    assert np.array_equal(order_of(data), np.arange(1_000))
    assert "order   plain, because the test says so" in str(data.plan)


def test_the_plan_says_how_rows_were_shuffled():
    data = Pieces(1_000)
    order_of(data)
    assert "order   shuffled: 10 pieces of the table, in 5 buffers of 200 rows, because the test says so" in str(
        data.plan
    )
    assert data.plan.passes[-1].order == "shuffled"


def test_a_source_read_in_order_only_is_kept_once():
    data = Pieces(1_000, seekable=False)
    first = order_of(data, epoch=0)
    order_of(data, epoch=1)
    assert data.passes == 1 and np.array_equal(np.sort(first), np.arange(1_000))
    data.close()


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("n", "block"), [(1, 40), (63, 40), (1_000, 100), (10_007, 1_000), (4_096, 1_024)])
def test_kept_blocks_are_dealt_out(n, block, sparse):
    with Pieces(n, size=block, block=block, sparse=sparse).materialise() as kept:
        orders = [order_of(kept, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (0, 0))]
    assert np.array_equal(np.sort(orders[0]), np.arange(n))
    assert np.array_equal(orders[0], orders[2])
    assert n < 100 or not np.array_equal(orders[0], orders[1])


def test_kept_rows_of_far_places_meet():
    with Pieces(102_400, size=1_024, block=1_024).materialise() as kept:
        (state,) = kept.fold(Rows(), order=Shuffled(0))
    blocks = np.split(state["y"], np.cumsum(state["sizes"])[:-1])
    assert np.mean([len(np.unique(block // 1_024)) for block in blocks]) > 10
    # Packets of eight neighbours stay together, and nothing else does.
    assert np.mean(np.abs(np.diff(state["y"])) == 1) == pytest.approx(7 / 8, abs=0.01)


@pytest.mark.parametrize("sparse", [False, True])
def test_spilled_blocks_are_dealt_out(sparse):
    n = 600_000
    with memory_limited("64MiB"), Pieces(n, size=12_000, block=12_000, sparse=sparse).materialise() as kept:
        assert "spilled" in str(kept.plan)
        orders = [order_of(kept, seed=0, epoch=epoch) for epoch in (0, 1, 0)]
    assert np.array_equal(np.sort(orders[0]), np.arange(n))
    assert np.array_equal(orders[0], orders[2]) and not np.array_equal(orders[0], orders[1])


def test_an_error_ends_a_shuffled_pass():
    class Failing(Rows):
        def update(self, state, block):
            raise ZeroDivisionError("in the kernel")

    data = Pieces(10_000)
    with pytest.raises(ZeroDivisionError):
        data.fold(Failing(), order=Shuffled(0))
    assert data.interrupted
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dbml-")]


def test_buffers_of_one_block():
    class Wide(Pieces):
        row_bytes = 1 << 40

    data = Wide(1_000, size=40, block=40)
    for threads in (1, 2):
        with using(LocalEngine(threads)):
            assert np.array_equal(np.sort(order_of(data)), np.arange(1_000))


def test_buffers_keep_within_memory():
    assert buffer_rows(1_000_000, 10_000, 100, 1 << 40) == 100_000
    assert buffer_rows(1_000_000, 10_000, 100, 8_000_000) == 40_000
    assert buffer_rows(30_000, 10_000, 100, 1 << 40) == 20_000


@settings(max_examples=50)
@given(st.integers(1, 3_000), st.integers(1, 500), st.sampled_from([1, 16, 64]), st.integers(0, 9))
def test_runs_are_a_permutation(n, size, run, seed):
    parts = list(shuffled_runs(n, size, run, np.random.default_rng(seed)))
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(n))
    assert max(part.size for part in parts) <= max(size, run)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 20), st.integers(50, 200))
def test_pieces_and_groups_cover_the_partitions(sizes, piece, rows):
    starts = np.concatenate([[0], np.cumsum(sizes)])
    partitions = [Partition(i, int(start), size) for i, (start, size) in enumerate(zip(starts, sizes, strict=False))]
    pieces = cut_pieces(partitions, piece)
    groups = group_pieces(pieces, rows, np.random.default_rng(0))
    covered = sorted((p.start, p.start + p.n_rows) for group in groups for p in group)
    assert sum(end - start for start, end in covered) == sum(sizes)
    assert all(a[1] <= b[0] for a, b in pairwise(covered))
    assert all(sum(p.n_rows for p in group) <= rows for group in groups)
    assert all([p.start for p in group] == sorted(p.start for p in group) for group in groups)
