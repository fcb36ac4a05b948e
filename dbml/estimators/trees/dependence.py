"""Partial dependence of trees on one column, from the trees alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from dbml_sql.features import Feature
from numpy.typing import NDArray

from dbml.errors import InvalidParameter, UnknownName, listing, nearest
from dbml.passes.block import Floats

if TYPE_CHECKING:
    from dbml.estimators.trees.model import TreeModel


def dependence(model: TreeModel, column: str, n_points: int) -> tuple[list[Any], Floats]:
    """Return the mean of the sums over the training rows for values of a column; shape (n_values, n_outputs).

    The other columns are averaged by `Trees.weight` on the way down (Friedman 2001), so that no row is read. Values:
    the most frequent levels of a category; of a number the thresholds of the trees and a value above them, evenly
    chosen where there are more than `n_points`.

    Raises
    ------
    UnknownName
        The model has no such column.
    InvalidParameter
        The column makes several terms (a date, a vector): rows are needed.
    """
    from dbml_kernels.tree_dependence import trees_depend

    feature, term = _one_term(model, column)
    trees, walk = model.trees_, model.trees_.walk
    numbers = np.arange(float(min(feature.n_codes, n_points))) if feature.n_codes else _points(model, term, n_points)
    number = int(np.searchsorted(walk.terms, term))
    tested = number < walk.terms.size and walk.terms[number] == term
    codes = _codes(model, number, numbers) if tested else np.zeros(numbers.size, np.uint16)
    out = np.tile(model.baseline_, (numbers.size, 1))
    column_number = number if tested else -1
    arrays = trees.left, trees.weight, trees.roots, trees.outputs, trees.value
    trees_depend(codes, column_number, walk.nodes, walk.sets, *arrays, np.empty(trees.term.size), out)
    if not feature.n_codes:
        return numbers.tolist(), out
    named = [*feature.levels, *["(other)"] * feature.other_level]
    return [named[int(code)] for code in numbers], out


def _one_term(model: TreeModel, column: str) -> tuple[Feature, int]:
    encoding = model.schema_.encoding
    places = list(zip(encoding.features, encoding.offsets(), strict=True))
    found = [(feature, dense) for feature, (dense, _) in places if feature.column.casefold() == column.casefold()]
    if not found:
        known = encoding.columns
        raise UnknownName(
            f"{type(model).__name__}: no column {column!r}{nearest(column, known)} (columns: {listing(known)})"
        )
    if len(found) > 1 or found[0][0].kind not in ("number", "category") or found[0][0].part is not None:
        raise InvalidParameter(
            f"{type(model).__name__}: {column!r} ({found[0][0].type}) becomes several numbers, whose dependence cannot "
            "be read off the trees. Hint: give rows, TABLE name or (query)"
        )
    return found[0]


def _points(model: TreeModel, term: int, n_points: int) -> Floats:
    trees = model.trees_
    edges = np.unique(trees.threshold[(trees.left >= 0) & (trees.term == term)])
    if not edges.size:
        return np.zeros(1)
    step = (edges[-1] - edges[0]) / (edges.size - 1) if edges.size > 1 else max(abs(edges[0]), 1.0)
    values = np.append(edges, edges[-1] + step)
    if values.size > n_points:
        values = values[np.linspace(0, values.size - 1, n_points).round().astype(int)]
    return values


def _codes(model: TreeModel, number: int, values: Floats) -> NDArray[np.uint16]:
    from dbml_kernels.tree_codes import code_column, rank_column

    walk = model.trees_.walk
    codes = np.empty(values.size, np.uint16)
    if walk.categorical[number]:
        code_column(values, 1, 0, codes)
    else:
        rank_column(values, walk.edges[number], 1, 0, codes)
    return codes
