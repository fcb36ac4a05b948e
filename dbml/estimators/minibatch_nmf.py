"""Nonnegative matrix factorization that improves its atoms after every few rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from dbml.errors import InvalidData
from dbml.estimators.nonnegative import LOSSES, Codes, NonnegativeFactorization
from dbml.estimators.plain_rows import lowest_values, plain_tiles
from dbml.estimators.random_state import RANDOM_STATE_RULE
from dbml.estimators.row_counts import pass_rows
from dbml.estimators.solvers.descent import MINIBATCHES
from dbml.params import Either, Integer, Options, Real, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.engine import Crew, current
from dbml.passes.step import State

_LEAST = 1e-12
_SLICE = 256  # rows that a thread codes at a time


class OnlineFactorStep:
    """Multiplicative updates of the atoms after every minibatch, by sums that forget.

    State: ``atoms`` (k, n_terms), ``above`` and ``below`` (k, n_terms) the numerators and denominators of the update,
    ``progress`` (6,): minibatches, smoothed loss, least smoothed loss, minibatches without improvement, whether it
    ended, loss of the pass.

    Parameters
    ----------
    first : dict of ndarray
        State to start from.
    centre : ndarray of shape (n_terms,)
        What blocks lack of the values of the user.
    make : callable
        Makes `Codes` of atoms.
    batch_size : int
        Rows of a minibatch; blocks are cut.
    n_rows : int
        Rows of a pass.
    forget : float
        Share of the past that is kept over as many rows as a pass has.
    tol, patience : float, int or None
        When it ends: by the change of the atoms, and by minibatches without improvement.
    """

    tolerance = 0.0
    chained = True

    def __init__(
        self,
        first: State,
        centre: Floats,
        make: Any,
        batch_size: int,
        n_rows: int,
        forget: float,
        tol: float,
        patience: int | None,
    ) -> None:
        self.first, self.centre, self.make = first, centre, make
        self.batch_size, self.n_rows, self.forget = batch_size, n_rows, forget
        self.tol, self.patience = tol, patience

    def start(self) -> State:
        """Return a copy of the state to start from."""
        return {name: array.copy() for name, array in self.first.items()}

    def update(self, state: State, block: Block) -> None:
        """Learn from the minibatches of a block."""
        if state["progress"][4]:
            return
        np.minimum(state["lowest"], lowest_values(block, self.centre), out=state["lowest"])
        crew = current().crew(1 << 16)
        try:
            for _, rows in plain_tiles(block, self.centre, self.batch_size):
                self._minibatch(state, np.maximum(rows, 0.0), crew)
                if state["progress"][4]:
                    return
        finally:
            crew.close()

    def _minibatch(self, state: State, rows: Floats, crew: Crew) -> None:
        H = state["atoms"]
        codes: Codes = self.make(H)
        W = np.empty((len(rows), len(H)))
        products = rows @ H.T if codes.loss == "frobenius" else None

        def some(first: int) -> None:
            part = slice(first, first + _SLICE)
            if products is None:
                W[part] = codes.of_rows(rows[part], brief=True)
            else:
                W[part] = codes.of_projection(products[part], brief=True)

        crew.each(some, range(0, len(rows), _SLICE), "codes")
        fitted = W @ H
        if codes.loss == "frobenius":
            above, below = W.T @ rows, (W.T @ W) @ H
            loss = 0.5 * np.sum((rows - fitted) ** 2)
        else:
            np.maximum(fitted, _LEAST, out=fitted)
            ratio = rows / fitted
            above, below = W.T @ ratio, np.repeat(W.sum(axis=0)[:, None], H.shape[1], axis=1)
            logs = np.where(rows > 0.0, rows * np.log(np.where(rows > 0.0, ratio, 1.0)), 0.0)
            loss = np.sum(logs - rows + fitted)
        loss += codes.l1 * W.sum() + 0.5 * codes.l2 * np.sum(W * W)
        self._improve(state, H, above, below, float(len(rows)))
        self._measure(state, H, float(loss) / len(rows), len(rows))

    def _improve(self, state: State, H: Floats, above: Floats, below: Floats, total: float) -> None:
        *_, l1, l2 = self.make.penalties(H.shape[1], total)
        keep = self.forget ** (self.batch_size / max(1, self.n_rows))
        for name, new in (("above", above * H), ("below", below + l1 + l2 * H)):
            state[name] *= keep
            state[name] += new
        state["atoms"] = state["above"] / np.maximum(state["below"], _LEAST)

    def _measure(self, state: State, old: Floats, loss: float, size: int) -> None:
        """Note the loss of a minibatch, and whether the training has ended."""
        progress = state["progress"]
        progress[0] += 1.0
        progress[5] += loss
        if progress[0] == 1.0:
            progress[1] = progress[2] = loss
            return
        share = min(1.0, 2.0 * size / (self.n_rows + 1.0))
        progress[1] = (1.0 - share) * progress[1] + share * loss
        norm = np.linalg.norm(state["atoms"])
        if self.tol > 0.0 and np.linalg.norm(state["atoms"] - old) <= self.tol * norm:
            progress[4] = 1.0
        if progress[1] < progress[2]:
            progress[2], progress[3] = progress[1], 0.0
        else:
            progress[3] += 1.0
        if self.patience is not None and progress[3] >= self.patience:
            progress[4] = 1.0

    def merge(self, into: State, other: State) -> State:
        """Return the later state: one state sees all blocks."""
        return other


class _Making:
    """Makes codes of atoms for a model; plain enough to be copied with a step."""

    def __init__(self, model: MiniBatchNMF, centre: Floats) -> None:
        self.model, self.centre = model, centre

    def __call__(self, H: Floats) -> Codes:
        return self.model._codes(self.centre, H)

    def penalties(self, n_terms: int, n_rows: float) -> tuple[float, float, float, float]:
        return self.model._penalties(n_terms, n_rows)


class MiniBatchNMF(NonnegativeFactorization):
    """Nonnegative matrix factorization that improves its atoms after every minibatch of rows.

    Parameters
    ----------
    n_components : int, "auto" or None, default="auto"
        Number of atoms; "auto" and None: as many as terms.
    init : {None, "random", "nndsvd", "nndsvda", "nndsvdar"}, default=None
        Where atoms start; see `NMF`.
    batch_size : int, default=1024
        Rows of a minibatch. Minibatches are cut inside blocks of at most 12,288 rows.
    beta_loss : {"frobenius", "kullback-leibler"}, default="frobenius"
        Half the squared error, or the generalised Kullback-Leibler divergence.
    tol : float, default=1e-4
        Ends when a minibatch changes the atoms by less than this share of their norm; 0: never.
    max_no_improvement : int or None, default=10
        Ends after so many minibatches in a row that did not lower the smoothed loss; None: never.
    max_iter : int, default=200
        Most passes.
    alpha_W : float, default=0.0
        Penalty of the codes, times the number of terms.
    alpha_H : float or "same", default="same"
        Penalty of the atoms, times the rows of the minibatch; "same": `alpha_W`.
    l1_ratio : float, default=0.0
        Share of the penalties that is an l1 norm.
    forget_factor : float, default=0.7
        How much of the past counts after a pass: 1 for all rows alike, less where they change.
    random_state : int, RandomState or None, default=None
        Seed of the first atoms; None means 0.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_terms)
        Atoms, on the scale of the values.
    n_components_ : int
        Number of atoms.
    reconstruction_err_ : float
        ``|X - W H|`` of the training rows, or ``sqrt(2 D)`` of the divergence D; after `fit` only.
    n_iter_ : int
        Passes.
    n_steps_ : int
        Minibatches.
    above_, below_ : ndarray of shape (n_components, n_terms)
        Numerators and denominators of the update: from here `partial_fit` goes on.

    Notes
    -----
    Passes in the order of the rows; memory is three times the atoms and a minibatch of plain values. The codes of a
    minibatch are found by all threads: by twenty sweeps of coordinate descent, or the best under the divergence. A
    missing value takes the mean of its column; values below 0 are an error.

    References
    ----------
    Lefèvre, Bach & Févotte 2011, online algorithms for nonnegative matrix factorization.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import MiniBatchNMF
    >>> X = np.outer(np.arange(100.0) % 7, [1.0, 0.0, 2.0]) + np.outer(np.arange(100.0) % 5, [0.0, 3.0, 1.0])
    >>> model = MiniBatchNMF(2, batch_size=20).fit(X)
    >>> model.components_.shape, model.transform(X).shape
    ((2, 3), (100, 2))
    """

    _prefix = "minibatchnmf"
    model_types: ClassVar[tuple[str, ...]] = ("minibatch_nmf",)
    rules: ClassVar[Mapping[str, Rule]] = {
        "n_components": Either((Options((None, "auto")), Integer(ge=1))),
        "init": Options((None, "random", "nndsvd", "nndsvda", "nndsvdar")),
        "batch_size": Integer(ge=1),
        "beta_loss": Options(LOSSES),
        "tol": Real(ge=0),
        "max_no_improvement": Either((Options((None,)), Integer(ge=1))),
        "max_iter": Integer(ge=1),
        "alpha_W": Real(ge=0),
        "alpha_H": Either((Options(("same",)), Real(ge=0))),
        "l1_ratio": Real(ge=0, le=1),
        "forget_factor": Real(ge=0, le=1),
        "random_state": RANDOM_STATE_RULE,
    }
    sql_options: ClassVar[Mapping[str, Any]] = {
        "num_components": lambda value: {"n_components": value},
        "num_principal_components": lambda value: {"n_components": value},
        "max_iterations": lambda value: {"max_iter": value},
    }

    reconstruction_err_: float
    n_iter_: int
    n_steps_: int
    above_: Floats
    below_: Floats

    def __init__(
        self,
        n_components: int | str | None = "auto",
        *,
        init: str | None = None,
        batch_size: int = 1024,
        beta_loss: str = "frobenius",
        tol: float = 1e-4,
        max_no_improvement: int | None = 10,
        max_iter: int = 200,
        alpha_W: float = 0.0,
        alpha_H: float | str = "same",
        l1_ratio: float = 0.0,
        forget_factor: float = 0.7,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.batch_size = batch_size
        self.beta_loss = beta_loss
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.max_iter = max_iter
        self.alpha_W = alpha_W
        self.alpha_H = alpha_H
        self.l1_ratio = l1_ratio
        self.forget_factor = forget_factor
        self.random_state = random_state

    def _fit(self, data: Data) -> None:
        data.decide_solver("multiplicative updates", f"after every {self.batch_size:,} rows", MINIBATCHES)
        centre = np.array(data.schema.encoding.centre())
        H = self._first_atoms(data, centre)
        state = _first_state(H)
        n_rows, _ = pass_rows(data)
        for number in range(1, self.max_iter + 1):
            state["progress"][5], before = 0.0, state["progress"][0]
            state = self._pass(data, state, centre, n_rows, self.tol, self.max_no_improvement)
            batches = state["progress"][0] - before
            self._iteration(number, loss=state["progress"][5] / max(1.0, batches))
            self._keep(**self._fitted(state), n_iter_=number)
            if state["progress"][4]:
                break
        vars(self).update(self._fitted(state), n_iter_=number)
        self.reconstruction_err_ = self._error(data, centre)

    def _pass(self, data: Data, state: State, centre: Floats, n_rows: int, tol: float, patience: int | None) -> State:
        make = _Making(self, centre)
        step = OnlineFactorStep(state, centre, make, self.batch_size, n_rows, self.forget_factor, tol, patience)
        (state,) = data.fold(step, purpose="minibatches")
        self._check_lowest(data, state["lowest"])
        return state

    def _error(self, data: Data, centre: Floats) -> float:
        from dbml.estimators.nmf import FactorStep

        (state,) = data.fold(FactorStep(self._codes(centre)), purpose="reconstruction error")
        squares = float(state["data"][-1]) if self.beta_loss == "frobenius" else 0.0
        return float(np.sqrt(2.0 * max(float(state["loss"][0]) + squares, 0.0)))

    def _fitted(self, state: State) -> dict[str, Any]:
        return {
            "components_": state["atoms"],
            "n_components_": len(state["atoms"]),
            "above_": state["above"],
            "below_": state["below"],
            "n_steps_": int(state["progress"][0]),
        }

    def partial_fit(self, X: Any, y: Any = None, *, con: Any = None, options: dict[str, Any] | None = None) -> Self:
        """Go through the rows of X once, in their order, and improve the atoms.

        Parameters
        ----------
        X, con, options
            As in `fit`. The encoding is that of the first call.
        y : ignored
            There for scikit-learn's pipelines.
        """
        self._check_hyperparameters()
        return self._train_on(X, None, None, con, options, vars(self).get("schema_"), self._partial)

    def _partial(self, data: Data) -> None:
        centre = np.array(data.schema.encoding.centre())
        if "above_" in vars(self):
            state = _first_state(self.components_, self.above_, self.below_, self.n_steps_)
        else:
            state = _first_state(self._first_atoms(data, centre))
        state = self._pass(data, state, centre, self.batch_size, 0.0, None)
        self._iteration(1, loss=state["progress"][5])
        vars(self).update(self._fitted(state), n_iter_=1)

    def _check_finite(self, data: Data) -> None:
        if not np.isfinite(self.components_).all():
            raise InvalidData(
                f"{type(self).__name__}: components_ must be finite, and are not: values of {data.plan.source} are too "
                "large. Scale the columns"
            )


def _first_state(H: Floats, above: Floats | None = None, below: Floats | None = None, n_steps: int = 0) -> State:
    progress = np.zeros(6)
    progress[0] = n_steps
    # Before the first minibatch, the atoms themselves: they are the numerators over a denominator of 1.
    return {
        "atoms": H.copy(),
        "above": H.copy() if above is None else above.copy(),
        "below": np.ones_like(H) if below is None else below.copy(),
        "progress": progress,
        "lowest": np.zeros(H.shape[1]),
    }
