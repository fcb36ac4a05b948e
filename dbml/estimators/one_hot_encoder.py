"""One-hot encoder: a column of 0 and 1 for each category."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from dbml_sql.features import EXACT, Feature
from dbml_sql.forms import Marked, TermFunction

from dbml.errors import InvalidData, listing
from dbml.estimators.column_steps import ONE_PASS, DistinctStep
from dbml.estimators.marked_columns import positions_to_rows, rows_to_positions
from dbml.estimators.termwise import Known, TermwiseTransformer, check_outputs, term_features
from dbml.params import Boolean, Either, Integer, Options, Real, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data

_MOST_CATEGORIES = 65_536
_INFREQUENT = "infrequent_sklearn"


class OneHotEncoder(TermwiseTransformer):
    """Each category of a column becomes a column: 1 in the rows that have it, else 0.

    Parameters
    ----------
    drop : {None, "first", "if_binary"}, default=None
        Which category has no column: none, the first of each column, or the first of those that have two.
    sparse_output : bool, default=True
        Whether `transform` of arrays and tables gives a `scipy.sparse.csr_matrix`; a relation has plain columns.
    handle_unknown : {"error", "ignore", "infrequent_if_exist"}, default="error"
        What a category that training did not see is: an error, 0 in all columns, or an infrequent one.
    min_frequency : int, float or None, default=None
        Rows (a float: share of the rows) below which categories are infrequent; those share a column.
    max_categories : int or None, default=None
        Most columns of one column; beyond, the rarest categories are infrequent.

    Attributes
    ----------
    categories_ : list of ndarray
        Categories of each column in ascending order, a missing one last (None, or NaN of a number).
    infrequent_categories_ : list of ndarray or None
        Infrequent categories of each column, None where there are none.
    drop_idx_ : ndarray of shape (n_columns,), dtype object, or None
        Place in `categories_` of the category without a column.
    codes_ : list of list
        The categories as the encoding has them: numbers, codes of texts, None for a missing one.
    frequencies_ : list of list
        Rows of each category.

    Notes
    -----
    Columns of text and numbers alike are categories; dates are those of their parts, vectors of their elements. The
    levels of texts are counted in SQL; one pass over the table then counts all categories, at most 65,536 of a column.
    Integers and decimals of 2^53 units and more, which doubles do not tell apart, are refused: text has no such limit.
    NULL is a category where training saw some, and unknown otherwise; so is an infinity, which counts as missing.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import OneHotEncoder
    >>> OneHotEncoder(sparse_output=False).fit_transform(np.array([[2], [7], [2]]))
    array([[1., 0.],
           [0., 1.],
           [1., 0.]])
    """

    model_types: ClassVar[tuple[str, ...]] = ("one_hot_encoder",)
    encoding_options: ClassVar[Mapping[str, Any]] = {"every_level": True}
    takes_categories: ClassVar[bool] = True
    rules: ClassVar[Mapping[str, Rule]] = {
        "drop": Options((None, "first", "if_binary")),
        "sparse_output": Boolean(),
        "handle_unknown": Options(("error", "ignore", "infrequent_if_exist")),
        "min_frequency": Either((Options((None,)), Integer(ge=1), Real(gt=0, lt=1))),
        "max_categories": Either((Options((None,)), Integer(ge=1))),
    }

    codes_: list[list[float | None]]
    frequencies_: list[list[float]]
    infrequent_: list[list[int]]

    def __init__(
        self,
        *,
        drop: str | None = None,
        sparse_output: bool = True,
        handle_unknown: str = "error",
        min_frequency: float | None = None,
        max_categories: int | None = None,
    ) -> None:
        self.drop = drop
        self.sparse_output = sparse_output
        self.handle_unknown = handle_unknown
        self.min_frequency = min_frequency
        self.max_categories = max_categories

    # training --------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, **how: Any) -> Self:  # type: ignore[override]
        """Learn the categories of the rows of X.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame or ndarray
            The rows.
        y : ignored
            There for scikit-learn's pipelines.
        **how
            `sample_weight`, `con` and `options`, as other estimators take them. Weights count in frequencies; a row of
            weight 0 is not there.

        Returns
        -------
        self
        """
        return super().fit(X, y, **how)

    def _fit(self, data: Data) -> None:
        self._check_columns(data)
        encoding = data.schema.encoding
        data.decide_solver("one pass", "it counts the categories of each column", ONE_PASS)
        counted = DistinctStep(range(encoding.n_dense), encoding.terms, _MOST_CATEGORIES)
        (state,) = data.fold(counted, purpose="categories")
        features = term_features(encoding.features)
        self.codes_, self.frequencies_ = [], []
        for j, feature in enumerate(features):
            values, weights = state[f"values_{j}"], state[f"weights_{j}"]
            self._check_apart(feature, values, data.plan.source)
            if feature.kind == "category":
                known = values < len(feature.levels)  # others share a code: max_levels left them out
                values, weights = values[known], weights[known]
                order = np.argsort(np.array(feature.levels, object)[values.astype(np.intp)], kind="stable")
                values, weights = values[order], weights[order]
            missing = float(state["missing"][j])
            self.codes_.append([*values.tolist(), *([None] if missing else [])])
            self.frequencies_.append([*weights.tolist(), *([missing] if missing else [])])
        if not any(self.codes_):
            raise InvalidData(f"{type(self).__name__}: {data.plan.source} has no rows to learn from")
        self.infrequent_ = [self._rare(np.array(counts)) for counts in self.frequencies_]

    def _check_apart(self, feature: Feature, values: Floats, source: str) -> None:
        """Raise `InvalidData` for numbers so large that different ones may be one and the same double."""
        kind = feature.type.partition("[")[0]
        digits = kind.startswith("DECIMAL") and int(kind.rstrip(")").rpartition(",")[2])
        exact = kind.endswith("INT") or kind.startswith("DECIMAL")
        if feature.kind != "category" and exact and (np.abs(values) * 10.0**digits >= EXACT).any():
            raise InvalidData(
                f"{type(self).__name__}: numbers must be within 2^53 units of their last digit to be told apart; "
                f"{feature.name!r} of {source}, {kind}, has some beyond. Make it text: CAST(... AS VARCHAR), or leave "
                "it out with options={'exclude': [...]}"
            )

    def _shown(self, feature: Feature, values: Floats) -> list[Any]:
        if _kind_of(feature) is not int:
            return super()._shown(feature, values)
        return [int(value) if value.is_integer() else value for value in values.tolist()]

    def _rare(self, counts: Floats) -> list[int]:
        """Return the places of infrequent categories, ascending."""
        rare = np.zeros(counts.size, bool)
        if isinstance(self.min_frequency, numbers.Integral):
            rare = counts < self.min_frequency
        elif self.min_frequency is not None:
            rare = counts < self.min_frequency * counts.sum()
        if self.max_categories is not None and self.max_categories < counts.size - rare.sum() + 1:
            kept = self.max_categories - 1
            rare[np.argsort(counts, kind="stable")[: counts.size - kept]] = True
        return np.flatnonzero(rare).tolist() if self.min_frequency or self.max_categories else []

    # what the outputs are --------------------------------------------------------------------------------------

    def _outputs(self, j: int) -> list[int]:
        """Return the places of the categories of a column that have an output, -1 for the infrequent ones."""
        places = [place for place in range(len(self.codes_[j])) if place not in set(self.infrequent_[j])]
        places += [-1] if self.infrequent_[j] else []
        return places[1:] if self._drops(len(places)) else places

    def _drops(self, n_outputs: int) -> bool:
        return n_outputs > 0 and (self.drop == "first" or (self.drop == "if_binary" and n_outputs == 2))

    def _functions(self) -> list[TermFunction]:
        found: list[TermFunction] = []
        for j in range(len(self.codes_)):
            for place in self._outputs(j):
                found.append(self._function(j, place))
        return found

    def _function(self, j: int, place: int) -> Marked:
        codes = self.codes_[j]
        if place >= 0:
            code = codes[place]
            return Marked(j, (), missing=True) if code is None else Marked(j, (code,))
        rare = [codes[i] for i in self.infrequent_[j]]
        values = tuple(code for code in rare if code is not None)
        if self.handle_unknown != "infrequent_if_exist":
            return Marked(j, values, missing=None in rare)
        frequent = tuple(c for i, c in enumerate(codes) if c is not None and i not in set(self.infrequent_[j]))
        return Marked(j, frequent, missing=None in rare or None not in codes, others=True)

    def _known(self) -> Known:
        if self.handle_unknown != "error":
            return ()
        return tuple(
            (j, tuple(code for code in codes if code is not None), None in codes) for j, codes in enumerate(self.codes_)
        )

    def _names_out(self) -> list[str]:
        names, found = self.schema_.encoding.terms, []
        for j, categories in enumerate(self._categories()):
            for place in self._outputs(j):
                found.append(f"{names[j]}_{categories[place] if place >= 0 else _INFREQUENT}")
        return _told_apart(found)

    # rows ------------------------------------------------------------------------------------------------------

    def _positions_block(self, block: Block) -> np.ndarray:
        """Return the output of each row and column, -1 for none, shape (n, n_columns)."""
        self._check_known(block)
        found = np.full((block.n_rows, len(self.codes_)), -1, np.intp)
        first = 0
        for j, codes in enumerate(self.codes_):
            places = self._outputs(j)
            output = {place: first + k for k, place in enumerate(places)}
            first += len(places)
            infrequent = set(self.infrequent_[j])
            of_code = {c: output.get(-1 if i in infrequent else i, -1) for i, c in enumerate(codes)}
            unknown = output.get(-1, -1) if self.handle_unknown == "infrequent_if_exist" else -1
            found[:, j] = _looked_up(block.X[:, j], of_code, unknown)
        return found

    def _transform_block(self, block: Block) -> Floats:
        positions = self._positions_block(block)
        return positions_to_rows(positions, sum(len(self._outputs(j)) for j in range(len(self.codes_))), sparse=False)

    def transform(self, X: Any, *, con: Any = None) -> Any:
        """Return the columns of 0 and 1 of each row.

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
        found = self._score(X, "transform", self._positions_block, con)
        if not isinstance(found, np.ndarray):
            return found
        return self._output(positions_to_rows(found, len(self._names_out()), self.sparse_output), X)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Return the categories that `transform` made X of.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_rows, n_outputs)
            Columns of 0 and 1.

        Returns
        -------
        ndarray of shape (n_rows, n_columns)
            Of integers, numbers or booleans as the columns of training, or of objects where there are texts. Where no
            column has a 1, the category that was dropped, else None (NaN among numbers); so are infrequent ones.

        Raises
        ------
        InvalidData
            No column has a 1 where none was dropped, and unknown categories are an error.
        """
        self._check_fitted()
        widths = [len(self._outputs(j)) for j in range(len(self.codes_))]
        rows = check_outputs(type(self).__name__, X, sum(widths))
        positions = rows_to_positions(rows, widths, type(self).__name__)
        found = np.empty(positions.shape, object)
        for j, categories in enumerate(self._categories()):
            dropped = self._dropped(j)
            none = np.flatnonzero(positions[:, j] < 0)
            if none.size and dropped is None and self.handle_unknown == "error":
                raise InvalidData(
                    f"{type(self).__name__}: samples {listing(map(str, none), 4)} can not be inverted where "
                    f"handle_unknown='error' and no category of {self.terms_[j]!r} was dropped, because they contain "
                    "all zeros"
                )
            choices = [categories[place] if place >= 0 else None for place in self._outputs(j)]
            choices.append(None if dropped is None else categories[dropped])
            table = np.empty(len(choices), object)
            table[:] = choices
            found[:, j] = table[positions[:, j]]
        kind = np.result_type(*(categories.dtype for categories in self.categories_))
        if kind.kind in "bi" and any(value is None for value in found.flat):
            kind = np.dtype(object if kind.kind == "b" else np.float64)
        return found.astype(kind)

    # scikit-learn's attributes ---------------------------------------------------------------------------------

    @property
    def categories_(self) -> list[np.ndarray]:
        """Categories of each column."""
        kinds: dict[type, type] = {str: object, float: np.float64, int: np.int64, bool: np.bool_}
        found: list[np.ndarray] = []
        features = term_features(self.schema_.encoding.features)
        for feature, categories in zip(features, self._categories(), strict=True):
            kind = _kind_of(feature)
            if any(category is None or category != category for category in categories):  # noqa: PLR0124
                kind = str if kind in (str, bool) else float
            found.append(np.array(categories, dtype=kinds[kind]))
        return found

    def _categories(self) -> list[list[Any]]:
        """Return the categories of each column as values of its type; a missing one is None, of numbers NaN."""
        pairs = zip(term_features(self.schema_.encoding.features), self.codes_, strict=True)
        return [[_category(feature, code) for code in codes] for feature, codes in pairs]

    @property
    def infrequent_categories_(self) -> list[np.ndarray | None]:
        """Infrequent categories of each column."""
        pairs = zip(self.categories_, self.infrequent_, strict=True)
        return [categories[places] if places else None for categories, places in pairs]

    @property
    def drop_idx_(self) -> np.ndarray | None:
        """Place of the dropped category of each column."""
        if self.drop is None:
            return None
        return np.array([self._dropped(j) for j in range(len(self.codes_))], dtype=object)

    def _dropped(self, j: int) -> int | None:
        frequent = [place for place in range(len(self.codes_[j])) if place not in set(self.infrequent_[j])]
        if not self._drops(len(frequent) + bool(self.infrequent_[j])):
            return None
        return frequent[0] if frequent else self.infrequent_[j][0]


def _kind_of(feature: Feature) -> type:
    """Return what the categories of a column are: str, bool, int or float."""
    kind = feature.type.partition("[")[0]
    if feature.kind == "category":
        return str
    if kind == "BOOLEAN":
        return bool
    whole = kind.endswith("INT") or kind in ("INTEGER", "UINTEGER") or feature.part not in (None, "epoch")
    return int if whole else float


def _category(feature: Feature, code: float | None) -> Any:
    kind = _kind_of(feature)
    if code is None:
        return None if kind in (str, bool) else math.nan
    return feature.levels[int(code)] if kind is str else kind(code)


def _looked_up(values: Floats, of_code: dict[float | None, int], unknown: int) -> np.ndarray:
    """Return what goes with each value of a column; NaN is None."""
    known = np.array(sorted(code for code in of_code if code is not None))
    outputs = np.array([of_code[code] for code in known.tolist()] + [unknown], np.intp)
    place = np.searchsorted(known, values)
    found = np.append(known, np.nan)[place] == values
    return np.where(np.isnan(values), of_code.get(None, unknown), outputs[np.where(found, place, -1)])


def _told_apart(names: list[str]) -> list[str]:
    """Return names that differ in more than case: a later one of two gets a number."""
    taken: set[str] = set()
    found = []
    for name in names:
        unique, count = name, 1
        while unique.casefold() in taken:
            count += 1
            unique = f"{name}_{count}"
        taken.add(unique.casefold())
        found.append(unique)
    return found
