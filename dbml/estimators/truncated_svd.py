"""Truncated singular value decomposition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from dbml.errors import InvalidParameter
from dbml.estimators.components.choice import choose_solver
from dbml.estimators.components.projection import Projection
from dbml.estimators.components.solvers import Aim, Sketching, by_covariance, by_lanczos, by_sketch, in_memory
from dbml.estimators.components.spectrum import Spectrum
from dbml.estimators.random_state import RANDOM_STATE_RULE, seed_of
from dbml.params import Either, Integer, Options, Real, Rule
from dbml.passes.block import Floats
from dbml.passes.data import Data


class TruncatedSVD(Projection):
    """Leading singular vectors of the terms as they are, not about their mean: sparse rows stay sparse.

    Of counts or weights of words this is latent semantic analysis.

    Parameters
    ----------
    n_components : int, default=2
        How many.
    algorithm : {"auto", "randomized", "arpack"}, default="auto"
        ``randomized``: a few passes with a few directions more than components. ``arpack``: Lanczos vectors to full
        precision, a pass each over encoded blocks that are kept in memory or spilled. ``auto``: one pass for the exact
        second moments of few terms, all rows in memory where they are few, else ``randomized``; `explain()` says why.
    n_iter : int or "auto", default="auto"
        Of ``randomized``: passes after the first one; "auto": until another one would find less than `tol` more, at
        most 7.
    n_oversamples : int, default=10
        Of ``randomized``: directions beyond the components.
    random_state : int, RandomState or None, default=None
        Seed of sample and first directions; None means 0, so that a fit can be repeated.
    tol : float, default=1e-3
        Of ``randomized``: share of the sum of squares found. ``arpack`` takes a billionth of it, relative to each
        singular value squared; 0 means the precision of the machine.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_terms)
        Right singular vectors (`terms_` names their entries). The largest entry of each is positive.
    explained_variance_, explained_variance_ratio_ : ndarray of shape (n_components,)
        Variance of each output over the training rows, and its share of the variance of all terms.
    singular_values_ : ndarray of shape (n_components,)
        Square roots of the sums of squares of the outputs.
    solver_ : str
        What was done: ``covariance_eigh`` (second moments), ``full`` (rows in memory), ``randomized`` or ``arpack``.

    Notes
    -----
    Passes and memory are those of `PCA`; for sparse terms an entry costs ``4 (n_components + n_oversamples)``
    multiplications a pass. Sample weights count as repetitions. A NULL takes the mean of its column, and a term of its
    own marks it.

    References
    ----------
    Halko, Martinsson & Tropp 2011, finding structure with randomness.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> from dbml import TruncatedSVD
    >>> words = sp.csr_array([[2.0, 1.0, 0.0], [4.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    >>> svd = TruncatedSVD(n_components=2).fit(words)
    >>> svd.singular_values_.round(6)
    array([5., 1.])
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "n_components": Integer(ge=1),
        "algorithm": Options(("auto", "randomized", "arpack")),
        "n_iter": Either((Options(("auto",)), Integer(ge=0))),
        "n_oversamples": Integer(ge=1),
        "random_state": RANDOM_STATE_RULE,
        "tol": Real(ge=0),
    }

    explained_variance_: Floats
    explained_variance_ratio_: Floats
    singular_values_: Floats
    solver_: str

    def __init__(
        self,
        n_components: int = 2,
        *,
        algorithm: str = "auto",
        n_iter: Any = "auto",
        n_oversamples: int = 10,
        random_state: Any = None,
        tol: float = 1e-3,
    ) -> None:
        self.n_components = n_components
        self.algorithm = algorithm
        self.n_iter = n_iter
        self.n_oversamples = n_oversamples
        self.random_state = random_state
        self.tol = tol

    def _fit(self, data: Data) -> None:
        p = data.schema.encoding.n_terms
        most = p - 1 if self.algorithm == "arpack" else p
        if self.n_components > most:
            raise InvalidParameter(
                f"TruncatedSVD: n_components must be at most {most:,} with algorithm={self.algorithm!r} for the {p:,} "
                f"terms of {data.plan.source}; got {self.n_components!r}"
            )
        self.solver_ = choose_solver(data, self.n_components + self.n_oversamples, self.algorithm)
        spectrum = self._decompose(data, Aim(type(self).__name__, int(self.n_components), centred=False))
        if self.n_components > len(spectrum.components):
            raise InvalidParameter(
                f"TruncatedSVD: n_components must be at most {spectrum.most:,}, which {spectrum.n_rows:,} rows of "
                f"{p:,} terms of {data.plan.source} have; got {self.n_components!r}"
            )
        self._attributes_of(data, spectrum)

    def _decompose(self, data: Data, aim: Aim) -> Spectrum:
        vars(self).pop("n_iter_", None)  # of an earlier fit by another solver
        seed = seed_of(self.random_state)
        if self.solver_ == "full":
            return in_memory(data, aim)[0]
        if self.solver_ == "covariance_eigh":
            return by_covariance(data, aim)[0]
        if self.solver_ == "arpack":
            with data.materialise() as kept:
                found = by_lanczos(kept, aim, 1e-9 * float(self.tol), seed)[0]
                data.plan = kept.plan
            return found
        powers = None if self.n_iter == "auto" else int(self.n_iter)
        how = Sketching(self.n_oversamples, powers, float(self.tol), seed)
        found, _, self.n_iter_ = by_sketch(
            data, aim, how, lambda number, share: self._iteration(number, explained=share)
        )
        return found

    def _attributes_of(self, data: Data, spectrum: Spectrum) -> None:
        kept = spectrum.first(self.n_components)
        self.components_ = kept.components
        self.centre_ = np.array(data.schema.encoding.centre())
        if kept.along_mean is not None:
            variance = kept.along_mean / kept.weight
        else:
            means = kept.components @ (kept.mean + self.centre_)
            variance = np.maximum(kept.squares / kept.weight - means**2, 0.0)
        self.singular_values_ = np.sqrt(kept.squares)
        self.explained_variance_ = variance
        whole = kept.about_mean / kept.weight
        self.explained_variance_ratio_ = variance / whole if whole > 0.0 else np.zeros(len(variance))

    def _weights(self) -> Floats:
        return self.components_

    def _origin(self) -> Floats:
        return -self.centre_

    def _back(self) -> tuple[Floats, Floats]:
        return self.components_, np.zeros(self.components_.shape[1])
