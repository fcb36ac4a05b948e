"""What NMF and MiniBatchNMF share: codes of rows that are not negative, the first atoms, checks, transforms."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from dbml_kernels.divergence_codes import divergence_codes
from numpy.typing import NDArray

from dbml.errors import InvalidData, InvalidParameter, listing
from dbml.estimators.plain_rows import lowest_values, plain_tiles, rows_times
from dbml.estimators.random_state import seed_of
from dbml.estimators.room import check_room
from dbml.estimators.sparse_codes import improve_codes, sweep_nonnegative
from dbml.estimators.transformer import UnweightedTransformer
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data

LOSSES = ("frobenius", "kullback-leibler")

_SAMPLE_BYTES = 64 << 20  # of rows from which the first atoms are made
_SWEEPS = 500
_UPDATES = 200
_FEW_SWEEPS, _FEW_UPDATES = 2, 2  # from the codes of the pass before
_FIRST_SWEEPS = 20  # from 0, where the next atoms or the next pass change codes anyway
_EXACT = 1e-6  # relative change of a code from which it counts as found
_CLOSE = 1e-4
_SMALL = 1e-6


class Codes:
    """Codes of rows over atoms: ``x ~ w H`` with ``w >= 0``, of least loss.

    Parameters
    ----------
    H : ndarray of shape (k, n_terms)
        Atoms.
    centre : ndarray of shape (n_terms,)
        What blocks lack of the values of the user.
    loss : {"frobenius", "kullback-leibler"}
        What is minimised.
    l1, l2 : float
        Penalties of a code.
    """

    def __init__(self, H: Floats, centre: Floats, loss: str, l1: float, l2: float) -> None:
        self.H, self.centre, self.loss, self.l1, self.l2 = H, centre, loss, l1, l2
        self.gram = H @ H.T
        self.sums = H.sum(axis=1)
        self._turned = np.ascontiguousarray(H.T)

    def of_block(self, block: Block, known: NDArray[np.float32] | None = None, brief: bool = False) -> Floats:
        """Return the codes of the rows of a block, shape (n, k): the best, or `brief`, a few steps from `known` ones.

        The steps are more where no code is known.
        """
        if self.loss == "frobenius":
            projection = rows_times(block, self._turned, self.centre)
            return self.of_projection(projection, known, brief)
        W = np.empty((block.n_rows, len(self.H)))
        for start, tile in plain_tiles(block, self.centre):
            stop = start + len(tile)
            W[start:stop] = self.of_rows(tile, None if known is None else known[start:stop], brief)
        return W

    def of_projection(
        self, projection: Floats, known: NDArray[np.float32] | None = None, brief: bool = False
    ) -> Floats:
        """Return the codes under squared errors from the products of the rows with the atoms."""
        ridged = self.gram + self.l2 * np.eye(len(self.H))
        W = np.zeros(projection.shape) if known is None else known.astype(np.float64)
        if brief:
            sweep_nonnegative(ridged, projection, self.l1, _FIRST_SWEEPS if known is None else _FEW_SWEEPS, W)
        else:
            improve_codes(ridged, projection, self.l1, True, _SWEEPS, _EXACT, W)
        return W

    def of_rows(self, tile: Floats, known: NDArray[np.float32] | None = None, brief: bool = False) -> Floats:
        """Return the codes under the divergence of rows of the user's values."""
        k, p = self.H.shape
        if known is None:
            share = self.sums.sum()
            level = tile.sum(axis=1) / share if share > 0.0 else np.zeros(len(tile))
            W = np.repeat(level[:, None], k, axis=1)
        else:
            W = known.astype(np.float64)
        updates = _FEW_UPDATES if brief and known is not None else _UPDATES
        scratch = (np.empty(p, np.intp), np.empty(p), np.empty(k))
        divergence_codes(tile, self._turned, self.sums, self.l1, self.l2, updates, _CLOSE, W, *scratch)
        return W


