"""A dump and what a person says of it -> a fitted model: schema, classes, trees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from dbml_sql.features import Encoding, Feature
from numpy.typing import NDArray

from dbml.errors import InvalidData, InvalidParameter, UnknownName, listing, nearest
from dbml.estimators.trees.ensemble import Trees
from dbml.estimators.trees.imported import ImportedTrees, ImportedTreesClassifier, ImportedTreesRegressor
from dbml.imports.categories import Categories, categories_of
from dbml.imports.dump import Dump, DumpFeature, Level
from dbml.imports.flat import flat_trees
from dbml.passes.block import Floats
from dbml.passes.plan import Plan
from dbml.passes.schema import Schema, Target

_TYPES = {bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE", str: "VARCHAR"}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person says about an imported model, besides the file.

    Attributes
    ----------
    target : str
        Name of the column that is predicted.
    classes : sequence or None
        Labels in the order of the library's classes 0, 1, …; None: these numbers.
    features : mapping of str to str, sequence of str or None
        Columns by the names in the file, or all of them in order; None: the names in the file.
    categories : mapping of str to sequence or None
        The levels of categorical features in the order of their codes, by the names in the file.
    iterations : int or None
        Use the first iterations only; None: those that early stopping chose where the file says so, else all.
    """

    target: str = "label"
    classes: Sequence[Level] | None = None
    features: Mapping[str, str] | Sequence[str] | None = None
    categories: Mapping[str, Sequence[Level]] | None = None
    iterations: int | None = None


def imported_model(dump: Dump, source: str, wishes: Wishes) -> ImportedTrees:
    """Return the fitted model of a dump.

    Raises
    ------
    UnknownName, InvalidParameter
        Wishes that do not fit the file.
    InvalidData
        A file that is damaged, or that cannot be imported.
    """
    kept, why = _iterations(dump, source, wishes.iterations)
    features = _with_levels(dump, source, wishes.categories)
    columns = _columns(dump, source, wishes)
    used = dump.trees[: dump.rounds[kept - 1]]
    known = [categories_of(source, number, feature, used, dump) for number, feature in enumerate(features)]
    encoding = Encoding(tuple(_feature(name, one) for name, one in zip(columns, known, strict=True)))
    trees = flat_trees(source, used, [None if one is None else partial(_goes_left, one) for one in known])
    factor = dump.scale / kept if dump.average else dump.scale
    trees, baseline = replace(trees, value=trees.value * factor), np.array(dump.baseline) * dump.scale
    origin = {
        "library": dump.library,
        "version": dump.version,
        "objective": dump.objective,
        "file": source,
    }
    plan = Plan(f"{dump.library} {dump.version}, {source}", columns=tuple(columns))
    plan = plan.decide("objective", dump.objective, "")
    plan = plan.decide("trees", f"{len(used):,} in {kept:,} of {len(dump.rounds):,} iterations", why)
    if not dump.n_classes:
        if wishes.classes is not None:
            raise InvalidParameter(f"{source} predicts a number ({dump.objective}): leave out classes")
        schema = Schema(encoding, Target(wishes.target, "DOUBLE"))
        model: ImportedTrees = ImportedTreesRegressor.of(trees, baseline, dump.link, schema, origin, plan)
    else:
        labels, kind = _labels(dump, source, wishes.classes)
        trees, baseline, labels = _ascending(trees, baseline, labels)
        schema = Schema(encoding, Target(wishes.target, kind, tuple(labels)))
        model = ImportedTreesClassifier.of(trees, baseline, dump.link, schema, origin, plan)
    model.check_scorable()
    return model


def _iterations(dump: Dump, source: str, asked: int | None) -> tuple[int, str]:
    """Return how many iterations are used, and why these."""
    exist = len(dump.rounds)
    if not dump.trees:
        raise InvalidData(f"{source} has no trees: there is nothing to import")
    if asked is not None:
        if isinstance(asked, bool) or not isinstance(asked, int) or not 1 <= asked <= exist:
            raise InvalidParameter(
                f"iterations must be an integer from 1 to {exist:,}, which {source} has; got {asked!r}"
            )
        return asked, f"iterations = {asked:,} was asked for"
    if dump.best_round is not None and dump.best_round <= exist:
        return max(1, dump.best_round), f"the file calls iteration {dump.best_round:,} the best"
    return exist, ""


