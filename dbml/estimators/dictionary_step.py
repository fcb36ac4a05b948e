"""Online dictionary learning: sparse codes of a few rows, then better atoms from sums over all rows so far.

After every minibatch the means ``A`` of ``C' C`` (k, k) and ``B`` of ``C' X`` (k, p) over codes C, in which the past
fades, say all that the atoms need.

Mairal, Bach, Ponce & Sapiro 2010.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dbml_kernels.atoms_improve import panel_improve
from dbml_kernels.sparse_residuals import entries_of, entry_products
from numpy.typing import NDArray

from dbml.estimators.plain_rows import plain_tiles
from dbml.estimators.sparse_codes import improve_codes
from dbml.passes.block import Block, Floats, SparseRows
from dbml.passes.engine import Crew, current
from dbml.passes.step import State

_PANEL = 16  # atoms whose products with all others are taken at once
CODED = 32  # rows that a thread codes at a time
_UNUSED = 1e-6  # sum over minibatches of the mean square of an atom's codes below which another one takes its place
EXACT = 1e-3  # move of the fit, of a row's largest projection, at which a code is found: the next atoms change it
# Where numbers stand in ``progress``.
STEPS, SMOOTHED, LEAST, WITHOUT, DONE, LOSS, ROWS = range(7)


@dataclass(frozen=True, slots=True)
class Learning:
    """How a dictionary is learned; see `MiniBatchDictionaryLearning`."""

    alpha: float
    batch_size: int
    max_sweeps: int
    positive_code: bool
    positive_dict: bool
    reduction: int
    tol: float
    patience: int | None
    seed: int


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries of codes that are not 0, row by row: those of row i are ``starts[i]`` to ``starts[i + 1]``."""

    starts: NDArray[np.intp]
    places: NDArray[np.intp]
    values: Floats

    @property
    def sum_of_sizes(self) -> float:
        """Sum of the absolute values."""
        return float(np.abs(self.values).sum())


def entries_of_rows(codes: Floats) -> Entries:
    """Return the entries of codes (b, k)."""
    starts, places, values = np.empty(len(codes) + 1, np.intp), np.empty(codes.size, np.intp), np.empty(codes.size)
    entries_of(codes, starts, places, values)
    return Entries(starts, places[: starts[-1]], values[: starts[-1]])


def first_state(atoms: Floats) -> State:
    """Return the state before the first row."""
    k, p = atoms.shape
    norms = np.sqrt((atoms * atoms).sum(axis=1))
    return {
        "atoms": atoms / np.maximum(norms, 1.0)[:, None],
        "code_moments": np.zeros((k, k)),
        "data_moments": np.zeros((k, p)),
        "moment_weights": np.zeros(p + 1),
        "progress": np.zeros(7),
    }


