"""Nonnegative matrix factorization, by alternating least squares or multiplicative updates over passes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np
from dbml_kernels.divergence_codes import divergence_add
from numpy.typing import NDArray

from dbml.errors import ConvergenceWarning
from dbml.estimators.nonnegative import LOSSES, Codes, NonnegativeFactorization
from dbml.estimators.plain_rows import lowest_values, plain_tiles, squared_norms, times_rows
from dbml.estimators.random_state import RANDOM_STATE_RULE, seed_of
from dbml.estimators.sparse_codes import improve_codes
from dbml.params import Either, Integer, Options, Real, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.memory import memory_budget
from dbml.passes.plan import ExpectedPasses
from dbml.passes.plan_text import size_text
from dbml.passes.step import State

_PASSES = ExpectedPasses(
    "some dozens", "each finds the codes of all rows, which are kept encoded, in memory or spilled"
)
_ATOM_SWEEPS = 200
_LEAST = 1e-12

Stored = NDArray[np.float32]


class FactorStep:
    """What the atoms need of the rows: the codes of all rows, summed up.

    State: ``gram`` (k, k) ``W' W``, ``cross`` (k, n_terms) ``W' X`` (of the divergence ``W' (X / (W H))``), ``sums``
    (k,) of the codes, ``loss`` (3,): loss of the fit (of squared errors without ``|X|^2 / 2``), penalty of the codes,
    rows; ``data`` (n_terms + 1,) the least value of each term, at most 0, and ``|X|^2 / 2``, both where `measured`.
    Cost: n k n_terms multiplications twice, and the codes.

    Parameters
    ----------
    codes : Codes
        Atoms and penalties.
    known : ndarray of shape (n_rows, k), float32, optional
        Codes of the pass before, by position of the row, to go on from.
    found : ndarray of shape (n_rows, k), float32, optional
        Takes the codes.
    measured : bool
        Whether the rows themselves are measured: once is enough.
    brief : bool
        Whether a few steps towards the best codes are enough, since the next pass goes on from there.
    """

    # Sums are added in another order.
    tolerance = 1e-9
    chained = False

    def __init__(
        self,
        codes: Codes,
        known: Stored | None = None,
        found: Stored | None = None,
        measured: bool = True,
        brief: bool = False,
    ) -> None:
        self.codes, self.known, self.found, self.measured, self.brief = codes, known, found, measured, brief

    def start(self) -> State:
        """Return the state of no rows."""
        k, p = self.codes.H.shape
        return {
            "gram": np.zeros((k, k)),
            "cross": np.zeros((k, p)),
            "sums": np.zeros(k),
            "loss": np.zeros(3),
            "data": np.zeros(p + 1),
        }

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        if not block.n_rows:
            return
        codes = self.codes
        W = self._codes(block)
        gram = W.T @ W
        state["gram"] += gram
        state["sums"] += W.sum(axis=0)
        penalty = codes.l1 * W.sum() + 0.5 * codes.l2 * np.vdot(W, W)
        fit = self._squares(state, block, W, gram) if codes.loss == "frobenius" else self._divergence(state, block, W)
        state["loss"] += (fit, penalty, block.n_rows)
        if self.measured:
            lowest, data = lowest_values(block, codes.centre), state["data"]
            np.minimum(data[:-1], lowest, out=data[:-1])
            data[-1] += 0.5 * squared_norms(block, codes.centre).sum()

    def _codes(self, block: Block) -> Floats:
        rows = slice(block.start, block.start + block.n_rows)
        W = self.codes.of_block(block, None if self.known is None else self.known[rows], self.brief)
        if self.found is not None:
            self.found[rows] = W
        return W

    def _squares(self, state: State, block: Block, W: Floats, gram: Floats) -> float:
        codes = self.codes
        cross = times_rows(W, block, codes.centre)
        state["cross"] += cross
        return float(0.5 * np.sum(gram * codes.gram) - np.sum(cross * codes.H))

    def _divergence(self, state: State, block: Block, W: Floats) -> float:
        codes = self.codes
        turned, numerator = np.ascontiguousarray(codes.H.T), np.zeros(codes.H.T.shape)
        total = float(W.sum(axis=0) @ codes.sums)
        for start, tile in plain_tiles(block, codes.centre):
            total += divergence_add(tile, turned, W[start : start + len(tile)], numerator)
        state["cross"] += numerator.T
        return total

    def merge(self, into: State, other: State) -> State:
        """Add the sums of later rows."""
        for name in ("gram", "cross", "sums", "loss"):
            into[name] += other[name]
        np.minimum(into["data"][:-1], other["data"][:-1], out=into["data"][:-1])
        into["data"][-1] += other["data"][-1]
        return into


class NMF(NonnegativeFactorization):
    """Nonnegative matrix factorization: each row is a sum of few atoms, ``X ~ W H`` with ``W, H >= 0``.

    Parameters
    ----------
    n_components : int, "auto" or None, default="auto"
        Number of atoms; "auto" and None: as many as terms.
    init : {None, "random", "nndsvd", "nndsvda", "nndsvdar"}, default=None
        Where atoms start: at random, or at the parts of singular vectors of some rows that are not negative, zeros
        kept, filled with the mean, or with small random values. None: nndsvda, or random for more atoms than rows or
        terms.
    solver : {"cd", "mu"}, default="cd"
        How atoms are improved after each pass: coordinate descent to their best for these codes, or one multiplicative
        update.
    beta_loss : {"frobenius", "kullback-leibler"}, default="frobenius"
        Half the squared error, or the generalised Kullback-Leibler divergence (needs solver "mu").
    tol : float, default=1e-4
        Ends when the projected gradient of the atoms ("cd") is this share of the first, or when the loss ("mu") falls
        by less than this share of the first in ten passes.
    max_iter : int, default=200
        Most passes.
    random_state : int, RandomState or None, default=None
        Seed of the first atoms; None means 0.
    alpha_W : float, default=0.0
        Penalty of the codes, times the number of terms.
    alpha_H : float or "same", default="same"
        Penalty of the atoms, times the number of rows; "same": `alpha_W`.
    l1_ratio : float, default=0.0
        Share of the penalties that is an l1 norm; the rest is half a squared l2 norm.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_terms)
        Atoms, on the scale of the values.
    n_components_ : int
        Number of atoms.
    reconstruction_err_ : float
        ``|X - W H|`` of the training rows, or ``sqrt(2 D)`` of the divergence D.
    n_iter_ : int
        Passes.

    Notes
    -----
    A pass solves for the codes of each row and adds up a (k, k) and a (k, n_terms) matrix, from which the atoms are
    improved. Rows are kept encoded (in memory or spilled) between passes, and their codes where half of the
    memory for kept rows holds them twice: then a pass takes a few steps from the codes of the one before, else it
    solves for them anew. Cost: ``2 n k n_terms`` multiplications a pass, and ``k`` for every change of a code. A
    missing value takes the mean of its column, and a term of its own marks it; values below 0 are an error.

    References
    ----------
    Lee & Seung 1999; Cichocki & Phan 2009; Boutsidis & Gallopoulos 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import NMF
    >>> X = np.outer([1.0, 2.0, 3.0, 0.0], [1.0, 0.0, 2.0]) + np.outer([0.0, 1.0, 0.0, 2.0], [0.0, 3.0, 1.0])
    >>> model = NMF(2, tol=1e-8).fit(X)
    >>> bool(np.allclose(model.inverse_transform(model.transform(X)), X, atol=1e-2))
    True
    """

    model_types: ClassVar[tuple[str, ...]] = ("nmf",)
    rules: ClassVar[Mapping[str, Rule]] = {
        "n_components": Either((Options((None, "auto")), Integer(ge=1))),
        "init": Options((None, "random", "nndsvd", "nndsvda", "nndsvdar")),
        "solver": Options(("cd", "mu")),
        "beta_loss": Options(LOSSES),
        "tol": Real(ge=0),
        "max_iter": Integer(ge=1),
        "random_state": RANDOM_STATE_RULE,
        "alpha_W": Real(ge=0),
        "alpha_H": Either((Options(("same",)), Real(ge=0))),
        "l1_ratio": Real(ge=0, le=1),
    }
    sql_options: ClassVar[Mapping[str, Any]] = {
        "num_components": lambda value: {"n_components": value},
        "num_principal_components": lambda value: {"n_components": value},
        "max_iterations": lambda value: {"max_iter": value},
    }

    reconstruction_err_: float
    n_iter_: int

    def __init__(
        self,
        n_components: int | str | None = "auto",
        *,
        init: str | None = None,
        solver: str = "cd",
        beta_loss: str = "frobenius",
        tol: float = 1e-4,
        max_iter: int = 200,
        random_state: Any = None,
        alpha_W: float = 0.0,
        alpha_H: float | str = "same",
        l1_ratio: float = 0.0,
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.solver = solver
        self.beta_loss = beta_loss
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state
        self.alpha_W = alpha_W
        self.alpha_H = alpha_H
        self.l1_ratio = l1_ratio

    def _check_params(self) -> None:
        self._check_loss()

    def _fit(self, data: Data) -> None:
        how = "coordinate descent" if self.solver == "cd" else "multiplicative updates"
        data.decide_solver(f"alternating, {how}", "codes of a pass improve the atoms", _PASSES)
        centre = np.array(data.schema.encoding.centre())
        H = self._first_atoms(data, centre)
        with data.materialise() if self.max_iter > 2 else nullcontext(data) as kept:
            self._alternate(kept, H, centre)
            data.plan = kept.plan

    def _alternate(self, data: Data, H: Floats, centre: Floats) -> None:
        stopping = _Stopping(self.solver == "cd", self.tol)
        known, found, squares = None, self._store(data, len(H)), 0.0
        for number in range(1, self.max_iter + 1):
            step = FactorStep(self._codes(centre, H), known, found, measured=number == 1, brief=found is not None)
            state, loss = self._pass(data, step, H, squares)
            squares = squares or self._squares(state)
            self._iteration(number, loss=loss)
            self._keep(**self._fitted(H, state, number))
            of_atoms = self._of_atoms(H, state)
            if stopping.after(number, loss, _violation(state, H, *of_atoms)):
                break
            H = self._improved(state, H, *of_atoms)
            if number == 1:
                H = self._with_unused(H, state)
            known, found = found, np.empty_like(found) if known is None and found is not None else known
        last = found if stopping.done else known
        if self.beta_loss != "frobenius":
            last = None  # multiplicative updates end where they do by their start: this one is that of `transform`
        state, _ = self._pass(data, FactorStep(self._codes(centre, H), last, measured=False), H, squares)
        vars(self).update(self._fitted(H, state, number))
        if not stopping.done and self.tol > 0.0:
            warnings.warn(
                f"NMF: {self.max_iter} passes were not enough for tol = {self.tol:g}; raise max_iter",
                ConvergenceWarning,
                stacklevel=6,
            )

    def _store(self, data: Data, k: int) -> Stored | None:
        """Return room for the codes of all rows, where there is some: two of them make passes cheap."""
        needed = 8 * max(0, data.n_rows) * k
        fits = data.n_rows >= 0 and needed <= memory_budget().kept // 2
        where = "kept from pass to pass" if fits else "found anew in every pass: they do not fit in memory"
        data.plan = data.plan.decide("codes", where, size_text(needed))
        return np.zeros((data.n_rows, k), np.float32) if fits else None

    def _pass(self, data: Data, step: FactorStep, H: Floats, squares: float) -> tuple[State, float]:
        """Return the sums of a pass, whose first loss is made that of the fit, and the whole loss."""
        (state,) = data.fold(step, purpose="codes")
        self._check_lowest(data, state["data"][:-1])
        state["loss"][0] = max(0.0, state["loss"][0] + (squares or self._squares(state)))
        fit, penalty, _ = state["loss"]
        l1, l2 = self._of_atoms(H, state)
        return state, float(fit + penalty + l1 * H.sum() + 0.5 * l2 * np.sum(H * H))

    def _squares(self, state: State) -> float:
        """Return half the squares of all values, as measured in the first pass; 0 under the divergence."""
        return float(state["data"][-1]) if self.beta_loss == "frobenius" else 0.0

    def _of_atoms(self, H: Floats, state: State) -> tuple[float, float]:
        return self._penalties(H.shape[1], float(state["loss"][2]))[2:]

    def _fitted(self, H: Floats, state: State, number: int) -> dict[str, Any]:
        error = float(np.sqrt(2.0 * max(float(state["loss"][0]), 0.0)))
        return {"components_": H, "n_components_": len(H), "reconstruction_err_": error, "n_iter_": number}

    def _improved(self, state: State, H: Floats, l1: float, l2: float) -> Floats:
        """Return better atoms for the codes of a pass."""
        k = len(H)
        gram, cross = state["gram"], state["cross"]
        if self.solver == "cd":
            turned = np.ascontiguousarray(H.T)
            ridged = gram + l2 * np.eye(k)
            projection = np.ascontiguousarray(cross.T)
            improve_codes(ridged, projection, l1, True, _ATOM_SWEEPS, _LEAST, turned)
            return np.ascontiguousarray(turned.T)
        below = gram @ H if self.beta_loss == "frobenius" else state["sums"][:, None]
        return H * (cross / np.maximum(below + l1 + l2 * H, _LEAST))

    def _with_unused(self, H: Floats, state: State) -> Floats:
        """Return the atoms, where those that no row took from the start are parts of the one that rows take most.

        An atom without codes would be 0 for ever.
        """
        masses = state["gram"].diagonal()
        unused = masses == 0.0
        if not unused.any():
            return H
        largest = int(np.argmax(masses * np.sum(H * H, axis=1)))
        shares = np.random.default_rng(seed_of(self.random_state)).random((int(unused.sum()), H.shape[1]))
        found = H.copy()
        found[unused] = H[largest] * shares
        return found


def _violation(state: State, H: Floats, l1: float, l2: float) -> float:
    """Return the sum of the projected gradient of the atoms: 0 where none can be improved."""
    gradient = state["gram"] @ H - state["cross"] + l1 + l2 * H
    return float(np.abs(np.where(H > 0.0, gradient, np.minimum(gradient, 0.0))).sum())


class _Stopping:
    """When passes end: by the projected gradient of the atoms, or by the loss of every tenth pass."""

    def __init__(self, by_gradient: bool, tol: float) -> None:
        self.by_gradient, self.tol = by_gradient, tol
        self.done = False
        self._first = self._before = 0.0

    def after(self, number: int, loss: float, violation: float) -> bool:
        """Return whether the pass was the last."""
        measured = violation if self.by_gradient else loss
        if number == 1:
            self._first = self._before = measured
        if self.by_gradient:
            self.done = measured <= self.tol * self._first
        elif number % 10 == 1 and number > 1:
            self.done = self._before - loss <= self.tol * self._first
            self._before = loss
        return self.done
