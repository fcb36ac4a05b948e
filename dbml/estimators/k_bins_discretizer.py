"""K-bins discretizer: numbers become the number of the bin that they fall in."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from dbml_sql.forms import Binned, TermFunction

from dbml.errors import DbmlWarning, InvalidData, InvalidParameter, listing
from dbml.estimators.column_steps import ONE_PASS, ColumnMomentsStep
from dbml.estimators.line_clusters import line_centres
from dbml.estimators.marked_columns import positions_to_rows, rows_to_positions
from dbml.estimators.quantiles import METHODS, QUANTILE_PASSES, block_quantiles, column_quantiles
from dbml.estimators.random_state import RANDOM_STATE_RULE, seed_of
from dbml.estimators.room import check_room
from dbml.estimators.termwise import TermwiseTransformer, check_outputs
from dbml.params import Either, Instance, Integer, Options, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.memory import memory_budget
from dbml.passes.plan import ExpectedPasses

_SAMPLED = ExpectedPasses("a sample", "it decides on the edges of the bins")
_NARROWEST = 1e-8
_BIN_BYTES = 128  # of an edge, as Python holds it in lists


class KBinsDiscretizer(TermwiseTransformer):
    """Columns cut into bins.

    Parameters
    ----------
    n_bins : int or sequence of int, default=5
        Bins of each column, or of each one its own number.
    encode : {"onehot", "onehot-dense", "ordinal"}, default="onehot"
        A column of 0 and 1 for each bin (`transform` of arrays and tables gives a `scipy.sparse.csr_matrix`, or a dense
        array), or the number of the bin.
    strategy : {"uniform", "quantile", "kmeans"}, default="quantile"
        Bins of one width, of as many rows each, or around the centres of one-dimensional k-means.
    quantile_method : {"averaged_inverted_cdf", "inverted_cdf", "linear"}, default="averaged_inverted_cdf"
        How quantiles are defined, as in `numpy.quantile`; ``linear`` is not defined where rows have weights.
    subsample : int or None, default=200_000
        Most rows that decide on quantiles and k-means; None: all of them.
    random_state : int, RandomState or None, default=None
        Seed of the rows; None means 0, so that a fit can be repeated.

    Attributes
    ----------
    n_bins_ : ndarray of shape (n_columns,)
        Bins of each column: fewer than asked for where some would be narrower than 1e-8, or
        than that share of the range of a column whose values are within 1 of each other; k-means
        makes no more than there are distinct values.
    bin_edges_ : ndarray of shape (n_columns,), dtype object
        Edges of each column, ascending.
    edges_ : list of list of float
        The same as lists.

    Notes
    -----
    ``uniform`` reads the table once. The others read a sample of `subsample` rows; with ``subsample=None`` quantiles
    are exact over all rows in passes of constant memory (see `dbml.estimators.quantiles`), and k-means holds the rows
    in memory. Missing values (NULL, NaN, infinities) decide nothing and stay missing; among columns of 0 and 1 they are
    0 in all. A value beyond the edges belongs to the first or last bin.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import KBinsDiscretizer
    >>> X = np.arange(6.0).reshape(-1, 1)
    >>> KBinsDiscretizer(n_bins=3, encode="ordinal").fit_transform(X).ravel()
    array([0., 0., 1., 1., 2., 2.])
    """

    model_types: ClassVar[tuple[str, ...]] = ("k_bins_discretizer",)
    rules: ClassVar[Mapping[str, Rule]] = {
        "n_bins": Either((Integer(ge=2), Instance((list, tuple, np.ndarray), "a sequence of integers"))),
        "encode": Options(("onehot", "onehot-dense", "ordinal")),
        "strategy": Options(("uniform", "quantile", "kmeans")),
        "quantile_method": Options(METHODS),
        "subsample": Either((Options((None,)), Integer(ge=1))),
        "random_state": RANDOM_STATE_RULE,
    }
    sql_options: ClassVar[Mapping[str, Any]] = {"num_buckets": lambda value: {"n_bins": value}}

    edges_: list[list[float]]

    def __init__(
        self,
        n_bins: Any = 5,
        *,
        encode: str = "onehot",
        strategy: str = "quantile",
        quantile_method: str = "averaged_inverted_cdf",
        subsample: int | None = 200_000,
        random_state: Any = None,
    ) -> None:
        self.n_bins = n_bins
        self.encode = encode
        self.strategy = strategy
        self.quantile_method = quantile_method
        self.subsample = subsample
        self.random_state = random_state

    # training --------------------------------------------------------------------------------------------------

    def _fit(self, data: Data) -> None:
        self._check_columns(data)
        linear = self.strategy == "quantile" and self.quantile_method == "linear"
        if linear and data.sample(1, 0).weight is not None:
            raise InvalidParameter(
                f"{type(self).__name__}: quantile_method must be 'averaged_inverted_cdf' or 'inverted_cdf' where rows "
                "have weights; got 'linear'"
            )
        wanted = self._wanted(data.schema.encoding.n_dense)
        taken = _BIN_BYTES * sum(wanted)
        check_room(type(self).__name__, f"{sum(wanted):,} bins", taken, "lower n_bins")
        choice, passes = "one sample", _SAMPLED
        if self.strategy == "uniform":
            choice, passes = "one pass", ONE_PASS
        elif self.strategy == "quantile" and self.subsample is None:
            choice, passes = "passes of exact quantiles", QUANTILE_PASSES
        data.decide_solver(choice, f"strategy={self.strategy!r} asks each column by itself", passes)
        if self.strategy == "uniform":
            (state,) = data.fold(ColumnMomentsStep(len(wanted)), purpose="limits")
            limits = state["limits"].T
            edges = [np.linspace(low, high, n + 1) for n, (low, high) in zip(wanted, limits, strict=True)]
        elif self.strategy == "kmeans":
            block = self._rows(data)
            edges = [_centred_bins(block, j, n) for j, n in enumerate(wanted)]
        else:
            shares = [np.linspace(0.0, 1.0, n + 1).tolist() for n in wanted]
            edges = self._quantiles(data, shares)
        terms = data.schema.encoding.terms
        self.edges_ = [self._kept(found, terms[j], n) for j, (found, n) in enumerate(zip(edges, wanted, strict=True))]

    def _wanted(self, n_terms: int) -> list[int]:
        """Return the bins of each column."""
        if isinstance(self.n_bins, numbers.Integral):
            return [int(self.n_bins)] * n_terms
        found = list(self.n_bins)
        if len(found) != n_terms or not all(isinstance(n, numbers.Integral) and int(n) >= 2 for n in found):
            raise InvalidParameter(
                f"{type(self).__name__}: n_bins must be an integer >= 2, or one for each of {n_terms} columns; "
                f"got {listing(map(repr, found))}"
            )
        return [int(n) for n in found]

    def _rows(self, data: Data) -> Block:
        """Return the rows that decide."""
        n_dense = max(data.schema.encoding.n_dense, 1)
        most = max(memory_budget().kept // (8 * n_dense), 1)
        block = data.sample(min(self.subsample or most, most), seed_of(self.random_state))
        if block.n_rows == 0:
            raise InvalidData(f"{type(self).__name__}: {data.plan.source} has no rows to learn from")
        if self.subsample is None and block.n_rows >= most:
            raise InvalidData(
                f"{type(self).__name__}: {data.plan.source} has more rows than fit in memory. Give subsample a number, "
                "or choose another strategy"
            )
        return block

    def _quantiles(self, data: Data, shares: list[list[float]]) -> list[Floats]:
        if self.subsample is None:
            found = column_quantiles(data, shares, self.quantile_method, "quantiles")
            if not any(np.isfinite(some).any() for some in found):
                raise InvalidData(f"{type(self).__name__}: {data.plan.source} has no rows to learn from")
            return found
        block = self._rows(data)
        return block_quantiles(block, shares, self.quantile_method)

    def _kept(self, edges: Floats, name: str, wanted: int) -> list[float]:
        """Return the edges of a column without those of bins that are too narrow; of a constant one, infinite ones."""
        if not np.isfinite(edges).all() or edges[0] == edges[-1]:
            warnings.warn(
                f"{type(self).__name__}: column {name!r} is constant: all its values are in one bin",
                DbmlWarning,
                stacklevel=2,
            )
            return [-np.inf, np.inf]
        if self.strategy == "uniform":
            return edges.tolist()
        narrowest = _NARROWEST * min(edges[-1] - edges[0], 1.0)  # columns in small units have small bins
        kept = edges[np.ediff1d(edges, to_begin=np.inf) > narrowest]
        if kept.size <= wanted:
            warnings.warn(
                f"{type(self).__name__}: column {name!r} has {kept.size - 1} bins, not {wanted}: the others "
                f"would be narrower than {narrowest:g}",
                DbmlWarning,
                stacklevel=2,
            )
        return kept.tolist()

    # what the outputs are --------------------------------------------------------------------------------------

    @property
    def bin_edges_(self) -> np.ndarray:
        """Edges of each column."""
        found = np.empty(len(self.edges_), object)
        found[:] = [np.array(edges) for edges in self.edges_]
        return found

    @property
    def n_bins_(self) -> np.ndarray:
        """Bins of each column."""
        return np.array([len(edges) - 1 for edges in self.edges_])

    def _functions(self) -> list[TermFunction]:
        found: list[TermFunction] = []
        for j, edges in enumerate(self.edges_):
            inner = tuple(edges[1:-1])
            if self.encode == "ordinal":
                found.append(Binned(j, inner))
            else:
                found += [Binned(j, inner, only) for only in range(len(inner) + 1)]
        return found

    def _names_out(self) -> list[str]:
        terms = self.schema_.encoding.terms
        if self.encode == "ordinal":
            return list(terms)
        return [f"{terms[j]}_{float(k)}" for j, n in enumerate(self.n_bins_.tolist()) for k in range(n)]

    # rows ------------------------------------------------------------------------------------------------------

    def _positions_block(self, block: Block) -> np.ndarray:
        """Return the output of each row and column, -1 for a missing value, shape (n, n_columns)."""
        found = np.empty((block.n_rows, len(self.edges_)), np.intp)
        first = 0
        for j, edges in enumerate(self.edges_):
            column = block.X[:, j]
            bins = np.searchsorted(np.array(edges[1:-1]), column, side="right")
            found[:, j] = np.where(np.isnan(column), -1, first + bins)
            first += len(edges) - 1
        return found

    def transform(self, X: Any, *, con: Any = None) -> Any:
        """Return the bin of each value.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame or ndarray
            The rows; columns are matched by name, extra ones are ignored.
        con : connection, optional
            Where a table name or SQL is looked up.

        Returns
        -------
        csr_matrix or ndarray of shape (n_rows, n_outputs)
            Or a relation with a column more for each of `get_feature_names_out`, where X is a relation.
        """
        if self.encode == "ordinal":
            return super().transform(X, con=con)
        found = self._score(X, "transform", self._positions_block, con)
        if not isinstance(found, np.ndarray):
            return found
        return self._output(positions_to_rows(found, int(self.n_bins_.sum()), self.encode == "onehot"), X)

    def inverse_transform(self, X: Any) -> Floats:
        """Return the middle of the bin of each value.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_rows, n_outputs)
            Bins as `transform` gives them.

        Returns
        -------
        ndarray of shape (n_rows, n_columns)
            NaN where a value was missing.
        """
        self._check_fitted()
        name, widths = type(self).__name__, self.n_bins_.tolist()
        if self.encode == "ordinal":
            rows = check_outputs(name, X, len(widths))
            positions = np.where(np.isnan(rows), -1, np.nan_to_num(rows)).astype(np.intp)
        else:
            positions = rows_to_positions(check_outputs(name, X, sum(widths)), widths, name)
        found = np.empty(positions.shape)
        for j, edges in enumerate(self.edges_):
            middles = np.append((np.array(edges[1:]) + np.array(edges[:-1])) * 0.5, np.nan)
            found[:, j] = middles[positions[:, j]]
        return found


def _centred_bins(block: Block, j: int, n_bins: int) -> Floats:
    """Return edges halfway between the centres of one-dimensional k-means."""
    column = block.X[:, j]
    seen = ~np.isnan(column)
    if block.weight is not None:
        seen &= block.weight > 0.0
    values = column[seen]
    if not values.size:
        return np.full(2, np.nan)
    centres = line_centres(values, None if block.weight is None else block.weight[seen], n_bins)
    return np.concatenate([[values.min()], 0.5 * (centres[1:] + centres[:-1]), [values.max()]])