class NonnegativeFactorization(UnweightedTransformer):
    """A factorization of values that are not negative; a subclass finds `components_`.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_terms)
        The atoms, on the scale of the values.
    """

    _prefix: ClassVar[str] = "nmf"

    n_components: Any
    init: str | None
    beta_loss: str
    alpha_W: float  # noqa: N815 - scikit-learn's name
    alpha_H: Any  # noqa: N815
    l1_ratio: float
    random_state: Any

    components_: Floats
    n_components_: int

    def _n_atoms(self, n_terms: int) -> int:
        return n_terms if self.n_components in (None, "auto") else int(self.n_components)

    def _penalties(self, n_terms: int, n_rows: float) -> tuple[float, float, float, float]:
        """Return the l1 and l2 penalties of codes, then of atoms, as scikit-learn scales them."""
        alpha_H = self.alpha_W if self.alpha_H == "same" else float(self.alpha_H)
        of_codes, of_atoms = self.alpha_W * n_terms, alpha_H * n_rows
        rest = 1.0 - self.l1_ratio
        return of_codes * self.l1_ratio, of_codes * rest, of_atoms * self.l1_ratio, of_atoms * rest

    def _codes(self, centre: Floats, H: Floats | None = None) -> Codes:
        atoms = self.components_ if H is None else H
        l1, l2, _, _ = self._penalties(atoms.shape[1], 1.0)
        return Codes(atoms, centre, self.beta_loss, l1, l2)

    def _first_atoms(self, data: Data, centre: Floats) -> Floats:
        """Return the atoms to start from, made of some rows."""
        n_terms = data.schema.encoding.n_terms
        k, seed = self._n_atoms(n_terms), seed_of(self.random_state)
        check_room(type(self).__name__, f"{k:,} components", 8 * k * (3 * n_terms + 2 * k), "lower n_components")
        sample = data.sample(max(k, min(20_000, _SAMPLE_BYTES // (8 * n_terms))), seed)
        if not sample.n_rows:
            raise InvalidData(f"{type(self).__name__}: {data.plan.source} has no rows to learn from")
        rows = np.concatenate([tile for _, tile in plain_tiles(sample, centre)])
        self._check_lowest(data, lowest_values(sample, centre))
        fewest = min(rows.shape)
        init = self.init or ("nndsvda" if k <= fewest else "random")
        if init != "random" and k > fewest:
            raise InvalidParameter(
                f"{type(self).__name__}: init = {init!r} needs n_components <= min(n_samples, n_features), which is "
                f"{fewest}; got {k}"
            )
        generator = np.random.default_rng(seed)
        mean = rows.mean()
        if init == "random":
            return np.abs(generator.normal(size=(k, n_terms))) * np.sqrt(mean / k)
        H = nndsvd(rows, k)
        if init == "nndsvda":
            H[H == 0.0] = mean
        elif init == "nndsvdar":
            empty = H == 0.0
            H[empty] = np.abs(mean * generator.normal(size=int(empty.sum())) / 100.0)
        return H

    def _check_lowest(self, data: Data, lowest: Floats) -> None:
        """Raise `InvalidData` where a term has values below 0."""
        below = np.flatnonzero(lowest < 0.0)
        if below.size:
            names = [data.schema.encoding.terms[term] for term in below[:20]]
            raise InvalidData(
                f"Negative values in data passed to {type(self).__name__}: columns must be >= 0, and are not in "
                f"{listing(names)} (least value {lowest.min():g}). Leave them out, or shift them in SQL"
            )

    def _check_loss(self) -> None:
        if self.beta_loss == "kullback-leibler" and getattr(self, "solver", "mu") != "mu":
            raise InvalidParameter(
                f"{type(self).__name__}: beta_loss = 'kullback-leibler' needs solver = 'mu'; got "
                f"{getattr(self, 'solver', None)!r}"
            )

    # transforming ----------------------------------------------------------------------------------------------

    def _transform_block(self, block: Block) -> Floats:
        centre = np.array(self.schema_.encoding.centre())
        lowest = lowest_values(block, centre)
        if (lowest < 0.0).any():
            names = [self.terms_[term] for term in np.flatnonzero(lowest < 0.0)[:20]]
            raise InvalidData(
                f"Negative values in data passed to {type(self).__name__}.transform: columns must be >= 0, and are not "
                f"in {listing(names)} (least value {lowest.min():g})"
            )
        return self._codes(centre).of_block(block)

    def _names_out(self) -> list[str]:
        return [f"{self._prefix}{number}" for number in range(len(self.components_))]

    def inverse_transform(self, X: Any) -> Floats:
        """Return the rows that codes stand for, ``X components_``.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_components)
            Codes, as `transform` returns them.

        Returns
        -------
        ndarray of shape (n_rows, n_terms)
            On the scale of the values, a column a term (`terms_`).
        """
        self._check_fitted()
        return np.asarray(X, dtype=np.float64) @ self.components_

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: values must not be negative."""
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


def nndsvd(rows: Floats, k: int) -> Floats:
    """Return the atoms of the nonnegative double singular value decomposition of rows (n, p), shape (k, p).

    Of each singular vector the larger of its positive and its negative part (Boutsidis & Gallopoulos 2008).
    """
    U, S, V = _leading(rows, k)
    H = np.zeros((k, rows.shape[1]))
    H[0] = np.sqrt(S[0]) * np.abs(V[0])
    for j in range(1, k):
        plus = (np.maximum(U[:, j], 0.0), np.maximum(V[j], 0.0))
        minus = (np.maximum(-U[:, j], 0.0), np.maximum(-V[j], 0.0))
        sizes = [np.linalg.norm(u) * np.linalg.norm(v) for u, v in (plus, minus)]
        size, v = (sizes[0], plus[1]) if sizes[0] > sizes[1] else (sizes[1], minus[1])
        norm = np.linalg.norm(v)
        if norm > 0.0:
            H[j] = np.sqrt(S[j] * size) * v / norm
    H[H < _SMALL] = 0.0
    return H


def _leading(rows: Floats, k: int) -> tuple[Floats, Floats, Floats]:
    """Return the leading singular vectors and values of rows, from the smaller of their two Gram matrices."""
    wide = rows.shape[1] > rows.shape[0]
    gram = rows @ rows.T if wide else rows.T @ rows
    values, vectors = np.linalg.eigh(gram)
    vectors = vectors[:, ::-1][:, :k]
    S = np.sqrt(np.maximum(values[::-1][:k], 0.0))
    inverse = np.divide(1.0, S, out=np.zeros_like(S), where=S > 0.0)
    if wide:
        return vectors, S, (vectors.T @ rows) * inverse[:, None]
    return rows @ vectors * inverse, S, vectors.T
