"""Models of XGBoost: `Booster.save_model` as JSON or UBJSON, read to the same names and values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from dbml.errors import InvalidData, listing, nearest
from dbml.imports.dump import Dump, DumpFeature, DumpLink, DumpTree, Level, Part
from dbml.passes.block import Floats

NEWEST = 3

_NUMBERS = ("squarederror", "squaredlogerror", "pseudohubererror", "absoluteerror", "quantileerror", "expectileerror")
_LINKS: dict[str, DumpLink] = {
    **{f"reg:{name}": "identity" for name in (*_NUMBERS, "linear")},
    **dict.fromkeys(("rank:pairwise", "rank:ndcg", "rank:map"), "identity"),
    **dict.fromkeys(("reg:logistic", "binary:logistic"), "logistic"),
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie"), "log"),
    **dict.fromkeys(("multi:softprob", "multi:softmax"), "softmax"),
}
_CODES_ONLY = (
    "the file does not hold the levels of categorical features (XGBoost stores those of DataFrames since 3.1, but cuts "
    "texts that are not ASCII)"
)


def read_xgboost(stored: Mapping[str, Any], source: str) -> Dump:
    """Return what a model file says.

    Raises
    ------
    InvalidData
        Damaged, or a model that cannot be imported.
    """
    whole = Part(source, "the file", stored)
    version = ".".join(str(number) for number in whole.integers("version").tolist())
    if int(version.partition(".")[0] or 0) > NEWEST:
        raise InvalidData(
            f"{source} was saved by XGBoost {version}; models are read up to version {NEWEST}: upgrade dbml"
        )
    learner = whole.part("learner")
    shape, objective = learner.part("learner_model_param"), learner.part("objective").text("name")
    link = _link(source, objective)
    n_outputs = _outputs(shape, objective)
    booster, weights = _booster(learner.part("gradient_booster"))
    trees, rounds = _trees(booster, weights, n_outputs)
    features = _features(learner, shape, booster)
    classes = {"softmax": n_outputs, "logistic": 2 * objective.startswith("binary:")}
    unknown = sum(feature.categorical and feature.levels is None for feature in features)
    return Dump(
        library="XGBoost",
        version=version,
        objective=objective,
        link=link,
        n_classes=classes.get(link, 0),
        features=tuple(features),
        trees=tuple(trees),
        rounds=rounds,
        baseline=_baseline(shape, link, n_outputs),
        listed_left=False,
        best_round=_best_round(learner),
        levels_unknown=_CODES_ONLY if unknown else None,
        n_levels_unknown=unknown,
    )


def _link(source: str, objective: str) -> DumpLink:
    # Left out: survival; binary:hinge, without probabilities; binary:logitraw, whose base_score changed its meaning.
    if objective not in _LINKS:
        raise InvalidData(
            f"{source} was trained with the objective {objective!r}, which cannot be imported"
            f"{nearest(objective, _LINKS)} (objectives: {listing(_LINKS, 40)})"
        )
    return _LINKS[objective]


def _outputs(shape: Part, objective: str) -> int:
    n_targets = int(shape.values.get("num_target", 1) or 1)
    if n_targets > 1:
        raise InvalidData(
            f"{shape.source} predicts {n_targets} numbers ({objective}); a model here predicts one: train one for each"
        )
    return max(1, shape.integer("num_class"))


def _booster(part: Part) -> tuple[Part, Any]:
    """Return the model of trees, and the weights of dropped-out trees where there are any."""
    name = part.text("name")
    if name == "gbtree":
        return part.part("model"), None
    if name == "dart":
        return part.part("gbtree").part("model"), part.floats("weight_drop")
    raise InvalidData(
        f"{part.source} holds a booster {name!r}, which cannot be imported (boosters: gbtree, dart). "
        "A linear model is trained here in seconds: LinearRegression, LogisticRegression, ElasticNet"
    )


def _baseline(shape: Part, link: DumpLink, n_outputs: int) -> tuple[float, ...]:
    """Return the margin of `base_score`: one number, since 3.1 a list, in the units of the prediction."""
    text = str(shape.get("base_score"))
    try:
        found = [float(np.float32(item)) for item in text.strip("[]").split(",")]
    except ValueError as error:
        raise shape.damaged(f"has the base_score {text!r}") from error
    if len(found) not in (1, n_outputs):
        raise shape.damaged(f"has {len(found)} base_score for {n_outputs} outputs")
    inside = {"logistic": (0.0, 1.0), "log": (0.0, math.inf)}.get(link, (-math.inf, math.inf))
    if not all(inside[0] < score < inside[1] for score in found):
        raise shape.damaged(f"has the base_score {text!r}, which must lie between {inside[0]} and {inside[1]}")
    if link == "logistic":
        found = [-math.log(1.0 / score - 1.0) for score in found]
    elif link == "log":
        found = [math.log(score) for score in found]
    return tuple(found * (n_outputs // len(found)))


def _best_round(learner: Part) -> int | None:
    found = learner.values.get("attributes", {}).get("best_iteration")
    return int(found) + 1 if isinstance(found, str) and found.isdigit() else None


# features ------------------------------------------------------------------------------------------------------------


def _features(learner: Part, shape: Part, booster: Part) -> list[DumpFeature]:
    n = shape.integer("num_feature")
    names = list(learner.names("feature_names")) if "feature_names" in learner.values else []
    kinds = list(learner.names("feature_types")) if "feature_types" in learner.values else []
    names, kinds = names or [f"f{k}" for k in range(n)], kinds or ["float"] * n
    if len(names) != n or len(kinds) != n:
        raise learner.damaged(f"must have {n:,} feature_names and feature_types")
    levels = booster.part("cats").values.get("enc", []) if "cats" in booster.values else []
    if levels and len(levels) != n:
        raise booster.damaged(f"must have the categories of {n:,} features")
    return [
        DumpFeature(name, kind == "c", _levels(booster, levels[k]) if levels and kind == "c" else None)
        for k, (name, kind) in enumerate(zip(names, kinds, strict=True))
    ]


def _levels(booster: Part, stored: Any) -> tuple[Level, ...] | None:
    """Return the levels of a feature: numbers, or the bytes of texts one after another with their bounds."""
    if not isinstance(stored, Mapping):
        raise booster.damaged("must have names and values in 'cats'")
    part = Part(booster.source, "the categories", stored)
    values = part.get("values")
    if "offsets" not in stored:
        numbers = part.floats("values").tolist()
        exact = np.asarray(values).dtype.kind in "iu"
        return tuple(int(number) if exact else number for number in numbers) or None
    bounds = part.integers("offsets").tolist()
    text = part.integers("values").astype(np.int8).tobytes()
    if not bounds:
        return None
    if bounds != sorted(bounds) or bounds[0] != 0 or bounds[-1] != len(text):
        raise part.damaged("has bounds that do not fit")
    # XGBoost 3 counts the characters of a DataFrame's texts and cuts their bytes there: others than ASCII are lost.
    return tuple(text[a:b].decode() for a, b in pairwise(bounds)) if text.isascii() else None


# trees ---------------------------------------------------------------------------------------------------------------


def _trees(booster: Part, weights: Any, n_outputs: int) -> tuple[list[DumpTree], tuple[int, ...]]:
    stored, outputs = booster.get("trees"), booster.integers("tree_info")
    if not isinstance(stored, list) or not all(isinstance(tree, Mapping) for tree in stored):
        raise booster.damaged("must have a list of trees in 'trees'")
    n = len(stored)
    if outputs.size != n or np.any(outputs < 0) or np.any(outputs >= n_outputs):
        raise booster.damaged(f"must have the output of each of its {n:,} trees in 'tree_info'")
    if weights is not None and weights.size != n:
        raise booster.damaged(f"must have the weight of each of its {n:,} trees in 'weight_drop'")
    scales = np.ones(n) if weights is None else weights
    parts = [Part(booster.source, f"tree {k}", tree) for k, tree in enumerate(stored)]
    trees = [
        _tree(part, int(output), float(scale), n_outputs)
        for part, output, scale in zip(parts, outputs, scales, strict=True)
    ]
    return trees, _rounds(booster, trees, n_outputs)


def _rounds(booster: Part, trees: list[DumpTree], n_outputs: int) -> tuple[int, ...]:
    if "iteration_indptr" in booster.values:
        bounds = booster.integers("iteration_indptr").tolist()
    else:  # before 2.0 each iteration had as many trees
        parallel = booster.part("gbtree_model_param").integer("num_parallel_tree")
        width = 1 if trees and trees[0].value.shape[1] > 1 else n_outputs
        bounds = list(range(0, len(trees) + 1, max(1, parallel) * width))
    if not bounds or bounds[0] != 0 or bounds[-1] != len(trees) or bounds != sorted(bounds):
        raise booster.damaged(f"has {len(trees):,} trees that are no whole iterations")
    return tuple(bounds[1:])


def _tree(part: Part, output: int, scale: float, n_outputs: int) -> DumpTree:
    left = part.integers("left_children")
    n = left.size
    right, feature = part.integers("right_children", n), part.integers("split_indices", n)
    conditions, leaf = part.floats("split_conditions", n), left < 0
    width = part.part("tree_param").integer("size_leaf_vector")
    if width > 1 and width != n_outputs:
        raise part.damaged(f"has leaves of {width} values for {n_outputs} outputs")
    listed = _listed(part, n)
    return DumpTree(
        output=output,
        feature=feature,
        threshold=at_most(conditions),
        listed=listed,
        missing_left=part.integers("default_left", n) == 1,
        zero_missing=np.zeros(n, bool),
        left=np.where(leaf, -1, left),
        right=np.where(leaf, -1, right),
        value=scale * (_vectors(part, leaf, right, width) if width > 1 else single(conditions)[:, None]),
        gain=part.floats("loss_changes", n),
        weight=part.floats("sum_hessian", n),
    )


def _vectors(part: Part, leaf: np.ndarray, right: np.ndarray, width: int) -> Floats:
    """Return the values of leaves that add to all outputs; a leaf has their number in place of a right child."""
    if "leaf_weights" not in part.values:
        raise InvalidData(
            f"{part.source} has leaves of several values as XGBoost before 3.1 stored them, which cannot be imported; "
            "load it with a newer XGBoost and save it again"
        )
    rows = single(part.floats("leaf_weights"))
    number = right[leaf]
    if rows.size % width or np.any(number < 0) or np.any(number >= rows.size // width):
        raise part.damaged("has leaf_weights that do not fit")
    values = np.zeros((leaf.size, width))
    values[leaf] = rows.reshape(-1, width)[number]
    return values


def _listed(part: Part, n: int) -> dict[int, frozenset[int]]:
    """Return the codes that go right in each categorical node."""
    kinds = part.integers("split_type", n) if "split_type" in part.values else np.zeros(n, np.int64)
    if not kinds.any():
        return {}
    nodes, codes = part.integers("categories_nodes"), part.integers("categories").tolist()
    begins, sizes = (part.integers(f"categories_{name}", nodes.size).tolist() for name in ("segments", "sizes"))
    found = {}
    for node, begin, size in zip(nodes.tolist(), begins, sizes, strict=True):
        if not 0 <= begin <= begin + size <= len(codes) or min(codes[begin : begin + size], default=0) < 0:
            raise part.damaged(f"has the categories {begin} to {begin + size} of {len(codes)}")
        found[node] = frozenset(codes[begin : begin + size])
    if set(found) != set(np.flatnonzero(kinds == 1).tolist()):
        raise part.damaged("must have the categories of its categorical nodes")
    return found


def single(numbers: Floats) -> Floats:
    """Return numbers rounded to single precision, in which XGBoost keeps them."""
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32).astype(np.float64)


def at_most(conditions: Floats) -> Floats:
    """Return t so that for every double x: ``float32(x) < condition`` where ``x <= t``.

    The floats below a condition end at its lower neighbour p. Doubles up to the middle of both round to p, the middle
    itself where p is the even one of them. The middle is a double, as it needs one more bit.
    """
    with np.errstate(over="ignore"):
        above = conditions.astype(np.float32)
        below = np.nextafter(above, np.float32(-np.inf))
        middle = (below.astype(np.float64) + above.astype(np.float64)) / 2.0
        even = below.view(np.uint32) & 1 == 0
        return np.where(even, middle, np.nextafter(middle, -np.inf))
