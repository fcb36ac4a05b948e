"""A small source in pieces, for tests of what every source shares."""

import numpy as np
from dbml_sql.features import Encoding, Feature

from dbml.data.chunked import ChunkedData
from dbml.passes.block import Block, SparseRows
from dbml.passes.plan import Partition, Plan
from dbml.passes.schema import Schema


class PiecesChunk:
    def __init__(self, start, n_rows, sparse):
        self.start, self.n_rows, self.sparse = start, n_rows, sparse

    def encode(self, workspace):
        X = workspace.dense(self.n_rows, 2)
        y = workspace.array("y", self.n_rows)
        y[:] = np.arange(self.start, self.start + self.n_rows)
        X[:, 0], X[:, 1] = y, -y
        return Block(X, self._rows(y) if self.sparse else None, y, y + 1, self.start)

    def _rows(self, y):
        lengths = y.astype(np.int64) % 3
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        within = np.arange(indptr[-1]) - np.repeat(indptr[:-1], lengths)
        return SparseRows(indptr, (2 + within).astype(np.int32), np.repeat(y, lengths))


class Pieces(ChunkedData):
    """Rows that hold their own number, in partitions of `size`, blocks of at most `block`; a reading order is kept."""

    def __init__(self, n, size=100, block=40, sparse=False, clustered=True, seekable=True, divisible=False):
        features = [Feature("a", "DOUBLE", "number"), Feature("b", "DOUBLE", "number")]
        if sparse:
            features.append(Feature("i", "INTEGER[]", "lists", width=3, values="v"))
        self.schema = Schema(Encoding(tuple(features)), None)
        self.geometry = tuple(Partition(k, s, min(size, n - s)) for k, s in enumerate(range(0, n, size)))
        self.partitions = self.geometry if seekable else ()
        self.n, self.block, self.sparse, self.clustered = n, block, sparse, clustered
        self.seekable, self.divisible = seekable, divisible
        self.plan = Plan("pieces")
        self.passes, self.read, self.interrupted = 0, [], False

    @property
    def n_rows(self):
        return self.n

    @property
    def block_rows(self):
        return self.block

    def chunks(self, partitions=None):
        self.passes += 1
        for partition in self.geometry if partitions is None else partitions:
            self.read.append(partition)
            end = partition.start + partition.n_rows
            for start in range(partition.start, end, self.block):
                yield PiecesChunk(start, min(self.block, end - start), self.sparse)

    def clustering(self):
        return self.clustered, "the test says so"

    def interrupt(self):
        self.interrupted = True

    def lookup(self, keys, column):
        raise NotImplementedError


class Rows:
    """Collects y and the content of the rows in the order in which they come."""

    tolerance = 0.0
    chained = True

    def start(self):
        return {"y": np.zeros(0), "sizes": np.zeros(0, int)}

    def update(self, state, block):
        y = block.y
        assert np.array_equal(block.X, np.column_stack([y, -y])) and np.array_equal(block.weight, y + 1)
        assert block.X.flags.f_contiguous
        if block.sparse is not None:
            lengths = y.astype(np.int64) % 3
            assert np.array_equal(np.diff(block.sparse.indptr), lengths)
            assert np.array_equal(block.sparse.values, np.repeat(y, lengths))
            first = block.sparse.indptr[:-1][lengths > 0]
            assert (block.sparse.indices[first] == 2).all()
        state["y"] = np.append(state["y"], y)
        state["sizes"] = np.append(state["sizes"], block.n_rows)

    def merge(self, into, other):
        raise AssertionError("chained steps are not merged")
