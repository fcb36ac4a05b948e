"""A matrix many times larger than the memory limit is decomposed within it."""

import tracemalloc

import numpy as np
import pytest
from dbml_sql.features import Encoding, Feature

from dbml import PCA, IncrementalPCA, TruncatedSVD
from dbml.data.chunked import ChunkedData
from dbml.passes.block import Block
from dbml.passes.memory import memory_budget, memory_limited
from dbml.passes.plan import Partition, Plan
from dbml.passes.schema import Schema

P, ROWS = 28, 12_288
SHAPE = np.geomspace(4.0, 0.5, P)


class MadeChunk:
    """Rows that are made when they are read."""

    n_rows = ROWS

    def __init__(self, start):
        self.start = start

    def encode(self, workspace):
        X = workspace.dense(ROWS, P)
        X[:] = POOL
        return Block(X, None, None, None, self.start)


POOL = np.asfortranarray(np.random.default_rng(0).normal(size=(ROWS, P)) * SHAPE)


class MadeRows(ChunkedData):
    """A source of as many rows as one likes, which are nowhere."""

    seekable = divisible = True

    def __init__(self, blocks):
        self.schema = Schema(Encoding(tuple(Feature(f"x{i}", "DOUBLE", "number") for i in range(P))), None)
        self.partitions = tuple(Partition(i, i * ROWS, ROWS) for i in range(blocks))
        self.plan = Plan("made rows", partitions=self.partitions)

    @property
    def n_rows(self):
        return ROWS * len(self.partitions)

    def chunks(self, partitions=None):
        for partition in self.partitions if partitions is None else partitions:
            if partition.n_rows < ROWS:  # a piece, for a sample
                yield MadePiece(partition.start, partition.n_rows)
            else:
                yield MadeChunk(partition.start)

    def lookup(self, keys, column):
        raise NotImplementedError


class MadePiece(MadeChunk):
    def __init__(self, start, n_rows):
        self.start, self.n_rows = start, n_rows

    def encode(self, workspace):
        X = workspace.dense(self.n_rows, P)
        X[:] = POOL[: self.n_rows]
        return Block(X, None, None, None, self.start)


@pytest.mark.parametrize(
    ("model", "times"),
    [
        (PCA(4), 100),
        (PCA(4, svd_solver="randomized", iterated_power=0), 25),
        (PCA(4, svd_solver="blockwise"), 1),
        (TruncatedSVD(4), 25),
        (IncrementalPCA(4, batch_size=12_288), 1),
    ],
)
def test_memory_does_not_grow_with_the_rows(model, times):
    with memory_limited("64MiB"):
        limit = memory_budget().total
        data = MadeRows(times * limit // (ROWS * P * 8) + 1)
        assert data.n_rows * P * 8 > times * limit
        tracemalloc.start()
        try:
            model._train(data, lambda: model._fit(data))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < limit // 2  # the other half is DuckDB's
    exact = np.linalg.svd(POOL - (0.0 if isinstance(model, TruncatedSVD) else POOL.mean(axis=0)), compute_uv=False)
    np.testing.assert_allclose(model.singular_values_ / np.sqrt(len(data.partitions)), exact[:4], rtol=1e-3)
