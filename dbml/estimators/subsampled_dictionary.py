"""Dictionary learning from some features of each minibatch, a random few at a time.

A minibatch is coded by one in r of its features. It is learned from in others: of those that coded it, codes repeat the
noise, and atoms would learn it. For codes C of few entries learning costs little, so that three times as many features
are learned as code.

What an atom can gain in a feature, ``C' (X - C D)``, is averaged over the minibatches that the feature was learned in.
(Means of ``C' X`` over these and of ``C' C`` over all minibatches do not belong together; their difference would be
noise as large as the atoms.)

Mensch, Mairal, Thirion & Varoquaux 2018, with other features for learning than for codes, and gradients in the place
of moments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dbml_kernels.atoms_improve import gradient_improve
from dbml_kernels.feature_sample import (
    less_changes,
    mean_gradient,
    sampled_gather,
    sampled_gram,
    sampled_projection,
    sampled_scatter,
)
from dbml_kernels.matrix_tile import TILE_ROWS
from dbml_kernels.sparse_residuals import LANES, residual_sums
from numpy.typing import NDArray

from dbml.estimators.dictionary_step import CODED, EXACT, STEPS, DictionaryStep, Entries, entries_of_rows
from dbml.estimators.sparse_codes import improve_codes
from dbml.passes.block import Block, Floats
from dbml.passes.engine import Crew
from dbml.passes.step import State

_LEARNED = 3  # times as many features are learned as code
_SLICE = 2 * LANES  # features that a thread learns at a time


def with_gradient(state: State) -> State:
    """Return the state of dictionary learning with the gradient of the atoms, ``B - A D``, for the means of C' X.

    What belongs to a feature lies together in memory: minibatches touch a few features of all atoms.
    """
    rest = {name: array for name, array in state.items() if name != "data_moments"}
    atoms = state["atoms"]
    gradient = state["data_moments"] - state["code_moments"] @ atoms
    by_feature = {"atoms": np.asfortranarray(atoms), "gradient": np.asfortranarray(gradient)}
    return {**rest, **by_feature, "lengths": squares_of(atoms)}


def with_moments(state: State) -> State:
    """Return the state of dictionary learning with the means of C' X again."""
    rest = {name: array for name, array in state.items() if name not in ("gradient", "lengths")}
    atoms = np.ascontiguousarray(state["atoms"])
    return {**rest, "atoms": atoms, "data_moments": state["gradient"] + state["code_moments"] @ atoms}


def squares_of(atoms: Floats) -> Floats:
    """Return the squared length of each atom."""
    return np.einsum("ij,ij->i", atoms, atoms)


