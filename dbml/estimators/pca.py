"""Principal component analysis."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from dbml.errors import InvalidParameter
from dbml.estimators.components.choice import choose_solver
from dbml.estimators.components.likelihood import ProbabilisticProjection
from dbml.estimators.components.solvers import Aim, Sketching, by_blocks, by_covariance, by_sketch, in_memory
from dbml.estimators.components.spectrum import Spectrum, likeliest_number, number_for_share
from dbml.estimators.random_state import RANDOM_STATE_RULE, seed_of
from dbml.params import Boolean, Either, Integer, Options, Real, Rule
from dbml.passes.block import Floats
from dbml.passes.data import Data

_SHARES = 1001  # of sampled rows, whose reconstruction errors are kept
_SAMPLE_ROWS, _SAMPLE_BYTES = 10_000, 16 << 20
_CONTAMINATION = 0.1  # BigQuery's default of ML.DETECT_ANOMALIES

# Below this share of the largest variance, a covariance of doubles has no digit left.
_SQUARED_AWAY = 1e-11

_SOLVERS = {"auto": "auto", "full": "full", "randomized": "randomized"}


def _solver(value: Any) -> dict[str, Any]:
    """Return the solver of BigQuery's ``pca_solver``."""
    solver = _SOLVERS.get(str(value).lower())
    if solver is None:
        words = ", ".join(repr(word) for word in _SOLVERS)
        raise InvalidParameter(f"PCA: pca_solver must be one of {words}; got {value!r}")
    return {"svd_solver": solver}


