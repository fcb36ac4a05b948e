"""JSON dumps of LightGBM: `Booster.dump_model`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dbml.errors import InvalidData
from dbml.imports.dump import Dump, DumpFeature, DumpTree, Part
from dbml.imports.lightgbm import MISSING_TYPES, dump_of, with_levels, zero_and_default


def read_lightgbm_json(stored: Mapping[str, Any], source: str) -> Dump:
    """Return what a JSON dump says.

    Raises
    ------
    InvalidData
        Damaged, or a model that cannot be imported.
    """
    head = Part(source, "its head", stored)
    infos = head.part("feature_infos").values
    names = list(head.names("feature_names"))
    # A category lists its values; a constant column has no entry.
    features = [DumpFeature(name, bool(infos[name].get("values")) if name in infos else False) for name in names]
    listed = head.get("tree_info")
    if not isinstance(listed, list) or not all(isinstance(tree, Mapping) for tree in listed):
        raise head.damaged("must have a list of trees in 'tree_info'")
    trees = [_tree(Part(source, f"tree {k}", tree)) for k, tree in enumerate(listed)]
    dump = dump_of(head, trees, _with_tested(features, trees), bool(stored.get("average_output", False)))
    return with_levels(dump, stored.get("pandas_categorical"))


def _with_tested(features: list[DumpFeature], trees: list[DumpTree]) -> list[DumpFeature]:
    tested = {int(tree.feature[node]) for tree in trees for node in tree.listed}
    return [DumpFeature(f.name, f.categorical or k in tested) for k, f in enumerate(features)]


def _tree(part: Part) -> DumpTree:
    nodes = _nodes(part.part("tree_structure"))
    inner = np.array(["split_feature" in node.values for node, *_ in nodes])
    if any("leaf_coeff" in node.values or "leaf_const" in node.values for node, *_ in nodes):
        raise InvalidData(f"{part.source} has linear trees, which cannot be imported; train with linear_tree=false")
    n = len(nodes)
    feature, threshold = np.full(n, -1), np.zeros(n)
    missing, default_left, categorical = np.zeros(n, np.int64), np.zeros(n, bool), np.zeros(n, bool)
    value, gain, weight = np.zeros((n, 1)), np.zeros(n), np.zeros(n)
    listed = {}
    for k, (node, *_) in enumerate(nodes):
        if not inner[k]:
            value[k, 0] = _number(node, "leaf_value")
            weight[k] = _number(node, "leaf_count") if "leaf_count" in node.values else 1.0
            continue
        feature[k], gain[k] = node.integer("split_feature"), _number(node, "split_gain")
        default_left[k] = node.get("default_left") is True
        missing[k] = _missing_type(node)
        if node.text("decision_type") == "==":
            categorical[k], listed[k] = True, _codes(node)
        else:
            threshold[k] = _number(node, "threshold")
    missing_left, zero_missing = zero_and_default(missing, default_left, categorical, threshold)
    left, right = (np.array([node[side] for node in nodes], np.int64) for side in (1, 2))
    return DumpTree(
        0, feature, threshold, listed, missing_left & inner, zero_missing & inner, left, right, value, gain, weight
    )


def _nodes(root: Part) -> list[tuple[Part, int, int]]:
    """Return the nodes, parents first, with the numbers of their children (-1 in leaves)."""
    waiting, found = [root], []
    for node in waiting:
        if "split_feature" not in node.values:
            found.append((node, -1, -1))
            continue
        found.append((node, len(waiting), len(waiting) + 1))
        place = root.place
        for side in ("left_child", "right_child"):
            child = node.part(side)
            waiting.append(Part(child.source, place, child.values))
    return found


def _number(node: Part, name: str) -> float:
    found = node.get(name)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or found != found:  # noqa: PLR0124, NaN
        raise node.damaged(f"must have a number in {name!r}, and has {found!r}")
    return float(found)


def _missing_type(node: Part) -> int:
    found = node.text("missing_type")
    if found not in MISSING_TYPES:
        raise node.damaged(f"has the missing type {found!r} ({', '.join(MISSING_TYPES)} exist)")
    return MISSING_TYPES[found]


def _codes(node: Part) -> frozenset[int]:
    text = str(node.get("threshold"))
    try:
        return frozenset(int(code) for code in text.split("||"))
    except ValueError as error:
        raise node.damaged(f"lists the categories {text!r}") from error
