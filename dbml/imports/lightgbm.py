"""What the text files and the JSON dumps of LightGBM have in common: objectives, levels, decisions of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbml.errors import InvalidData, listing, nearest
from dbml.imports.dump import Dump, DumpFeature, DumpLink, DumpTree, Part
from dbml.passes.block import Floats

VERSIONS = ("v3", "v4")

_NUMBERS = ("regression", "regression_l2", "regression_l1", "huber", "fair", "quantile", "mape")
_RANKS = ("lambdarank", "rank_xendcg")
_LINKS: dict[str, DumpLink] = {
    **dict.fromkeys((*_NUMBERS, *_RANKS), "identity"),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "log"),
    **dict.fromkeys(("binary", "cross_entropy"), "logistic"),
    "multiclass": "softmax",
    "multiclassova": "one_vs_rest",
}
_NONE, _ZERO, _NAN = 0, 1, 2
MISSING_TYPES = {"None": _NONE, "Zero": _ZERO, "NaN": _NAN}


def dump_of(head: Part, trees: Sequence[DumpTree], features: Sequence[DumpFeature], average: bool) -> Dump:
    """Return the dump of a model from its head (``objective``, ``num_class``, …), trees and features.

    Raises
    ------
    InvalidData
        An objective or version that cannot be read, or trees that are no whole iterations.
    """
    source = head.source
    version = str(head.get("version"))
    if version not in VERSIONS:
        raise InvalidData(
            f"{source}: model files of LightGBM are read in the formats {', '.join(VERSIONS)}; this one has "
            f"{version!r}. Load it with LightGBM 4 and save it again, or upgrade dbml"
        )
    objective, settings = _objective(source, str(head.values.get("objective", "")))
    per_round, n_class = head.integer("num_tree_per_iteration"), head.integer("num_class")
    if per_round < 1 or len(trees) % per_round or (per_round > 1) != (objective in ("multiclass", "multiclassova")):
        raise head.damaged(f"has {len(trees)} trees, {per_round} an iteration, for the objective {objective!r}")
    classes = {"binary": 2, "multiclass": n_class, "multiclassova": n_class}
    return Dump(
        library="LightGBM",
        version=version,
        objective=objective,
        link=_LINKS[objective],
        n_classes=classes.get(objective, 0),
        features=tuple(features),
        trees=tuple(replace(tree, output=number % per_round) for number, tree in enumerate(trees)),
        rounds=tuple(range(per_round, len(trees) + 1, per_round)),
        baseline=(0.0,) * per_round,
        listed_left=True,
        scale=settings.get("sigmoid", 1.0),
        average=average,
    )


def _objective(source: str, text: str) -> tuple[str, dict[str, float]]:
    name, *rest = text.split() or [""]
    if not name or name == "custom":
        raise InvalidData(
            f"{source} was trained with an objective of its own, which the file does not hold: what its sums mean is "
            "not known"
        )
    if name not in _LINKS:
        raise InvalidData(
            f"{source} was trained with the objective {name!r}, which cannot be imported{nearest(name, _LINKS)} "
            f"(objectives: {listing(_LINKS, 40)})"
        )
    if "sqrt" in rest:
        raise InvalidData(f"{source} was trained with reg_sqrt, which cannot be imported; train on the root yourself")
    settings = {}
    for item in rest:
        key, _, value = item.partition(":")
        if key == "sigmoid":
            try:
                settings[key] = float(value)
            except ValueError as error:
                raise InvalidData(f"{source} is damaged: its objective is {text!r}; save the model again") from error
    return name, settings


def with_levels(dump: Dump, stored: Any) -> Dump:
    """Return the dump with the levels that a DataFrame's categories had; `stored` is a list of lists, one a column.

    The file does not say whose they are: they are those of the categorical features, in order. Where there are not as
    many, the person has to say it.
    """
    if not stored:
        return dump
    if not isinstance(stored, list) or not all(isinstance(levels, list) for levels in stored):
        raise InvalidData(f"the LightGBM model is damaged: pandas_categorical is {stored!r}; save the model again")
    categorical = [feature.name for feature in dump.features if feature.categorical]
    if len(categorical) != len(stored):
        why = (
            f"the file has the levels of {len(stored)} columns of a DataFrame and {len(categorical)} categorical "
            f"features ({listing(categorical) or 'none'}), and does not say which are whose"
        )
        return replace(dump, levels_unknown=why, n_levels_unknown=len(stored))
    given = iter(stored)
    features = [replace(f, levels=tuple(next(given))) if f.categorical else f for f in dump.features]
    return replace(dump, features=tuple(features))


def zero_and_default(
    missing: NDArray[np.int64], default_left: NDArray[np.bool_], categorical: NDArray[np.bool_], threshold: Floats
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where missing values go left, and where zeros go with them, from the missing type of each node.

    Type none reads a missing value as 0; zero and NaN send it the default way. A missing category goes right.
    """
    missing_left = np.where(missing == _NONE, threshold >= 0.0, default_left) & ~categorical
    return missing_left, (missing == _ZERO) & ~categorical


def codes_of_bits(words: NDArray[np.int64]) -> frozenset[int]:
    """Return the codes that a bit set of 32-bit words holds."""
    bits = np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little")
    return frozenset(np.flatnonzero(bits).tolist())