def _with_levels(dump: Dump, source: str, given: Mapping[str, Sequence[Level]] | None) -> list[DumpFeature]:
    """Return the features with the levels that were given."""
    names = [feature.name for feature in dump.features]
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise InvalidParameter(f"categories must be levels by feature: {{'carrier': ['AA', 'B6']}}; got {given!r}")
    for name, levels in given.items():
        _check_feature("categories", source, name, names)
        listed = isinstance(levels, Sequence) and not isinstance(levels, str)
        if not listed or not all(type(level) in _TYPES for level in levels):
            raise InvalidParameter(f"categories of {name!r} must be a list of texts or numbers; got {levels!r}")
    found = [replace(f, categorical=True, levels=tuple(given[f.name])) if f.name in given else f for f in dump.features]
    said = sum(f.name in given and f.levels is None for f in dump.features)
    if said < dump.n_levels_unknown:
        lacking = [f.name for f in found if f.categorical and f.levels is None] or names
        raise InvalidData(
            f"{source}: {dump.levels_unknown}. Give them in the order of their codes: "
            f"categories = {{{lacking[0]!r}: ['…', …]}} (categorical features: {listing(lacking, 40)})"
        )
    return found


def _columns(dump: Dump, source: str, wishes: Wishes) -> list[str]:
    names = [feature.name for feature in dump.features]
    wanted = wishes.features
    if isinstance(wanted, Mapping):
        for name in wanted:
            _check_feature("features", source, name, names)
        columns = [wanted.get(name, name) for name in names]
    elif wanted is not None and (isinstance(wanted, str) or not isinstance(wanted, Sequence)):
        raise InvalidParameter(f"features must be columns by name in the file, or all in order; got {wanted!r}")
    else:
        columns = list(names if wanted is None else wanted)
    if len(columns) != len(names):
        raise InvalidParameter(f"features must name the {len(names):,} columns of {source}; got {len(columns):,}")
    seen: dict[str, str] = {}
    for column, name in zip(columns, names, strict=True):
        if not isinstance(column, str) or not column:
            raise InvalidParameter(f"features: the column of {name!r} must be a name; got {column!r}")
        if column.casefold() in seen or column.casefold() == wishes.target.casefold():
            other = f"feature {seen[column.casefold()]!r}" if column.casefold() in seen else "the target"
            raise InvalidParameter(
                f"{source}: feature {name!r} and {other} are both the column {column!r} (upper and lower case are the "
                f"same in SQL); say which columns they are, with features = {{{name!r}: 'another column'}}"
            )
        seen[column.casefold()] = name
    return columns


def _check_feature(option: str, source: str, name: str, names: Sequence[str]) -> None:
    if name not in names:
        exist = f"(features: {listing(names, 40)})"
        raise UnknownName(f"{option}: {source} has no feature {name!r}{nearest(str(name), names)} {exist}")


def _feature(column: str, known: Categories | None) -> Feature:
    if known is None:
        return Feature(column, "DOUBLE", "number", style="values")
    return Feature(column, known.type, "category", levels=known.texts, other_level=known.has_other, style="values")


def _goes_left(known: Categories, listed: frozenset[int] | None, threshold: float) -> NDArray[np.bool_]:
    if listed is None:
        return known.codes <= threshold
    found = np.isin(known.codes, list(listed))
    return found if known.listed_left else ~found


def _labels(dump: Dump, source: str, given: Sequence[Level] | None) -> tuple[list[Any], str]:
    """Return the labels in the library's order, and their type."""
    n = dump.n_classes
    if given is None:
        return list(range(n)), "BIGINT"
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != n:
        raise InvalidParameter(
            f"classes must list the {n} labels of {source} in the order in which they were numbered; got {given!r}"
        )
    kinds = {type(label) for label in given}
    if kinds == {int, float}:
        given, kinds = [float(label) for label in given], {float}
    if len(kinds) != 1 or not kinds <= set(_TYPES) or len(set(given)) < n or not _ordered(given):
        raise InvalidParameter(
            f"classes must be different labels of one type (texts, numbers or booleans); got {list(given)!r}"
        )
    return list(given), _TYPES[kinds.pop()]


def _ordered(labels: Sequence[Any]) -> bool:
    return not any(isinstance(label, float) and math.isnan(label) for label in labels)


def _ascending(trees: Trees, baseline: Floats, labels: list[Any]) -> tuple[Trees, Floats, list[Any]]:
    """Return the outputs in the order of the labels, which is ascending in every model here."""
    order = sorted(range(len(labels)), key=labels.__getitem__)
    if order == list(range(len(labels))):
        return trees, baseline, labels
    ordered = [labels[k] for k in order]
    if baseline.size == 1:
        return replace(trees, value=-trees.value), -baseline, ordered
    if trees.value.shape[1] > 1:
        return replace(trees, value=trees.value[:, order]), baseline[order], ordered
    return replace(trees, outputs=np.argsort(order)[trees.outputs]), baseline[order], ordered
