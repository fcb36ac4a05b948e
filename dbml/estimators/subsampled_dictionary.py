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

import numpy as np
from dbml_kernels.sparse_residuals import LANES, entries_of, residual_sums
from numpy.typing import NDArray

from dbml.estimators.dictionary_step import STEPS, DictionaryStep, improve_gradient
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
    are those of the gradient of each feature. Cost of a minibatch: ``b k n_terms / r`` multiplications, a part of
    `DictionaryStep`'s for the atoms, and the codes.
    """

    def _minibatch(self, state: State, block: Block, rows: slice, crew: Crew) -> None:
        size = rows.stop - rows.start
        coding, learning = self._features(state)
        X, top, centre = self._columns(block, rows)
        atoms, n_terms = state["atoms"], state["atoms"].shape[1]
        part = np.take(atoms.T, coding, axis=0)
        values = X.T[coding, top : top + size] + centre[coding][:, None]
        scale = n_terms / coding.size
        codes = self._codes(scale * (part.T @ part), scale * (values.T @ part), crew)
        fading = self._remember_codes(state, codes)
        part, gradient = (np.take(state[name].T, learning, axis=0).T.copy() for name in ("atoms", "gradient"))
        sums, squares = self._residuals(X, top, centre, learning, part, codes, crew)
        loss = (0.5 * squares * n_terms / learning.size + self.how.alpha * np.abs(codes).sum()) / size
        weights = fading ** (n_terms / learning.size) * state["moment_weights"][learning] + 1.0
        gradient += (sums / size - gradient) / weights
        unused = self._unused(state)
        outside = np.maximum(0.0, state["lengths"] - squares_of(part))
        moved = improve_gradient(part, state["code_moments"], gradient, outside, self.how.positive_dict, unused)
        state["lengths"] = outside + squares_of(part)
        state["moment_weights"][learning] = weights
        atoms.T[learning], state["gradient"].T[learning] = part.T, gradient.T
        change = float(np.sqrt(moved)) + self._replace(state, block, rows, unused)
        if unused.any():
            state["lengths"] = squares_of(atoms)
        self._measure(state["progress"], float(loss), change / len(atoms), size)

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

    def _residuals(
        self,
        X: Floats,
        top: int,
        centre: Floats,
        terms: NDArray[np.intp],
        atoms: Floats,
        codes: Floats,
        crew: Crew,
    ) -> tuple[Floats, float]:
        """Return ``C' (X - C D)`` in some features, and the squares of the difference."""
        b, k = codes.shape
        starts, places, entries = np.empty(b + 1, np.intp), np.empty(b * k, np.intp), np.empty(b * k)
        entries_of(codes, starts, places, entries)
        sums = np.empty(atoms.shape)

        def some(first: int) -> float:
            scratch = (np.empty((b, LANES)), np.empty((k, LANES)), np.empty((k, LANES)))
            last = min(first + _SLICE, terms.size)
            found = residual_sums(X, top, centre, terms, atoms, starts, places, entries, first, last, sums, *scratch)
            return float(found)

        return sums, sum(crew.each(some, range(0, terms.size, _SLICE), "residuals"))
