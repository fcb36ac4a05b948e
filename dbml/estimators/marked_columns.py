"""A column of 0 and 1 for each category or bin: what the encoders make of a number of their own for each row."""

from __future__ import annotations

from typing import Any

import numpy as np

from dbml.errors import InvalidData
from dbml.passes.block import Floats


def positions_to_rows(positions: np.ndarray, n_outputs: int, sparse: bool) -> Any:
    """Return rows of 0 with a 1 at each position; CSR if `sparse`.

    Parameters
    ----------
    positions : (n_rows, n_columns) int
        Output of each column, ascending within a row; -1 for none.
    n_outputs : int
        Number of outputs.
    sparse : bool
        Whether the result is a `scipy.sparse.csr_matrix`.
    """
    marked = positions >= 0
    if not sparse:
        found = np.zeros((len(positions), n_outputs))
        rows, columns = np.nonzero(marked)
        found[rows, positions[rows, columns]] = 1.0
        return found
    from scipy.sparse import csr_matrix

    indptr = np.concatenate([[0], np.cumsum(marked.sum(axis=1))])
    indices = positions[marked]
    return csr_matrix((np.ones(indices.size), indices, indptr), shape=(len(positions), n_outputs))


def rows_to_positions(rows: Floats, widths: list[int], owner: str) -> np.ndarray:
    """Return for each row and column which of its outputs, counted from 0, is not 0; -1 where none is."""
    found = np.full((len(rows), len(widths)), -1, np.intp)
    first = 0
    for j, width in enumerate(widths):
        part = rows[:, first : first + width]
        first += width
        if not width:
            continue
        if np.isnan(part).any():
            raise InvalidData(f"{owner}: inverse_transform takes columns of 0 and 1; got NaN")
        found[:, j] = np.where((part != 0.0).any(axis=1), part.argmax(axis=1), -1)
    return found