class PCA(ProbabilisticProjection):
    """Principal components: the orthogonal directions in which rows vary most.

    Parameters
    ----------
    n_components : int, float, "mle" or None, default=None
        How many: a number; a share in (0, 1) of the variance that they must explain; "mle": the likeliest (Minka);
        None: as many as there are terms or rows.
    whiten : bool, default=False
        Whether outputs are divided by their standard deviations.
    svd_solver : {"auto", "full", "covariance_eigh", "randomized", "blockwise"}, default="auto"
        ``covariance_eigh``: one pass for the covariance, exact; for up to a thousand terms or so. ``randomized``: a few
        passes with as many directions as there are components, for many terms. ``blockwise``: one pass, each block
        becomes a triangle, and triangles are merged; twice the work, and variances a trillionth of the largest are
        still right. ``full``: the rows in memory where there are fewer than terms, else as ``blockwise``. ``auto``:
        what takes the least time; `explain()` says why.
    tol : float, default=1e-3
        Of ``randomized``: passes end when another one would explain less than this share more. From 1e-5 on, products
        of the rows of a block are made in single precision, where a sample shows that its digits are enough.
    iterated_power : int or "auto", default="auto"
        Of ``randomized``: passes after the first one; "auto": as `tol` says, at most 7.
    n_oversamples : int, default=10
        Of ``randomized``: directions beyond the components.
    random_state : int, RandomState or None, default=None
        Of ``randomized``: seed of sample and first directions; None means 0, so that a fit can be repeated.
    scale_features : bool, default=False
        Whether terms are divided by their standard deviations first.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_terms)
        Directions, by falling variance (`terms_` names their entries). The largest entry of each is positive.
    explained_variance_, explained_variance_ratio_ : ndarray of shape (n_components_,)
        Variance along each, and its share of the variance of all terms.
    singular_values_ : ndarray of shape (n_components_,)
        Square roots of the sums of squares along each.
    mean_ : ndarray of shape (n_terms,)
        Mean of the terms, in the units of the columns; `centred_mean_` is the mean as blocks hold the terms.
    scale_ : ndarray of shape (n_terms,) or None
        What terms are divided by with `scale_features`.
    n_components_, n_samples_ : int
        Components, and training rows; weights of more than 1 on average count as repetitions.
    noise_variance_ : float
        Mean variance along the directions that were left out.
    solver_ : str
        The solver that was used.
    offset_, score_quantiles_ : float, list of float
        Of reconstruction errors, for ``ML.DETECT_ANOMALIES``: minus the error that a tenth of the rows exceeds, and
        the errors at 1,001 even shares, both from a sample of at most 10,000 rows.

    Notes
    -----
    Passes, multiplications and memory for n rows, p terms and k components: ``covariance_eigh`` one, ``n p^2 / 2``,
    ``8 p^2`` bytes per block in flight; ``blockwise`` one, ``2 n p^2``, alike; ``randomized`` mostly 1 to 3,
    ``4 n p (k + n_oversamples)`` each, ``8 p (k + n_oversamples)`` bytes for each pass and block in flight, after a
    sample of up to 24 rows a term, as far as `memory_limit` leaves room for kept rows. So rows may be any number,
    whatever `memory_limit` is. Sample weights count as repetitions; where they sum to less than the n rows that weigh,
    variances are of weights that sum to n. A NULL takes the mean of its column, and a term of its own marks it; levels
    of categories are terms of 0 and 1.

    References
    ----------
    Halko, Martinsson & Tropp 2011, finding structure with randomness; Minka 2000, automatic choice of dimensionality
    for PCA; Tipping & Bishop 1999, mixtures of probabilistic principal component analysers.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import PCA
    >>> X = np.array([[-1.0, -1.0], [-2.0, -1.0], [-3.0, -2.0], [1.0, 1.0], [2.0, 1.0], [3.0, 2.0]])
    >>> pca = PCA(n_components=1).fit(X)
    >>> pca.explained_variance_ratio_.round(4)
    array([0.9924])
    >>> pca.transform(X[:2]).round(4).ravel()
    array([-1.3834, -2.2219])
    """

    model_types: ClassVar[tuple[str, ...]] = ("pca",)
    rules: ClassVar[Mapping[str, Rule]] = {
        "n_components": Either((Options((None, "mle")), Integer(ge=1), Real(gt=0, lt=1))),
        "whiten": Boolean(),
        "svd_solver": Options(("auto", "full", "covariance_eigh", "randomized", "blockwise")),
        "tol": Real(ge=0),
        "iterated_power": Either((Options(("auto",)), Integer(ge=0))),
        "n_oversamples": Integer(ge=1),
        "random_state": RANDOM_STATE_RULE,
        "scale_features": Boolean(),
    }
    sql_options: ClassVar[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
        "num_principal_components": lambda value: {"n_components": value},
        "pca_explained_variance_ratio": lambda value: {"n_components": value},
        "pca_solver": _solver,
    }

    explained_variance_ratio_: Floats
    singular_values_: Floats
    scale_: Floats | None
    n_components_: int
    n_samples_: int
    solver_: str
    offset_: float
    score_quantiles_: list[float]

    def __init__(
        self,
        n_components: Any = None,
        *,
        whiten: bool = False,
        svd_solver: str = "auto",
        tol: float = 1e-3,
        iterated_power: Any = "auto",
        n_oversamples: int = 10,
        random_state: Any = None,
        scale_features: bool = False,
    ) -> None:
        self.n_components = n_components
        self.whiten = whiten
        self.svd_solver = svd_solver
        self.tol = tol
        self.iterated_power = iterated_power
        self.n_oversamples = n_oversamples
        self.random_state = random_state
        self.scale_features = scale_features

    def _check_params(self) -> None:
        if self.svd_solver == "randomized" and not self._counted() and self.n_components is not None:
            raise InvalidParameter(
                f"PCA: svd_solver='randomized' needs an integer n_components or None; got {self.n_components!r}"
            )

    def _counted(self) -> bool:
        return isinstance(self.n_components, numbers.Integral)

    # training --------------------------------------------------------------------------------------------------

    def _fit(self, data: Data) -> None:
        p = data.schema.encoding.n_terms
        self._check_number(p, f"{p:,} terms", data)
        directions = self.n_components + self.n_oversamples if self._counted() else None
        solver = choose_solver(data, directions, self.svd_solver)
        aim = Aim(type(self).__name__, int(self.n_components) if self._counted() else None, True, self.scale_features)
        spectrum, scale = self._decompose(data, aim, solver)
        self._check_number(spectrum.most, f"{spectrum.n_rows:,} rows of {p:,} terms", data)
        self._attributes_of(data, spectrum.first(self._number(spectrum)), scale)
        self._learn_errors(data)

    def _decompose(self, data: Data, aim: Aim, solver: str) -> tuple[Spectrum, Floats]:
        self.solver_ = solver
        vars(self).pop("n_iter_", None)  # of an earlier fit by another solver
        if solver == "randomized":
            powers = None if self.iterated_power == "auto" else int(self.iterated_power)
            how = Sketching(self.n_oversamples, powers, float(self.tol), seed_of(self.random_state))
            spectrum, scale, self.n_iter_ = by_sketch(
                data, aim, how, lambda number, share: self._iteration(number, explained=share)
            )
            return spectrum, scale
        if solver == "full":
            return in_memory(data, aim)
        if solver == "blockwise":
            return by_blocks(data, aim)
        spectrum, scale = by_covariance(data, aim)
        if self.svd_solver == "auto" and self.whiten and _squared_away(spectrum, self._number(spectrum)):
            self.solver_ = "blockwise"
            data.plan = data.plan.decide(
                "refinement",
                "one more pass, blockwise",
                "whitening divides by variances so small that a covariance has no digit of them left",
            )
            return by_blocks(data, aim)
        return spectrum, scale

    def _check_number(self, most: int, of: str, data: Data) -> None:
        if self._counted() and self.n_components > most:
            raise InvalidParameter(
                f"PCA: n_components must be at most {most:,}, which {of} of {data.plan.source} have; "
                f"got {self.n_components!r}"
            )

    def _number(self, spectrum: Spectrum) -> int:
        """Return how many components are kept."""
        if self.n_components is None:
            return min(spectrum.most, len(spectrum.squares))
        if self._counted():
            return int(self.n_components)
        if self.n_components == "mle":
            if spectrum.n_rows < spectrum.n_terms:
                raise InvalidParameter(
                    f"PCA: n_components='mle' needs at least as many rows as terms; got {spectrum.n_rows:,} rows of "
                    f"{spectrum.n_terms:,} terms"
                )
            return likeliest_number(spectrum.squares / spectrum.freedom, spectrum.n_rows)
        return number_for_share(spectrum.squares[: spectrum.most], spectrum.total, float(self.n_components))

    def _attributes_of(self, data: Data, kept: Spectrum, scale: Floats) -> None:
        k = len(kept.squares)
        self.components_ = kept.components
        self.explained_variance_ = kept.squares / kept.freedom
        self.explained_variance_ratio_ = kept.squares / kept.total if kept.total > 0.0 else np.zeros(k)
        self.singular_values_ = np.sqrt(kept.squares)
        self.centred_mean_ = kept.mean
        self.mean_ = kept.mean + np.array(data.schema.encoding.centre())
        self.scale_ = scale if self.scale_features else None
        self.n_components_, self.n_samples_ = k, kept.n_rows
        others = kept.most - k
        left = max(kept.total - float(kept.squares.sum()), 0.0) / kept.freedom
        self.noise_variance_ = left / others if others > 0 else 0.0

    def _learn_errors(self, data: Data) -> None:
        """Learn which reconstruction errors are usual, from some rows: another pass would double the price."""
        room = max(_SAMPLE_BYTES // data.row_bytes, 1_000)
        rows = data.sample(min(_SAMPLE_ROWS, room), seed_of(self.random_state))
        errors = self._anomaly_block(rows)
        errors = errors if rows.weight is None else errors[rows.weight > 0.0]
        errors = errors if errors.size else np.zeros(1)
        self.score_quantiles_ = np.quantile(errors, np.linspace(0.0, 1.0, _SHARES)).tolist()
        self.offset_ = -float(np.quantile(errors, 1.0 - _CONTAMINATION))

    def _scale(self) -> Floats:
        return super()._scale() if self.scale_ is None else self.scale_


def _squared_away(spectrum: Spectrum, n: int) -> bool:
    """Whether some of the first n variances is below the rounding of the largest, without being none."""
    squares = spectrum.squares[:n]
    return bool(len(squares) and 0.0 < squares[-1] <= _SQUARED_AWAY * squares[0])
