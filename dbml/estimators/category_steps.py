"""Steps of categorical naive Bayes: categories of all features side by side, and the rows of each class with each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dbml_kernels.class_sums import CODE_ZERO, class_codes_add, class_sums_add_sparse, class_weight_add
from dbml_sql.features import Encoding
from numpy.typing import NDArray

from dbml.estimators.design import flat
from dbml.passes.block import Block
from dbml.passes.step import State

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Slots:
    """Where the categories of each feature stand side by side: codes of a number, then NULL; or levels, NULL, other.

    Attributes
    ----------
    bounds : ndarray of shape (n_features + 1,)
        Slots of feature j: ``bounds[j] … bounds[j + 1]``.
    columns, first, n_codes, null : ndarray of shape (n_numbers,)
        Of features that are numbers: dense term, slot of code 0, number of codes, slot of NULL or -1.
    levels : ndarray of shape (n_terms - n_dense,)
        Slot of each sparse term.
    """

    bounds: Integers
    columns: Integers
    first: Integers
    n_codes: Integers
    null: Integers
    levels: Integers

    @classmethod
    def of(cls, encoding: Encoding, n_codes: Integers) -> Slots:
        """Return the slots of an encoding whose numbers have `n_codes` codes each, shape (n_numbers,)."""
        bounds, codes = [0], iter(n_codes.tolist())
        levels: list[int] = []
        columns, first, null = [], [], []
        for feature, (dense, _) in zip(encoding.features, encoding.offsets(), strict=True):
            begin = bounds[-1]
            if feature.kind == "number":
                size = next(codes)
                columns.append(dense)
                first.append(begin)
                null.append(begin + size if feature.flag else -1)
                bounds.append(begin + size + feature.flag)
            else:
                bounds.append(begin + len(feature.sparse_terms))
                levels += range(begin, bounds[-1])
        arrays = (np.array(listed, np.int64) for listed in (bounds, columns, first, n_codes.tolist(), null, levels))
        return cls(*arrays)

    @property
    def n_slots(self) -> int:
        """Number of slots."""
        return int(self.bounds[-1])

    @property
    def of_codes(self) -> tuple[Integers, ...]:
        """Arguments of the kernels about numbers."""
        return self.columns, self.first, self.n_codes, self.null


class CodeRangeStep:
    """The largest and the least code of each dense term that is not missing.

    State, all (n_dense,): ``largest``, at least -1, and ``lowest``, at most 0.

    Parameters
    ----------
    n_dense : int
        Dense terms.
    """

    tolerance = 0.0
    chained = False

    def __init__(self, n_dense: int) -> None:
        self.n_dense = n_dense

    def start(self) -> State:
        """Return the state of no rows."""
        return {"largest": np.full(self.n_dense, -1.0), "lowest": np.zeros(self.n_dense)}

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        if block.n_rows == 0:
            return
        codes = np.where(block.X == 0.0, 0.0, block.X - CODE_ZERO)
        state["largest"] = np.maximum(state["largest"], np.where(block.X == 0.0, -1.0, codes).max(axis=0))
        state["lowest"] = np.minimum(state["lowest"], codes.min(axis=0))

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        into["largest"] = np.maximum(into["largest"], other["largest"])
        into["lowest"] = np.minimum(into["lowest"], other["lowest"])
        return into


class ClassCodesStep:
    """Weight of the rows of each class, and of those with each category.

    State: ``weight`` (n_classes,), ``counts`` (n_classes, n_slots).

    Parameters
    ----------
    n_classes, n_dense : int
        Shape of the target and of the dense part of the design.
    slots : Slots
        Where categories are counted.
    """

    # Sums are added in another order; those of whole numbers are exact.
    tolerance = 1e-9
    chained = False

    def __init__(self, n_classes: int, n_dense: int, slots: Slots) -> None:
        self.n_classes, self.n_dense, self.slots = n_classes, n_dense, slots

    def start(self) -> State:
        """Return the state of no rows."""
        return {"weight": np.zeros(self.n_classes), "counts": np.zeros((self.n_classes, self.slots.n_slots))}

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        assert block.y is not None
        weighted = block.weight is not None
        weight = block.weight if block.weight is not None else block.y
        class_weight_add(block.y, weight, weighted, state["weight"])
        if self.slots.columns.size:
            x = flat(block.X)
            class_codes_add(x, block.n_rows, *self.slots.of_codes, block.y, weight, weighted, state["counts"])
        if block.sparse is not None:
            sums = np.zeros((self.n_classes, self.slots.levels.size))
            rest = (block.y, weight, weighted, np.zeros(0), np.int64(self.n_dense))
            class_sums_add_sparse(*block.sparse, *rest, sums, np.zeros(self.slots.levels.size))
            state["counts"][:, self.slots.levels] += sums

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        into["weight"] += other["weight"]
        into["counts"] += other["counts"]
        return into
