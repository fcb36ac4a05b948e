"""Principal component analysis batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.components.batch_step import BatchStep
from dbml.estimators.components.likelihood import ProbabilisticProjection
from dbml.estimators.components.spectrum import freedom_of, rows_of, settled, signed
from dbml.params import Boolean, Either, Integer, Options, Rule
from dbml.passes.block import Floats
from dbml.passes.data import Data
from dbml.passes.plan import ExpectedPasses
from dbml.passes.step import State

_PASSES = ExpectedPasses("1", "each batch updates what was learned from the rows before")
_FEWEST_ROWS, _BATCH_BYTES = 2_048, 16 << 20


class IncrementalPCA(ProbabilisticProjection):
    """Principal components of rows that come in batches: what was learned from the earlier ones is updated.

    Where the rows lie in a table, `PCA` is faster and exact at the same memory. This class is for `partial_fit`, and
    for what must equal scikit-learn's results batch by batch.

    Parameters
    ----------
    n_components : int or None, default=None
        How many; None: as many as there are terms, or rows in the first batch.
    whiten : bool, default=False
        Whether outputs are divided by their standard deviations.
    batch_size : int or None, default=None
        Rows of a batch in `fit`; None: five times the terms, and 2,048 at least (larger batches are nearer to the
        components of all rows, and cost less).

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_terms)
        Directions, by falling variance (`terms_` names their entries). The largest entry of each is positive.
    explained_variance_, explained_variance_ratio_ : ndarray of shape (n_components_,)
        Variance along each, and its share of the variance of all terms.
    singular_values_ : ndarray of shape (n_components_,)
        Square roots of the sums of squares along each.
    mean_, var_ : ndarray of shape (n_terms,)
        Mean and variance of the terms, in the units of the columns; `centred_mean_` is the mean as blocks hold them.
    n_components_, batch_size_ : int
        Components, and rows of a batch in `fit`.
    n_samples_seen_ : int
        Rows that were learned from; weights of more than 1 on average count as repetitions.
    weight_seen_ : float
        Sum of their weights.
    noise_variance_ : float
        Mean variance along the directions that the last batch left out.

    Notes
    -----
    One pass on one thread (batches follow each other), ``2 n p^2`` multiplications, ``8 p (batch_size + 2 k)`` bytes
    for p terms and k components. The batches follow the order of the rows. Sample weights count as repetitions; where
    they sum to less than the n rows that weigh, variances are of weights that sum to n. A NULL takes the mean of its
    column, and a term of its own marks it; `partial_fit` keeps the terms of its first call.

    References
    ----------
    Ross, Lim, Lin & Yang 2008, incremental learning for robust visual tracking.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import IncrementalPCA
    >>> X = np.array([[-1.0, -1.0], [-2.0, -1.0], [-3.0, -2.0], [1.0, 1.0], [2.0, 1.0], [3.0, 2.0]])
    >>> pca = IncrementalPCA(n_components=1).partial_fit(X[:3]).partial_fit(X[3:])
    >>> pca.explained_variance_ratio_.round(4), pca.n_samples_seen_
    (array([0.9924]), 6)
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "n_components": Either((Options((None,)), Integer(ge=1))),
        "whiten": Boolean(),
        "batch_size": Either((Options((None,)), Integer(ge=1))),
    }
    sql_options: ClassVar[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
        "num_principal_components": lambda value: {"n_components": value},
    }

    explained_variance_ratio_: Floats
    singular_values_: Floats
    var_: Floats
    n_components_: int
    n_samples_seen_: int
    weight_seen_: float
    batch_size_: int

    def __init__(self, n_components: int | None = None, *, whiten: bool = False, batch_size: int | None = None) -> None:
        self.n_components = n_components
        self.whiten = whiten
        self.batch_size = batch_size

    def _fit(self, data: Data) -> None:
        p = data.schema.encoding.n_terms
        self.batch_size_ = self.batch_size if self.batch_size is not None else max(5 * p, _FEWEST_ROWS)
        how = f"{self.batch_size_:,} rows each, in the order of the rows, on one thread"
        data.decide_solver("batches", how, _PASSES)
        self._learn(data, self.batch_size_, None)

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        con: Any = None,
        options: dict[str, Any] | None = None,
    ) -> Self:
        """Learn from the rows of X as one batch (of several, beyond 16 MiB), besides what was learned before.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or sparse matrix
            The rows; at least `n_components` in the first call.
        y : ignored
            There for scikit-learn's pipelines.
        sample_weight : array of shape (n_rows,) or column name, optional
            Weights, not negative.
        con : connection, optional
            Where a table name or SQL is looked up.
        options : dict, optional
            Encoding options of the first call, see `dbml.passes.dispatch.as_data`.

        Returns
        -------
        self
        """
        self._check_hyperparameters()
        begin = self._begin() if "components_" in vars(self) else None

        def more(data: Data) -> None:
            batch = max(_FEWEST_ROWS, _BATCH_BYTES // (8 * data.schema.encoding.n_terms))
            self._learn(data, batch, begin)
            if begin is None:
                self.batch_size_ = batch if self.batch_size is None else self.batch_size

        schema = self.schema_ if begin is not None else None
        return self._train_on(X, y, sample_weight, con, options, schema, more)

    def _begin(self) -> State:
        """Return the state of the step after the rows seen so far."""
        if self.n_components is not None and self.n_components != self.n_components_:
            raise InvalidParameter(
                f"IncrementalPCA: n_components must stay {self.n_components_}, as in the first call of partial_fit; "
                f"got {self.n_components!r}"
            )
        return {
            "directions": self.components_ * self.singular_values_[:, None],
            "mean": self.centred_mean_,
            "squares": self.var_ * self.weight_seen_,
            "totals": np.array([self.weight_seen_, float(self.n_samples_seen_), 0.0]),
        }

    def _learn(self, data: Data, batch: int, begin: State | None) -> None:
        p = data.schema.encoding.n_terms
        if self.n_components is not None and self.n_components > min(p, batch):
            what = f"the {p:,} terms" if p <= batch else f"the {batch:,} rows of a batch"
            raise InvalidParameter(
                f"IncrementalPCA: n_components must be at most {min(p, batch):,}, {what} of {data.plan.source}; "
                f"got {self.n_components!r}"
            )
        step = BatchStep(p, self.n_components, batch, begin)
        (state,) = data.fold(step, purpose="batches")
        state = step.finished(state)
        rows = rows_of(int(state["totals"][1]), float(state["totals"][0]))
        fewest = 2 if self.n_components is None else max(2, int(self.n_components))
        if rows < fewest:
            raise InvalidData(
                f"IncrementalPCA: {data.plan.source} must have at least {fewest} rows at first; got n_samples={rows}"
            )
        self._attributes_of(data, state, rows)

    def _attributes_of(self, data: Data, state: State, rows: int) -> None:
        p = data.schema.encoding.n_terms
        k = self.n_components or min(len(state["directions"]), rows)
        directions = state["directions"][:k]
        singular = np.sqrt(np.einsum("ij,ij->i", directions, directions))
        weight = float(state["totals"][0])
        freedom = freedom_of(weight, rows)
        divisor = np.where(singular > 0.0, singular, 1.0)[:, None]
        self.components_ = signed(settled(directions / divisor, singular**2, (p * np.finfo(float).eps) ** 2))
        self.singular_values_ = singular
        self.explained_variance_ = singular**2 / freedom
        total = float(state["squares"].sum())
        self.explained_variance_ratio_ = singular**2 / total if total > 0.0 else np.zeros(k)
        self.centred_mean_ = state["mean"]
        self.mean_ = state["mean"] + np.array(data.schema.encoding.centre())
        self.var_ = state["squares"] / weight
        self.noise_variance_ = float(state["totals"][2]) / freedom
        self.n_components_, self.n_samples_seen_, self.weight_seen_ = k, rows, weight
