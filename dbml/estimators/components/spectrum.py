"""Directions and variances of a matrix, however they were computed: signs, how many to keep, what is left over."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg
from scipy.special import gammaln

from dbml.passes.block import Floats

# Terms up to which all eigenvectors are computed: fewer cost about as much.
_SMALL = 500


@dataclass(frozen=True)
class Spectrum:
    """Leading directions of rows, and the sums of squares along them.

    Attributes
    ----------
    components : ndarray of shape (n_components, n_terms)
        Orthonormal rows, by falling sums of squares.
    squares : ndarray of shape (n_components,)
        Sums of squares of the rows along them: squares of singular values.
    total : float
        Sum of squares over all directions.
    mean : ndarray of shape (n_terms,)
        Mean of the terms of the blocks.
    weight : float
        Sum of the weights of the rows.
    count : int
        Rows of positive weight.
    about_mean : float
        Sum of squares about the mean over all directions: `total` where rows are taken about their mean.
    along_mean : ndarray of shape (n_components,) or None
        Sums of squares about the mean along the components, of rows taken about 0, where they are known: far from 0
        they are no difference of `squares` and the mean.
    """

    components: Floats
    squares: Floats
    total: float
    mean: Floats
    weight: float
    count: int
    about_mean: float
    along_mean: Floats | None = None

    @property
    def n_terms(self) -> int:
        """Terms of the design."""
        return int(self.components.shape[1])

    @property
    def most(self) -> int:
        """Most components that these rows have."""
        return min(self.n_rows, self.n_terms)

    @property
    def n_rows(self) -> int:
        """Number of rows, weights counted as repetitions where they are more than 1 on average."""
        return rows_of(self.count, self.weight)

    @property
    def freedom(self) -> float:
        """What sums of squares are divided by for a variance; see `freedom_of`."""
        return freedom_of(self.weight, self.count)

    def first(self, n: int) -> Spectrum:
        """Return the first n components, with signs that do not depend on how they were computed."""
        along = None if self.along_mean is None else self.along_mean[:n]
        return replace(self, components=signed(self.components[:n]), squares=self.squares[:n], along_mean=along)


def rows_of(count: int, weight: float) -> int:
    """Return the number of rows that `count` rows of positive weight stand for."""
    return max(count, round(weight))


def freedom_of(weight: float, count: int) -> float:
    """Return what a sum of squares about the mean is divided by for a variance, ``weight (n - 1) / n`` of n rows.

    The rows are those of positive weight, or as many as the sum of their weights says where that is more. So whole
    weights are repetitions (``weight - 1``), and weights that sum to less than the rows have no unit: variances are
    those of weights that sum to the rows.
    """
    n = max(float(count), weight)
    return weight * (n - 1.0) / n if count > 1 else weight


def signed(components: Floats) -> Floats:
    """Return the rows with signs that make the largest entry by size of each positive, as in scikit-learn."""
    if not components.size:
        return components
    largest = np.abs(components).argmax(axis=1)
    signs = np.where(components[np.arange(len(components)), largest] < 0.0, -1.0, 1.0)
    return np.ascontiguousarray(components * signs[:, None])


def settled(components: Floats, squares: Floats, tolerance: float) -> Floats:
    """Return orthonormal rows of which those without variance do not depend on rounding.

    Where squares are at most `tolerance` of the largest, any directions orthogonal to the others would do: taken are
    those of single terms, as far as they are, which constant columns are wholly.
    """
    n, p = components.shape
    kept = squares > tolerance * float(squares.max(initial=0.0))
    if kept.all():
        return components
    outside = np.eye(p, min(n, p))  # so many span what is missing, whatever they share with the others
    for _ in range(2):
        outside -= components[kept].T @ (components[kept] @ outside)
    basis, _, _ = linalg.qr(outside, mode="economic", pivoting=True)
    made = components.copy()
    made[~kept] = basis[:, : n - int(kept.sum())].T
    return made


def of_gram(gram: Floats, n: int | None) -> tuple[Floats, Floats]:
    """Return the first n eigenvectors as rows (None: all) and their eigenvalues, falling, none below 0."""
    p = len(gram)
    if n is None or p <= _SMALL or n > p // 3:
        values, vectors = linalg.eigh(gram)
        n = p if n is None else min(n, p)
    else:
        values, vectors = linalg.eigh(gram, subset_by_index=(p - n, p - 1))
    found, squares = np.ascontiguousarray(vectors[:, ::-1][:, :n].T), np.maximum(values[::-1][:n], 0.0)
    components = settled(found, squares, p * np.finfo(float).eps)
    if components is found:
        return found, squares
    return components, np.maximum(np.einsum("ij,ij->i", components @ gram, components), 0.0)


def number_for_share(squares: Floats, total: float, share: float) -> int:
    """Return how many leading components explain more than a share of the total."""
    if total <= 0.0:
        return 1
    return min(int(np.searchsorted(np.cumsum(squares) / total, share, side="right")) + 1, len(squares))


def likeliest_number(variances: Floats, n_rows: float) -> int:
    """Return the dimension that explains the variances best by Minka's approximate evidence (Minka 2000, eq. 77)."""
    p = len(variances)
    logs = [_evidence(variances, rank, n_rows) for rank in range(1, p)]
    return int(np.argmax(logs)) + 1 if logs else 1


def _evidence(variances: Floats, rank: int, n_rows: float) -> float:
    p = len(variances)
    tiny = np.finfo(float).eps
    if variances[rank - 1] < tiny:
        return -np.inf
    k = np.arange(1, rank + 1)
    prior = -rank * np.log(2.0) + np.sum(gammaln((p - k + 1) / 2) - np.log(np.pi) * (p - k + 1) / 2)
    noise = max(float(variances[rank:].sum()) / (p - rank), tiny)
    freedom = p * rank - rank * (rank + 1) / 2
    smoothed = np.append(variances[:rank], np.full(p - rank, noise))
    i, j = np.nonzero(np.arange(p) > np.arange(rank)[:, None])
    with np.errstate(divide="ignore"):
        curvature = np.log((variances[i] - variances[j]) * (1.0 / smoothed[j] - 1.0 / smoothed[i])).sum()
    curvature += len(i) * np.log(n_rows)
    fit = -n_rows / 2 * (np.log(variances[:rank]).sum() + np.log(noise) * (p - rank))
    return float(prior + fit + np.log(2 * np.pi) * (freedom + rank) / 2 - curvature / 2 - rank * np.log(n_rows) / 2)
