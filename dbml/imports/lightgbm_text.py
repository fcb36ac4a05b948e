"""Text model files of LightGBM: `Booster.save_model`, `model_to_string`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import numpy as np

from dbml.errors import InvalidData
from dbml.imports.dump import Dump, DumpFeature, DumpTree, Part
from dbml.imports.lightgbm import codes_of_bits, dump_of, with_levels, zero_and_default

_END = "end of trees"
_CATEGORICAL = re.compile(r"^\[categorical_feature: ([\d,]*)\]$", re.M)
_PANDAS = re.compile(r"^pandas_categorical:(.*)$", re.M)


def read_lightgbm_text(text: str, source: str) -> Dump:
    """Return what a text model file says.

    Raises
    ------
    InvalidData
        Truncated or damaged, or a model that cannot be imported.
    """
    body, end, rest = text.partition(f"\n{_END}")
    blocks = re.split(r"^Tree=", body, flags=re.M)
    head = Part(source, "its head", dict(_settings(blocks[0])))
    if not end:
        raise InvalidData(
            f"{source} is truncated: it ends after {len(blocks) - 1} trees without {_END!r}; save the model again"
        )
    dump_trees = [_tree(Part(source, f"tree {k}", dict(_settings(block)))) for k, block in enumerate(blocks[1:])]
    if "tree_sizes" in head.values and len(str(head.get("tree_sizes")).split()) != len(dump_trees):
        raise head.damaged(f"announces other than the {len(dump_trees)} trees that follow")
    dump = dump_of(head, dump_trees, _features(head, rest), "average_output" in head.values)
    return with_levels(dump, _pandas_levels(source, rest))


def _settings(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        name, _, value = line.partition("=")
        if name:
            yield name, value


def _features(head: Part, rest: str) -> list[DumpFeature]:
    names, infos = head.text("feature_names").split(" "), head.text("feature_infos").split(" ")
    n = head.integer("max_feature_idx") + 1
    if len(names) != n or len(infos) != n:
        raise head.damaged(
            f"must have {n:,} feature_names and feature_infos, and has {len(names):,} and {len(infos):,}"
        )
    found = _CATEGORICAL.search(rest)
    numbers = {int(number) for number in found[1].split(",") if number} if found is not None else set()
    # Bins of a number are a range in brackets, those of a category its codes; a constant column has none.
    categorical = [k in numbers or not info.startswith(("[", "none")) for k, info in enumerate(infos)]
    return [DumpFeature(name, is_one) for name, is_one in zip(names, categorical, strict=True)]


def _pandas_levels(source: str, rest: str) -> object:
    found = _PANDAS.search(rest)
    if found is None:
        return None
    try:
        return json.loads(found[1])
    except ValueError as error:
        raise InvalidData(f"{source} is damaged: pandas_categorical is not JSON ({error}); save it again") from error


def _tree(part: Part) -> DumpTree:
    if part.values.get("is_linear", "0") != "0":
        raise InvalidData(f"{part.source} has linear trees, which cannot be imported; train with linear_tree=false")
    n_leaves = part.integer("num_leaves")
    if n_leaves < 1:
        raise part.damaged(f"has {n_leaves} leaves")
    n = n_leaves - 1
    value = part.floats("leaf_value", n_leaves)
    if n == 0:
        nothing = np.zeros(1)
        none, no = np.array([-1]), np.zeros(1, bool)
        one = np.array(value[:, None])
        return DumpTree(0, none, nothing, {}, no, no, none, none, one, nothing, np.ones(1))
    bits, threshold = part.integers("decision_type", n), part.floats("threshold", n)
    categorical = bits & 1 == 1
    missing_left, zero_missing = zero_and_default(bits >> 2 & 3, bits & 2 == 2, categorical, threshold)
    children = [part.integers(name, n) for name in ("left_child", "right_child")]
    left, right = (np.where(child >= 0, child, n + ~child) for child in children)
    pad = np.zeros(n_leaves)
    return DumpTree(
        output=0,
        feature=np.concatenate([part.integers("split_feature", n), np.full(n_leaves, -1)]),
        threshold=np.concatenate([threshold, pad]),
        listed=_listed(part, np.flatnonzero(categorical), threshold),
        missing_left=np.concatenate([missing_left, pad > 0]),
        zero_missing=np.concatenate([zero_missing, pad > 0]),
        left=np.concatenate([left, np.full(n_leaves, -1)]),
        right=np.concatenate([right, np.full(n_leaves, -1)]),
        value=np.concatenate([np.zeros(n), value])[:, None],
        gain=np.concatenate([part.floats("split_gain", n), pad]),
        weight=np.concatenate([np.zeros(n), part.floats("leaf_count", n_leaves)]),
    )


def _listed(part: Part, nodes: np.ndarray, threshold: np.ndarray) -> dict[int, frozenset[int]]:
    """Return the codes that go left in each categorical node; its threshold is the number of a bit set."""
    if not nodes.size:
        return {}
    bounds, words = part.integers("cat_boundaries"), part.integers("cat_threshold")
    ordered = bounds.size > 0 and bounds[0] == 0 and bounds[-1] == words.size and np.all(np.diff(bounds) >= 0)
    if not ordered or np.any(words < 0) or np.any(words >= 2**32):
        raise part.damaged("has cat_boundaries and cat_threshold that do not fit")
    found = {}
    for node in nodes.tolist():
        number = int(threshold[node])
        if not 0 <= number < bounds.size - 1:
            raise part.damaged(f"has no bit set {number}")
        found[node] = codes_of_bits(words[bounds[number] : bounds[number + 1]])
    return found
