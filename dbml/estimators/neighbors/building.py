"""From the rows of a training to vectors in cells: centres from a sample, then one pass that places every row.

Centres need not be good for the search to be exact: they decide how many rows it reads. So rows of the sample are
compared with them in single precision, by the tiles that place all rows afterwards, which serve Manhattan too: half
the time of the exact iteration of `dbml.estimators.clusters.lloyd`, for cells whose mean radius is the same within 1 %
(2,000 cells of a million rows of 32 numbers).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from dbml_kernels.cell_search import radii_measure
from dbml_kernels.rows_permute import rows_permute
from dbml_sql.features import Encoding, Feature
from numpy.typing import NDArray

from dbml.estimators.neighbors.held import ResidentRows, SpilledRows
from dbml.estimators.neighbors.metric import Metric, block_vectors
from dbml.estimators.neighbors.tiles import CellCentres
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.engine import current
from dbml.passes.memory import memory_budget
from dbml.passes.shards import Arrays
from dbml.passes.vectors import Rows

_SAMPLE, _COPIES = 96, 3  # rows a cell; as a block, as vectors, in the order of the cells
_ROUNDS, _DRAWS = 8, 5
_RUN = 4096  # rows that a thread assigns at a time
_SHORT = ("FLOAT", "TINYINT", "SMALLINT", "UTINYINT", "USMALLINT", "BOOLEAN")


def stored_type(encoding: Encoding) -> str:
    """Return the type of the vectors: ``float32`` where that holds every value as the columns do."""
    return "float32" if all(_is_short(feature) for feature in encoding.features) else "float64"


def _is_short(feature: Feature) -> bool:
    if feature.kind == "category" or (feature.part is not None and feature.part != "epoch"):
        return True
    return feature.kind in ("number", "vector") and feature.type.upper().partition("[")[0] in _SHORT


def find_centres(data: Data, metric: Metric, centre: Floats, dtype: str, n_cells: int, seed: int) -> Floats:
    """Return the centres of at most `n_cells` cells, by some rounds of k-means over a sample."""
    room = memory_budget().kept // (_COPIES * 8 * len(centre))
    sample = data.sample(max(1_024, min(n_cells * _SAMPLE, room)), seed)
    rows = metric.placed(block_vectors(sample, centre, dtype))
    n_cells = min(n_cells, len(rows))
    generator = np.random.default_rng(seed)
    crew = current().crew(64)
    runs = [slice(start, start + _RUN) for start in range(0, len(rows), _RUN)]

    def assigned(centres: Floats) -> tuple[NDArray[np.int32], Floats]:
        """Return the cell and the radius of each row."""
        nearest = CellCentres(metric.cell_code, centres)
        cell, radius = np.empty(len(rows), np.int32), np.empty(len(rows))

        def assign(run: slice) -> None:
            cell[run] = nearest.nearest(rows[run])
            radii_measure(metric.cell_code, rows[run], centres, cell[run], radius[run])

        crew.each(assign, runs, "assign")
        return cell, radius

    try:
        centres = _first_centres(rows, n_cells, generator, assigned)
        for _ in range(_ROUNDS):
            moved = _means(rows, assigned(centres)[0], centres)
            if np.array_equal(moved, centres):
                break
            centres = moved
    finally:
        crew.close()
    return centres


def _first_centres(
    rows: Floats, n_cells: int, generator: np.random.Generator, assigned: Callable[[Floats], tuple[Any, Floats]]
) -> Floats:
    """Return rows to begin with: some at random, then those far from all before, in a few draws of many each."""
    weight = np.ones(len(rows))
    chosen = np.zeros(0, np.int64)
    for draw in range(1, _DRAWS + 1):
        wanted = n_cells * draw // _DRAWS - len(chosen)
        # The largest of u^(1/w): a draw without replacement in proportion to the weights.
        keys = np.log(generator.random(len(rows))) / np.maximum(weight, 1e-300)
        keys[chosen] = -np.inf
        chosen = np.concatenate([chosen, np.sort(np.argpartition(-keys, wanted - 1)[:wanted])]) if wanted else chosen
        if draw < _DRAWS and len(chosen):
            weight = assigned(rows[chosen])[1] ** 2
    return rows[chosen]


def _means(rows: Floats, number: NDArray[np.int32], centres: Floats) -> Floats:
    """Return the mean of the rows of each cell; a cell without rows stays where it is."""
    order = np.argsort(number, kind="stable")
    counts = np.bincount(number, minlength=len(centres))
    filled = np.flatnonzero(counts)
    starts = (np.cumsum(counts) - counts)[filled]
    moved = centres.copy()
    moved[filled] = np.add.reduceat(rows[order], starts, axis=0) / counts[filled, None]
    return moved


class Placing:
    """Places the rows of blocks in cells.

    Parameters
    ----------
    metric : Metric
        Metric of the model.
    centre : ndarray of shape (d,)
        What blocks are centred by.
    dtype : {"float32", "float64"}
        Type of the vectors.
    centres : ndarray of shape (n_cells, d), or None
        Centres of the cells; None: there is one cell, and no radius.
    """

    def __init__(self, metric: Metric, centre: Floats, dtype: str, centres: Floats | None) -> None:
        self.metric, self.centre, self.dtype = metric, centre, dtype
        self.n_cells = 1 if centres is None else len(centres)
        self._centres = None if centres is None else CellCentres(metric.cell_code, centres)

    def vectors(self, block: Block) -> Floats:
        """Return the rows of a block, float64."""
        return block_vectors(block, self.centre, self.dtype)

    def cells(self, vectors: Floats) -> tuple[NDArray[np.int32], Floats]:
        """Return cell and radius of each row."""
        radius = np.zeros(len(vectors))
        if self._centres is None:
            return np.zeros(len(vectors), np.int32), radius
        placed = self.metric.placed(vectors)
        cell = self._centres.nearest(placed)
        radii_measure(self.metric.cell_code, placed, self._centres.centres, cell, radius)
        return cell, radius

    def arrays(self, block: Block) -> Arrays:
        """Return what is kept of a block."""
        vectors = self.vectors(block)
        cell, radius = self.cells(vectors)
        label = np.zeros(block.n_rows) if block.y is None else block.y.copy()
        return {"vectors": vectors.astype(self.dtype), "cell": cell, "radius": radius, "label": label}


def place_rows(data: Data, n_rows: int, placing: Placing) -> ResidentRows | SpilledRows:
    """Return all rows, placed: in memory within the share of kept rows, else in shards that are spilled."""
    d = len(placing.centre)
    row_bytes = d * np.dtype(placing.dtype).itemsize + 28
    if n_rows * row_bytes > memory_budget().kept:
        shards = data.derive(placing.arrays, finish=_in_cells, purpose="vectors")
        return SpilledRows(shards, placing.n_cells)
    vectors = np.empty((n_rows, d), placing.dtype)
    cell, radius, label = np.empty(n_rows, np.int32), np.empty(n_rows), np.empty(n_rows)

    def take(block: Block) -> None:
        run, made = slice(block.start, block.start + block.n_rows), placing.arrays(block)
        for into, name in ((vectors, "vectors"), (cell, "cell"), (radius, "radius"), (label, "label")):
            into[run] = made[name]

    for _ in data.map(take, purpose="vectors"):
        pass
    order = np.arange(n_rows) if placing.n_cells == 1 else np.lexsort((radius, cell))
    if placing.n_cells > 1:
        rows_permute(vectors, order.copy(), np.empty(d, placing.dtype))
    return ResidentRows(Rows(vectors, order, cell[order], radius[order], label[order]), placing.n_cells)


def _in_cells(arrays: Arrays) -> Arrays:
    order = np.lexsort((arrays["radius"], arrays["cell"]))
    return {name: array[order] for name, array in arrays.items()} | {"place": order.astype(np.int32)}


def count_rows(data: Data) -> int:
    """Return the rows of a pass; read where they are not known before."""
    if data.n_rows >= 0:
        return data.n_rows
    return sum(data.map(lambda block: block.n_rows, purpose="number of rows"))
