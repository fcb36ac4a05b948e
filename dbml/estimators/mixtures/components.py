"""The components of a mixture, and the step of expectation and maximisation over all rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from dbml_kernels.mixture_density import SLICE, mixture_shares
from dbml_kernels.mixture_moments import moments_add
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from dbml.errors import InvalidData
from dbml.estimators.clusters.centres import Centres
from dbml.estimators.design import flat
from dbml.estimators.gram_step import thread_buffer
from dbml.passes.block import Block, Floats
from dbml.passes.step import State

Kind = Literal["full", "tied", "diag", "spherical"]

_DENSE_BYTES = 8 << 20  # of the sparse rows that are made dense at a time
_LEAST_WEIGHT = 10 * np.finfo(float).eps


def is_diagonal(kind: Kind) -> bool:
    """Whether covariances are diagonal."""
    return kind in ("diag", "spherical")


@dataclass(frozen=True)
class Components:
    """Weights, means and precisions of the components, about the centre of the encoding.

    Attributes
    ----------
    kind : {"full", "tied", "diag", "spherical"}
        What covariances are.
    weights : ndarray of shape (k,)
    means : ndarray of shape (k, n_terms)
    roots : ndarray of shape (k, n_terms, n_terms) or (k, 1, n_terms)
        Upper triangular P with ``P P'`` the precision, or the inverse standard deviations.
    """

    kind: Kind
    weights: Floats
    means: Floats
    roots: Floats

    @property
    def levels(self) -> Floats:
        """Logarithm of weight and density at the mean of each component."""
        diagonals = self.roots[:, 0] if is_diagonal(self.kind) else np.diagonal(self.roots, axis1=1, axis2=2)
        n_terms = self.means.shape[1]
        with np.errstate(divide="ignore"):
            return np.log(self.weights) + np.log(diagonals).sum(axis=1) - 0.5 * n_terms * np.log(2.0 * np.pi)

    def shares(self, block: Block) -> tuple[Floats, Floats]:
        """Return the share of each component in the density of each row, (k, n), and the log density, (n,)."""
        k, n_terms = self.means.shape
        shares, total = np.empty((k, block.n_rows)), np.empty(block.n_rows)
        difference, y, out = _scratch(n_terms, 4, k)
        for x, start, stop in dense_runs(block, n_terms):
            own, of_rows = np.empty((k, stop - start)), total[start:stop]
            mixture_shares(
                x, stop - start, n_terms, self.levels, self.means, self.roots, is_diagonal(self.kind), difference, y,
                out, own, of_rows,
            )  # fmt: skip
            shares[:, start:stop] = own
        return shares, total


def _scratch(*rows: int) -> list[Floats]:
    """Return matrices of SLICE columns in this thread's scratch memory."""
    buffer, found, start = thread_buffer(sum(rows) * SLICE), [], 0
    for n in rows:
        found.append(buffer[start * SLICE : (start + n) * SLICE].reshape(n, SLICE))
        start += n
    return found


