"""Encoded blocks on disk: one anonymous Arrow IPC file, a record batch of one row per block.

Blocks are read into the reused buffers of a worker, without a copy besides the read itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbml.data.spill_file import SpillFile
from dbml.passes.block import Block, SparseRows
from dbml.passes.engine import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

_ARRAYS = {"X": "f8", "indptr": "i8", "indices": "i4", "values": "f8", "y": "f8", "weight": "f8"}


def _schema() -> pa.Schema:
    import pyarrow as pa

    types = {"f8": pa.float64(), "i8": pa.int64(), "i4": pa.int32()}
    shape = [pa.field("start", pa.int64()), pa.field("n_rows", pa.int64())]
    return pa.schema(shape + [pa.field(name, pa.large_list(types[code])) for name, code in _ARRAYS.items()])


def _parts(block: Block) -> dict[str, NDArray | None]:
    sparse = block.sparse._asdict() if block.sparse is not None else {}
    return {"X": block.X.ravel(order="F"), "y": block.y, "weight": block.weight, **sparse}


class SpilledBlocks:
    """Blocks written one after the other and read in any order, from any thread.

    Parameters
    ----------
    directory : str or None
        Where the file lies: DuckDB's temp directory (its parent where it does not exist yet); None: the system's.
    """

    def __init__(self, directory: str | None = None) -> None:
        import pyarrow as pa

        self._file = SpillFile(directory, "encoded rows")
        self._schema = _schema()
        self._writer = pa.ipc.new_file(pa.PythonFile(self._file, "w"), self._schema)
        empty = pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in self._schema], schema=self._schema)
        self._writer.write_batch(empty)  # magic and schema are written with the first batch
        self._places: list[tuple[int, int]] = []

    @property
    def directory(self) -> str:
        """Where the file lies."""
        return self._file.directory

    @property
    def nbytes(self) -> int:
        """Bytes written."""
        return self._file.nbytes

    def __len__(self) -> int:
        return len(self._places)

    def append(self, block: Block) -> None:
        """Write a block.

        Raises
        ------
        ExhaustedMemory
            The disk is full; the file is gone then.
        """
        import pyarrow as pa

        parts = _parts(block)
        columns = [pa.array([block.start], pa.int64()), pa.array([block.n_rows], pa.int64())]
        for name in _ARRAYS:
            values = parts.get(name)
            kind = self._schema.field(name).type
            if values is None:
                columns.append(pa.nulls(1, kind))
            else:
                columns.append(pa.LargeListArray.from_arrays(pa.array([0, values.size], pa.int64()), pa.array(values)))
        begin = self._file.nbytes
        with self._file.writing():
            self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
        self._places.append((begin, self._file.nbytes - begin))

    def read(self, number: int, n_dense: int, workspace: Workspace) -> Block:
        """Return block `number`; its arrays lie in `workspace`, under names of this module."""
        import pyarrow as pa

        begin, size = self._places[number]
        buffer = workspace.array("spilled", size, np.uint8)
        self._file.read_into(memoryview(buffer.data), begin)
        batch = pa.ipc.read_record_batch(pa.py_buffer(buffer), self._schema)
        parts: dict[str, Any] = {name: _view(batch.column(name), buffer, code) for name, code in _ARRAYS.items()}
        n_rows = batch.column("n_rows")[0].as_py()
        X = parts["X"].reshape((n_rows, n_dense), order="F")
        sparse = None
        if parts["indptr"] is not None:
            sparse = SparseRows(parts["indptr"], parts["indices"], parts["values"])
        return Block(X, sparse, parts["y"], parts["weight"], batch.column("start")[0].as_py())

    def close(self) -> None:
        """Free the space."""
        self._file.close()


def _view(column: pa.Array, buffer: NDArray[np.uint8], code: str) -> NDArray | None:
    """Return the list in a column of one row as a writable view of `buffer`, that the column lies in."""
    if column.null_count:
        return None
    values = column.values
    size = len(values)
    if size == 0:
        return np.empty(0, code)
    offset = values.buffers()[1].address - buffer.ctypes.data + values.offset * values.type.byte_width
    return np.ndarray(size, code, buffer=buffer, offset=offset)
