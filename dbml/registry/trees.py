"""The nodes of tree models as rows, for ``ML.TREES``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from dbml_sql.features import Encoding, Feature
from dbml_sql.score import label_text

from dbml.errors import InvalidData, InvalidParameter
from dbml.registry.scorer import Scorer


def nodes_function(find: Callable[[str], Scorer]) -> Callable[..., pa.Array]:
    """Return ``tree_nodes(name)``: one struct a node."""

    def tree_nodes(*arguments: pa.ChunkedArray) -> pa.Array:
        names = arguments[0].to_pylist() if len(arguments) == 1 else [None]
        known = [name for name in names if name is not None]
        if len(known) < len(names):
            raise InvalidParameter("expected tree_nodes('model')")
        lists = [node_rows(find(name)) for name in known]
        offsets = np.cumsum([0, *map(len, lists)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.concat_arrays(lists))

    return tree_nodes


def node_rows(scorer: Scorer) -> pa.StructArray:
    """Return one row a node of a model's trees, parents before their children.

    Raises
    ------
    InvalidData
        The model has no trees.
    """
    from dbml.estimators.trees.model import TreeModel

    model = scorer.model
    if not isinstance(model, TreeModel):
        raise InvalidData(
            f"model {scorer.name!r} is a {type(model).__name__}, which has no trees. "
            "Hint: FROM ML.WEIGHTS(MODEL …) shows the coefficients of a linear model"
        )
    trees, encoding = model.trees_, model.schema_.encoding
    n_nodes = trees.term.size
    inner = trees.left >= 0
    tree = np.repeat(np.arange(trees.n_trees), np.diff(trees.roots))
    parent = np.full(n_nodes, -1)
    for side in (0, 1):
        parent[trees.left[inner] + side] = np.flatnonzero(inner)
    first = trees.roots[:-1][tree]
    by_set = trees.category_set >= 0
    single = trees.value.shape[1] == 1
    columns: dict[str, Any] = {
        "tree": pa.array(tree, pa.int32()),
        "class_label": _labels(scorer.classes, trees.outputs[tree], trees.n_outputs if single else 0),
        "node": pa.array(np.arange(n_nodes) - first, pa.int32()),
        "parent": _where(parent >= 0, parent - first, pa.int32()),
        "depth": pa.array(trees.levels(), pa.int32()),
        "is_leaf": pa.array(~inner),
        "feature": _taken(list(encoding.terms), np.where(inner, trees.term, -1)),
        "operator": _taken(["<=", "IN"], np.where(inner, by_set, -1)),
        "threshold": _where(inner & ~by_set, trees.threshold, pa.float64()),
        "categories": pa.array(_categories(encoding, trees.term, trees.category_set, trees.category_sets)),
        "missing": _taken(["right", "left"], np.where(inner, trees.missing_left, -1)),
        "gain": _where(inner, trees.gain, pa.float64()),
        "rows": pa.array(trees.weight),
        "value": _where(np.full(n_nodes, single), trees.value[:, 0], pa.float64()),
        "class_values": pa.nulls(n_nodes, pa.list_(pa.float64())) if single else pa.array(trees.value.tolist()),
    }
    columns["categories"] = columns["categories"].cast(pa.list_(pa.string()))
    return pa.StructArray.from_arrays(list(columns.values()), list(columns))


def _labels(classes: Sequence[Any] | None, outputs: np.ndarray, n_outputs: int) -> pa.Array:
    """Return the class that a tree adds to, where each class has trees of its own."""
    if classes is None or n_outputs != len(classes):
        return pa.nulls(outputs.size, pa.string())
    return _taken([label_text(label) for label in classes], outputs)


def _categories(
    encoding: Encoding, term: np.ndarray, category_set: np.ndarray, sets: np.ndarray
) -> list[list[str] | None]:
    features = [feature for feature in encoding.features for _ in feature.dense_terms]
    known: dict[tuple[int, int], list[str]] = {}
    found: list[list[str] | None] = [None] * term.size
    for node in np.flatnonzero(category_set >= 0).tolist():
        key = int(term[node]), int(category_set[node])
        if key not in known:
            known[key] = _names(features[key[0]], sets[key[1]])
        found[node] = known[key]
    return found


def _names(feature: Feature, goes_left: np.ndarray) -> list[str]:
    names = [*feature.levels, *["(other)"] * feature.other_level]
    return [name for name, left in zip(names, goes_left.tolist(), strict=False) if left]


def _taken(texts: list[str], places: np.ndarray) -> pa.Array:
    """Return the text of each place, NULL for -1."""
    return pa.array(texts, pa.string()).take(_where(places >= 0, places, pa.int64()))


def _where(known: np.ndarray, values: np.ndarray, type: pa.DataType) -> pa.Array:
    return pa.array(values, mask=~known).cast(type)