def dense_runs(block: Block, n_terms: int) -> Iterator[tuple[Floats, int, int]]:
    """Yield the rows of a block with all terms dense: flat memory of column-major runs, and where each lies."""
    if block.sparse is None:
        yield flat(block.X), 0, block.n_rows
        return
    from scipy.sparse import csr_array

    indptr, indices, values = block.sparse
    size = max(SLICE, _DENSE_BYTES // (8 * n_terms))
    for start in range(0, block.n_rows, size):
        stop = min(start + size, block.n_rows)
        inside = slice(indptr[start], indptr[stop])
        rows = csr_array(
            (values[inside], indices[inside], indptr[start : stop + 1] - indptr[start]), shape=(stop - start, n_terms)
        )
        X = np.asfortranarray(rows.toarray(order="F"))
        X[:, : block.X.shape[1]] = block.X[start:stop]
        yield flat(X), start, stop


class MixtureStep:
    """Expectation over all rows, and the moments that maximisation needs, about the present means.

    State: ``moments`` (k, m, m) lower triangles of ``[1 0 x - mean]``, m = n_terms + 2; with diagonal covariances
    (k, 1, 2 n_terms + 1): weight, first and second moments. ``likelihood`` (2,): sum of weights, log likelihood.

    Parameters
    ----------
    components : Components
    """

    # Sums are added in another order.
    tolerance = 1e-9
    chained = False

    def __init__(self, components: Components) -> None:
        self.components = components

    def start(self) -> State:
        """Return the state of no rows."""
        k, n_terms = self.components.means.shape
        shape = (k, 1, 2 * n_terms + 1) if is_diagonal(self.components.kind) else (k, n_terms + 2, n_terms + 2)
        return {"moments": np.zeros(shape), "likelihood": np.zeros(2)}

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        shares, total = self.components.shares(block)
        weight = np.ones(block.n_rows) if block.weight is None else block.weight
        state["likelihood"] += weight.sum(), weight @ total
        add_moments(state["moments"], block, shares, self.components.means, self.components.kind)

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        into["moments"] += other["moments"]
        into["likelihood"] += other["likelihood"]
        return into


class NearestStep(MixtureStep):
    """The moments of rows that belong wholly to the nearest of some centres: where a mixture starts.

    Parameters
    ----------
    centres : Centres
        Centres, which the moments are taken about.
    kind : {"full", "tied", "diag", "spherical"}
    """

    def __init__(self, centres: Centres, kind: Kind) -> None:
        k, n_terms = centres.points.shape
        super().__init__(Components(kind, np.full(k, 1.0 / k), centres.points, np.ones((k, 1, n_terms))))
        self.centres = centres

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        label, _ = self.centres.nearest(block)
        shares = (label == np.arange(len(self.centres))[:, None]).astype(np.float64)
        state["likelihood"][0] += block.n_rows if block.weight is None else block.weight.sum()
        add_moments(state["moments"], block, shares, self.centres.points, self.components.kind)


def add_moments(moments: Floats, block: Block, shares: Floats, means: Floats, kind: Kind) -> None:
    """Add the moments of a block whose rows have some shares (k, n) in the components."""
    n_terms = means.shape[1]
    for x, start, stop in dense_runs(block, n_terms):
        plain, scaled = (scratch.reshape(-1) for scratch in _scratch(n_terms, n_terms))
        own = np.ascontiguousarray(shares[:, start:stop])
        weight = own[0] if block.weight is None else block.weight[start:stop]
        weighted, diagonal = block.weight is not None, is_diagonal(kind)
        moments_add(x, stop - start, n_terms, means, weight, weighted, own, diagonal, plain, scaled, moments)


def maximised(state: State, about: Floats, kind: Kind, reg_covar: float, owner: str) -> tuple[Components, Floats]:
    """Return the components of the moments about some means, and their covariances."""
    moments = state["moments"]
    k, n_terms = about.shape
    diagonal = is_diagonal(kind)
    weight = moments[:, 0, 0] + _LEAST_WEIGHT
    if diagonal:
        first, second = moments[:, 0, 1 : n_terms + 1], moments[:, 0, n_terms + 1 :]
        shift = first / weight[:, None]
        variance = np.maximum(second / weight[:, None] - shift**2, 0.0) + reg_covar
        if kind == "spherical":
            variance = np.repeat(variance.mean(axis=1, keepdims=True), n_terms, axis=1)
        covariances, roots = variance, 1.0 / np.sqrt(variance)[:, None, :]
    else:
        shift = moments[:, 2:, 0] / weight[:, None]
        lower = moments[:, 2:, 2:] - weight[:, None, None] * shift[:, :, None] * shift[:, None, :]
        if kind == "tied":
            lower = np.broadcast_to(lower.sum(axis=0) / weight.sum(), (k, n_terms, n_terms))
        else:
            lower = lower / weight[:, None, None]
        covariances = np.tril(lower) + np.swapaxes(np.tril(lower, -1), 1, 2)
        covariances[:, np.arange(n_terms), np.arange(n_terms)] += reg_covar
        roots = roots_of(covariances, kind, owner)
    weights = weight / weight.sum()
    return Components(kind, weights, about + shift, roots), covariances


def roots_of(covariances: Floats, kind: Kind, owner: str) -> Floats:
    """Return the upper triangular roots of the inverses of covariances.

    Raises
    ------
    InvalidData
        A covariance is not positive definite.
    """
    n_terms = covariances.shape[1]
    roots = np.empty_like(covariances)
    for number, covariance in enumerate(covariances):
        if kind == "tied" and number:
            roots[number] = roots[0]
            continue
        try:
            lower = cholesky(covariance, lower=True)
        except LinAlgError as error:
            raise InvalidData(
                f"{owner}: the covariance of component {number} must be positive definite, and is not: it has few rows "
                "or terms that depend on each other. Lower n_components, raise reg_covar, or use covariance_type='diag'"
            ) from error
        roots[number] = solve_triangular(lower, np.eye(n_terms), lower=True).T
    return roots