class DictionaryStep:
    """Minibatches of a pass: codes, sums, atoms.

    State: ``atoms`` (k, n_terms), ``code_moments`` (k, k), ``data_moments`` (k, n_terms), ``moment_weights``
    (n_terms + 1,) of the means of each term and of the codes, ``progress`` (7,): minibatches, smoothed loss, its least,
    minibatches without improvement, whether it ended, loss and rows of the pass. Cost of a minibatch of b rows:
    ``2 b k n_terms + 2 k^2 n_terms`` multiplications, and the codes.

    Parameters
    ----------
    first : dict of ndarray
        State to start from.
    centre : ndarray of shape (n_terms,)
        What blocks lack of the values of the user.
    how : Learning
        Hyperparameters.
    n_rows : int
        Rows of a pass.
    """

    tolerance = 0.0
    chained = True

    def __init__(self, first: State, centre: Floats, how: Learning, n_rows: int) -> None:
        self.first, self.centre, self.how, self.n_rows = first, centre, how, n_rows

    def start(self) -> State:
        """Return a copy of the state to start from."""
        return {name: array.copy(order="K") for name, array in self.first.items()}

    def update(self, state: State, block: Block) -> None:
        """Learn from the minibatches of a block."""
        size = self.how.batch_size
        crew = current().crew(1 << 16)
        try:
            for start in range(0, block.n_rows, size):
                if state["progress"][DONE]:
                    return
                rows = slice(start, min(start + size, block.n_rows))
                self._minibatch(state, block, rows, crew)
        finally:
            crew.close()

    def _minibatch(self, state: State, block: Block, rows: slice, crew: Crew) -> None:
        size = rows.stop - rows.start
        values = self._values(block, rows)
        atoms = state["atoms"]
        gram, projection = atoms @ atoms.T, values.T @ atoms.T
        codes = self._codes(gram, projection, crew)
        squares = np.vdot(values, values) + np.sum((codes @ gram) * codes)
        loss = (0.5 * squares - np.sum(codes * projection) + self.how.alpha * np.abs(codes).sum()) / size
        entries = entries_of_rows(codes)
        fading = self._remember_codes(state, entries)
        weights, moments = state["moment_weights"], state["data_moments"]
        weights[:-1] = fading * weights[:-1] + 1.0
        moments += (codes.T @ values.T / size - moments) / weights[:-1]
        unused = self._unused(state)
        moved = improve_atoms(
            atoms, state["code_moments"], moments, np.zeros(len(atoms)), self.how.positive_dict, unused
        )
        change = float(np.sqrt(moved)) + self._replace(state, block, rows, unused)
        self._measure(state["progress"], float(loss), change / len(atoms), size)

    def _values(self, block: Block, rows: slice) -> Floats:
        """Return features by rows of the user's values, (n_terms, b)."""
        if block.sparse is None:
            return block.X.T[:, rows] + self.centre[:, None]
        part = Block(block.X[rows], block.sparse, None, None, -1)
        part.sparse = _rows_of(block, rows)
        return np.concatenate([tile for _, tile in plain_tiles(part, self.centre)]).T

    def _codes(self, gram: Floats, projection: Floats, crew: Crew) -> Floats:
        b = len(projection)
        codes = np.zeros(projection.shape)
        how = self.how

        def some(start: int) -> None:
            part = slice(start, min(start + CODED, b))
            improve_codes(gram, projection[part], how.alpha, how.positive_code, how.max_sweeps, EXACT, codes[part])

        crew.each(some, range(0, b, CODED), "codes")
        return codes

    def _remember_codes(self, state: State, codes: Entries) -> float:
        """Take codes into their means; return how much of the past is kept, as in scikit-learn's sums."""
        size, number, batch = len(codes.starts) - 1, state["progress"][STEPS], self.how.batch_size
        theta = (number + 1) * size if number < batch - 1 else batch**2 + number + 1 - batch
        fading = max(0.0, (theta + 1 - size) / (theta + 1))
        weights = state["moment_weights"]
        weights[-1] = fading * weights[-1] + 1.0
        sums = np.zeros_like(state["code_moments"])
        entry_products(codes.starts, codes.places, codes.values, sums)
        state["code_moments"] += (sums / size - state["code_moments"]) / weights[-1]
        return float(fading)

    def _unused(self, state: State) -> NDArray[np.bool_]:
        """Return which atoms hardly any code has used."""
        unused: NDArray[np.bool_] = state["code_moments"].diagonal() * state["moment_weights"][-1] <= _UNUSED
        return unused

    def _replace(self, state: State, block: Block, rows: slice, unused: NDArray[np.bool_]) -> float:
        """Put rows of the minibatch in the place of unused atoms; return how far that moves them."""
        if not unused.any():
            return 0.0
        generator = np.random.default_rng([self.how.seed, 2, int(state["progress"][STEPS])])
        places = np.flatnonzero(unused)
        chosen = rows.start + generator.integers(rows.stop - rows.start, size=places.size)
        for atom, row in zip(places, chosen, strict=True):
            state["atoms"][atom] = self._as_atom(self._values(block, slice(row, row + 1))[:, 0], generator)
        return float(places.size)

    def _as_atom(self, values: Floats, generator: np.random.Generator) -> Floats:
        """Return a row as an atom: of length 1, with a little noise, so that no two are alike."""
        atom = values + generator.normal(0.0, 0.01 * (values.std() or 1.0), size=values.size)
        if self.how.positive_dict:
            np.maximum(atom, 0.0, out=atom)
        return atom / max(float(np.linalg.norm(atom)), 1.0)

    def _measure(self, progress: Floats, loss: float, change: float, size: int) -> None:
        """Note the loss of a minibatch, and whether the training has ended."""
        progress[STEPS] += 1.0
        progress[LOSS] += loss * size
        progress[ROWS] += size
        if progress[STEPS] <= min(100.0, self.n_rows / size):
            return
        first = progress[LEAST] == 0.0 and progress[SMOOTHED] == 0.0
        share = min(1.0, size / (self.n_rows + 1.0))
        progress[SMOOTHED] = loss if first else progress[SMOOTHED] * (1.0 - share) + loss * share
        if first or progress[SMOOTHED] < progress[LEAST]:
            progress[LEAST], progress[WITHOUT] = progress[SMOOTHED], 0.0
        else:
            progress[WITHOUT] += 1.0
        still = self.how.tol > 0.0 and change <= self.how.tol
        if still or (self.how.patience is not None and progress[WITHOUT] >= self.how.patience):
            progress[DONE] = 1.0

    def merge(self, into: State, other: State) -> State:
        """Return the later state: one state sees all blocks."""
        return other


def improve_atoms(
    atoms: Floats, moments: Floats, data: Floats, outside: Floats, positive: bool, unused: NDArray[np.bool_]
) -> float:
    """Improve each atom once, in place, the others fixed; return the squared length of all changes.

    atoms, data (k, p), moments (k, k), outside and unused (k,); see `dbml_kernels.atoms_improve`.
    """
    moved = 0.0
    for first in range(0, len(atoms), _PANEL):
        last = min(first + _PANEL, len(atoms))
        left = data[first:last] - moments[first:last] @ atoms
        moved += panel_improve(atoms, moments, first, last, outside, positive, unused, left)
    return moved


def _rows_of(block: Block, rows: slice) -> SparseRows:
    assert block.sparse is not None
    indptr, indices, values = block.sparse
    start, stop = indptr[rows.start], indptr[rows.stop]
    return SparseRows(indptr[rows.start : rows.stop + 1] - start, indices[start:stop], values[start:stop])