class SubsampledStep(DictionaryStep):
    """Minibatches of a pass, each read in some features.

    State: that of `DictionaryStep` `with_gradient`, and ``lengths`` (k,) the squares of the atoms; ``moment_weights``
    are those of the gradient of each feature. Cost of a minibatch of b rows: ``(b k + k^2) n_terms / r``
    multiplications for codes, ``1.5 k^2 n_terms 3 / r`` for atoms, and the codes.
    """

    def _minibatch(self, state: State, block: Block, rows: slice, crew: Crew) -> None:
        size = rows.stop - rows.start
        coding, learning = self._features(state)
        seen = _Seen(*self._columns(block, rows))
        atoms, n_terms = state["atoms"], state["atoms"].shape[1]
        entries = entries_of_rows(self._sampled_codes(seen, atoms, coding, size, crew))
        fading = self._remember_codes(state, entries)
        weights = fading ** (n_terms / learning.size) * state["moment_weights"][learning] + 1.0
        unused = self._unused(state)
        moved, squares = self._learn(state, seen, learning, weights, entries, unused, crew)
        loss = (0.5 * squares * n_terms / learning.size + self.how.alpha * entries.sum_of_sizes) / size
        state["moment_weights"][learning] = weights
        change = float(np.sqrt(moved)) + self._replace(state, block, rows, unused)
        if unused.any():
            state["lengths"] = squares_of(atoms)
        self._measure(state["progress"], float(loss), change / len(atoms), size)

    def _sampled_codes(self, seen: _Seen, atoms: Floats, terms: NDArray[np.intp], size: int, crew: Crew) -> Floats:
        """Return the codes of a minibatch by some of its features, as if they stood for all."""
        k, n_terms = atoms.shape
        width, scale, how = padded(k), n_terms / terms.size, self.how
        part, gram = np.empty((terms.size, width)), np.empty((k, k))
        sampled_gram(atoms.T, terms, scale, part, np.zeros((width, width)), gram)
        codes = np.zeros((size, k))

        def some(start: int) -> None:
            found = codes[start : start + CODED]
            n, projection = padded(len(found)), np.empty(found.shape)
            scratch = (np.empty((terms.size, n)), np.zeros((n, width)))
            sampled_projection(seen.X, seen.top + start, seen.centre, terms, part, scale, *scratch, projection)
            improve_codes(gram, projection, how.alpha, how.positive_code, how.max_sweeps, EXACT, found)

        crew.each(some, range(0, size, CODED), "sampled codes")
        return codes

    def _learn(
        self,
        state: State,
        seen: _Seen,
        terms: NDArray[np.intp],
        weights: Floats,
        entries: Entries,
        unused: NDArray[np.bool_],
        crew: Crew,
    ) -> tuple[float, float]:
        """Improve the atoms in some features; return the squares of their changes, and of what codes leave there."""
        k, m, size = len(state["atoms"]), terms.size, len(entries.starts) - 1
        shape = (padded(k), padded(m))
        atoms, gradient, changes, sums = (np.empty(shape) for _ in range(4))
        for array in (atoms, gradient):
            array[k:], array[:, m:] = 0.0, 0.0
        lengths, less = np.zeros(shape[0]), np.zeros((shape[0], shape[0]))
        lengths[:k], less[:k, :k] = state["lengths"], -state["code_moments"]
        idle = np.ones(shape[0], np.bool_)
        idle[:k] = unused

        def gain(first: int) -> float:
            last = min(first + _SLICE, m)
            sampled_gather(state["atoms"].T, terms, first, last, atoms)
            sampled_gather(state["gradient"].T, terms, first, last, gradient)
            scratch = (np.empty((size, LANES)), np.empty((shape[0], LANES)), np.empty((shape[0], LANES)))
            codes = (entries.starts, entries.places, entries.values)
            found = residual_sums(seen.X, seen.top, seen.centre, terms, atoms, *codes, first, last, sums, *scratch)
            mean_gradient(sums, size, weights, first, last, gradient)
            return float(found)

        def keep(first: int) -> None:
            less_changes(less, changes, first, min(first + _SLICE, shape[1]), gradient)
            for name, array in (("atoms", atoms), ("gradient", gradient)):
                sampled_scatter(array, terms, first, min(first + _SLICE, m), state[name].T)

        squares = sum(crew.each(gain, range(0, m, _SLICE), "residuals"))
        moved = gradient_improve(atoms, gradient, -less, less, lengths, self.how.positive_dict, idle, changes)
        crew.each(keep, range(0, m, _SLICE), "gradients")
        state["lengths"] = lengths[:k]
        return moved, squares

    def _features(self, state: State) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the features that code a minibatch and those learned from it, each ascending.

        Each of r minibatches in a row is coded by features of its own, and learned in those of the minibatches after.
        """
        reduction, number = self.how.reduction, int(state["progress"][STEPS])
        n_terms = state["atoms"].shape[1]
        order = np.random.default_rng([self.how.seed, 1, number // reduction]).permutation(n_terms)
        place = number % reduction
        later = (place + 1 + np.arange(min(_LEARNED, reduction - 1))) % reduction
        learned = np.concatenate([order[group::reduction] for group in later])
        return np.sort(order[place::reduction]), np.sort(learned)

    def _columns(self, block: Block, rows: slice) -> tuple[Floats, int, Floats]:
        """Return a matrix by column that holds the rows of a minibatch, where they begin, and what it lacks."""
        if block.sparse is None:
            return block.X, rows.start, self.centre
        return self._values(block, rows).T, 0, np.zeros(len(self.centre))


@dataclass(frozen=True, slots=True)
class _Seen:
    """The rows of a minibatch: columns of X from row `top` on, and what these lack."""

    X: Floats
    top: int
    centre: Floats


def padded(n: int) -> int:
    """Return a number of rows or columns as products of tiles want it."""
    return -(-n // TILE_ROWS) * TILE_ROWS
